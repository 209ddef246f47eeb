//! Two versions on one store: "old" knows formats up to 2, "new" up to 3.

use super::*;
use crate::contract::{Change, Failure, RecordStore};
use crate::memory::Memory;
use crate::{STORE_ID, Value};
use bytes::Bytes;
use std::sync::Arc;
use wharfinger_base::clock::{Clock, ManualClock};

const OLD: u8 = FIRST;
const NEW: u8 = FIRST + 1;

/// A store and its clock, which tests move together with the processes' own.
struct Place {
    store: Arc<Memory>,
    hand: ManualClock,
}

impl Place {
    /// A store that an old version created.
    async fn old() -> Self {
        let place = Self::empty();
        place.store.create(STORE_ID, value("id")).await.unwrap();
        place
    }

    fn empty() -> Self {
        let (clock, hand) = Clock::manual(Clock::system().now());
        Self {
            store: Arc::new(Memory::with_clock(clock)),
            hand,
        }
    }

    async fn join(&self, newest: u8) -> Result<Arc<Member>, NotUsable> {
        let replica = Replica {
            command: "serve".to_owned(),
            version: format!("0.{newest}"),
            host: "a".to_owned(),
            process: 1,
            newest,
        };
        Member::join(self.store.clone(), replica, true)
            .await
            .map(Arc::new)
    }

    fn guarded(&self, member: &Arc<Member>) -> Guarded {
        Guarded::new(self.store.clone(), member.clone())
    }

    async fn passes(&self, time: Duration) {
        self.hand.advance(time);
        tokio::time::advance(time).await;
    }
}

fn value(text: &str) -> Value {
    Bytes::from(text.to_owned()).into()
}

async fn writes(store: &Guarded, key: &str) -> bool {
    match store.create(key, value("x")).await {
        Ok(_) => true,
        Err(Failure::Barred(_)) => false,
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_store_begins_in_the_newest_format_and_an_existing_one_stays_in_its_own() {
    assert_eq!(Place::empty().join(NEW).await.unwrap().format().get(), NEW);
    let place = Place::old().await;
    assert_eq!(place.join(NEW).await.unwrap().format().get(), OLD);
    assert_eq!(place.join(OLD).await.unwrap().format().get(), OLD);
}

#[tokio::test(start_paused = true)]
async fn a_store_is_upgraded_when_no_older_version_runs() {
    let place = Place::old().await;
    let old = place.join(OLD).await.unwrap();
    let new = place.join(NEW).await.unwrap();
    let why = upgrade(&*place.store, NEW).await.unwrap_err();
    assert!(
        why.to_string()
            .contains("`wharfinger serve` 0.2 on a (process 1)")
            && !why.to_string().contains("0.3"),
        "{why}"
    );
    // The announcement was taken back.
    let again = place.join(OLD).await.unwrap();
    again.leave().await;
    old.leave().await;
    let done = Upgraded::Done { from: OLD, to: NEW };
    assert_eq!(upgrade(&*place.store, NEW).await.unwrap(), done);
    assert_eq!(new.format().get(), OLD);
    new.renew().await.unwrap();
    assert_eq!(new.format().get(), NEW);
    assert_eq!(upgrade(&*place.store, NEW).await.unwrap(), Upgraded::Already(NEW));
    assert!(matches!(
        place.join(OLD).await.unwrap_err(),
        NotUsable::Newer {
            format: NEW,
            newest: OLD
        }
    ));
    let lower = upgrade(&*place.store, OLD).await.unwrap_err();
    assert!(lower.to_string().contains("has format 3"), "{lower}");
    let left = replica::all(&*place.store).await.unwrap();
    assert_eq!(
        left.len(),
        1,
        "a process that may not start leaves no record: {left:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_taken_for_dead_does_not_write_after_the_upgrade() {
    let place = Place::old().await;
    let old = place.join(OLD).await.unwrap();
    let store = place.guarded(&old);
    assert!(writes(&store, "a").await);
    // It cannot renew its record.
    place.passes(LAPSES_AFTER).await;
    assert!(!writes(&store, "b").await);
    assert!(
        upgrade(&*place.store, NEW).await.is_err(),
        "it may have just written"
    );
    place.passes(DEAD_AFTER.saturating_sub(LAPSES_AFTER)).await;
    upgrade(&*place.store, NEW).await.unwrap();
    assert!(old.renew().await.is_err());
    let all = vec![
        Change {
            key: "c".to_owned(),
            expected: None,
            value: Some(value("x")),
        };
        2
    ];
    for done in [store.change_all(all.clone()).await, store.change_each(all).await] {
        assert_eq!(done.len(), 2);
        assert!(
            done.iter().all(|one| matches!(one, Err(Failure::Barred(_)))),
            "{done:?}"
        );
    }
    assert!(!writes(&store, "d").await);
    assert!(matches!(store.may_change(), Err(Failure::Barred(_))));
    assert!(store.get("a").await.unwrap().is_some(), "it still reads");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_comes_back_during_an_upgrade_waits_for_its_end() {
    let place = Place::old().await;
    let old = place.join(OLD).await.unwrap();
    let store = place.guarded(&old);
    place.passes(DEAD_AFTER).await;
    // The upgrade has announced itself and looked, and does not get on.
    let (_, version) = format::Format::read_or_create(&*place.store, NEW).await.unwrap();
    let announced = format::Format {
        format: OLD,
        next: Some(NEW),
    };
    let written = place.store.swap(FORMAT_KEY, &version, announced.value().unwrap());
    let version = written.await.unwrap();
    assert!(matches!(old.renew().await, Err(NotUsable::Upgrading { .. })));
    assert!(!writes(&store, "a").await);
    assert!(matches!(place.join(OLD).await, Err(NotUsable::Upgrading { .. })));
    // One that never lapsed is seen by every upgrade, so it goes on.
    let back = place
        .store
        .swap(FORMAT_KEY, &version, format::Format::of(OLD).value().unwrap());
    let version = back.await.unwrap();
    old.renew().await.unwrap();
    place
        .store
        .swap(FORMAT_KEY, &version, announced.value().unwrap())
        .await
        .unwrap();
    old.renew().await.unwrap();
    assert!(writes(&store, "a").await);
    assert!(matches!(
        upgrade(&*place.store, NEW).await,
        Err(NotUpgraded::InUse(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_was_removed_is_written_again_and_old_ones_are_removed() {
    let place = Place::old().await;
    let killed = place.join(OLD).await.unwrap();
    place.passes(FORGOTTEN_AFTER + Duration::from_secs(1)).await;
    drop(place.join(OLD).await.unwrap());
    assert_eq!(replica::all(&*place.store).await.unwrap().len(), 1);
    killed.renew().await.unwrap();
    killed.renew().await.unwrap();
    assert_eq!(replica::all(&*place.store).await.unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_exist_is_not_upgraded() {
    let place = Place::empty();
    assert!(matches!(
        upgrade(&*place.store, NEW).await,
        Err(NotUpgraded::NoStore)
    ));
    assert_eq!(replica::all(&*place.store).await.unwrap(), []);
}
