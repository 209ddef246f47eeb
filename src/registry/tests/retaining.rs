//! What the policies of `storage.retention` delete from a store. The pure tests are in `retention/`.

mod share;

use super::super::collect::{Goes, Options, Report, Rules, Stays};
use super::super::retention::Retention;
use super::*;
use crate::access::Maintenance;
use std::future::ready;
use std::path::Path;
use std::time::Duration;

const R: &str = "team/app";
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// As in a configuration file.
fn retention(written: &Value) -> Arc<Retention> {
    let file = json!({
        "storage": {"rootDirectory": "store", "retention": written},
        "http": {"auth": {"bearer": {"oidc": [{"issuer": "https://issuer.example.org", "audiences": ["registry"]}]}}},
    });
    let config = crate::config::parse(&file.to_string(), Path::new("/"), None).unwrap();
    config.live.retention
}

fn options(written: &Value) -> Options {
    Options {
        grace: HOUR,
        rules: Rules {
            retention: retention(written),
            ..Rules::default()
        },
        ..Options::default()
    }
}

/// Policies for all repositories, without a limit on the share.
fn policy(keys: &Value) -> Options {
    let mut policy = json!({"repositories": ["**"], "maxShare": 1});
    for (key, value) in keys.as_object().unwrap() {
        policy[key] = value.clone();
    }
    options(&json!({"policies": [policy]}))
}

/// A pass, after a dry run that must report the same and change nothing.
async fn pass(bench: &Bench, options: &Options) -> Report {
    let dry = Options {
        dry_run: true,
        ..options.clone()
    };
    let owner = Maintenance::by_the_stores_owner();
    let before = bench.keys("").await;
    let predicted = bench.registry.collect(&owner, &dry, &mut ()).await.unwrap();
    assert_eq!(bench.keys("").await, before);
    let done = bench.registry.collect(&owner, options, &mut ()).await.unwrap();
    assert_eq!(predicted.goes(), done.goes());
    done
}

fn count(report: &Report, why: Goes) -> u64 {
    report.goes().get(&why).map_or(0, |amount| amount.count)
}

async fn started() -> Bench {
    let bench = Bench::new();
    bench.registry.begin_recording_pulls().await.unwrap();
    bench
}

async fn write_pulls(bench: &Bench) -> usize {
    let owner = Maintenance::by_the_stores_owner();
    bench.registry.write_pulls(&owner, || ready(())).await.unwrap()
}

async fn push(bench: &Bench, name: &str) -> Digest {
    push_image(&bench.registry, R, name, &json!({})).await
}

async fn push_tagged(bench: &Bench, name: &str) -> Digest {
    let digest = push(bench, name).await;
    put_tag(bench, name, &digest).await;
    digest
}

async fn put_tag(bench: &Bench, name: &str, digest: &Digest) {
    let tag = name.parse().unwrap();
    bench.registry.put_tag(&write(R), &tag, digest).await.unwrap();
}

async fn tags(bench: &Bench) -> Vec<String> {
    let keys = bench.keys("r/team/app!/t/").await;
    keys.iter()
        .map(|key| key.rsplit('/').next().unwrap().to_owned())
        .collect()
}

async fn has(bench: &Bench, digest: &Digest) -> bool {
    let reference = Reference::Digest(digest.clone());
    bench.registry.manifest(&read(R), &reference).await.is_ok()
}

/// A tag for each of the last ten days. The oldest is `t0`.
async fn ten_tags(bench: &Bench) {
    for number in 0..10 {
        push_tagged(bench, &format!("t{number}")).await;
        bench.hand.advance(DAY);
    }
}

#[tokio::test]
async fn tags_are_deleted_by_policy_and_their_manifests_with_them() {
    for (keep_tags, kept) in [
        (
            json!([{"patterns": ["[0-4]$"]}]),
            &["t0", "t1", "t2", "t3", "t4"][..],
        ),
        (json!([{"pushedWithin": "60h"}]), &["t8", "t9"]),
        (json!([{"mostRecentlyPushedCount": 3}]), &["t7", "t8", "t9"]),
        (
            json!([{"patterns": ["0$"]}, {"mostRecentlyPushedCount": 1}]),
            &["t0", "t9"],
        ),
    ] {
        let bench = started().await;
        ten_tags(&bench).await;
        let options = policy(&json!({"keepTags": keep_tags}));
        let report = pass(&bench, &options).await;
        assert_eq!(tags(&bench).await, kept, "{keep_tags}");
        let gone = 10 - kept.len() as u64;
        assert_eq!(
            count(&report, Goes::UnmatchedTag) + count(&report, Goes::ExpiredTag),
            gone
        );
        assert_eq!(count(&report, Goes::UntaggedManifest), gone);
        assert_eq!(bench.keys("r/team/app!/m/").await.len(), kept.len());
        let again = pass(&bench, &options).await;
        assert_eq!(again.goes().len(), 0);
    }
}

