//! Follows the file of names and passwords.

use super::every;
use crate::http::Shared;
use std::time::Duration;

/// Reads the password file again when it has changed. A bad one changes nothing, and each cause is told once.
pub(super) async fn follow_passwords(live: Shared) {
    let mut ticks = every(EVERY);
    let mut told = Vec::new();
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
                told.clear();
                if changed {
                    tracing::info!(file = %passwords.path().display(), "names and passwords reloaded");
                }
            }
            Err(mistakes) if mistakes == told => {}
            Err(mistakes) => {
                for why in &mistakes {
                    tracing::error!(file = %passwords.path().display(), "names and passwords stay as they were: {why}");
                }
                told = mistakes;
            }
        }
    }
}

const EVERY: Duration = Duration::from_secs(2);
