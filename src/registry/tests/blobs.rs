//! Mounting and deleting blobs, and the catalogue.

use super::super::states::Condemnable;
use super::super::states::link::LinkState;
use super::*;
use crate::access::{Action, PatternRules, Policy, Reader, Rules};
use crate::identity::Identity;

#[tokio::test]
async fn oci_23_a_mount_needs_the_blob_in_the_named_repository() {
    let bench = Bench::new();
    let digest = push_blob(&bench.registry, "source", b"layer").await;
    let mount = |from: &'static str, to: &'static str| {
        let registry = bench.registry.clone();
        let digest = digest.clone();
        async move {
            registry
                .mount(&create(to), Some(&read(from)), None, &digest)
                .await
                .unwrap()
        }
    };
    assert!(!mount("elsewhere", "target").await);
    assert!(matches!(
        content(&bench.registry, "target", &digest).await,
        Err(Error::BlobUnknown)
    ));
    assert!(mount("source", "target").await);
    assert_eq!(
        content(&bench.registry, "target", &digest).await.unwrap(),
        "layer"
    );
    // The same mount succeeds again when the target already has the blob.
    assert!(!mount("elsewhere", "target").await);
    assert!(mount("source", "target").await);
    assert!(
        !bench
            .registry
            .mount(&create("third"), None, None, &digest)
            .await
            .unwrap()
    );
    assert_eq!(bench.keys("l/").await.len(), 2);
}

#[tokio::test]
async fn oci_41_a_blob_is_deleted_from_one_repository() {
    let bench = Bench::new();
    let digest = push_blob(&bench.registry, "a", b"layer").await;
    push_blob(&bench.registry, "b", b"layer").await;
    bench.registry.delete_blob(&delete("a"), &digest).await.unwrap();
    assert!(matches!(
        content(&bench.registry, "a", &digest).await,
        Err(Error::BlobUnknown)
    ));
    assert!(matches!(
        bench.registry.delete_blob(&delete("a"), &digest).await,
        Err(Error::BlobUnknown)
    ));
    assert_eq!(content(&bench.registry, "b", &digest).await.unwrap(), "layer");
    push_blob(&bench.registry, "a", b"layer").await;
    assert_eq!(content(&bench.registry, "a", &digest).await.unwrap(), "layer");
}

#[tokio::test]
async fn a_blob_that_a_manifest_needs_is_not_deleted() {
    let bench = Bench::new();
    let manifest = push_image(&bench.registry, "a", "config", &json!({})).await;
    let config = sha256(b"config");
    assert!(matches!(
        bench.registry.delete_blob(&delete("a"), &config).await,
        Err(Error::Referenced)
    ));
    assert_eq!(content(&bench.registry, "a", &config).await.unwrap(), "config");
    bench
        .registry
        .delete_manifest(&delete("a"), &Reference::Digest(manifest))
        .await
        .unwrap();
    bench.registry.delete_blob(&delete("a"), &config).await.unwrap();
}

#[tokio::test]
async fn a_repository_is_listed_from_its_first_upload_to_its_last_upload_or_manifest() {
    let bench = Bench::new();
    let listed = || async { bench.keys("c/").await };
    let first = bench.registry.start_upload(&create("a"), None).await.unwrap();
    let second = bench.registry.start_upload(&create("a"), None).await.unwrap();
    assert_eq!(listed().await, ["c/a!"]);
    bench.registry.cancel(&create("a"), &first.id).await.unwrap();
    assert_eq!(listed().await, ["c/a!"]);
    let manifest = push_image(&bench.registry, "a", "config", &json!({})).await;
    bench.registry.cancel(&create("a"), &second.id).await.unwrap();
    assert_eq!(listed().await, ["c/a!"]);
    bench
        .registry
        .delete_manifest(&delete("a"), &Reference::Digest(manifest))
        .await
        .unwrap();
    assert_eq!(listed().await, Vec::<String>::new());
    assert!(matches!(
        bench.registry.tags(&read("a"), "", 10).await,
        Err(Error::RepositoryUnknown)
    ));
}

#[tokio::test]
async fn reads_never_create_anything() {
    let bench = Bench::new();
    let digest = sha256(b"");
    let registry = &bench.registry;
    assert!(matches!(
        registry.manifest(&read("a"), &tag("v1")).await,
        Err(Error::RepositoryUnknown)
    ));
    assert!(matches!(
        registry.blob(&read("a"), &digest).await,
        Err(Error::BlobUnknown)
    ));
    assert!(matches!(
        registry.tags(&read("a"), "", 10).await,
        Err(Error::RepositoryUnknown)
    ));
    assert_eq!(
        registry
            .referrers(&read("a"), &digest, None, None)
            .await
            .unwrap()
            .manifests,
        []
    );
    assert!(
        !registry
            .mount(&create("a"), Some(&read("b")), None, &digest)
            .await
            .unwrap()
    );
    assert!(matches!(
        registry.delete_blob(&delete("a"), &digest).await,
        Err(Error::BlobUnknown)
    ));
    assert!(matches!(
        registry.delete_manifest(&delete("a"), &tag("v1")).await,
        Err(Error::RepositoryUnknown)
    ));
    assert_eq!(bench.keys("").await, Vec::<String>::new());
}

