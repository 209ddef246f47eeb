//! Waits for a state that no event announces, by asking again and again. No test waits longer than
//! [`PATIENCE`].

use super::PATIENCE;
use std::time::Duration;

/// The time between two questions.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks until there is an answer, and returns it. Panics with `what` if none comes.
pub(crate) async fn eventually<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> T {
    answer(ask)
        .await
        .unwrap_or_else(|| panic!("not within {PATIENCE:?}: {what}"))
}

/// Like [`eventually`], but returns `None` if no answer comes.
pub(crate) async fn answer<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let asking = async {
        loop {
            match ask().await {
                Some(answer) => return answer,
                None => tokio::time::sleep(PAUSE).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.ok()
}
