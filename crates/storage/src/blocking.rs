//! Runs blocking work on the runtime's threads for it.

use super::Failure;
use std::sync::Arc;

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Failure::Io(Arc::new(error))))
}
