//! The check of the store for the readiness probe.

use super::*;
use crate::storage::Failure;

#[tokio::test]
async fn a_store_that_accepts_no_changes_is_not_ready() {
    let bench = Bench::new();
    let (registry, store) = bench.watched();
    for _ in 0..2 {
        registry.check_storage().await.unwrap();
    }
    store.refuses(Some(Failure::Stopped));
    assert!(matches!(
        registry.check_storage().await,
        Err(Error::Storage(Failure::Stopped))
    ));
    store.refuses(None);
    registry.check_storage().await.unwrap();
    assert_eq!(
        bench.keys("").await,
        ["h/probe"],
        "asking leaves one record, however often"
    );
}