#[tokio::test]
async fn pulled_tags_are_kept_and_pulls_before_the_record_began_are_assumed() {
    let bench = started().await;
    ten_tags(&bench).await;
    let keep = json!({"keepTags": [{"pulledWithin": "48h"}]});
    let mut first = policy(&keep);
    first.rules.retention = retention(
        &json!({"policies": [{"repositories": ["**"], "maxShare": 1, "keepTags": [{"pulledWithin": "480h"}]}]}),
    );
    assert_eq!(
        pass(&bench, &first).await.goes().len(),
        0,
        "pulls are recorded for ten days only"
    );
    let pulled = sha256(&image(&sha256(b"t3"), &json!({})));
    bench.registry.note_pull(&read(R), &pulled);
    pass(&bench, &policy(&keep)).await;
    assert_eq!(
        tags(&bench).await,
        ["t3", "t9"],
        "one was pulled just now, one was pushed yesterday"
    );
    assert_eq!(write_pulls(&bench).await, 1);
    bench.hand.advance(DAY);
    pass(&bench, &policy(&keep)).await;
    assert_eq!(tags(&bench).await, ["t3"]);
    bench.hand.advance(DAY * 2);
    pass(&bench, &policy(&keep)).await;
    assert_eq!(tags(&bench).await, [""; 0]);
}

/// A tag that a client recently pushed, or asked for with a HEAD, is kept for the grace period (C-13).
#[tokio::test]
async fn a_tag_that_was_recently_pushed_again_is_kept() {
    let bench = started().await;
    let digest = push_tagged(&bench, "old").await;
    bench.hand.advance(DAY * 10);
    put_tag(&bench, "old", &digest).await;
    let options = policy(&json!({"keepTags": [{"pushedWithin": "24h"}]}));
    let report = pass(&bench, &options).await;
    assert!(report.stays().contains_key(&Stays::Young));
    assert_eq!(tags(&bench).await, ["old"]);
    bench.hand.advance(HOUR);
    pass(&bench, &options).await;
    assert_eq!(tags(&bench).await, [""; 0]);
}

#[tokio::test]
async fn untagged_manifests_are_kept_for_the_delay_after_a_pull_by_digest() {
    let bench = started().await;
    let pulled = push(&bench, "pulled").await;
    let other = push(&bench, "other").await;
    bench.hand.advance(DAY * 10);
    bench.registry.note_pull(&read(R), &pulled);
    let mut options = policy(&json!({}));
    let with_delay = json!({"delay": "24h", "policies": [{"repositories": ["**"], "maxShare": 1}]});
    options.rules.retention = retention(&with_delay);
    let report = pass(&bench, &options).await;
    assert_eq!(count(&report, Goes::UntaggedManifest), 1);
    assert!(has(&bench, &pulled).await && !has(&bench, &other).await);
    bench.hand.advance(DAY);
    pass(&bench, &options).await;
    assert!(!has(&bench, &pulled).await);
}

#[tokio::test]
async fn without_a_policy_nothing_is_deleted() {
    let bench = started().await;
    push(&bench, "untagged").await;
    push_tagged(&bench, "t").await;
    bench.hand.advance(DAY * 1000);
    for options in [
        options(&json!({})),
        options(&json!({"policies": [{"repositories": ["other/**"], "keepTags": [{"patterns": ["x"]}]}]})),
        policy(&json!({"deleteUntagged": false})),
    ] {
        assert_eq!(pass(&bench, &options).await.goes().len(), 0);
    }
}

#[tokio::test]
async fn keep_untagged_counts_manifests_without_a_tag_only() {
    let bench = started().await;
    for number in 0..5 {
        push(&bench, &format!("u{number}")).await;
        push_tagged(&bench, &format!("t{number}")).await;
        bench.hand.advance(DAY);
    }
    let options = policy(&json!({"keepUntagged": {"mostRecentlyPushedCount": 2}}));
    let report = pass(&bench, &options).await;
    assert_eq!(count(&report, Goes::UntaggedManifest), 3);
    assert_eq!(report.stays()[&Stays::KeptByPolicy].count, 2);
}

