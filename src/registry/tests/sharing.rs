//! Quotas on a store that several processes share.

use super::super::collect::Pace;
use super::*;
use crate::access::Maintenance;
use crate::secret::Secret;
use crate::storage::bucket;
use crate::storage::bucket::{Bucket, Credentials, Parts, Provider, Tls};
use futures_util::future::join_all;
use std::time::Duration;
use wharfinger_testkit::s3::{Fake, Place};

const R: &str = "team/app";

fn owner() -> Maintenance {
    Maintenance::by_the_stores_owner()
}

fn settings(total: u64) -> Settings {
    Settings {
        quotas: Quotas {
            total: Some(total),
            repositories: vec![RepositoryQuota {
                pattern: "team/**".to_owned(),
                repositories: Repositories::parse("team/**").unwrap(),
                bytes: 1_000_000,
            }],
        },
        shared: true,
        ..any_sizes()
    }
}

async fn open(place: &Place) -> Arc<Bucket> {
    let settings = bucket::Settings {
        provider: Provider::S3,
        bucket: place.bucket.clone(),
        root: String::new(),
        region: Some(place.region.clone()),
        endpoint: Some(place.endpoint.clone()),
        path_style: true,
        tls: Tls {
            plain: true,
            ..Tls::default()
        },
        parts: Parts::default(),
        credentials: Credentials::Given {
            access_key: place.access_key.clone(),
            secret_key: Secret::new(place.secret_key.clone()),
            session_token: None,
        },
    };
    Arc::new(Bucket::open(settings).await.unwrap())
}

/// Three replicas on one S3, after the first count.
async fn three(fake: &Fake, total: u64) -> Vec<Registry> {
    let mut replicas = Vec::new();
    for name in ["one", "two", "three"] {
        let bucket = open(fake.place()).await;
        let registry = Registry::new(bucket.clone(), bucket).with(settings(total));
        registry.load_usage(&owner()).await.unwrap();
        if replicas.is_empty() {
            assert!(!registry.shares_known_usage(&owner()));
            registry.count_usage(&owner(), Pace::UNBOUNDED).await.unwrap();
            registry.keep_usage(&owner()).await.unwrap();
        }
        assert!(registry.shares_known_usage(&owner()), "{name} need not count");
        replicas.push(registry);
    }
    replicas
}

fn used(registry: &Registry) -> Vec<u64> {
    registry.quotas().iter().map(|quota| quota.used).collect()
}

/// The use that a count of everything finds.
async fn counted(fake: &Fake) -> Vec<u64> {
    let bucket = open(fake.place()).await;
    let registry = Registry::new(bucket.clone(), bucket).with(Settings {
        shared: false,
        ..settings(1_000_000)
    });
    registry.count_usage(&owner(), Pace::UNBOUNDED).await.unwrap();
    used(&registry)
}

async fn keep_all(replicas: &[Registry]) {
    let kept = join_all(replicas.iter().map(async |one| one.keep_usage(&owner()).await)).await;
    kept.into_iter().for_each(|one| one.unwrap());
}

