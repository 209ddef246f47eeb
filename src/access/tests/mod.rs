//! Tests of zot's access control, one for each rule.

mod scopes;

use super::*;
use crate::access::{
    Action, Create, Delete, Denied, DeniedBy, Metrics, Read, Reader, Unmovable, decide, decide_write,
    may_read_metrics,
};
use crate::identity::{Principal, Scope};
use Action::{Create as C, Delete as D, Read as R, Update as U};

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

fn grant(users: &[&str], groups: &[&str], actions: &[Action]) -> Grant {
    Grant {
        users: strings(users),
        groups: strings(groups),
        actions: actions.to_vec(),
    }
}

fn entry(
    pattern: &str,
    policies: Vec<Grant>,
    default: &[Action],
    anonymous: &[Action],
) -> (String, PatternRules) {
    (
        pattern.to_owned(),
        PatternRules {
            policies,
            default: default.to_vec(),
            anonymous: anonymous.to_vec(),
            ..PatternRules::default()
        },
    )
}

fn policy(repositories: Vec<(String, PatternRules)>) -> Policy {
    Policy::compile(Rules {
        repositories,
        ..Rules::default()
    })
    .unwrap()
}

fn user(name: &str, groups: &[&str]) -> Identity {
    Identity::for_test(
        name,
        groups,
        Principal::Oidc {
            issuer: "https://i".into(),
            entry: None,
            subject: name.into(),
        },
    )
}

fn svid(id: &str) -> Identity {
    Identity::for_test(id, &[], Principal::Spiffe(id.parse().unwrap()))
}

fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

/// Returns the first letters of the granted actions.
fn granted(policy: &Policy, identity: &Identity, repository: &str) -> String {
    let (actions, _) = policy.granted(identity, &name(repository));
    [(R, 'r'), (C, 'c'), (U, 'u'), (D, 'd')]
        .iter()
        .filter(|(action, _)| actions.contains(*action))
        .map(|(_, letter)| letter)
        .collect()
}

#[test]
fn only_the_longest_pattern_applies() {
    let policy = policy(vec![
        entry("**", vec![grant(&["ann"], &[], &[R, C, U, D])], &[R], &[]),
        entry("app/**", vec![grant(&["ann"], &[], &[R])], &[], &[]),
        entry("app/secret", vec![], &[], &[]),
        // This pattern is longer in bytes, though less specific.
        entry("app/{secret,other}", vec![grant(&["bob"], &[], &[D])], &[], &[]),
    ]);
    for (who, repository, expected) in [
        ("ann", "x", "rcud"),
        ("ann", "app", "r"),
        ("ann", "app/x", "r"),
        ("ann", "app/secret", ""),
        ("bob", "x", "r"),
        ("bob", "app/x", ""),
        ("bob", "app/secret", "d"),
        ("bob", "app/other", "d"),
    ] {
        assert_eq!(
            granted(&policy, &user(who, &[]), repository),
            expected,
            "{who} {repository}"
        );
    }
}

#[test]
fn of_equally_long_patterns_the_smaller_applies() {
    let one = entry("a/*", vec![], &[R], &[]);
    let two = entry("*/b", vec![], &[D], &[]);
    for repositories in [vec![one.clone(), two.clone()], vec![two, one]] {
        assert_eq!(granted(&policy(repositories), &user("ann", &[]), "a/b"), "d");
    }
}

#[test]
fn policies_add_up_within_the_entry() {
    let policy = policy(vec![entry(
        "**",
        vec![
            grant(&["ann"], &[], &[C]),
            grant(&[], &["dev"], &[U]),
            grant(&["bob"], &["ops"], &[D]),
        ],
        &[R],
        &[],
    )]);
    for (who, groups, expected) in [
        ("ann", &["dev"][..], "rcu"),
        ("ann", &[], "rc"),
        ("bob", &[], "rd"),
        ("eve", &["ops", "dev"], "rud"),
        ("dev", &["ann"], "r"),
    ] {
        assert_eq!(
            granted(&policy, &user(who, groups), "x"),
            expected,
            "{who} {groups:?}"
        );
    }
}

