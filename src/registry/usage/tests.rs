//! The counters and quotas alone, without a store.

use super::*;
use futures_util::FutureExt;

/// The store has the blob, and the repository does not.
const LINKED: Adds = Adds {
    to_repository: true,
    to_store: false,
};

fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

fn digest(number: u8) -> Digest {
    super::super::tests::sha256(&[number])
}

fn usage(total: Option<u64>, of: &[(&str, u64)]) -> Usage {
    let repositories = of.iter().map(|(pattern, bytes)| RepositoryQuota {
        pattern: (*pattern).to_owned(),
        repositories: Repositories::parse(pattern).unwrap(),
        bytes: *bytes,
    });
    Usage::new(&Quotas {
        total,
        repositories: repositories.collect(),
    })
}

/// Usage that was counted, and is zero.
fn empty(total: Option<u64>, of: &[(&str, u64)]) -> Usage {
    let usage = usage(total, of);
    usage.load(UsageRecord::default(), Vec::new());
    usage
}

fn used(usage: &Usage) -> Vec<u64> {
    usage.quotas().iter().map(|one| one.used).collect()
}

fn record(bytes: u64, blobs: u64) -> UsageRecord {
    UsageRecord {
        bytes,
        blobs,
        manifests: 0,
    }
}

fn named(taken: &[Taken]) -> Vec<(Option<RepositoryName>, UsageRecord)> {
    let pairs = taken
        .iter()
        .map(|one| (one.repository.clone(), one.record.clone()));
    pairs.collect()
}

impl Usage {
    /// `None` if it must wait for others.
    fn reserves(
        &self,
        repository: &str,
        number: u8,
        bytes: u64,
        adds: Adds,
    ) -> Option<Result<Reserved, QuotaExceeded>> {
        let repository = name(repository);
        let digest = digest(number);
        let reserved = self
            .reserve_blob(&repository, &digest, adds, bytes)
            .now_or_never();
        reserved.map(|reserved| reserved.map(Option::unwrap))
    }

    fn reserve_new(
        &self,
        repository: &str,
        number: u8,
        bytes: u64,
    ) -> Option<Result<Reserved, QuotaExceeded>> {
        self.reserves(repository, number, bytes, Adds::PERHAPS)
    }

    fn has_room(&self, repository: &str, number: u8, bytes: u64) -> bool {
        matches!(self.reserve_new(repository, number, bytes), Some(Ok(_)))
    }

    /// Takes the counters that are to be written.
    fn taken(&self) -> Vec<(Option<RepositoryName>, UsageRecord)> {
        named(&self.take_new())
    }

    fn count(&self, of: &[(&str, u64)], stored: u64) {
        let mut counting = self.begin_census().unwrap();
        for (repository, bytes) in of {
            counting.census.link(name(repository), *bytes);
        }
        counting.census.blob(stored);
        self.end_census(counting);
    }
}

#[test]
fn all_quotas_of_a_repository_hold_and_a_reservation_counts_until_it_ends() {
    let usage = empty(None, &[("a/**", 100), ("a/b", 10)]);
    let held = usage.reserve_new("a/b", 1, 10).unwrap().unwrap();
    assert!(
        usage.reserve_new("a/b", 2, 1).is_none(),
        "the smaller quota may be used up"
    );
    assert!(
        usage.reserve_new("a/c", 2, 91).is_none(),
        "the larger quota may be used up"
    );
    assert!(
        usage.reserve_new("a/c", 2, 101).unwrap().is_err(),
        "the blob never fits"
    );
    assert!(usage.has_room("b", 2, 1 << 40), "the repository has no quota");
    assert!(usage.check_begin(&name("a/b")).is_ok(), "nothing is used yet");
    usage.gained_link(&name("a/b"), &digest(1), 10);
    assert!(
        usage.has_room("a/c", 2, 90),
        "used bytes are not reserved as well"
    );
    drop(held);
    assert!(usage.reserve_new("a/b", 2, 1).unwrap().is_err());
    assert!(usage.check_begin(&name("a/b")).is_err());
    assert!(usage.check_begin(&name("a/c")).is_ok());
    assert_eq!(used(&usage), [10, 10]);
    usage.lost_link(&name("a/b"), &digest(1), 10);
    assert_eq!(used(&usage), [0, 0]);
    assert!(usage.has_room("a/b", 1, 10));
}

