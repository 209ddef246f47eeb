//! Reloads the password file when it changes.

use super::every;
use crate::http::Shared;
use std::time::Duration;

/// Never ends. A file with a mistake is ignored, and each cause is logged once.
pub(super) async fn follow_passwords(live: Shared) {
    let mut ticks = every(EVERY);
    let mut logged = Vec::new();
    loop {
        ticks.tick().await;
        let Some(passwords) = live.load().authenticator.passwords().cloned() else {
            continue;
        };
        let reading = passwords.clone();
        let Ok(reloaded) = tokio::task::spawn_blocking(move || reading.reload()).await else {
            return std::future::pending().await;
        };
        match reloaded {
            Ok(changed) => {
                logged.clear();
                if changed {
                    tracing::info!(file = %passwords.path().display(), "password file reloaded");
                }
            }
            Err(mistakes) if mistakes == logged => {}
            Err(mistakes) => {
                for why in &mistakes {
                    tracing::error!(file = %passwords.path().display(), "cannot reload the password file, so its last version stays in use: {why}");
                }
                logged = mistakes;
            }
        }
    }
}

const EVERY: Duration = Duration::from_secs(2);
