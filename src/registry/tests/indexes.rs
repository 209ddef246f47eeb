//! An acknowledged index has its children, and an acknowledged manifest its blobs, even if it existed before
//! the push.

use super::watched::Asked;
use super::*;
use crate::storage::Failure;
use std::time::Duration;

const R: &str = "team/app";

impl Bench {
    /// The same store with sparse repositories.
    fn sparse(&self) -> Registry {
        self.restarted().with(Settings {
            sparse: Repositories::parse(R).unwrap(),
            ..any_sizes()
        })
    }

    /// The state of the manifest's record.
    async fn version(&self, digest: &Digest) -> crate::storage::Version {
        self.store
            .get(keys::manifest(&R.parse().unwrap(), digest).as_str())
            .await
            .unwrap()
            .unwrap()
            .version
    }

    async fn unlink(&self, digest: &Digest) {
        let key = keys::link(digest, &R.parse().unwrap());
        let version = self.store.get(key.as_str()).await.unwrap().unwrap().version;
        self.store.delete(key.as_str(), &version).await.unwrap();
    }
}

async fn yields(turns: u64) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}

async fn push(registry: &Registry, reference: &Reference, bytes: &Bytes) -> Result<Vec<Digest>, Error> {
    registry
        .put_manifest(&write(R), reference, None, bytes.clone())
        .await
        .map(|pushed| pushed.missing)
}

