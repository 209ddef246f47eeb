//! What a bucket does when its store fails in the middle of a request.

use super::buckets::InFake;
use super::*;
use crate::bucket::Bucket;
use futures_util::future::join_all;
use std::time::Duration;
use wharfinger_testkit::s3::{
    Chaos, Conditions, Fake, Fault, Gate, Listing, On, Operation, Refusal, Seen, When,
};

pub(super) const KEY: &str = "r/app!/t/v1";
/// The name of its object.
const NAME_OF_KEY: &str = "records/r._app!._t._v1";

/// A bucket and another client of it.
pub(super) struct Site {
    pub place: InFake,
    pub bucket: Arc<Bucket>,
    pub other: Arc<Bucket>,
}

impl Site {
    pub(super) async fn new() -> Self {
        let place = InFake::new().unwrap();
        let bucket = place.open().await;
        let other = place.open().await;
        Self { place, bucket, other }
    }

    pub(super) async fn fake(&self) -> &Fake {
        self.place.fake().await
    }

    /// The requests since the last call.
    async fn requests(&self) -> Vec<Seen> {
        let fake = self.fake().await;
        let requests = fake.requests();
        fake.forget_requests();
        requests
    }

    async fn statuses(&self) -> Vec<Option<u16>> {
        self.requests().await.iter().map(|seen| seen.status).collect()
    }

    /// The value of the record, as the other client reads it.
    async fn value(&self) -> Option<Bytes> {
        value(&*self.other, KEY).await
    }
}

pub(super) fn on(operation: Operation) -> On {
    On::operation(operation).under("records/")
}

/// A fault after which a change must still succeed.
fn survived() -> Vec<Fault> {
    let mut faults = vec![
        Fault::Refuse(When::Before, Refusal::CONFLICT),
        Fault::Refuse(When::After, Refusal::PRECONDITION),
        Fault::Late(usize::MAX),
        Fault::Late(0),
        Fault::Late(1),
        Fault::Silence(When::Before),
        Fault::Silence(When::After),
    ];
    for when in [When::Before, When::After] {
        faults.extend([
            Fault::Close(when),
            Fault::Refuse(when, Refusal::INTERNAL),
            Fault::Refuse(when, Refusal::UNAVAILABLE),
            Fault::Refuse(when, Refusal::SLOW_DOWN),
        ]);
    }
    faults
}

#[tokio::test]
async fn a_change_with_a_passing_fault_is_done_once() {
    let each = survived().into_iter().map(|fault| async move {
        let site = Site::new().await;
        let name = format!("{fault:?}");
        let inject = || async { site.fake().await.inject(on(Operation::Put), fault.clone()) };
        inject().await;
        let created = site.bucket.create(KEY, value_of("1")).await.expect(&name);
        let record = site.bucket.get(KEY).await.unwrap().unwrap();
        assert_eq!(
            (record.version, record.value),
            (created.clone(), text("1")),
            "{name}"
        );
        inject().await;
        let swapped = site.bucket.swap(KEY, &created, value_of("2")).await.expect(&name);
        site.fake().await.apply_late();
        let record = site.bucket.get(KEY).await.unwrap().unwrap();
        assert_eq!(
            (record.version, record.value),
            (swapped.clone(), text("2")),
            "{name}"
        );
        inject().await;
        site.bucket.delete(KEY, &swapped).await.expect(&name);
        site.fake().await.apply_late();
        assert_eq!(site.value().await, None, "{name}");
        // The refused first attempt has no fault: if its outcome is not known, the creation must not go on.
        let over_the_tombstone = on(Operation::Put).skip(1);
        site.fake().await.inject(over_the_tombstone, fault.clone());
        let again = site.bucket.create(KEY, value_of("3")).await.expect(&name);
        site.fake().await.apply_late();
        let record = site.bucket.get(KEY).await.unwrap().unwrap();
        assert_eq!((record.version, record.value), (again, text("3")), "{name}");
        // Each change had one effect. What came late had none.
        let effects = site.requests().await;
        let effects = effects
            .iter()
            .filter(|seen| seen.operation == Operation::Put && seen.effect == Some(200));
        assert_eq!(effects.count(), 4, "{name}");
    });
    join_all(each).await;
}