/// As in zot, where a manifest keeps the time of its first push.
#[tokio::test]
async fn only_the_first_push_makes_an_untagged_manifest_recent() {
    for renewal in [
        "none",
        "head",
        "push",
        "head of an older record",
        "refused deletion",
    ] {
        let bench = started().await;
        let first = push(&bench, "first").await;
        let reference = Reference::Digest(first.clone());
        if renewal == "head of an older record" {
            let key = bench.keys("r/team/app!/m/").await.remove(0);
            let without = |record: &str| {
                let (before, rest) = record.split_once(",\"pushed\":").unwrap();
                let after = rest.trim_start_matches(|next: char| next.is_ascii_digit());
                Some(format!("{before}{after}"))
            };
            bench.tamper(&key, without).await;
        }
        bench.hand.advance(DAY * 4);
        let second = push(&bench, "second").await;
        bench.hand.advance(DAY);
        match renewal {
            "push" => assert_eq!(push(&bench, "first").await, first),
            "refused deletion" => {
                let index =
                    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(IMAGE, &first)]});
                let index = Bytes::from(index.to_string());
                let pushed = bench
                    .registry
                    .put_manifest(&write(R), &tag("index"), Some(INDEX), index)
                    .await;
                let refused = bench.registry.delete_manifest(&delete(R), &reference).await;
                assert!(refused.is_err());
                let index = Reference::Digest(pushed.unwrap().digest);
                bench.registry.delete_manifest(&delete(R), &index).await.unwrap();
            }
            "none" => {}
            _ => {
                bench
                    .registry
                    .keep_manifest(&read(R), &create(R), &reference)
                    .await
                    .unwrap();
            }
        }
        bench.hand.advance(DAY * 2);
        pass(
            &bench,
            &policy(&json!({"keepUntagged": {"mostRecentlyPushedCount": 1}})),
        )
        .await;
        assert_eq!(
            (has(&bench, &first).await, has(&bench, &second).await),
            (false, true),
            "{renewal}"
        );
    }
}

#[tokio::test]
async fn a_manifest_that_was_deleted_and_pushed_again_is_a_new_one() {
    let bench = started().await;
    let first = push(&bench, "first").await;
    let reference = Reference::Digest(first.clone());
    bench
        .registry
        .delete_manifest(&delete(R), &reference)
        .await
        .unwrap();
    bench.hand.advance(DAY);
    let second = push(&bench, "second").await;
    bench.hand.advance(DAY);
    push(&bench, "first").await;
    bench.hand.advance(DAY);
    pass(
        &bench,
        &policy(&json!({"keepUntagged": {"mostRecentlyPushedCount": 1}})),
    )
    .await;
    assert!(has(&bench, &first).await && !has(&bench, &second).await);
}

/// Signatures, both those that clients find by their tag and those that refer to a subject.
#[tokio::test]
async fn signatures_are_deleted_after_their_image_if_the_policy_says_so() {
    for delete_referrers in [false, true] {
        let bench = started().await;
        let image = push_tagged(&bench, "t").await;
        let subject = json!({"subject": descriptor(IMAGE, &image)});
        let referrer = push_image(&bench.registry, R, "referrer", &subject).await;
        let tagged = push_image(&bench.registry, R, "tagged referrer", &subject).await;
        put_tag(&bench, "keep", &tagged).await;
        let signature = push(&bench, "signature").await;
        let name = format!("sha256-{}.sig", image.hex());
        put_tag(&bench, &name, &signature).await;
        bench.hand.advance(DAY * 10);
        let keeping =
            json!({"keepTags": [{"patterns": ["^t$", "^keep$"]}], "deleteReferrers": delete_referrers});
        assert_eq!(
            pass(&bench, &policy(&keeping)).await.goes().len(),
            0,
            "the image still exists"
        );
        let losing = json!({"keepTags": [{"patterns": ["^keep$"]}], "deleteReferrers": delete_referrers});
        let first = pass(&bench, &policy(&losing)).await;
        assert!(!has(&bench, &image).await);
        assert_eq!(count(&first, Goes::UnmatchedTag), 1);
        // The tag of the signature comes before the image in a pass.
        pass(&bench, &policy(&losing)).await;
        for digest in [&referrer, &tagged, &signature] {
            assert_eq!(has(&bench, digest).await, !delete_referrers, "{digest}");
        }
    }
}

async fn collect(bench: &Bench, options: &Options) -> Report {
    let owner = Maintenance::by_the_stores_owner();
    bench.registry.collect(&owner, options, &mut ()).await.unwrap()
}

