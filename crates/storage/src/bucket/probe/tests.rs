//! What a probe says of real stores, and of stores that lack something.

use super::super::objects::Objects;
use super::super::settings::Settings;
use super::start::at_start;
use super::*;
use crate::tests::buckets;
use wharfinger_testkit::s3::{Conditions, Fake, Listing, Rules};
use wharfinger_testkit::s3::{Moto, Place, SeaweedFs};

fn settings(place: &Place) -> Settings {
    buckets::settings(place)
}

fn objects(place: &Place) -> Arc<Objects> {
    Arc::new(Objects::new(&settings(place), &Requests::default()).unwrap())
}

async fn fake(change: impl FnOnce(&mut Rules)) -> Fake {
    let fake = Fake::start().await;
    fake.set_rules(change);
    fake
}

fn missing(report: &Report) -> Vec<&'static str> {
    let missing = report.findings.iter().filter(|one| one.verdict != Verdict::Yes);
    missing.map(|one| one.name).collect()
}

async fn missing_in(fake: &Fake) -> (Report, Vec<&'static str>) {
    let report = full(&[settings(fake.place())]).await.unwrap();
    let missing = missing(&report);
    (report, missing)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seaweedfs_is_fit_through_two_gateways() {
    let Some(store) = SeaweedFs::with_gateways(2) else {
        return;
    };
    let first = settings(&store.place_at(0));
    let second = Settings {
        endpoint: Some(store.place_at(1).endpoint),
        ..first.clone()
    };
    let report = full(&[first, second]).await.unwrap();
    assert!(report.is_fit_for_replicas(), "{report:?}");
    assert_eq!(missing(&report), ["a rule ends old uploads"], "{report:?}");
}

/// moto checks a condition and writes in two steps, so the races of the whole probe sometimes find that it loses
/// updates.
#[tokio::test]
async fn moto_passes_the_steps_of_each_start() {
    let Some(moto) = Moto::start() else { return };
    at_start(&objects(moto.place())).await.unwrap();
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_refused_at_each_start() {
    let fake = fake(|rules| rules.conditions = Conditions::Ignored).await;
    let why = at_start(&objects(fake.place())).await.unwrap_err().to_string();
    assert!(why.contains(&fake.place().endpoint), "{why}");
    assert!(why.contains("creates an object twice"), "{why}");
    let (report, missing) = missing_in(&fake).await;
    assert!(missing.contains(&"create if absent") && missing.contains(&"update if unchanged"));
    assert!(
        !report.is_fit_for_replicas() && report.is_fit_for_one(),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_store_that_checks_and_writes_in_two_steps_is_refused_at_its_first_start() {
    let fake = fake(|rules| rules.conditions = Conditions::NotAtomic).await;
    let objects = objects(fake.place());
    let why = for_replicas(&objects).await.unwrap_err();
    assert!(matches!(why, Unfit::NoConditions { .. }), "{why}");
    assert!(
        fake.objects().is_empty(),
        "it has not passed, and nothing is left"
    );
    let (report, missing) = missing_in(&fake).await;
    assert!(missing.contains(&"one of many creations wins"), "{report:?}");
    assert!(
        !report.is_fit_for_replicas() && report.is_fit_for_one(),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_store_without_conditional_deletion_is_marked_and_fit() {
    let fake = fake(|rules| rules.conditional_delete = false).await;
    let (report, missing) = missing_in(&fake).await;
    assert!(report.is_fit_for_replicas(), "{report:?}");
    assert!(missing.contains(&"delete if unchanged"), "{report:?}");
}

#[tokio::test]
async fn lists_that_lack_something_are_told_apart() {
    for (listing, expected) in [
        (Listing::Unordered, "a list is in the order of the keys"),
        (Listing::FromTheStart, "a list begins after a key"),
        (Listing::Behind, "a list shows what was just written"),
    ] {
        let fake = fake(|rules| rules.listing = listing).await;
        let (report, missing) = missing_in(&fake).await;
        assert!(missing.contains(&expected), "{report:?}");
        assert!(!report.is_fit_for_one(), "{report:?}");
    }
    let fake = fake(|rules| rules.listing = Listing::Behind).await;
    let why = at_start(&objects(fake.place())).await.unwrap_err().to_string();
    assert!(why.contains("does not list"), "{why}");
}

/// Whether the process keeps the order itself, after a start for one replica and another one.
async fn keeps_order(conditions: Conditions) -> [bool; 2] {
    let fake = fake(|rules| rules.conditions = conditions).await;
    let mut kept = [false; 2];
    for kept in &mut kept {
        let objects = objects(fake.place());
        for_one(&objects).await.unwrap();
        *kept = objects.keeps_order();
    }
    // What one replica noted does not let several in.
    let shared = for_replicas(&objects(fake.place())).await;
    assert_eq!(shared.is_ok(), conditions == Conditions::Kept, "{shared:?}");
    kept
}

#[tokio::test]
async fn one_process_keeps_the_order_where_the_store_does_not() {
    assert_eq!(keeps_order(Conditions::Kept).await, [false; 2]);
    assert_eq!(keeps_order(Conditions::Ignored).await, [true; 2]);
    assert_eq!(keeps_order(Conditions::NotAtomic).await, [true; 2]);
    let fake = fake(|rules| rules.listing = Listing::Behind).await;
    fake.set_rules(|rules| rules.conditions = Conditions::Ignored);
    let why = for_one(&objects(fake.place())).await.unwrap_err();
    assert!(matches!(why, Unfit::Lacks { .. }), "{why}");
}

#[tokio::test]
async fn a_bucket_is_raced_at_its_first_start_only() {
    let fake = fake(|_| {}).await;
    let objects = objects(fake.place());
    for_replicas(&objects).await.unwrap();
    let kept = fake.objects();
    let kept: Vec<_> = kept.keys().collect();
    assert!(
        matches!(kept.as_slice(), [one] if one.ends_with(PASSED)),
        "{kept:?}"
    );
    fake.forget_requests();
    for_replicas(&objects).await.unwrap();
    assert_eq!(
        fake.requests().len(),
        8,
        "the short probe, and a look at what was noted"
    );
    assert_eq!(fake.objects().len(), 1, "nothing else is left");
}

#[tokio::test]
async fn the_settings_of_the_bucket_are_told() {
    let rule = |inner: &str| {
        format!(
            "<LifecycleConfiguration><Rule><ID>x</ID><Status>Enabled</Status>{inner}</Rule></LifecycleConfiguration>"
        )
    };
    let uploads = rule(
        "<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>",
    );
    let store = fake(|rules| rules.lifecycle = Some(uploads)).await;
    let (report, missing) = missing_in(&store).await;
    assert!(missing.is_empty(), "{report:?}");
    let expiry = rule("<Expiration><Days>30</Days></Expiration>");
    let store = fake(|rules| {
        rules.lifecycle = Some(expiry);
        rules.versioning = true;
    })
    .await;
    let (report, missing) = missing_in(&store).await;
    let expected = [
        "no versions are kept",
        "no rule deletes objects",
        "a rule ends old uploads",
    ];
    assert_eq!(missing, expected, "{report:?}");
    assert!(!report.is_fit_for_one(), "images would be lost");
}