#[tokio::test]
async fn a_read_with_a_passing_fault_is_repeated() {
    let faults = [
        Fault::Torn,
        Fault::Close(When::Before),
        Fault::Refuse(When::Before, Refusal::INTERNAL),
        Fault::Refuse(When::Before, Refusal::SLOW_DOWN),
        Fault::Silence(When::Before),
    ];
    let each = faults.into_iter().map(|fault| async move {
        let site = Site::new().await;
        let name = format!("{fault:?}");
        site.bucket.create(KEY, value_of("1")).await.unwrap();
        let fake = site.fake().await;
        fake.inject(on(Operation::Get).times(2), fault.clone());
        assert_eq!(value(&*site.bucket, KEY).await, Some(text("1")), "{name}");
        fake.inject(on(Operation::List).times(2), fault);
        assert_eq!(list(&*site.bucket, "r/", "", 10).await, [KEY], "{name}");
        assert_eq!(fake.count(Operation::Get), 3, "{name}");
    });
    join_all(each).await;
}

/// Makes a change whose PUT has this fault, and lets the other client act before the bucket looks at what
/// became of it.
async fn meanwhile<T>(
    site: &Site,
    fault: Fault,
    change: impl Future<Output = T>,
    act: impl AsyncFnOnce(&Bucket),
) -> T {
    let gate = Gate::default();
    let fake = site.fake().await;
    fake.inject(on(Operation::Put), fault);
    fake.inject(on(Operation::Get), Fault::Hold(When::Before, gate.clone()));
    let act = async {
        gate.arrived(1).await;
        act(&site.other).await;
        gate.open();
    };
    tokio::join!(change, act).0
}

fn is_io<T: Debug>(result: Result<T, Failure>) -> bool {
    matches!(result, Err(Failure::Io(_)))
}

#[tokio::test]
async fn an_outcome_that_cannot_be_found_out_is_not_reported_as_a_conflict() {
    let unknown = [
        Fault::Close(When::Before),
        Fault::Close(When::After),
        Fault::Late(usize::MAX),
        Fault::Refuse(When::After, Refusal::INTERNAL),
    ];
    for fault in unknown {
        let site = Site::new().await;
        let name = format!("{fault:?}");
        let version = site.bucket.create(KEY, value_of("1")).await.unwrap();
        let swap = site.bucket.swap(KEY, &version, value_of("2"));
        let swapped = meanwhile(&site, fault, swap, async |other| {
            let now = other.get(KEY).await.unwrap().unwrap().version;
            other.swap(KEY, &now, value_of("other")).await.unwrap();
        });
        assert!(is_io(swapped.await), "{name}");
        site.fake().await.apply_late();
        assert_eq!(site.value().await, Some(text("other")), "{name}");
    }
}

#[tokio::test]
async fn a_record_that_was_created_and_deleted_is_not_created_again() {
    for fault in [
        Fault::Close(When::After),
        Fault::Refuse(When::After, Refusal::INTERNAL),
    ] {
        let site = Site::new().await;
        let create = site.bucket.create(KEY, value_of("1"));
        let created = meanwhile(&site, fault, create, async |other| {
            let now = other.get(KEY).await.unwrap().unwrap().version;
            other.delete(KEY, &now).await.unwrap();
        });
        assert!(is_io(created.await));
        assert_eq!(site.value().await, None);
    }
    // A creation that comes late meets the tombstone.
    let site = Site::new().await;
    let create = site.bucket.create(KEY, value_of("1"));
    let created = meanwhile(&site, Fault::Late(usize::MAX), create, async |other| {
        let now = other.create(KEY, value_of("other")).await.unwrap();
        other.delete(KEY, &now).await.unwrap();
    });
    assert!(is_io(created.await));
    site.fake().await.apply_late();
    assert_eq!(site.value().await, None);
}

#[tokio::test]
async fn a_refused_change_is_a_conflict_even_if_the_next_answer_is_lost() {
    let site = Site::new().await;
    let version = site.bucket.create(KEY, value_of("1")).await.unwrap();
    site.other.swap(KEY, &version, value_of("2")).await.unwrap();
    let fake = site.fake().await;
    fake.inject(on(Operation::Get), Fault::Close(When::Before));
    assert!(is_conflict(site.bucket.swap(KEY, &version, value_of("3")).await));
    assert!(is_conflict(site.bucket.delete(KEY, &version).await));
    assert!(is_conflict(site.bucket.create(KEY, value_of("3")).await));
    assert_eq!(site.value().await, Some(text("2")));
}