#[test]
fn the_default_policy_is_for_authenticated_callers_and_the_anonymous_policy_for_others() {
    let policy = policy(vec![
        entry("pub", vec![grant(&[""], &[""], &[D])], &[C], &[R]),
        entry("in", vec![], &[R], &[]),
    ]);
    assert_eq!(granted(&policy, &user("ann", &[]), "pub"), "c");
    assert_eq!(granted(&policy, &Identity::anonymous(), "pub"), "r");
    assert_eq!(granted(&policy, &Identity::anonymous(), "in"), "");
    assert_eq!(granted(&policy, &Identity::anonymous(), "elsewhere"), "");
    assert!(policy.serves_anonymous());
    assert!(!self::policy(vec![entry("in", vec![], &[R], &[])]).serves_anonymous());
}

#[test]
fn spiffe_users_are_verified_ids_only() {
    let policy = policy(vec![
        entry("exact", vec![grant(&["spiffe://td/ns/a"], &[], &[R])], &[], &[]),
        entry("below", vec![grant(&["spiffe://td/ns/"], &[], &[R])], &[], &[]),
        entry("all", vec![grant(&["spiffe://td/"], &[], &[R])], &[], &[]),
    ]);
    let impostor = user("spiffe://td/ns/a", &["spiffe://td/ns/a", "spiffe://td/"]);
    for (identity, exact, below, all) in [
        (svid("spiffe://td/ns/a"), "r", "r", "r"),
        (svid("spiffe://td/ns/a/b"), "", "r", "r"),
        (svid("spiffe://td/nsa"), "", "", "r"),
        (svid("spiffe://td.evil/ns/a"), "", "", ""),
        (impostor, "", "", ""),
    ] {
        assert_eq!(
            ["exact", "below", "all"].map(|repository| granted(&policy, &identity, repository)),
            [exact, below, all],
            "{identity:?}"
        );
    }
}

#[test]
fn a_mapped_svid_also_matches_by_its_username() {
    let policy = policy(vec![entry(
        "**",
        vec![
            grant(&["builder"], &[], &[C]),
            grant(&["spiffe://td/b"], &[], &[R]),
        ],
        &[],
        &[],
    )]);
    let mapped = Identity::for_test(
        "builder",
        &[],
        Principal::Spiffe("spiffe://td/b".parse().unwrap()),
    );
    assert_eq!(granted(&policy, &mapped, "x"), "rc");
}

#[test]
fn groups_of_the_rules_apply_to_every_identity_except_anonymous_ones() {
    let rules = Rules {
        repositories: vec![entry("**", vec![grant(&[], &["team"], &[R])], &[], &[])],
        groups: BTreeMap::from([("team".to_owned(), strings(&["ann", "", "spiffe://td/x/"]))]),
        ..Rules::default()
    };
    let policy = Policy::compile(rules).unwrap();
    for (identity, expected) in [
        (user("ann", &[]), "r"),
        (user("bob", &["team"]), "r"),
        (user("bob", &[]), ""),
        (svid("spiffe://td/x/y"), "r"),
        (user("spiffe://td/x/y", &[]), ""),
        (Identity::anonymous(), ""),
    ] {
        assert_eq!(granted(&policy, &identity, "x"), expected, "{identity:?}");
    }
}

#[test]
fn the_admin_policy_grants_what_it_lists_everywhere() {
    let rules = Rules {
        repositories: vec![entry("app/**", vec![grant(&["root"], &[], &[D])], &[], &[])],
        admin: Some(grant(&["root", ""], &["admins"], &[R, U])),
        groups: BTreeMap::from([("admins".to_owned(), strings(&["ann"]))]),
        ..Rules::default()
    };
    let policy = Policy::compile(rules).unwrap();
    for (identity, inside, outside) in [
        (user("root", &[]), "rud", "ru"),
        (user("ann", &[]), "ru", "ru"),
        (user("eve", &["admins"]), "ru", "ru"),
        (user("eve", &[]), "", ""),
        (Identity::anonymous(), "", ""),
    ] {
        assert_eq!(
            (
                granted(&policy, &identity, "app/x").as_str(),
                granted(&policy, &identity, "x").as_str()
            ),
            (inside, outside)
        );
    }
    assert!(!policy.serves_anonymous());
}

