//! When tombstones of records are removed.

use super::buckets::BEFORE;
use super::faults::{KEY, Site, fill, on, sweep};
use super::*;
use std::time::Duration;
use wharfinger_testkit::s3::{Fault, Gate, Operation, When};

const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const SECONDS: Duration = Duration::from_secs(30);

#[tokio::test]
async fn old_tombstones_are_removed() {
    let site = Site::new().await;
    let fake = site.fake().await;
    site.place.hand.advance(WEEK - SECONDS);
    fill(&site.bucket, 1500, |number| number % 3 != 0).await;
    site.place.hand.advance(WEEK - SECONDS);
    site.bucket.get(KEY).await.unwrap();
    sweep(&site.bucket).await;
    assert_eq!(fake.objects().len(), 1500, "they are young");
    site.place.hand.advance(2 * SECONDS);
    site.bucket.get(KEY).await.unwrap();
    sweep(&site.bucket).await;
    assert_eq!(fake.objects().len(), 500);
    assert_eq!(list(&*site.bucket, "t/", "", 2000).await.len(), 500);
    site.bucket.create("t/0001", value_of("2")).await.unwrap();
}

#[tokio::test]
async fn tombstones_stay_where_the_store_deletes_in_any_case() {
    let site = Site::new().await;
    let fake = site.fake().await;
    fake.set_rules(|rules| rules.conditional_delete = false);
    fill(&site.bucket, 10, |_| true).await;
    site.place.hand.advance(BEFORE);
    site.bucket.get(KEY).await.unwrap();
    sweep(&site.bucket).await;
    sweep(&site.bucket).await;
    assert_eq!(fake.objects().len(), 10);
    assert_eq!(
        fake.count(Operation::Delete),
        2,
        "it is tried once, and what was tried is removed"
    );
}

#[tokio::test]
async fn a_record_created_over_an_old_tombstone_stays() {
    let site = Site::new().await;
    let fake = site.fake().await;
    fill(&site.bucket, 1, |_| true).await;
    site.place.hand.advance(BEFORE);
    site.bucket.get(KEY).await.unwrap();
    let gate = Gate::default();
    fake.inject(on(Operation::Delete), Fault::Hold(When::Before, gate.clone()));
    let create = async {
        gate.arrived(1).await;
        site.other.create("t/0000", value_of("2")).await.unwrap();
        gate.open();
    };
    tokio::join!(sweep(&site.bucket), create);
    assert_eq!(value(&*site.other, "t/0000").await, Some(text("2")));
}
