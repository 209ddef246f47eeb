//! Tags: their order, their deletion, and the actions that they need.

use super::*;

const R: &str = "team/app";

fn limited(may_create: bool, may_update: bool) -> Permit<Write> {
    Permit::for_test_limited(R, alice(), may_create, may_update)
}

pub(super) async fn tag_names(registry: &Registry) -> Vec<String> {
    registry.tags(&read(R), "", 100).await.unwrap().entries
}

#[tokio::test]
async fn oci_39_tags_are_paged_in_the_order_of_their_bytes() {
    let bench = Bench::new();
    let digest = push_image(&bench.registry, R, "config", &json!({})).await;
    for name in ["b", "a", "B", "1.0", "a-b", "_"] {
        bench.put_tag(R, name, &digest).await;
    }
    let page = |after: &'static str, limit| {
        let registry = bench.registry.clone();
        async move {
            let page = registry.tags(&read(R), after, limit).await.unwrap();
            (page.entries.join(" "), page.more)
        }
    };
    assert_eq!(page("", 100).await, ("1.0 B _ a a-b b".into(), false));
    assert_eq!(page("", 2).await, ("1.0 B".into(), true));
    assert_eq!(page("B", 2).await, ("_ a".into(), true));
    assert_eq!(page("a", 2).await, ("a-b b".into(), false));
    assert_eq!(page("aa", 2).await, ("b".into(), false));
    assert_eq!(page("", 0).await, (String::new(), false));
}

#[tokio::test]
async fn oci_41_deleting_by_tag_deletes_the_tag_and_by_digest_the_manifest_with_all_tags() {
    let bench = Bench::new();
    let other = push_image(&bench.registry, R, "other", &json!({})).await;
    let digest = push_image(&bench.registry, R, "config", &json!({})).await;
    for (name, on) in [
        ("v1", &digest),
        ("v2", &digest),
        ("moved", &digest),
        ("other", &other),
        ("moved", &other),
    ] {
        bench
            .registry
            .put_tag(&write(R), &name.parse().unwrap(), on)
            .await
            .unwrap();
    }
    bench
        .registry
        .delete_manifest(&delete(R), &tag("v1"))
        .await
        .unwrap();
    assert!(matches!(
        bench.registry.delete_manifest(&delete(R), &tag("v1")).await,
        Err(Error::ManifestUnknown)
    ));
    assert_eq!(tag_names(&bench.registry).await, ["moved", "other", "v2"]);
    assert!(
        bench
            .registry
            .manifest(&read(R), &Reference::Digest(digest.clone()))
            .await
            .is_ok()
    );
    bench
        .registry
        .delete_manifest(&delete(R), &Reference::Digest(digest.clone()))
        .await
        .unwrap();
    assert_eq!(tag_names(&bench.registry).await, ["moved", "other"]);
    for reference in [tag("v2"), Reference::Digest(digest.clone())] {
        assert!(matches!(
            bench.registry.manifest(&read(R), &reference).await,
            Err(Error::ManifestUnknown)
        ));
    }
    assert!(matches!(
        bench
            .registry
            .delete_manifest(&delete(R), &Reference::Digest(digest))
            .await,
        Err(Error::ManifestUnknown)
    ));
    assert_eq!(bench.keys(&format!("r/{R}!/k/")).await.len(), 2);
}

#[tokio::test]
async fn without_update_a_tag_is_created_but_not_moved() {
    let bench = Bench::new();
    let registry = &bench.registry;
    let config = push_blob(registry, R, b"{}").await;
    let first = image(&config, &json!({"n": 1}));
    let second = image(&config, &json!({"n": 2}));
    let put = |permit: Permit<Write>, bytes: &Bytes| {
        let registry = registry.clone();
        let bytes = bytes.clone();
        async move {
            registry
                .put_manifest(&permit, &tag("v1"), Some(IMAGE), bytes)
                .await
                .map(|pushed| pushed.digest)
        }
    };
    assert!(matches!(
        put(limited(false, true), &first).await,
        Err(Error::TagMissing)
    ));
    put(limited(true, false), &first).await.unwrap();
    let before = bench.keys("").await;
    assert!(matches!(
        put(limited(true, false), &second).await,
        Err(Error::TagExists)
    ));
    assert_eq!(
        bench.keys("").await,
        before,
        "a rejected push leaves nothing behind"
    );
    // Every caller may push the digest that the tag already has.
    assert_eq!(put(limited(true, false), &first).await.unwrap(), sha256(&first));
    put(limited(false, true), &second).await.unwrap();
    assert_eq!(
        registry.manifest(&read(R), &tag("v1")).await.unwrap().digest,
        sha256(&second)
    );
    // Pushing a new manifest by digest needs `create`.
    let third = image(&config, &json!({"n": 3}));
    let reference = Reference::Digest(sha256(&third));
    assert!(matches!(
        registry
            .put_manifest(&limited(false, true), &reference, None, third)
            .await,
        Err(Error::TagMissing)
    ));
}
