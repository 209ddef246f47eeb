//! The scope of a token narrows what policy allows.

use super::*;
use crate::access::{BeyondScope, rights};

/// Returns a letter for each action: its first letter if it is allowed, else `-` for policy, `c` for the cap
/// or `s` for the scope.
fn verdicts(policy: &Policy, identity: &Identity, repository: &str) -> String {
    let by = |denied: Result<(), Denied>| match denied.map_err(|denied| denied.by) {
        Ok(()) => '+',
        Err(DeniedBy::Policy) => '-',
        Err(DeniedBy::Cap) => 'c',
        Err(DeniedBy::Scope) => 's',
    };
    let repository = name(repository);
    [
        by(decide::<Read>(policy, identity, &repository).map(drop)),
        by(decide::<Create>(policy, identity, &repository).map(drop)),
        by(decide_write(policy, identity, &repository).map(drop)),
        by(decide::<Delete>(policy, identity, &repository).map(drop)),
    ]
    .iter()
    .collect()
}

#[test]
fn a_denial_by_scope_says_that_another_token_may_be_requested() {
    let policy = policy(vec![
        entry("a", vec![], &[R, C, U], &[R]),
        entry("b", vec![], &[R], &[]),
    ]);
    let scope = |text: &str| Scope::asked([text]);
    for (text, a, b) in [
        ("repository:a:pull,push,delete", "+++-", "s---"),
        ("repository:a:pull", "+ss-", "s---"),
        ("repository:a:push repository:b:*", "s++-", "+---"),
        ("", "sss-", "s---"),
    ] {
        let scoped = user("ann", &[]).scoped(scope(text));
        assert_eq!(
            (verdicts(&policy, &scoped, "a"), verdicts(&policy, &scoped, "b")),
            (a.to_owned(), b.to_owned()),
            "{text}"
        );
    }
    let capped = user("ann", &[]).capped_for_test(scope("repository:a:*"));
    assert_eq!(
        (verdicts(&policy, &capped, "a"), verdicts(&policy, &capped, "b")),
        ("+++-".to_owned(), "c---".to_owned())
    );
    let both = capped.scoped(scope("repository:a:pull repository:b:pull"));
    assert_eq!(
        (verdicts(&policy, &both, "a"), verdicts(&policy, &both, "b")),
        ("+ss-".to_owned(), "c---".to_owned())
    );
    let anonymous = Identity::anonymous().scoped(scope("repository:a:pull,push"));
    assert_eq!(
        (
            verdicts(&policy, &anonymous, "a"),
            verdicts(&policy, &anonymous, "b")
        ),
        ("+---".to_owned(), "----".to_owned())
    );
}

#[test]
fn a_scope_is_never_widened() {
    let policy = policy(vec![entry("**", vec![], &[R, C], &[])]);
    let scope = |text: &str| Scope::asked([text]);
    let identity = user("ann", &[])
        .scoped(scope("repository:a:pull"))
        .scoped(scope("repository:a:* repository:b:*"));
    assert_eq!(identity.scope(), Some(&scope("repository:a:pull")));
    let rights = |identity: &Identity, repository: &str| rights(&policy, identity, &name(repository));
    assert_eq!(
        rights(&identity, "a"),
        crate::identity::Rights {
            pull: true,
            push: false,
            delete: false
        }
    );
    assert!(rights(&identity, "b").is_empty());
    assert_eq!(
        rights(&user("ann", &[]), "b"),
        crate::identity::Rights {
            pull: true,
            push: true,
            delete: false
        }
    );
    assert!(rights(&Identity::anonymous(), "b").is_empty());
}

#[test]
fn the_catalogue_has_its_own_scope_and_a_mount_has_not() {
    let policy = policy(vec![
        entry("**", vec![], &[R], &[]),
        entry("secret", vec![], &[], &[]),
    ]);
    let with = |text: &str| user("ann", &[]).scoped(Scope::asked([text]));
    let listing = with("registry:catalog:*");
    let pulling = with("repository:a:pull");
    let seen = |reader: &Reader<'_>| {
        ["a", "b", "secret"]
            .iter()
            .filter(|repository| reader.permit(&name(repository)).is_some())
            .count()
    };
    assert_eq!(
        Reader::catalog(&policy, &listing).map(|reader| seen(&reader)),
        Ok(2)
    );
    assert_eq!(
        Reader::catalog(&policy, &pulling).map(|reader| seen(&reader)),
        Err(BeyondScope)
    );
    assert_eq!(
        (
            seen(&Reader::new(&policy, &listing)),
            seen(&Reader::new(&policy, &pulling))
        ),
        (0, 1)
    );
    let capped = user("ann", &[]).capped_for_test(Scope::asked(["repository:b:*"]));
    assert_eq!(
        Reader::catalog(&policy, &capped).map(|reader| seen(&reader)),
        Ok(1),
        "only what its credential was issued for"
    );
}
