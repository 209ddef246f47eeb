//! What the policies keep: the cases of zot's documentation (`examples/README.md`) and of zot's collector
//! tests, and the intended differences.

use super::*;
use crate::access::Repositories;
use crate::clock::Timestamp;
use crate::oci::{Digest, Tag};
use std::time::Duration;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn days_ago(days: u32) -> Timestamp {
    NOW.minus(DAY * days)
}

fn times(pushed: u32, pulled: impl Into<Option<u32>>) -> Times {
    Times {
        pushed: days_ago(pushed),
        pulled: pulled.into().map(days_ago),
    }
}

fn entry(patterns: &[&str], keep: Keep) -> KeepTags {
    let mut compiled = Patterns::default();
    for pattern in patterns {
        compiled.add(pattern).unwrap();
    }
    KeepTags {
        patterns: compiled,
        keep,
    }
}

fn policy(keep_tags: Vec<KeepTags>) -> Policy {
    Policy {
        repositories: Repositories::parse("**").unwrap(),
        keep_tags,
        keep_immutable: false,
        keep_untagged: Keep::default(),
        delete_untagged: true,
        delete_referrers: true,
        max_share: None,
    }
}

const ALL: Keep = Keep {
    most_recently_pulled: None,
    most_recently_pushed: None,
    pulled_within: None,
    pushed_within: None,
};

fn judged(policy: &Policy, tags: &[(&str, Times)]) -> Vec<(String, Verdict)> {
    let tags: Vec<(Tag, Times)> = tags
        .iter()
        .map(|(tag, times)| (tag.parse().unwrap(), *times))
        .collect();
    let facts = |(tag, times)| TagFacts {
        tag,
        times,
        subject: Subject::None,
        is_immutable: tag.as_str().starts_with('v'),
    };
    let mut survey = Survey::new((0, policy), DAY);
    for (tag, times) in &tags {
        survey.see_tag(&facts((tag, *times)));
    }
    tags.iter()
        .map(|(tag, times)| {
            (
                tag.as_str().to_owned(),
                survey.tag_verdict(&facts((tag, *times)), NOW),
            )
        })
        .collect()
}

fn kept(policy: &Policy, tags: &[(&str, Times)]) -> Vec<String> {
    let judged = judged(policy, tags).into_iter();
    judged
        .filter(|(_, verdict)| !verdict.gives_up())
        .map(|(tag, _)| tag)
        .collect()
}

