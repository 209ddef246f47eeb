//! `storage.retention`

use super::*;
use crate::registry::retention::{Keep, Retention, Share};
use std::time::Duration;

fn retention(value: Value) -> Value {
    with(&[("/storage/retention", value)])
}

fn loaded(value: Value) -> Retention {
    let config = load(&retention(value)).unwrap();
    config.live.retention.as_ref().clone()
}

#[test]
fn without_the_key_everything_is_kept() {
    let absent = load(&minimal()).unwrap();
    assert_eq!(*absent.live.retention, Retention::default());
    for nothing in [
        json!(null),
        json!({}),
        json!({"policies": []}),
        json!({"dryRun": "false"}),
    ] {
        let config = load(&retention(nothing.clone())).unwrap();
        assert_eq!(*config.live.retention, Retention::default(), "{nothing}");
        assert_eq!(config.warnings, [], "{nothing}");
    }
}

#[test]
fn defaults_are_those_of_zot() {
    let found = loaded(json!({"policies": [{"repositories": ["a", "b/**"], "keepTags": {}}]}));
    assert_eq!((found.dry_run, found.delay), (false, None));
    let policy = &found.policies[0];
    assert_eq!((policy.delete_untagged, policy.delete_referrers), (true, false));
    assert_eq!(
        policy.keep_tags.len(),
        0,
        "an empty object stands for an empty list"
    );
    assert_eq!(found.max_share(policy), Share::default());
    assert!(policy.repositories.contain(&"b/c".parse().unwrap()));
}

#[test]
fn rules_are_read_as_in_zot() {
    let found = loaded(json!({
        "dryRun": true,
        "delay": "24h",
        "maxShare": 0.75,
        "policies": [{
            "repositories": "**",
            "keepTags": [{"patterns": "v1", "mostRecentlyPulledCount": "3", "mostRecentlyPushedCount": 0, "pulledWithin": "1h30m"}],
            "keepUntagged": {"pushedWithin": "0s"},
            "deleteReferrers": "true",
            "maxShare": 1,
        }],
    }));
    let policy = &found.policies[0];
    let keep = Keep {
        most_recently_pulled: Some(3),
        pulled_within: Some(Duration::from_secs(90 * 60)),
        ..Keep::default()
    };
    assert_eq!(policy.keep_tags[0].keep, keep);
    assert_eq!(policy.keep_untagged.pushed_within, Some(Duration::ZERO));
    assert!(policy.keep_untagged.has_rules() && policy.delete_referrers && found.dry_run);
    assert_eq!(found.delay, Some(Duration::from_secs(24 * 60 * 60)));
    assert_eq!(found.max_share, Share::of(0.75).unwrap());
    assert_eq!(found.max_share(policy), Share::of(1.0).unwrap());
}

#[test]
fn every_mistake_is_found_at_its_place() {
    let bad = retention(json!({
        "delay": "1d",
        "maxShare": 50,
        "policies": [
            {"repositories": ["a/["], "keepTag": []},
            {
                "repositories": ["b"],
                "keepTags": [{"patterns": ["v1", "v(2"], "pulledWithin": "7d", "mostRecentlyPushedCount": -1}],
                "keepUntagged": {"patterns": ["a"], "mostRecentlyPulledCount": "many", "pushedWithin": "x"},
                "maxShare": -0.5,
            },
        ],
    }));
    let mut found = keys(&bad);
    found.sort();
    let at = |rest: &str| format!("storage.retention.{rest}");
    let mut expected = [
        "delay",
        "maxShare",
        "policies[0].keepTag",
        "policies[0].repositories[0]",
        "policies[1].keepTags[0].mostRecentlyPushedCount",
        "policies[1].keepTags[0].patterns[1]",
        "policies[1].keepTags[0].pulledWithin",
        "policies[1].keepUntagged.mostRecentlyPulledCount",
        "policies[1].keepUntagged.patterns",
        "policies[1].keepUntagged.pushedWithin",
        "policies[1].maxShare",
    ]
    .map(at);
    expected.sort();
    assert_eq!(found, expected);
    let texts: Vec<String> = load(&bad)
        .map(drop)
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect();
    for text in [
        "policies[1].keepTags[0].pulledWithin: must be a duration such as 30s, 5m or 24h, not \"7d\": write 168h",
        "policies[1].keepTags[0].patterns[1]: \"v(2\" is not a regular expression of RE2: unclosed group",
        "policies[1].keepTags[0].mostRecentlyPushedCount: must be 1 or more, found -1",
    ] {
        assert!(texts.contains(&at(text)), "{text} in {texts:#?}");
    }
}

#[test]
fn settings_that_are_never_used_cause_a_warning() {
    let config = load(&retention(json!({"policies": [
        {"repositories": []},
        {"repositories": ["Prod/*", "prod/", "[A-Z]*"], "keepTags": [{"patterns": ["^v 1$", "v1", "[ v]1"], "mostRecentlyPushedCount": 0}]},
        {"repositories": ["prod"], "keepTags": [{"patterns": ["v1", "^.*$"]}, {"patterns": ["v2"]}]},
        {"repositories": ["**"], "keepTags": [{"patterns": []}, {"patterns": ["v1"]}], "deleteUntagged": false, "keepUntagged": {"mostRecentlyPushedCount": 1}},
        {"repositories": ["a"]},
    ]})))
    .unwrap();
    let warned: Vec<&str> = config
        .warnings
        .iter()
        .map(|warning| warning.key.as_str())
        .collect();
    let expected = [
        "storage.retention.policies[0].repositories",
        "storage.retention.policies[1].repositories[0]",
        "storage.retention.policies[1].repositories[1]",
        "storage.retention.policies[1].keepTags[0].patterns[0]",
        "storage.retention.policies[1].keepTags[0].mostRecentlyPushedCount",
        "storage.retention.policies[2].keepTags[1]",
        "storage.retention.policies[3].keepTags[1]",
        "storage.retention.policies[3].keepUntagged",
        "storage.retention.policies[4]",
    ];
    let warned: Vec<&str> = warned
        .into_iter()
        .filter(|key| key.starts_with("storage.retention"))
        .collect();
    assert_eq!(warned, expected);
}

#[test]
fn policies_without_a_collector_cause_a_warning() {
    let policies = json!({"policies": [{"repositories": ["**"]}]});
    let warned = |gc: bool| {
        let document = with(&[
            ("/storage/retention", policies.clone()),
            ("/storage/gc", json!(gc)),
        ]);
        let warnings = load(&document).unwrap().warnings;
        warnings.iter().any(|warning| warning.key == "storage.retention")
    };
    assert_eq!((warned(true), warned(false)), (false, true));
}