#[tokio::test]
async fn a_rejected_change_fails_at_once() {
    let site = Site::new().await;
    for refusal in [
        Refusal::ACCESS_DENIED,
        Refusal::EXPIRED_TOKEN,
        Refusal::NO_SUCH_BUCKET,
    ] {
        site.requests().await;
        site.fake()
            .await
            .inject(on(Operation::Put), Fault::Refuse(When::Before, refusal));
        let created = site.bucket.create(KEY, value_of("1")).await;
        let message = created.unwrap_err().to_string();
        assert!(
            message.contains("the bucket wharfinger at http://127.0.0.1:"),
            "{message}"
        );
        assert_eq!(site.requests().await.len(), 1, "{message}");
    }
}

#[tokio::test]
async fn a_bucket_that_is_gone_does_not_look_empty() {
    let site = Site::new().await;
    let fault = Fault::Refuse(When::Before, Refusal::NO_SUCH_BUCKET);
    site.fake().await.inject(On::any().always(), fault);
    assert!(is_io(site.bucket.get(KEY).await));
    let range = Range {
        prefix: "",
        after: "",
        limit: 1,
        show: Show::All,
    };
    assert!(is_io(site.bucket.list(range).await));
}

#[tokio::test]
async fn a_store_that_stays_away_is_given_up() {
    let site = Site::new().await;
    let version = site.bucket.create(KEY, value_of("1")).await.unwrap();
    let fake = site.fake().await;
    fake.forget_requests();
    fake.inject(
        on(Operation::Put).always(),
        Fault::Refuse(When::Before, Refusal::CONFLICT),
    );
    let failure = site.bucket.swap(KEY, &version, value_of("2")).await.unwrap_err();
    assert!(failure.to_string().contains(NAME_OF_KEY), "{failure}");
    assert_eq!(fake.count(Operation::Put), 6);
    fake.heal();
    site.bucket.swap(KEY, &version, value_of("2")).await.unwrap();
}

#[tokio::test]
async fn an_object_that_the_registry_did_not_write_is_lost_and_can_be_replaced() {
    let site = Site::new().await;
    let fake = site.fake().await;
    for deletes in [false, true] {
        fake.put(NAME_OF_KEY, "what another program wrote");
        let Err(Failure::Lost { version, .. }) = site.bucket.get(KEY).await else {
            panic!("it is lost");
        };
        assert!(is_conflict(site.bucket.create(KEY, value_of("1")).await));
        if deletes {
            site.bucket.delete(KEY, &version).await.unwrap();
            assert_eq!(site.value().await, None);
        } else {
            site.bucket.swap(KEY, &version, value_of("1")).await.unwrap();
            assert_eq!(site.value().await, Some(text("1")));
        }
    }
}

#[tokio::test]
async fn each_operation_takes_few_requests() {
    let site = Site::new().await;
    site.requests().await;
    let first = site.bucket.create(KEY, value_of("1")).await.unwrap();
    assert_eq!(site.statuses().await, [Some(200)], "a new key");
    site.bucket.get(KEY).await.unwrap();
    site.bucket.get(KEY).await.unwrap();
    assert_eq!(
        site.statuses().await,
        [Some(200), Some(304)],
        "the bytes are sent once"
    );
    let second = site.bucket.swap(KEY, &first, value_of("2")).await.unwrap();
    site.bucket.delete(KEY, &second).await.unwrap();
    assert_eq!(site.statuses().await, [Some(200), Some(200)]);
    assert_eq!(value(&*site.bucket, KEY).await, None);
    site.requests().await;
    site.bucket.create(KEY, value_of("3")).await.unwrap();
    assert_eq!(
        site.statuses().await,
        [Some(412), Some(200), Some(200)],
        "over a tombstone"
    );
    assert!(is_conflict(site.bucket.create(KEY, value_of("4")).await));
    assert_eq!(site.statuses().await, [Some(412), Some(200)]);
}