#[test]
fn permits_contain_the_granted_actions() {
    let policy = policy(vec![
        entry("c", vec![], &[C], &[]),
        entry("u", vec![], &[U], &[]),
        entry("cu", vec![], &[C, U], &[]),
        entry("r", vec![], &[R], &[]),
    ]);
    let ann = user("ann", &[]);
    let tag = "v1".parse().unwrap();
    for (repository, write, read, create, delete) in [
        ("c", Some((true, false)), false, true, false),
        ("u", Some((false, true)), false, false, false),
        ("cu", Some((true, true)), false, true, false),
        ("r", None, true, false, false),
        ("none", None, false, false, false),
    ] {
        let permit = decide_write(&policy, &ann, &name(repository)).ok();
        assert_eq!(
            permit.map(|permit| (permit.may_create(), permit.may_move(&tag).is_ok())),
            write,
            "{repository}"
        );
        assert_eq!(
            decide::<Read>(&policy, &ann, &name(repository)).is_ok(),
            read,
            "{repository}"
        );
        assert_eq!(
            decide::<Create>(&policy, &ann, &name(repository)).is_ok(),
            create,
            "{repository}"
        );
        assert_eq!(
            decide::<Delete>(&policy, &ann, &name(repository)).is_ok(),
            delete,
            "{repository}"
        );
    }
    let permit = decide::<Read>(&policy, &ann, &name("r")).unwrap();
    assert_eq!(
        (permit.repository(), permit.principal()),
        (&name("r"), ann.principal())
    );
}

#[test]
fn a_denial_names_the_pattern_that_applies() {
    let policy = policy(vec![entry("app/**", vec![], &[R], &[])]);
    let denied = decide::<Delete>(&policy, &user("ann", &[]), &name("app/x")).map(drop);
    let expected = Denied {
        action: D,
        repository: name("app/x"),
        anonymous: false,
        pattern: Some("app/**".to_owned()),
        by: DeniedBy::Policy,
    };
    assert_eq!(denied, Err(expected.clone()));
    assert_eq!(
        expected.to_string(),
        "this identity may not delete in app/x: the pattern `app/**` applies and does not grant `delete`"
    );
    let denied = decide_write(&policy, &Identity::anonymous(), &name("y")).map(drop);
    assert_eq!(
        denied,
        Err(Denied {
            action: C,
            repository: name("y"),
            anonymous: true,
            pattern: None,
            by: DeniedBy::Policy
        })
    );
}

#[test]
fn a_reader_yields_what_may_be_read() {
    let policy = policy(vec![
        entry("a/**", vec![], &[R], &[]),
        entry("b/**", vec![], &[], &[R]),
    ]);
    let ann = user("ann", &[]);
    let anonymous = Identity::anonymous();
    assert!(Reader::new(&policy, &ann).permit(&name("a/x")).is_some());
    assert!(Reader::new(&policy, &ann).permit(&name("b/x")).is_none());
    assert!(Reader::new(&policy, &anonymous).permit(&name("a/x")).is_none());
    assert!(Reader::new(&policy, &anonymous).permit(&name("b/x")).is_some());
}

#[test]
fn without_rules_every_authenticated_caller_may_do_everything() {
    let policy = Policy::everything_to_authenticated();
    assert_eq!(granted(&policy, &user("ann", &[]), "a/b/c"), "rcud");
    assert_eq!(granted(&policy, &Identity::anonymous(), "a"), "");
    assert!(!policy.serves_anonymous());
    assert_eq!(
        granted(&self::policy(vec![]), &user("ann", &[]), "a"),
        "",
        "rules that grant nothing differ from missing rules"
    );
}

#[test]
fn an_open_registry_grants_everything_to_everybody() {
    let policy = Policy::everything_to_everybody();
    for identity in [user("ann", &[]), Identity::anonymous()] {
        assert_eq!(granted(&policy, &identity, "a/b/c"), "rcud");
        assert!(may_read_metrics(&policy, &identity));
    }
    assert!(policy.serves_anonymous());
}