#[test]
fn two_pushes_of_the_same_content_need_room_for_it_once() {
    let usage = empty(Some(15), &[("**", 10)]);
    let first = usage.reserve_new("a", 1, 10).unwrap().unwrap();
    let second = usage.reserve_new("a", 1, 10).unwrap().unwrap();
    assert!(usage.reserve_new("a", 2, 1).is_none());
    drop(first);
    assert!(
        usage.reserve_new("a", 2, 1).is_none(),
        "the second push still holds the room"
    );
    usage.gained_link(&name("a"), &digest(1), 10);
    usage.gained_blob(&digest(1), 10);
    drop(second);
    assert_eq!(used(&usage), [10, 10]);
    usage.lost_link(&name("a"), &digest(1), 10);
    let error = usage.reserve_new("a", 2, 10).unwrap().map(drop).unwrap_err();
    assert_eq!((error.quota.as_str(), error.used, error.needed), (TOTAL, 10, 10));
    assert!(
        usage.reserves("a", 1, 10, LINKED).unwrap().is_ok(),
        "the store has the blob"
    );
}

#[tokio::test]
async fn a_push_waits_for_the_pushes_that_reserved_the_last_room() {
    let usage = empty(Some(10), &[]);
    let held = usage.reserve_new("a", 1, 6).unwrap().unwrap();
    let repository = name("a");
    let digest = digest(2);
    let mut waiting = pin!(usage.reserve_blob(&repository, &digest, Adds::PERHAPS, 6));
    assert!(waiting.as_mut().now_or_never().is_none());
    drop(held);
    assert!(waiting.await.is_ok(), "the other push has failed");
}

#[test]
fn a_rejected_push_reserves_nothing() {
    let usage = empty(Some(5), &[("**", 100)]);
    for _ in 0..3 {
        assert!(usage.reserve_new("a", 1, 50).unwrap().is_err());
    }
    assert!(usage.reserves("a", 1, 100, LINKED).unwrap().is_ok());
}

#[test]
fn a_count_corrects_differences_that_changes_during_it_do_not_explain() {
    let usage = usage(Some(1000), &[("**", 1000)]);
    usage.load(
        record(50, 1),
        vec![(name("a"), record(50, 1)), (name("c"), record(3, 1))],
    );
    assert_eq!(used(&usage), [50, 53]);
    let mut counting = usage.begin_census().unwrap();
    assert!(usage.begin_census().is_none(), "one at a time");
    // The count comes to `b` before the push, `a` has drifted, and `c` is gone.
    counting.census.link(name("a"), 40);
    counting.census.blob(40);
    usage.gained_link(&name("b"), &digest(1), 7);
    usage.gained_blob(&digest(1), 7);
    usage.end_census(counting);
    assert_eq!(
        used(&usage),
        [40, 47],
        "the store's counter was off by more than the 7"
    );
    usage.count(&[("a", 40), ("b", 7)], 47);
    assert_eq!(used(&usage), [47, 47]);
}

#[test]
fn until_the_use_is_known_nothing_is_limited() {
    let usage = usage(Some(10), &[("a", 10)]);
    assert_eq!(usage.quotas(), []);
    assert!(usage.has_room("a", 1, 11) && usage.check_begin(&name("a")).is_ok());
    assert_eq!(usage.taken(), [], "the next start must not trust an unknown use");
    usage.gained_link(&name("a"), &digest(1), 4);
    usage.gained_blob(&digest(1), 4);
    usage.count(&[("a", 10)], 10);
    assert_eq!(used(&usage), [10, 10]);
    assert!(!usage.has_room("a", 1, 1) && usage.check_begin(&name("a")).is_err());
}

#[test]
fn only_changed_counters_are_written_again() {
    let usage = empty(Some(100), &[]);
    usage.gained_link(&name("a"), &digest(1), 4);
    let taken = usage.take_new();
    assert_eq!(named(&taken), [(Some(name("a")), record(4, 1))]);
    assert_eq!(usage.taken(), []);
    usage.put_back(taken);
    usage.lost_link(&name("a"), &digest(1), 4);
    usage.gained_blob(&digest(1), 4);
    assert_eq!(
        usage.taken(),
        [(Some(name("a")), record(0, 0)), (None, record(4, 1))]
    );
}

#[test]
fn without_quotas_there_are_no_counters() {
    let usage = Usage::new(&Quotas::default());
    assert!(!usage.is_kept());
    usage.gained_link(&name("a"), &digest(1), 7);
    assert_eq!(usage.taken(), []);
    let repository = name("a");
    let digest = digest(1);
    let reserved = usage.reserve_blob(&repository, &digest, Adds::PERHAPS, u64::MAX);
    assert!(reserved.now_or_never().unwrap().unwrap().is_none());
}