#[tokio::test]
async fn a_recent_read_asks_only_if_this_client_changed_the_record() {
    let recent = async |bucket: &Bucket| bucket.get_recent(KEY).await.unwrap().map(|record| record.value);
    let site = Site::new().await;
    assert_eq!(recent(&site.bucket).await, None);
    let first = site.other.create(KEY, value_of("1")).await.unwrap();
    assert_eq!(
        recent(&site.bucket).await,
        Some(text("1")),
        "absence is not cached"
    );
    site.requests().await;
    assert_eq!(recent(&site.bucket).await, Some(text("1")));
    assert_eq!(site.requests().await.len(), 0);
    let second = site.bucket.swap(KEY, &first, value_of("2")).await.unwrap();
    assert_eq!(recent(&site.bucket).await, Some(text("2")), "its own change");
    let third = site.other.swap(KEY, &second, value_of("3")).await.unwrap();
    assert_eq!(
        value(&*site.bucket, KEY).await,
        Some(text("3")),
        "other reads ask"
    );
    assert_eq!(recent(&site.bucket).await, Some(text("3")));
    site.other.swap(KEY, &third, value_of("4")).await.unwrap();
    let stored = site.bucket.get_stored(KEY).await.unwrap().unwrap();
    assert_eq!(stored.value, text("4"));
    assert_eq!(recent(&site.bucket).await, Some(text("4")));
    site.bucket.delete(KEY, &stored.version).await.unwrap();
    assert_eq!(recent(&site.bucket).await, None);
}

#[tokio::test]
async fn a_list_goes_past_many_tombstones() {
    let site = Site::new().await;
    let fake = site.fake().await;
    for number in 0..2500 {
        fake.put(&format!("records/t._{number:04}"), "a tombstone 16 b");
    }
    site.bucket.create("t/9999", value_of("1")).await.unwrap();
    site.requests().await;
    assert_eq!(list(&*site.bucket, "t/", "", 1).await, ["t/9999"]);
    let lists = site.requests().await.len();
    assert!(lists <= 4, "{lists}");
}

#[tokio::test]
async fn a_list_whose_pages_are_out_of_step_has_each_record_once() {
    let site = Site::new().await;
    let fake = site.fake().await;
    let keys: Vec<String> = (0..40).map(|number| format!("t/{number:02}")).collect();
    for key in &keys {
        site.bucket.create(key, value_of("1")).await.unwrap();
    }
    fake.set_rules(|rules| rules.page = 7);
    fake.inject(on(Operation::List).skip(1).always(), Fault::OldPage);
    assert_eq!(list(&*site.bucket, "t/", "", 100).await, keys);
    fake.heal();
    for listing in [Listing::Unordered, Listing::FromTheStart] {
        fake.set_rules(|rules| rules.listing = listing);
        let range = Range {
            prefix: "t/",
            after: "t/05",
            limit: 100,
            show: Show::All,
        };
        let failure = site.bucket.list(range).await.unwrap_err().to_string();
        assert!(failure.contains("in the order of the keys"), "{failure}");
    }
}

/// Sweeps the whole store.
pub(super) async fn sweep(bucket: &Bucket) {
    let mut position = Some(String::new());
    while let Some(from) = position {
        position = bucket.sweep(&from).await.unwrap();
    }
}