/// Every authenticated caller may read `open/**`.
fn policy() -> Policy {
    let rules = PatternRules {
        default: vec![Action::Read],
        ..PatternRules::default()
    };
    Policy::compile(Rules {
        repositories: vec![("open/**".into(), rules)],
        ..Rules::default()
    })
    .unwrap()
}

#[tokio::test]
async fn oci_23_a_mount_without_a_source_needs_a_repository_that_the_caller_may_read() {
    let bench = Bench::new();
    let policy = policy();
    let identity = Identity::for_test("alice", &[], alice());
    let reader = Reader::new(&policy, &identity);
    let digest = push_blob(&bench.registry, "closed/a", b"layer").await;
    assert!(
        !bench
            .registry
            .mount(&create("target"), None, Some(&reader), &digest)
            .await
            .unwrap()
    );
    push_blob(&bench.registry, "open/a", b"layer").await;
    assert!(
        bench
            .registry
            .mount(&create("target"), None, Some(&reader), &digest)
            .await
            .unwrap()
    );
    assert_eq!(
        content(&bench.registry, "target", &digest).await.unwrap(),
        "layer"
    );
    // A named source that lacks the blob is not replaced by another one.
    assert!(
        !bench
            .registry
            .mount(&create("third"), Some(&read("empty")), Some(&reader), &digest)
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn oci_40_the_catalogue_shows_what_the_caller_may_read_in_the_order_of_bytes() {
    let bench = Bench::new();
    let policy = policy();
    let identity = Identity::for_test("alice", &[], alice());
    for name in ["open/b", "closed/a", "open/a/b", "open/a", "open/a-b", "zzz"] {
        bench.registry.start_upload(&create(name), None).await.unwrap();
    }
    let page = |after: &'static str, limit| {
        let registry = bench.registry.clone();
        let reader = Reader::new(&policy, &identity);
        async move {
            let page = registry.catalog(&reader, after, limit).await.unwrap();
            (page.entries.join(" "), page.more)
        }
    };
    assert_eq!(
        page("", 10).await,
        ("open/a open/a-b open/a/b open/b".into(), false)
    );
    assert_eq!(page("", 2).await, ("open/a open/a-b".into(), true));
    assert_eq!(page("open/a-b", 2).await, ("open/a/b open/b".into(), false));
    assert_eq!(page("open/a0", 1).await, ("open/b".into(), false));
    assert_eq!(page("", 0).await, (String::new(), false));
    let anonymous = Identity::anonymous();
    assert_eq!(
        bench
            .registry
            .catalog(&Reader::new(&policy, &anonymous), "", 10)
            .await
            .unwrap()
            .entries,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn a_pusher_that_finds_a_blob_may_rely_on_it_for_half_a_day() {
    let bench = Bench::new();
    let digest = push_blob(&bench.registry, "a", b"layer").await;
    let key = keys::link(&digest, &"a".parse().unwrap());
    let at = || async { bench.registry.records.read(&key).await.unwrap().unwrap().written };
    let pushed = at().await;
    bench.hand.advance(std::time::Duration::from_secs(11 * 3600));
    let keep = |repository: &'static str| {
        let registry = bench.registry.clone();
        let digest = digest.clone();
        async move {
            registry
                .keep_blob(&read(repository), &create(repository), &digest)
                .await
        }
    };
    assert_eq!(keep("a").await.unwrap(), 5);
    assert_eq!(at().await, pushed, "young enough");
    bench.hand.advance(std::time::Duration::from_secs(3600));
    bench.registry.blob(&read("a"), &digest).await.unwrap();
    assert_eq!(at().await, pushed, "reading alone changes nothing");
    assert_eq!(keep("a").await.unwrap(), 5);
    assert_eq!(at().await, bench.store.now());
    // The same holds for a push or a mount of existing content.
    for again in 0..2 {
        bench.hand.advance(std::time::Duration::from_secs(13 * 3600));
        match again {
            0 => drop(push_blob(&bench.registry, "a", b"layer").await),
            _ => assert!(
                bench
                    .registry
                    .mount(&create("a"), Some(&read("a")), None, &digest)
                    .await
                    .unwrap()
            ),
        }
        assert_eq!(at().await, bench.store.now());
    }
    assert!(matches!(keep("b").await, Err(Error::BlobUnknown)));
    assert_eq!(bench.keys("l/").await.len(), 1, "asking creates nothing");
    // A collector or a deletion that has condemned the link finds it rescued.
    let found = bench.registry.records.read(&key).await.unwrap().unwrap();
    let version = bench
        .registry
        .records
        .swap(&key, &found.base(), &found.record.condemned())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(keep("a").await.unwrap(), 5);
    assert!(
        !bench.registry.records.delete(&key, &version).await.unwrap(),
        "the collector's decision fails after the rescue"
    );
    // A caller that may only read gets the same answer and changes nothing.
    assert_eq!(bench.registry.blob(&read("a"), &digest).await.unwrap().size, 5);
    let found = bench.registry.records.read(&key).await.unwrap().unwrap();
    assert_eq!(found.record.state, LinkState::Live);
    // If the blob was deleted meanwhile, a client that does not find it pushes it again.
    assert!(bench.registry.records.delete(&key, &found.version).await.unwrap());
    assert!(matches!(keep("a").await, Err(Error::BlobUnknown)));
}
