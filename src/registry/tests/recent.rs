//! A store that several processes share may answer a client's GET from a short cache. The store here does so for
//! as long as it can: it returns each record as it was when a GET first read it.

use super::*;
use crate::storage::{Failure, Record};
use std::collections::HashMap;
use std::sync::Mutex;
use wharfinger_testkit::{Hook, Hooked, Reply, Request};

const R: &str = "team/app";

#[derive(Default)]
struct Stale {
    seen: Mutex<HashMap<String, Record>>,
    asked: Mutex<Vec<String>>,
}

impl Hook for Stale {
    async fn before(&self, request: Request<'_>) -> Result<(), Failure> {
        if let Request::GetRecent(key) = request {
            self.asked.lock().unwrap().push(key.to_owned());
        }
        Ok(())
    }

    async fn after(&self, request: Request<'_>, reply: Reply<'_>) {
        let (Request::GetRecent(key), Reply::Record(Ok(found))) = (request, reply) else {
            return;
        };
        let mut seen = self.seen.lock().unwrap();
        match (seen.get(key), &found) {
            (Some(old), Some(_)) => *found = Some(old.clone()),
            (Some(old), None) => *found = Some(old.clone()),
            (None, Some(new)) => drop(seen.insert(key.to_owned(), new.clone())),
            (None, None) => {}
        }
    }
}

struct Shared {
    bench: Bench,
    hook: Arc<Stale>,
    /// A process with the cache.
    cached: Registry,
}

impl Shared {
    fn new() -> Self {
        let bench = Bench::new();
        let store = Hooked::over(bench.store.clone(), Stale::default());
        Self {
            cached: Registry::new(store.clone(), bench.store.clone()).with(any_sizes()),
            hook: store.hook.clone(),
            bench,
        }
    }
}

/// Pulls an image through the cache, which remembers it, and deletes it by another process.
async fn pulled_and_deleted(shared: &Shared) -> (Digest, Digest) {
    let registry = &shared.bench.registry;
    let config = push_blob(registry, R, b"config").await;
    let digest = push_image(registry, R, "config", &json!({})).await;
    shared.bench.put_tag(R, "v1", &digest).await;
    for reference in [Reference::Digest(digest.clone()), tag("v1")] {
        shared.cached.pull_manifest(&read(R), &reference).await.unwrap();
    }
    shared.cached.pull_blob(&read(R), &config, None).await.unwrap();
    let reference = Reference::Digest(digest.clone());
    registry.delete_manifest(&delete(R), &reference).await.unwrap();
    registry.delete_blob(&delete(R), &config).await.unwrap();
    (config, digest)
}

#[tokio::test]
async fn only_a_get_is_answered_from_the_cache_and_never_for_a_tag() {
    let shared = Shared::new();
    let (config, digest) = pulled_and_deleted(&shared).await;
    let cached = &shared.cached;
    let reference = Reference::Digest(digest.clone());
    cached.pull_manifest(&read(R), &reference).await.unwrap();
    cached.pull_blob(&read(R), &config, None).await.unwrap();
    let by_tag = cached.pull_manifest(&read(R), &tag("v1")).await;
    assert!(by_tag.is_err(), "the tag is gone");

    shared.hook.asked.lock().unwrap().clear();
    assert!(cached.manifest(&read(R), &reference).await.is_err());
    assert!(
        cached
            .keep_manifest(&read(R), &create(R), &reference)
            .await
            .is_err()
    );
    assert!(cached.blob(&read(R), &config).await.is_err());
    assert!(cached.keep_blob(&read(R), &create(R), &config).await.is_err());
    let mounted = cached
        .mount(&create("other"), Some(&read(R)), None, &config)
        .await;
    assert!(!mounted.unwrap());
    for missing in [image(&config, &json!({"a": 1})), index(&[&digest])] {
        let pushed = cached.put_manifest(&write(R), &tag("v2"), None, missing).await;
        assert!(matches!(pushed, Err(Error::MissingReferences(_))), "{pushed:?}");
    }
    assert!(cached.delete_manifest(&delete(R), &reference).await.is_err());
    assert!(cached.delete_blob(&delete(R), &config).await.is_err());
    push_image(cached, R, "config", &json!({})).await;
    assert_eq!(*shared.hook.asked.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_moved_tag_is_followed_at_once() {
    let shared = Shared::new();
    let registry = &shared.bench.registry;
    let digests = [
        push_image(registry, R, "one", &json!({})).await,
        push_image(registry, R, "two", &json!({})).await,
    ];
    for digest in &digests {
        shared.bench.put_tag(R, "v1", digest).await;
        let found = shared.cached.pull_manifest(&read(R), &tag("v1")).await.unwrap();
        assert_eq!(found.digest, *digest);
    }
    let manifests = |asked: &[String]| asked.iter().all(|key| key.starts_with("r/team/app!/m/"));
    assert!(manifests(&shared.hook.asked.lock().unwrap()));
}

#[tokio::test]
async fn a_hidden_manifest_in_the_cache_does_not_hide_the_present_one() {
    let shared = Shared::new();
    let registry = &shared.bench.registry;
    let digest = push_image(registry, R, "config", &json!({})).await;
    shared.bench.put_tag(R, "v1", &digest).await;
    let key = shared.bench.keys("r/team/app!/m/").await[0].clone();
    let mut pending = shared.bench.store.get(&key).await.unwrap().unwrap();
    let text = String::from_utf8(pending.value.to_vec()).unwrap();
    pending.value = text.replacen("\"com\"", "\"pend\"", 1).into();
    // A decoded record is found by its version.
    pending.version = shared
        .bench
        .store
        .create("another", Bytes::from("1").into())
        .await
        .unwrap();
    shared.hook.seen.lock().unwrap().insert(key, pending);
    for reference in [Reference::Digest(digest), tag("v1")] {
        shared.cached.pull_manifest(&read(R), &reference).await.unwrap();
    }
}

#[tokio::test]
async fn replaced_bytes_are_served_although_the_cache_names_the_old_ones() {
    let shared = Shared::new();
    let registry = &shared.bench.registry;
    let content = push_blob(registry, R, b"content").await;
    shared.cached.pull_blob(&read(R), &content, None).await.unwrap();
    let link = keys::link(&content, read(R).repository());
    let (old, _) = registry.held(&read(R), &content).await.unwrap().unwrap();
    shared
        .bench
        .store
        .remove(&old, &Default::default())
        .await
        .unwrap();
    // The next push finds the damage and replaces the bytes.
    push_blob(registry, R, b"content").await;
    assert!(shared.hook.seen.lock().unwrap().contains_key(link.as_str()));
    let pulled = shared.cached.pull_blob(&read(R), &content, None).await.unwrap();
    assert_eq!(&pulled.file.read(0, 100).await.unwrap()[..], b"content");
}

/// After an acknowledged push, a pull through another process finds the image.
#[tokio::test]
async fn what_did_not_exist_is_asked_for_again() {
    let shared = Shared::new();
    let digest = sha256(&image(&sha256(b"config"), &json!({})));
    let reference = Reference::Digest(digest);
    assert!(shared.cached.pull_manifest(&read(R), &reference).await.is_err());
    assert!(
        shared
            .cached
            .pull_blob(&read(R), &sha256(b"config"), None)
            .await
            .is_err()
    );
    push_image(&shared.bench.registry, R, "config", &json!({})).await;
    shared.cached.pull_manifest(&read(R), &reference).await.unwrap();
    shared
        .cached
        .pull_blob(&read(R), &sha256(b"config"), None)
        .await
        .unwrap();
}