#[test]
fn every_mistake_is_reported_with_its_place() {
    let rules = Rules {
        repositories: vec![
            entry("a/{b", vec![], &[], &[]),
            entry("x", vec![grant(&["ok", "spiffe://td"], &[], &[])], &[], &[]),
            entry("x", vec![], &[], &[]),
        ],
        admin: Some(grant(&["spiffe://TD/a"], &[], &[])),
        groups: BTreeMap::from([("g".to_owned(), strings(&["spiffe://td//"]))]),
        ..Rules::default()
    };
    let found: Vec<(String, WhyInvalid)> = Policy::compile(rules)
        .unwrap_err()
        .into_iter()
        .map(|invalid| (invalid.key, invalid.why))
        .collect();
    let keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "repositories[\"a/{b\"]",
            "repositories[\"x\"].policies[0].users[1] (spiffe://td)",
            "repositories[\"x\"]",
            "adminPolicy.users[0] (spiffe://TD/a)",
            "groups[\"g\"].users[0] (spiffe://td//)",
        ]
    );
    assert_eq!(found[0].1, WhyInvalid::Pattern(InvalidGlob::UnclosedBrace));
    assert_eq!(found[1].1, WhyInvalid::SpiffeId(InvalidPattern::BareTrustDomain));
    assert_eq!(found[2].1, WhyInvalid::PatternTwice);
}

#[test]
fn metrics_are_for_listed_users_or_without_rules_for_every_authenticated_caller() {
    let listed = |users: &[&str], anonymous| {
        let metrics = Some(Metrics {
            users: strings(users),
            anonymous,
        });
        Policy::compile(Rules {
            metrics,
            ..Rules::default()
        })
        .unwrap()
    };
    let anonymous = Identity::anonymous();
    let named = listed(&["ann", "spiffe://td/monitoring/"], false);
    for (who, expected) in [
        (user("ann", &[]), true),
        (user("bob", &["ann"]), false),
        (svid("spiffe://td/monitoring/prometheus"), true),
        (svid("spiffe://td/monitoring"), false),
        (user("spiffe://td/monitoring/prometheus", &[]), false),
        (anonymous.clone(), false),
    ] {
        assert_eq!(may_read_metrics(&named, &who), expected, "{who:?}");
    }
    assert!(may_read_metrics(&listed(&[], true), &anonymous));
    assert!(
        !may_read_metrics(&listed(&[], true), &user("ann", &[])),
        "anonymousPolicy applies only to anonymous callers"
    );
    assert!(
        !may_read_metrics(&policy(vec![]), &user("ann", &[])),
        "rules that do not mention metrics"
    );
    assert!(may_read_metrics(
        &Policy::everything_to_authenticated(),
        &user("ann", &[])
    ));
    assert!(!may_read_metrics(
        &Policy::everything_to_authenticated(),
        &anonymous
    ));
    let bad = Policy::compile(Rules {
        metrics: Some(Metrics {
            users: strings(&["spiffe://TD"]),
            anonymous: false,
        }),
        ..Rules::default()
    });
    assert_eq!(bad.unwrap_err()[0].key, "metrics.users[0] (spiffe://TD)");
    let scoped = user("ann", &[]).scoped(Scope::asked(["registry:catalog:*"]));
    assert!(!may_read_metrics(&named, &scoped), "a scope limits a token");
}

#[test]
fn collisions_are_detected_if_policy_says_so_and_never_for_admins() {
    use Action::{Delete as Del, DetectManifestCollision as Detect};
    let rules = |actions: &[Action]| {
        vec![entry(
            "**",
            vec![grant(&["ann"], &[], actions)],
            &[Del],
            &[Del, Detect],
        )]
    };
    let admin = Some(grant(&["root"], &[], &[Del, Detect]));
    let policy = Policy::compile(Rules {
        repositories: rules(&[Detect]),
        admin: admin.clone(),
        ..Rules::default()
    })
    .unwrap();
    let detects = |policy: &Policy, who: &Identity| {
        decide::<Delete>(policy, who, &name("app")).map(|permit| permit.detects_collisions())
    };
    assert_eq!(
        detects(&policy, &user("ann", &[])),
        Ok(true),
        "the behaviour is added to what defaultPolicy grants"
    );
    assert_eq!(detects(&policy, &user("bob", &[])), Ok(false));
    assert_eq!(detects(&policy, &Identity::anonymous()), Ok(true));
    assert_eq!(detects(&policy, &user("root", &[])), Ok(false));
    let scoped = user("ann", &[]).scoped(Scope::asked(["repository:app:delete"]));
    assert_eq!(
        detects(&policy, &scoped),
        Ok(true),
        "a limited token cannot delete more"
    );
    let both = Policy::compile(Rules {
        repositories: vec![entry("**", vec![], &[Del, Detect], &[])],
        admin,
        ..Rules::default()
    })
    .unwrap();
    assert_eq!(
        detects(&both, &user("root", &[])),
        Ok(false),
        "an admin by name, whatever the patterns say"
    );
    assert_eq!(
        detects(&Policy::everything_to_authenticated(), &user("ann", &[])),
        Ok(false)
    );
    let alone = policy_of_behaviour();
    assert!(
        detects(&alone, &Identity::anonymous()).is_err() && !alone.serves_anonymous(),
        "the behaviour permits nothing"
    );
}