#[tokio::test]
async fn a_committed_manifest_that_lacks_content_is_not_acknowledged_again() {
    let bench = Bench::new();
    let first = push_image(&bench.registry, R, "1", &json!({})).await;
    let second = push_image(&bench.registry, R, "2", &json!({})).await;
    let images = index(&[&first, &second]);
    let config = push_blob(&bench.registry, R, b"config").await;
    let alone = image(&config, &json!({}));
    for bytes in [&images, &alone] {
        push(&bench.registry, &tag("v1"), bytes).await.unwrap();
    }
    bench
        .sparse()
        .delete_manifest(&delete(R), &Reference::Digest(second.clone()))
        .await
        .unwrap();
    bench.unlink(&config).await;
    for (bytes, lacks) in [(&images, &second), (&alone, &config)] {
        let digest = sha256(bytes);
        let before = bench.keys("r/").await;
        let version = bench.version(&digest).await;
        for reference in [tag("v1"), tag("v2"), Reference::Digest(digest.clone())] {
            let refused = push(&bench.registry, &reference, bytes).await;
            assert!(
                matches!(&refused, Err(Error::MissingReferences(missing)) if missing == std::slice::from_ref(lacks)),
                "{refused:?}"
            );
            assert_eq!(bench.version(&digest).await, version, "it is left as it is");
            assert_eq!(
                bench
                    .registry
                    .manifest(&read(R), &Reference::Digest(digest.clone()))
                    .await
                    .unwrap()
                    .bytes,
                bytes
            );
        }
        assert_eq!(
            bench.tagged(R, "v1").await,
            sha256(&alone),
            "the tag is where it was"
        );
        // A sparse repository accepts the push and names what is missing.
        assert_eq!(
            push(&bench.sparse(), &Reference::Digest(digest), bytes)
                .await
                .unwrap(),
            std::slice::from_ref(lacks)
        );
        assert_eq!(bench.keys("r/").await, before);
    }
    // The client pushes what the error names.
    push_image(&bench.registry, R, "2", &json!({})).await;
    push_blob(&bench.registry, R, b"config").await;
    for bytes in [&images, &alone] {
        assert_eq!(push(&bench.registry, &tag("v2"), bytes).await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_push_writes_missing_entries_of_a_committed_manifest() {
    let bench = Bench::new();
    let child = push_image(&bench.registry, R, "1", &json!({})).await;
    let subject = sha256(b"subject");
    let mut listing: Value = serde_json::from_slice(&index(&[&child])).unwrap();
    listing["subject"] = descriptor(IMAGE, &subject);
    let listing = Bytes::from(listing.to_string());
    let reference = Reference::Digest(sha256(&listing));
    push(&bench.registry, &reference, &listing).await.unwrap();
    let all = bench.keys("").await;
    for prefix in ["r/team/app!/i/", "r/team/app!/s/", "c/"] {
        let [key] = &bench.keys(prefix).await[..] else {
            panic!("{prefix}")
        };
        let version = bench.store.get(key).await.unwrap().unwrap().version;
        bench.store.delete(key, &version).await.unwrap();
    }
    push(&bench.registry, &reference, &listing).await.unwrap();
    assert_eq!(bench.keys("").await, all);
    let refused = bench
        .registry
        .delete_manifest(&delete(R), &Reference::Digest(child))
        .await;
    assert!(matches!(refused, Err(Error::Listed { .. })), "{refused:?}");
    assert_eq!(
        bench
            .registry
            .referrers(&read(R), &subject, None, None)
            .await
            .unwrap()
            .manifests
            .len(),
        1
    );
}

#[tokio::test]
async fn a_push_of_an_existing_index_reads_little_and_changes_only_its_tag() {
    let bench = Bench::new();
    let mut children = Vec::new();
    for number in 0..20 {
        children.push(push_image(&bench.registry, R, "config", &json!({"number": number})).await);
    }
    let listing = index(&children.iter().collect::<Vec<_>>());
    let (registry, store) = bench.watched();
    push(&registry, &tag("v1"), &listing).await.unwrap();
    bench.hand.advance(Duration::from_secs(3600));
    for (reference, changed) in [
        (Reference::Digest(sha256(&listing)), vec![]),
        (tag("v1"), vec!["r/team/app!/t/v1".to_owned()]),
    ] {
        store.asked();
        push(&registry, &reference, &listing).await.unwrap();
        let asked = store.asked();
        let changes = asked.iter().filter_map(|asked| match asked {
            Asked::Change(key) => Some(key.clone()),
            _ => None,
        });
        let changes: Vec<String> = changes.collect();
        assert_eq!(changes, changed);
        assert!(!asked.iter().any(|asked| matches!(asked, Asked::List { .. })));
        assert!(
            asked.len() <= 2 * children.len() + 10,
            "a child and its entry are read once: {}",
            asked.len()
        );
    }
}

/// Otherwise the manifest would prevent the deletion of what it needs, and could not be deleted itself.
#[tokio::test]
async fn a_push_that_fails_or_is_cancelled_does_not_protect_other_content() {
    let bench = Bench::new();
    let child = push_image(&bench.registry, R, "config", &json!({})).await;
    let listing = index(&[&child]);
    let reference = Reference::Digest(sha256(&listing));
    let before = bench.keys("").await;
    let (registry, store) = bench.watched();
    store.refuses_changes_of("r/team/app!/i/", Failure::Busy);
    let failed = push(&registry, &reference, &listing).await;
    assert!(matches!(failed, Err(Error::Storage(Failure::Busy))), "{failed:?}");
    assert_eq!(bench.keys("").await, before);

    for turns in 0..100 {
        let bench = Bench::new();
        push_image(&bench.registry, R, "config", &json!({})).await;
        let registry = bench.interleaved(turns);
        let permit = write(R);
        let given_up = Box::pin(registry.put_manifest(&permit, &reference, None, listing.clone()));
        drop(futures_util::future::select(given_up, Box::pin(yields(turns))).await);
        yields(1000).await;
        let found = bench
            .registry
            .records
            .read(&keys::manifest(&R.parse().unwrap(), &sha256(&listing)))
            .await
            .unwrap();
        assert!(
            found.is_none_or(|found| found.record.is_readable()),
            "cancelled after {turns} turns"
        );
    }
}

#[tokio::test]
async fn whether_a_child_may_be_deleted_follows_the_current_setting() {
    let bench = Bench::new();
    let child = push_image(&bench.registry, R, "1", &json!({})).await;
    // An index that was pushed while the repository was sparse still protects its children when it is not.
    push(&bench.sparse(), &tag("v1"), &index(&[&child]))
        .await
        .unwrap();
    let reference = Reference::Digest(child);
    assert!(matches!(
        bench.registry.delete_manifest(&delete(R), &reference).await,
        Err(Error::Listed { .. })
    ));
    bench
        .sparse()
        .delete_manifest(&delete(R), &reference)
        .await
        .unwrap();
    assert!(matches!(
        bench.registry.manifest(&read(R), &reference).await,
        Err(Error::ManifestUnknown)
    ));
}

#[tokio::test]
async fn a_tag_on_a_child_is_deleted_and_an_index_in_an_index_is_a_child_too() {
    let bench = Bench::new();
    let child = push_image(&bench.registry, R, "1", &json!({})).await;
    bench.put_tag(R, "amd64", &child).await;
    let inner = index(&[&child]);
    push(&bench.registry, &tag("inner"), &inner).await.unwrap();
    let listing =
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(INDEX, &sha256(&inner))]});
    let outer = Bytes::from(listing.to_string());
    push(&bench.registry, &tag("outer"), &outer).await.unwrap();
    let digests = [sha256(&outer), sha256(&inner), child].map(Reference::Digest);
    for (listed, by) in [(2, 1), (1, 0)] {
        let refused = bench.registry.delete_manifest(&delete(R), &digests[listed]).await;
        assert!(
            matches!(&refused, Err(Error::Listed { index }) if Reference::Digest(index.clone()) == digests[by]),
            "{refused:?}"
        );
    }
    for name in ["amd64", "inner", "outer"] {
        bench
            .registry
            .delete_manifest(&delete(R), &tag(name))
            .await
            .unwrap();
    }
    for reference in &digests {
        bench.registry.manifest(&read(R), reference).await.unwrap();
        bench
            .registry
            .delete_manifest(&delete(R), reference)
            .await
            .unwrap();
    }
    assert_eq!(bench.keys("r/").await, Vec::<String>::new());
}