/// The repository of zot's tests, with the days since the last push and the last pull.
fn tags_of_zots_tests() -> [(&'static str, Times); 8] {
    [
        ("0.0.1", times(10, 10)),
        ("0.0.2", times(11, 11)),
        ("0.0.3", times(12, 12)),
        ("0.0.4", times(1, 1)),
        ("0.0.5", times(2, 2)),
        ("0.0.6", times(3, 2)),
        ("0.0.7", times(13, 13)),
        ("0.0.8", times(4, 4)),
    ]
}

/// The cases of `pkg/storage/gc/gc_test.go`.
#[test]
fn tags_are_kept_as_in_zots_tests() {
    let every = tags_of_zots_tests().map(|(tag, _)| tag);
    let pulled = |most| Keep {
        most_recently_pulled: Some(most),
        ..ALL
    };
    let pushed = |most| Keep {
        most_recently_pushed: Some(most),
        ..ALL
    };
    let within = |days| Keep {
        pulled_within: Some(DAY * days),
        pushed_within: Some(DAY * days),
        ..ALL
    };
    let cases: &[(Vec<KeepTags>, &[&str])] = &[
        (vec![], &every),
        (vec![entry(&["0.0.*"], ALL)], &every),
        (vec![entry(&["v1"], ALL)], &[]),
        (vec![entry(&["0.0.1"], ALL)], &["0.0.1"]),
        (
            vec![entry(&["0.0.1"], ALL), entry(&["0.0.2"], ALL)],
            &["0.0.1", "0.0.2"],
        ),
        (
            vec![entry(&["0.0.[1-5]", "0.0.7"], ALL)],
            &["0.0.1", "0.0.2", "0.0.3", "0.0.4", "0.0.5", "0.0.7"],
        ),
        (
            vec![entry(&[".*"], within(7))],
            &["0.0.4", "0.0.5", "0.0.6", "0.0.8"],
        ),
        (vec![entry(&[".*"], pushed(3))], &["0.0.4", "0.0.5", "0.0.6"]),
        (vec![entry(&[".*"], pulled(3))], &["0.0.4", "0.0.5", "0.0.6"]),
        (
            vec![entry(
                &[".*"],
                Keep {
                    most_recently_pushed: Some(4),
                    ..pulled(3)
                },
            )],
            &["0.0.4", "0.0.5", "0.0.6", "0.0.8"],
        ),
        (
            vec![
                entry(&["0.0.1"], ALL),
                entry(&["0.0.2"], ALL),
                entry(
                    &[".*"],
                    Keep {
                        pulled_within: Some(DAY * 2),
                        ..ALL
                    },
                ),
            ],
            &["0.0.1", "0.0.2", "0.0.4"],
        ),
        // The other cases are our own readings of the documentation.
        (vec![entry(&[], ALL)], &every),
        (vec![entry(&[], pushed(100))], &every),
        (
            vec![entry(
                &[],
                Keep {
                    pushed_within: Some(Duration::ZERO),
                    ..ALL
                },
            )],
            &[],
        ),
        // The counts of two entries are independent.
        (
            vec![entry(&["[1-4]$"], pushed(1)), entry(&[], pushed(1))],
            &["0.0.4", "0.0.5"],
        ),
    ];
    for (keep_tags, expected) in cases {
        assert_eq!(
            kept(&policy(keep_tags.clone()), &tags_of_zots_tests()),
            *expected,
            "{keep_tags:?}"
        );
    }
}

/// The example of zot's documentation.
#[test]
fn the_first_entry_that_matches_a_tag_decides_with_a_reason() {
    let pulled = Keep {
        pulled_within: Some(HOUR * 168),
        ..ALL
    };
    let policy = policy(vec![
        entry(&["v2.*", ".*-prod"], ALL),
        entry(&["v3.*", ".*-prod"], pulled),
    ]);
    let verdicts = judged(
        &policy,
        &[
            ("v2.0", times(900, None)),
            // The pattern is not anchored.
            ("rc-v2.1", times(900, None)),
            ("v3.0-prod", times(900, None)),
            ("v3.1", times(900, 6)),
            ("v3.2", times(6, None)),
            ("v3.3", times(900, 8)),
            ("v3.4", times(900, None)),
            ("latest", times(0, 0)),
        ],
    );
    let by_pattern = Verdict::Keep(Kept::Pattern { policy: 0, entry: 0 });
    let by_pull = Verdict::Keep(Kept::TagRule {
        policy: 0,
        entry: 1,
        rule: Rule::PulledWithin,
    });
    let by_no_rule = Verdict::GiveUp(GivenUp::NoTagRule { policy: 0, entry: 1 });
    let verdicts: Vec<_> = verdicts.iter().map(|(_, verdict)| *verdict).collect();
    assert_eq!(
        verdicts,
        [
            by_pattern,
            by_pattern,
            by_pattern,
            by_pull,
            by_pull,
            by_no_rule,
            by_no_rule,
            Verdict::GiveUp(GivenUp::NoPattern { policy: 0 })
        ]
    );
}

#[test]
fn counts_include_tags_that_were_never_pulled_and_ties_are_broken() {
    let count = |most_recently_pulled, most_recently_pushed| {
        let keep = Keep {
            most_recently_pulled,
            most_recently_pushed,
            ..ALL
        };
        policy(vec![entry(&[], keep)])
    };
    let tags = [
        ("a", times(5, None)),
        ("b", times(4, None)),
        ("c", times(9, 8)),
        ("d", times(4, None)),
    ];
    for (pulled, pushed, expected) in [
        (Some(1), None, &["c"][..]),
        (Some(2), None, &["c", "d"]),
        (Some(3), None, &["b", "c", "d"]),
        (Some(4), None, &["a", "b", "c", "d"]),
        (None, Some(1), &["d"]),
        (None, Some(2), &["b", "d"]),
        (Some(1), Some(1), &["c", "d"]),
    ] {
        assert_eq!(
            kept(&count(pulled, pushed), &tags),
            expected,
            "{pulled:?} {pushed:?}"
        );
    }
    let mut reversed = tags;
    reversed.reverse();
    assert_eq!(kept(&count(Some(2), None), &reversed), ["d", "c"]);
}

fn digest(name: &str) -> Digest {
    format!("sha256:{}", name.repeat(64)).parse().unwrap()
}

#[test]
fn untagged_manifests_and_referrers() {
    let rules = Keep {
        most_recently_pushed: Some(1),
        pulled_within: Some(DAY * 7),
        ..ALL
    };
    let with = |delete_untagged, delete_referrers, keep_untagged| Policy {
        delete_untagged,
        delete_referrers,
        keep_untagged,
        ..policy(vec![])
    };
    let zots = with(true, false, ALL);
    let keeping = with(true, true, rules);
    let nothing = with(false, false, ALL);
    let untagged = Verdict::GiveUp(GivenUp::Untagged { policy: 2 });
    let gone = Verdict::GiveUp(GivenUp::SubjectGone { policy: 2 });
    let recent = Verdict::Keep(Kept::Recent);
    let rule = |rule| Verdict::Keep(Kept::UntaggedRule { policy: 2, rule });
    for (policy, subject, its, expected) in [
        (&zots, Subject::None, times(2, None), untagged),
        (&zots, Subject::None, times(1, None), untagged),
        (&zots, Subject::None, times(0, None), recent),
        // A manifest that was pulled by digest is kept although it is untagged.
        (&zots, Subject::None, times(900, 0), recent),
        (&zots, Subject::None, times(900, 1), untagged),
        (
            &zots,
            Subject::There,
            times(900, None),
            Verdict::Keep(Kept::Referrer),
        ),
        (
            &zots,
            Subject::Gone,
            times(900, None),
            Verdict::Keep(Kept::EveryReferrer { policy: 2 }),
        ),
        (
            &nothing,
            Subject::None,
            times(900, None),
            Verdict::Keep(Kept::EveryUntagged { policy: 2 }),
        ),
        (&keeping, Subject::Gone, times(900, None), gone),
        (&keeping, Subject::Gone, times(0, None), recent),
        (&keeping, Subject::Gone, times(900, 0), recent),
        (&keeping, Subject::None, times(900, 8), untagged),
        (&keeping, Subject::None, times(900, 6), rule(Rule::PulledWithin)),
        (
            &keeping,
            Subject::None,
            times(3, None),
            rule(Rule::MostRecentlyPushed),
        ),
        // No rule keeps it, but it is younger than the delay.
        (
            &with(
                true,
                true,
                Keep {
                    pushed_within: Some(HOUR),
                    ..ALL
                },
            ),
            Subject::None,
            Times {
                pushed: NOW.minus(HOUR * 2),
                pulled: None,
            },
            recent,
        ),
    ] {
        let mut survey = Survey::new((2, policy), DAY);
        survey.see_untagged(&digest("a"), times(900, None));
        survey.see_untagged(&digest("b"), times(3, None));
        let facts = UntaggedFacts {
            digest: &digest("c"),
            times: its,
            written: its.pushed,
            subject,
        };
        assert_eq!(
            survey.untagged_verdict(&facts, NOW),
            expected,
            "{subject:?} {its:?} {policy:?}"
        );
    }
}

/// A push of the same manifest, or a HEAD by a client that may push, starts the delay again. The rules of
/// `keepUntagged` only know the first push, as in zot.
#[test]
fn a_manifest_that_was_pushed_again_is_kept_for_the_delay_but_does_not_become_newer() {
    let policy = Policy {
        keep_untagged: Keep {
            most_recently_pushed: Some(1),
            pushed_within: Some(DAY * 7),
            ..ALL
        },
        ..policy(vec![])
    };
    let mut survey = Survey::new((0, &policy), DAY);
    survey.see_untagged(&digest("a"), times(9, None));
    survey.see_untagged(&digest("b"), times(8, None));
    for (written, expected) in [
        (0, Verdict::Keep(Kept::Recent)),
        (2, Verdict::GiveUp(GivenUp::Untagged { policy: 0 })),
    ] {
        let facts = UntaggedFacts {
            digest: &digest("a"),
            times: times(9, None),
            written: days_ago(written),
            subject: Subject::None,
        };
        assert_eq!(survey.untagged_verdict(&facts, NOW), expected, "{written}");
    }
}

#[test]
fn immutable_tags_stay_only_if_the_policy_says_so() {
    let tags = [
        ("v1", times(1, None)),
        ("dev", times(2, None)),
        ("v2", times(3, None)),
    ];
    let rules = Keep {
        most_recently_pushed: Some(1),
        ..ALL
    };
    let given_up = |keep_immutable, keep_tags: Vec<KeepTags>| -> Vec<String> {
        let policy = Policy {
            keep_immutable,
            ..policy(keep_tags)
        };
        let judged = judged(&policy, &tags);
        judged
            .into_iter()
            .filter(|(_, verdict)| verdict.gives_up())
            .map(|(tag, _)| tag)
            .collect()
    };
    assert_eq!(
        given_up(false, vec![entry(&["^never$"], ALL)]),
        ["v1", "dev", "v2"]
    );
    assert_eq!(given_up(true, vec![entry(&["^never$"], ALL)]), ["dev"]);
    assert_eq!(given_up(false, vec![entry(&[], rules)]), ["dev", "v2"]);
    assert_eq!(
        given_up(true, vec![entry(&[], rules)]),
        ["dev"],
        "the counts include them"
    );
}

/// zot includes them in no list of tags, so no pattern applies to them.
#[test]
fn tags_of_signatures_are_deleted_only_with_their_manifest() {
    let tag: Tag = format!("sha256-{}.sig", "0".repeat(64)).parse().unwrap();
    let patterns = |delete_referrers| Policy {
        delete_referrers,
        ..policy(vec![entry(
            &["^v"],
            Keep {
                most_recently_pushed: Some(1),
                ..ALL
            },
        )])
    };
    for (delete_referrers, subject, pushed, gives_up) in [
        (true, Subject::There, 900, false),
        (false, Subject::There, 900, false),
        (false, Subject::Gone, 900, false),
        (true, Subject::Gone, 900, true),
        (true, Subject::Gone, 0, false),
    ] {
        let policy = patterns(delete_referrers);
        let facts = TagFacts {
            tag: &tag,
            times: times(pushed, None),
            subject,
            is_immutable: false,
        };
        let survey = Survey::new((0, &policy), DAY);
        assert_eq!(
            survey.tag_verdict(&facts, NOW).gives_up(),
            gives_up,
            "{delete_referrers} {subject:?} {pushed}"
        );
    }
}

#[test]
fn the_first_policy_that_matches_the_repository_decides() {
    let of = |pattern: &str| Policy {
        repositories: Repositories::parse(pattern).unwrap(),
        ..policy(vec![])
    };
    let retention = Retention {
        policies: vec![of("infra/*"), of("tmp/**"), of("{infra,team}/**")],
        ..Retention::default()
    };
    for (repository, expected) in [
        ("infra/a", Some(0)),
        ("infra/a/b", Some(2)),
        ("tmp/a/b", Some(1)),
        ("tmp", Some(1)),
        ("team/x", Some(2)),
        ("other", None),
    ] {
        let found = retention.policy(&repository.parse().unwrap());
        assert_eq!(found.map(|(place, _)| place), expected, "{repository}");
    }
    assert!(Retention::default().policy(&"a".parse().unwrap()).is_none());
}

#[test]
fn a_share_is_exceeded_only_by_a_larger_part() {
    let half = Share::default();
    for (share, taken, all, expected) in [
        (half, 5, 10, false),
        (half, 6, 10, true),
        (half, 1, 1, true),
        (half, 0, 0, false),
        (half, u64::MAX, u64::MAX, true),
        (Share::of(1.0).unwrap(), 10, 10, false),
        (Share::of(0.0).unwrap(), 1, 1_000_000_000, true),
        (Share::of(0.0).unwrap(), 0, 10, false),
        (Share::of(0.1).unwrap(), 1, 10, false),
        (Share::of(0.1).unwrap(), 2, 10, true),
    ] {
        assert_eq!(share.is_exceeded(taken, all), expected, "{share:?} {taken} {all}");
    }
    assert_eq!([-0.1, 1.1, f64::NAN].map(Share::of), [None; 3]);
}

#[test]
fn reasons_name_the_key_that_decided() {
    let policy = 1;
    let entry = 2;
    let rule = Rule::PushedWithin;
    for (reason, expected) in [
        (
            Kept::TagRule { policy, entry, rule }.to_string(),
            "storage.retention.policies[1].keepTags[2].pushedWithin",
        ),
        (
            Kept::UntaggedRule { policy, rule }.to_string(),
            "storage.retention.policies[1].keepUntagged.pushedWithin",
        ),
        (
            GivenUp::NoTagRule { policy, entry }.to_string(),
            "storage.retention.policies[1].keepTags[2]: none of its rules keeps the tag",
        ),
        (
            GivenUp::Untagged { policy }.to_string(),
            "storage.retention.policies[1].deleteUntagged: it has no tag",
        ),
    ] {
        assert_eq!(reason, expected);
    }
}

#[test]
fn patterns_are_those_of_re2() {
    let mut patterns = Patterns::default();
    patterns.add(r"\Q1.0\E$").unwrap();
    let matches = |tag: &str| patterns.matches(&tag.parse().unwrap());
    assert!(matches("v1.0") && !matches("v1x0") && !matches("1.01"));
    let why = patterns.clone().add("v(1").unwrap_err();
    assert_eq!(
        why.to_string(),
        "is not a regular expression of RE2: unclosed group"
    );
}