/// Creates these records and deletes those of them that are `gone`.
pub(super) async fn fill(bucket: &Bucket, count: usize, gone: impl Fn(usize) -> bool) {
    let create = |number: usize| Change {
        key: format!("t/{number:04}"),
        expected: None,
        value: Some(value_of("1")),
    };
    let created = bucket.change_each((0..count).map(create).collect()).await;
    let delete = |(number, version): (usize, Result<Option<Version>, Failure>)| Change {
        key: format!("t/{number:04}"),
        expected: version.unwrap(),
        value: None,
    };
    let deleting = created
        .into_iter()
        .enumerate()
        .filter(|(number, _)| gone(*number));
    let deleted = bucket.change_each(deleting.map(delete).collect()).await;
    assert!(deleted.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_record_has_the_time_of_the_store_in_whole_seconds() {
    let site = Site::new().await;
    site.place.hand.advance(Duration::from_secs(1_000));
    let begun = site.place.clock.now();
    site.bucket.create(KEY, value_of("1")).await.unwrap();
    let record = site.bucket.get(KEY).await.unwrap().unwrap();
    assert_eq!(record.written, Timestamp::from_secs(begun.as_secs()));
    assert!(site.bucket.now() >= record.written);
    let range = Range {
        prefix: "",
        after: "",
        limit: 1,
        show: Show::All,
    };
    let listed = site.bucket.list_written(range).await.unwrap();
    assert_eq!(listed[0].written.as_secs(), record.written.as_secs());
}

/// The changes that one client made to the shared records, by their outcome.
#[derive(Default)]
struct Made {
    done: Vec<String>,
    conflicts: Vec<String>,
    unknown: Vec<String>,
}

/// Appends lines to records that several clients share, while the store fails at random.
async fn append(bucket: &Bucket, client: usize, seed: u64) -> Made {
    let mut made = Made::default();
    let mut random = fastrand::Rng::with_seed(seed + client as u64);
    let mut last = [const { String::new() }; 2];
    for number in 0..25 {
        let place = random.usize(0..last.len());
        let key = format!("t/{place}");
        // A read that fails says nothing.
        let Ok(found) = bucket.get(&key).await else {
            continue;
        };
        let lines = found
            .as_ref()
            .map(|record| String::from_utf8(record.value.to_vec()).unwrap());
        let mut lines = lines.unwrap_or_default();
        assert!(
            lines.starts_with(&last[place]),
            "a read is never older than one before"
        );
        last[place].clone_from(&lines);
        let line = format!("{place}/{client}/{number}");
        lines.push_str(&line);
        lines.push('\n');
        let value = Bytes::from(lines.clone()).into();
        let outcome = match &found {
            Some(record) => bucket.swap(&key, &record.version, value).await,
            None => bucket.create(&key, value).await,
        };
        match outcome {
            Ok(_) => {
                made.done.push(line);
                last[place] = lines;
            }
            Err(Failure::Conflict) => made.conflicts.push(line),
            Err(Failure::Io(_)) => made.unknown.push(line),
            Err(failure) => panic!("{failure}"),
        }
    }
    made
}

#[tokio::test]
async fn every_acknowledged_swap_counts_once_whatever_the_store_does() {
    // A 412 after the client's own success is not among these: it needs a proxy that repeats requests. Then
    // another client may overwrite the record before the client looks at it.
    let faults = vec![
        Fault::Refuse(When::Before, Refusal::CONFLICT),
        Fault::Refuse(When::Before, Refusal::INTERNAL),
        Fault::Refuse(When::After, Refusal::INTERNAL),
        Fault::Close(When::Before),
        Fault::Close(When::After),
        Fault::Late(0),
        Fault::Late(2),
        Fault::Late(7),
        Fault::Torn,
    ];
    for seed in 0..3 {
        let place = InFake::new().unwrap();
        let buckets = join_all((0..4).map(|_| place.open())).await;
        let fake = place.fake().await;
        fake.inject_at_random(Chaos {
            seed,
            per_mille: 250,
            faults: faults.clone(),
        });
        let clients = buckets.iter().enumerate();
        let made = join_all(clients.map(|(client, bucket)| append(bucket, client, seed))).await;
        fake.apply_late();
        fake.heal();
        let mut lines = Vec::new();
        for place in 0..2 {
            let value = value(&*buckets[0], &format!("t/{place}"))
                .await
                .unwrap_or_default();
            lines.extend(
                String::from_utf8(value.to_vec())
                    .unwrap()
                    .lines()
                    .map(str::to_owned),
            );
        }
        let count = |line: &String| lines.iter().filter(|one| *one == line).count();
        let mut done = 0;
        for made in &made {
            assert!(made.done.iter().all(|line| count(line) == 1), "seed {seed}");
            assert!(made.conflicts.iter().all(|line| count(line) == 0), "seed {seed}");
            assert!(made.unknown.iter().all(|line| count(line) <= 1), "seed {seed}");
            done += made.done.len();
        }
        assert!(
            done > 20,
            "seed {seed}: most changes succeed, but only {done} did"
        );
    }
}

#[tokio::test]
async fn a_store_that_ignores_conditions_loses_changes() {
    let site = Site::new().await;
    site.fake()
        .await
        .set_rules(|rules| rules.conditions = Conditions::Ignored);
    let version = site.bucket.create(KEY, value_of("1")).await.unwrap();
    site.bucket.swap(KEY, &version, value_of("2")).await.unwrap();
    // This is why the store is tried before it is used.
    assert!(site.other.swap(KEY, &version, value_of("3")).await.is_ok());
}