#[tokio::test]
async fn tags_that_were_pushed_at_the_same_time_are_counted_one_by_one() {
    let bench = started().await;
    for number in 0..10 {
        push_tagged(&bench, &format!("t{number}")).await;
    }
    bench.hand.advance(DAY);
    pass(
        &bench,
        &policy(&json!({"keepTags": [{"mostRecentlyPushedCount": 1}]})),
    )
    .await;
    assert_eq!(tags(&bench).await, ["t9"]);
}

/// A push that crashes just after it wrote its tag may leave the tag without its back reference.
#[tokio::test]
async fn a_tag_without_its_back_reference_gets_it_before_its_manifest_is_checked() {
    let bench = started().await;
    let digest = push(&bench, "t").await;
    // The manifest is old before its tag is.
    bench.hand.advance(HOUR / 2);
    put_tag(&bench, "t", &digest).await;
    let back = bench.keys("r/team/app!/k/").await;
    bench.tamper(&back[0], |_| None).await;
    bench.hand.advance(HOUR / 2);
    let report = collect(&bench, &policy(&json!({}))).await;
    assert_eq!(report.goes().len(), 0);
    assert!(has(&bench, &digest).await);
    assert_eq!(bench.keys("r/team/app!/k/").await, back);
}

#[tokio::test]
async fn a_head_of_a_tag_by_a_client_that_may_push_writes_its_back_reference() {
    let bench = started().await;
    push_tagged(&bench, "t").await;
    let back = bench.keys("r/team/app!/k/").await;
    bench.tamper(&back[0], |_| None).await;
    bench
        .registry
        .keep_manifest(&read(R), &create(R), &tag("t"))
        .await
        .unwrap();
    assert_eq!(bench.keys("r/team/app!/k/").await, back);
}

#[tokio::test]
async fn a_manifest_whose_pulls_cannot_be_read_is_kept() {
    for value in ["no record", "{\"format\":3,\"nonce\":\"1\"}\n{}"] {
        let bench = started().await;
        let digest = push(&bench, "untagged").await;
        bench.registry.note_pull(&read(R), &digest);
        assert_eq!(write_pulls(&bench).await, 1);
        let key = bench.keys("r/team/app!/p/").await.remove(0);
        bench.tamper(&key, |_| Some(value.to_owned())).await;
        push(&bench, "other").await;
        bench.hand.advance(DAY * 10);
        let report = collect(&bench, &policy(&json!({}))).await;
        assert_eq!(count(&report, Goes::UntaggedManifest), 1, "the other one");
        assert!(has(&bench, &digest).await);
    }
}

/// A tag that moves leaves only untagged manifests behind.
#[tokio::test]
async fn a_few_untagged_manifests_are_deleted_whatever_their_share_is() {
    for (count, left) in [(100, 1), (102, 102)] {
        let bench = started().await;
        for number in 0..count {
            let digest = push(&bench, &format!("build {number}")).await;
            put_tag(&bench, "latest", &digest).await;
        }
        bench.hand.advance(2 * DAY);
        let policies = json!([{"repositories": ["**"], "keepTags": [{"patterns": ["latest"]}]}]);
        let report = pass(&bench, &options(&json!({"policies": policies}))).await;
        assert_eq!(bench.keys("r/team/app!/m/").await.len(), left);
        assert_eq!(report.goes().is_empty(), left > 1, "{count}");
    }
}

#[tokio::test]
async fn a_policy_that_only_reports_changes_nothing() {
    let bench = started().await;
    ten_tags(&bench).await;
    push(&bench, "young").await;
    let policies = json!([{"repositories": ["**"], "keepTags": [{"patterns": ["x"]}]}]);
    let options = options(&json!({"dryRun": true, "policies": policies}));
    let report = pass(&bench, &options).await;
    assert_eq!((report.goes().len(), tags(&bench).await.len()), (0, 10));
    let names: usize = report.repositories[R].given_up.values().map(Vec::len).sum();
    assert_eq!(names, 20);
    assert_eq!(
        report.stays()[&Stays::OnlyReported].count,
        20,
        "ten tags and their manifests"
    );
    assert_eq!(report.stays()[&Stays::Young].count, 1);
}

