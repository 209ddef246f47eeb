//! Who has a bucket for one process, on a store that ignores conditions and on one that keeps them.

use super::*;
use crate::Failure;
use crate::bucket::Bucket;
use crate::contract::{RecordStore as _, Value};
use crate::tests::buckets;
use std::time::Duration;
use wharfinger_base::clock::{Clock, ManualClock};
use wharfinger_testkit::s3::{Conditions, Fake, Fault, On, Operation, Rules, When};

const QUICK: Times = Times {
    every: Duration::from_millis(20),
    old: Duration::from_secs(90),
    pause: Duration::from_millis(100),
};

struct World {
    fake: Fake,
    hand: ManualClock,
}

impl World {
    async fn new(change: impl FnOnce(&mut Rules)) -> Self {
        let (clock, hand) = Clock::manual(Clock::system().now());
        let fake = Fake::start_at(clock).await;
        fake.set_rules(change);
        // The races of a first start are tested elsewhere. They take long where many tests run at once.
        fake.put("probe/passed", r#"{"version": 1}"#);
        Self { fake, hand }
    }

    /// On each kind of store.
    async fn each() -> [Self; 2] {
        [
            Self::new(|_| {}).await,
            Self::new(|rules| rules.conditions = Conditions::Ignored).await,
        ]
    }

    async fn bucket(&self) -> Bucket {
        let mut settings = buckets::settings(self.fake.place());
        settings.root.clear();
        let bucket = Bucket::open(settings).await.unwrap();
        bucket.probe_for_one().await.unwrap();
        bucket
    }

    /// Another process has written the object.
    fn replaced(&self) -> Holder {
        let other = Holder {
            host: "another-host".to_owned(),
            ..Holder::new(Timestamp::from_secs(0))
        };
        self.fake.put(KEY, other.bytes());
        other
    }

    fn holder(&self) -> Option<Holder> {
        let object = self.fake.object(KEY)?;
        Some(serde_json::from_slice(&object.body).unwrap())
    }
}

fn value() -> Value {
    Bytes::from_static(b"value").into()
}

/// Waits until a write is refused, and returns why.
async fn until_refused(bucket: &Bucket) -> String {
    for number in 0.. {
        match bucket.create(&format!("a/{number}"), value()).await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(Failure::Barred(why)) => return why.to_string(),
            Err(why) => panic!("{why}"),
        }
    }
    unreachable!()
}

#[tokio::test]
async fn a_second_process_is_refused_until_the_first_has_stopped_or_is_old() {
    for world in World::each().await {
        let bucket = world.bucket().await;
        let hold = take(&bucket.objects, QUICK).await.unwrap();
        let second = world.bucket().await;
        world.hand.advance(Duration::from_secs(30));
        let why = take(&second.objects, QUICK).await.unwrap_err().to_string();
        let refused = refuse_if_held(&second.objects, QUICK).await;
        assert!(matches!(refused, Err(NotAlone::Held { .. })), "{refused:?}");
        let since = world.holder().unwrap().since;
        for part in [
            "Stop that registry",
            "remove singleReplica",
            &since,
            &std::process::id().to_string(),
            &world.fake.place().endpoint,
        ] {
            assert!(why.contains(part), "{part}: {why}");
        }
        hold.release().await;
        assert_eq!(world.holder(), None);
        // The next start is immediate.
        let hold = take(&second.objects, QUICK).await.unwrap();
        // A process that was killed renews nothing.
        hold.renewing.abort();
        let third = world.bucket().await;
        world.hand.advance(QUICK.old - Duration::from_secs(2));
        let Err(NotAlone::Held { wait, .. }) = take(&third.objects, QUICK).await else {
            panic!("it is young");
        };
        assert!((2..=4).contains(&wait), "{wait}");
        world.hand.advance(Duration::from_secs(wait));
        take(&third.objects, QUICK).await.unwrap();
    }
}

#[tokio::test]
async fn a_process_whose_object_was_replaced_writes_nothing_and_says_why() {
    for world in World::each().await {
        let bucket = world.bucket().await;
        let hold = take(&bucket.objects, QUICK).await.unwrap();
        let record = bucket.create("b", value()).await.unwrap();
        let other = world.replaced();
        let why = until_refused(&bucket).await;
        assert!(why.contains("another-host") && why.contains("restart"), "{why}");
        assert!(bucket.get("b").await.unwrap().is_some(), "reads work");
        let may_change = bucket.may_change();
        assert!(matches!(may_change, Err(Failure::Barred(_))), "{may_change:?}");
        let swapped = bucket.swap("b", &record, value()).await;
        assert!(matches!(swapped, Err(Failure::Barred(_))), "{swapped:?}");
        let deleted = bucket.delete("b", &record).await;
        assert!(matches!(deleted, Err(Failure::Barred(_))), "{deleted:?}");
        for refused in [
            bucket.objects.delete("b").await,
            bucket.objects.copy("records/b", "c").await,
            bucket.objects.begin("c").await.map(drop),
            bucket
                .objects
                .put_part("c", "id", 0, Bytes::new())
                .await
                .map(drop),
            bucket.objects.complete("c", "id", &[]).await,
            bucket.objects.delete_if("b", "\"tag\"").await.map(drop),
        ] {
            let why = bucket.objects.failure(refused.unwrap_err());
            assert!(matches!(why, Failure::Barred(_)), "{why}");
        }
        hold.release().await;
        assert_eq!(world.holder(), Some(other), "the other one's object stays");
    }
}

#[tokio::test]
async fn an_outage_of_the_store_does_not_lose_the_bucket() {
    for world in World::each().await {
        let bucket = world.bucket().await;
        let hold = take(&bucket.objects, QUICK).await.unwrap();
        let on = On::operation(Operation::Put).key(KEY);
        world.fake.inject(on.clone(), Fault::Close(When::After));
        world.fake.inject(on, Fault::Close(When::Before));
        let before = world.holder().unwrap().renewed;
        let renewed = async {
            while world.holder().unwrap().renewed < before + 6 {
                tokio::time::sleep(QUICK.every).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(180), renewed)
            .await
            .unwrap();
        // Somebody removed it.
        world.fake.remove(KEY);
        let written = async {
            while world.holder().is_none() {
                tokio::time::sleep(QUICK.every).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(180), written)
            .await
            .unwrap();
        assert_eq!(world.holder().unwrap().id, hold.id);
        bucket.create("b", value()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_processes_that_start_at_once_one_has_the_bucket() {
    for world in World::each().await {
        let mut starting = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let bucket = world.bucket().await;
            starting.spawn(async move {
                let hold = take(&bucket.objects, QUICK).await;
                (bucket, hold)
            });
        }
        let started = starting.join_all().await;
        let holding: Vec<_> = started.iter().filter_map(|one| one.1.as_ref().ok()).collect();
        assert_eq!(holding.len(), 1, "{started:?}");
        assert_eq!(world.holder().unwrap().id, holding[0].id);
    }
}