fn policy_of_behaviour() -> Policy {
    policy(vec![entry("**", vec![], &[], &[Action::DetectManifestCollision])])
}

#[test]
fn a_permit_knows_which_tags_its_caller_may_not_change() {
    let rules = |actions: &[Action], tags: &[&str]| PatternRules {
        policies: vec![grant(&["root"], &[], &[U, D, Action::Override])],
        default: actions.to_vec(),
        immutable_tags: strings(tags),
        ..PatternRules::default()
    };
    let rules = Rules {
        repositories: vec![
            ("**".to_owned(), rules(&[C, U, D], &["v*", "!*-dev"])),
            ("app/free".to_owned(), rules(&[C, U, D], &[])),
            ("app/create".to_owned(), rules(&[C], &["v*"])),
        ],
        admin: Some(grant(&["admin"], &[], &[C, U, D])),
        ..Rules::default()
    };
    let policy = Policy::compile(rules).unwrap();
    let tag = |name: &str| name.parse().unwrap();
    let pull_and_push = Scope::asked(["repository:app/x:pull,push,delete"]);
    for (who, repository, of, free) in [
        (user("ann", &[]), "app/x", "v1", false),
        (user("ann", &[]), "app/x", "v1-dev", true),
        (user("ann", &[]), "app/x", "latest", true),
        // Only the list of the longest pattern applies.
        (user("ann", &[]), "app/free", "v1", true),
        (user("root", &[]), "app/x", "v1", true),
        // A limited token is a token of somebody who may override.
        (user("root", &[]).scoped(pull_and_push), "app/x", "v1", true),
        // An administrator needs the right too.
        (user("admin", &[]), "app/x", "v1", false),
    ] {
        let write = decide_write(&policy, &who, &name(repository)).unwrap();
        let delete = decide::<Delete>(&policy, &who, &name(repository)).unwrap();
        assert_eq!(
            write.may_move(&tag(of)).is_ok(),
            free,
            "{who:?} {repository}:{of}"
        );
        assert_eq!(
            delete.may_delete(&tag(of)).is_ok(),
            free,
            "{who:?} {repository}:{of}"
        );
    }
    let create_only = decide_write(&policy, &user("ann", &[]), &name("app/create")).unwrap();
    assert_eq!(create_only.may_move(&tag("v1")), Err(Unmovable::NoUpdate));
    let ann = decide_write(&policy, &user("ann", &[]), &name("app/x")).unwrap();
    let Err(Unmovable::Immutable(rule)) = ann.may_move(&tag("v1")) else {
        panic!("v1 is immutable")
    };
    assert_eq!((rule.pattern.as_str(), rule.repositories.as_str()), ("v*", "**"));
    assert!(ann.is_immutable(&tag("v1")) && !ann.is_immutable(&tag("latest")));
}

#[test]
fn a_mistake_in_the_immutable_tags_names_its_place() {
    let rules = PatternRules {
        immutable_tags: strings(&["v*", "^v"]),
        ..PatternRules::default()
    };
    let compiled = Policy::compile(Rules {
        repositories: vec![("app".to_owned(), rules)],
        ..Rules::default()
    });
    let mistake = InvalidPolicy {
        key: r#"repositories["app"].immutableTags[1]"#.to_owned(),
        why: WhyInvalid::Tag(InvalidTagPattern::NotOfATag('^')),
    };
    assert_eq!(compiled.map(drop), Err(vec![mistake]));
}
