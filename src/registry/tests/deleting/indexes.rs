//! A manifest is not deleted while an index needs it.

use super::*;
use crate::registry::states::manifest::ManifestState;

#[tokio::test]
async fn a_child_is_deleted_only_after_the_index_that_lists_it() {
    let bench = Bench::new();
    let child = push_image(&bench.registry, R, "config", &json!({})).await;
    let index = push_index(&bench.registry, &child).await.unwrap();
    let refused = bench
        .registry
        .delete_manifest(&delete(R), &Reference::Digest(child.clone()))
        .await;
    assert!(
        matches!(&refused, Err(Error::Listed { index: by }) if *by == index),
        "{refused:?}"
    );
    let found = bench
        .registry
        .records
        .read(&keys::manifest(&R.parse().unwrap(), &child))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        found.record.header.state,
        ManifestState::Com,
        "the manifest is unchanged"
    );
    bench
        .registry
        .delete_manifest(&delete(R), &Reference::Digest(index))
        .await
        .unwrap();
    bench
        .registry
        .delete_manifest(&delete(R), &Reference::Digest(child.clone()))
        .await
        .unwrap();
    assert_eq!(bench.keys("r/").await, [""; 0]);

    let sparse = bench.restarted().with(Settings {
        sparse: Repositories::parse(R).unwrap(),
        ..any_sizes()
    });
    push_image(&sparse, R, "config", &json!({})).await;
    push_index(&sparse, &child).await.unwrap();
    sparse
        .delete_manifest(&delete(R), &Reference::Digest(child))
        .await
        .unwrap();
}

/// The push had begun on top of a deletion, and the deletion left the marker, since the manifest was dying
/// again.
#[tokio::test]
async fn a_push_that_fails_clears_the_marker() {
    let bench = Bench::new();
    let child = push_image(&bench.registry, R, "config", &json!({})).await;
    let index = push_index(&bench.registry, &child).await.unwrap();
    for digest in [&index, &child] {
        bench
            .registry
            .delete_manifest(&delete(R), &Reference::Digest(digest.clone()))
            .await
            .unwrap();
    }
    bench
        .registry
        .records
        .mark(&keys::deletion(&R.parse().unwrap(), &index))
        .await
        .unwrap();
    let refused = push_index(&bench.registry, &child).await;
    assert!(matches!(refused, Err(Error::MissingReferences(_))), "{refused:?}");
    assert_eq!(bench.keys("x/").await, [""; 0]);
}

/// Deletes these manifests when an entry of a child is read for the first time.
struct Deleting {
    registry: Registry,
    manifests: Mutex<Vec<Digest>>,
}

impl Hook for Deleting {
    async fn before(&self, request: Request<'_>) -> Result<(), Failure> {
        if !matches!(request, Request::Get(key) if key.starts_with("r/team/app!/i/")) {
            return Ok(());
        }
        let manifests = std::mem::take(&mut *self.manifests.lock().unwrap());
        for digest in manifests {
            self.registry
                .delete_manifest(&delete(R), &Reference::Digest(digest))
                .await
                .unwrap();
        }
        Ok(())
    }
}

#[tokio::test]
async fn an_index_that_is_pushed_again_and_deleted_with_its_child_leaves_no_entry() {
    let bench = Bench::new();
    let child = push_image(&bench.registry, R, "config", &json!({})).await;
    let index = push_index(&bench.registry, &child).await.unwrap();
    let manifests = vec![index, child.clone()].into();
    let deleting = Deleting {
        registry: bench.registry.clone(),
        manifests,
    };
    let store = Hooked::over(bench.store.clone(), deleting);
    let refused = push_index(
        &Registry::new(store, bench.store.clone()).with(any_sizes()),
        &child,
    )
    .await;
    assert!(
        matches!(&refused, Err(Error::MissingReferences(missing)) if *missing == [child]),
        "{refused:?}"
    );
    assert_eq!(bench.keys("r/").await, [""; 0]);
}

#[tokio::test]
async fn an_index_of_thousands_is_pushed_and_deleted_with_few_commits() {
    let bench = Bench::new();
    let sparse = Settings {
        sparse: Repositories::parse(R).unwrap(),
        ..any_sizes()
    };
    let children: Vec<_> = (0..2500)
        .map(|number: u32| descriptor(IMAGE, &sha256(&number.to_be_bytes())))
        .collect();
    let bytes = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}).to_string();
    let reference = Reference::Digest(sha256(bytes.as_bytes()));
    let counting = Counting::new(u64::MAX);
    let registry = counting.registry(&bench).with(sparse);
    registry
        .put_manifest(&write(R), &reference, Some(INDEX), bytes.into())
        .await
        .unwrap();
    assert!(
        counting.commits.swap(0, Ordering::SeqCst) <= 6,
        "announced, three pages of entries, the catalogue, committed"
    );
    registry.delete_manifest(&delete(R), &reference).await.unwrap();
    assert!(
        counting.commits.load(Ordering::SeqCst) <= 9,
        "hidden, two for each of three pages, two for the rest"
    );
    assert_eq!(bench.keys("").await, [""; 0]);
}