/// Rule C-18 counts what a pass takes, and a pass takes the remains of interrupted pushes first.
#[tokio::test]
async fn a_dry_run_reports_the_children_of_an_index_whose_push_was_interrupted() {
    let bench = started().await;
    let child = push(&bench, "child").await;
    let bytes = index(&[&child]);
    let reference = Reference::Digest(sha256(&bytes));
    let put = bench
        .registry
        .put_manifest(&write(R), &reference, None, bytes)
        .await;
    let key = keys::manifest(&R.parse().unwrap(), &put.unwrap().digest);
    let found = bench.registry.records.read(&key).await.unwrap().unwrap();
    let pending = found
        .record
        .clone()
        .in_state(states::manifest::ManifestState::Pend);
    bench
        .registry
        .records
        .swap(&key, &found.base(), &pending)
        .await
        .unwrap();
    bench.hand.advance(DAY);
    let report = pass(&bench, &policy(&json!({}))).await;
    assert_eq!(count(&report, Goes::InterruptedPush), 1);
    assert_eq!(count(&report, Goes::UntaggedManifest), 1);
}

#[tokio::test]
async fn pulls_of_a_manifest_that_is_gone_are_cleared() {
    let bench = started().await;
    let digest = push_tagged(&bench, "t").await;
    bench.registry.note_pull(&read(R), &digest);
    assert_eq!(write_pulls(&bench).await, 1);
    let key = bench.keys("r/team/app!/p/").await.remove(0);
    let record = bench.store.get(&key).await.unwrap().unwrap();
    let gone = key.replace(digest.hex(), &"0".repeat(64));
    bench.store.create(&gone, record.value.into()).await.unwrap();
    bench.hand.advance(DAY);
    let report = pass(&bench, &options(&json!({}))).await;
    assert_eq!(count(&report, Goes::StaleEntry), 1);
    assert_eq!(bench.keys("r/team/app!/p/").await, [key]);
}

/// Tags `v…` are immutable.
fn with_immutable_tags(policy: &Value) -> Options {
    let mut written = json!({"repositories": ["**"], "maxShare": 1});
    for (key, value) in policy.as_object().unwrap() {
        written[key] = value.clone();
    }
    let file = json!({
        "storage": {"rootDirectory": "store", "retention": {"policies": [written]}},
        "http": {"auth": {"bearer": {"oidc": [{"issuer": "https://issuer.example.org", "audiences": ["registry"]}]}}},
        "accessControl": {"repositories": {"**": {"defaultPolicy": ["read"], "immutableTags": ["v*"]}}},
    });
    let config = crate::config::parse(&file.to_string(), Path::new("/"), None).unwrap();
    Options {
        grace: HOUR,
        rules: config.live.rules(),
        ..Options::default()
    }
}

#[tokio::test]
async fn immutable_tags_are_deleted_unless_the_policy_keeps_them() {
    for (keep_immutable, kept) in [(false, &["t"][..]), (true, &["t", "v1", "v2"])] {
        let bench = started().await;
        for name in ["t", "v1", "v2", "dev"] {
            push_tagged(&bench, name).await;
        }
        let referrer = json!({"subject": descriptor(IMAGE, &sha256(b"gone"))});
        let config = push_blob(&bench.registry, R, b"referrer").await;
        let manifest = image(&config, &referrer);
        bench
            .registry
            .put_manifest(&write(R), &tag("v-signature"), None, manifest.clone())
            .await
            .unwrap();
        bench.hand.advance(2 * DAY);
        let keys = json!({"keepTags": [{"patterns": ["^t$"]}], "deleteReferrers": true, "keepImmutable": keep_immutable});
        pass(&bench, &with_immutable_tags(&keys)).await;
        let mut expected: Vec<String> = kept.iter().map(|&name| name.to_owned()).collect();
        if keep_immutable {
            expected.insert(1, "v-signature".to_owned());
        }
        assert_eq!(tags(&bench).await, expected);
        assert_eq!(has(&bench, &sha256(&manifest)).await, keep_immutable);
    }
}

#[tokio::test]
async fn an_immutable_tag_keeps_a_referrer_without_a_subject_if_the_policy_keeps_it() {
    for keep_immutable in [false, true] {
        let bench = started().await;
        let config = push_blob(&bench.registry, R, b"referrer").await;
        let manifest = image(&config, &json!({"subject": descriptor(IMAGE, &sha256(b"gone"))}));
        for name in ["a", "v1"] {
            bench
                .registry
                .put_manifest(&write(R), &tag(name), None, manifest.clone())
                .await
                .unwrap();
        }
        bench.hand.advance(2 * DAY);
        // Without `keepTags` every tag stays, but those of a referrer without a subject go with it.
        let keys = json!({"deleteReferrers": true, "keepImmutable": keep_immutable});
        pass(&bench, &with_immutable_tags(&keys)).await;
        assert_eq!(has(&bench, &sha256(&manifest)).await, keep_immutable);
    }
}