async fn push(registry: &Registry, repository: &str, content: &str) -> Result<Digest, Error> {
    try_push_blob(registry, repository, content.as_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_without_quotas_leaves_the_counters_of_the_others() {
    let fake = Fake::start().await;
    let replicas = three(&fake, 1_000_000).await;
    push(&replicas[0], R, "a blob of some bytes").await.unwrap();
    keep_all(&replicas).await;
    let bucket = open(fake.place()).await;
    let without = Registry::new(bucket.clone(), bucket).with(Settings {
        quotas: Quotas::default(),
        ..settings(1_000_000)
    });
    without.keep_usage(&owner()).await.unwrap();
    let bucket = open(fake.place()).await;
    let next = Registry::new(bucket.clone(), bucket).with(settings(1_000_000));
    next.load_usage(&owner()).await.unwrap();
    assert!(next.shares_known_usage(&owner()));
    assert_eq!(used(&next), [20, 20]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_replicas_add_beside_each_other_adds_up() {
    let fake = Fake::start().await;
    let replicas = three(&fake, 1_000_000).await;
    for round in 0..3 {
        join_all(replicas.iter().enumerate().map(async |(number, replica)| {
            for blob in 0..5 {
                let content = format!("{round} {number} {blob}");
                push(replica, R, &content).await.unwrap();
                push(replica, &format!("team/{number}"), &content).await.unwrap();
                push(replica, R, &format!("the same for all: {round} {blob}"))
                    .await
                    .unwrap();
                if blob == 2 {
                    replica.keep_usage(&owner()).await.unwrap();
                }
            }
            push_image(
                replica,
                R,
                &format!("{number}-{round}"),
                &json!({"annotations": {"a": number.to_string()}}),
            )
            .await;
        }))
        .await;
        // What another replica pushed is deleted here, so the difference of this one is negative.
        let content = format!("{round} 0 1");
        let digest = sha256(content.as_bytes());
        replicas[2].delete_blob(&delete("team/0"), &digest).await.unwrap();
        keep_all(&replicas).await;
    }
    keep_all(&replicas).await;
    let counted = counted(&fake).await;
    for replica in &replicas {
        assert_eq!(used(replica), counted);
    }
    assert!(counted[0] > 100);
    // The next start knows the sum.
    let bucket = open(fake.place()).await;
    let next = Registry::new(bucket.clone(), bucket).with(settings(1_000_000));
    next.load_usage(&owner()).await.unwrap();
    assert_eq!(used(&next), counted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_exceeded_by_the_room_of_the_other_replicas_at_most() {
    let fake = Fake::start().await;
    let total = 1000;
    let replicas = three(&fake, total).await;
    let accepted = join_all(replicas.iter().enumerate().map(async |(number, replica)| {
        let mut accepted = 0;
        for blob in 0..20 {
            let content = format!("{number:50}{blob:50}");
            match push(replica, R, &content).await {
                Ok(_) => accepted += content.len() as u64,
                Err(Error::QuotaExceeded(_)) => {}
                Err(why) => panic!("{why}"),
            }
        }
        accepted
    }))
    .await;
    // Each replica keeps within the room that it knew.
    assert_eq!(accepted, [total; 3]);
    keep_all(&replicas).await;
    keep_all(&replicas).await;
    for replica in &replicas {
        assert_eq!(used(replica)[0], 3 * total);
        assert!(matches!(
            push(replica, R, "one more").await,
            Err(Error::QuotaExceeded(_))
        ));
    }
}

/// Two processes on one store in memory.
fn two(bench: &Bench) -> [Registry; 2] {
    [(); 2].map(|()| bench.restarted().with(settings(1_000_000)))
}

#[tokio::test(start_paused = true)]
async fn a_count_corrects_the_counters_when_the_others_have_written_theirs() {
    let bench = Bench::new();
    let [one, two] = two(&bench);
    one.count_usage(&owner(), Pace::UNBOUNDED).await.unwrap();
    one.keep_usage(&owner()).await.unwrap();
    two.load_usage(&owner()).await.unwrap();
    push(&two, R, "of a process that was killed").await.unwrap();
    drop(two);
    push(&one, R, "another").await.unwrap();
    one.keep_usage(&owner()).await.unwrap();
    assert_eq!(used(&one), [7, 7]);
    one.count_usage(&owner(), Pace::UNBOUNDED).await.unwrap();
    one.keep_usage(&owner()).await.unwrap();
    assert_eq!(used(&one), [7, 7], "another process may be about to write it");
    tokio::time::advance(Duration::from_secs(150)).await;
    one.keep_usage(&owner()).await.unwrap();
    assert_eq!(used(&one), [35, 35]);
    one.keep_usage(&owner()).await.unwrap();
    let next = bench.restarted().with(settings(1_000_000));
    next.load_usage(&owner()).await.unwrap();
    assert_eq!(used(&next), [35, 35]);
}
