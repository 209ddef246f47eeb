//! The real stores start, keep conditions, and keep what was written when they are killed.

use super::super::SeaweedFs;
use super::{client, read, replacing};
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{Error, ObjectStore as _, ObjectStoreExt as _, PutMode};

/// Creates and replaces an object. `others` may be another way to the same store.
async fn keeps_conditions(store: &AmazonS3, others: &AmazonS3, key: &Path) {
    let first = store
        .put_opts(key, "1".into(), PutMode::Create.into())
        .await
        .unwrap();
    let again = others.put_opts(key, "2".into(), PutMode::Create.into()).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    others
        .put_opts(key, "3".into(), replacing(&first.e_tag).into())
        .await
        .unwrap();
    let stale = store
        .put_opts(key, "4".into(), replacing(&first.e_tag).into())
        .await;
    assert!(matches!(stale, Err(Error::Precondition { .. })), "{stale:?}");
    assert_eq!(read(store, key).await, "3");
}

#[tokio::test]
async fn seaweedfs_keeps_conditions_through_two_gateways_and_objects_when_it_is_killed() {
    let Some(mut store) = SeaweedFs::with_gateways(2) else {
        return;
    };
    let [first, second] = [store.place_at(0), store.place_at(1)].map(|place| client(&place));
    let key = Path::from("a/key");
    keeps_conditions(&first, &second, &key).await;
    store.kill_gateway(0);
    assert!(first.get(&key).await.is_err());
    assert_eq!(read(&second, &key).await, "3");
    store.restart_engine();
    store.restart_gateway(0);
    assert_eq!(read(&first, &key).await, "3");
    store.kill();
    assert!(second.get(&key).await.is_err());
    store.restart();
    assert_eq!(read(&first, &key).await, "3");
    assert_eq!(read(&second, &key).await, "3");
}
