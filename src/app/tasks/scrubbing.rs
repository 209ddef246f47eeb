//! Hashes all content again while the registry serves, as configured in `storage.scrub`.

use super::every;
use crate::access::Maintenance;
use crate::config::Scrubbing;
use crate::registry::scrub::Scrubbed;
use crate::registry::{Error, Leased, Registry, Work};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// Never ends. A change of the settings interrupts a walk, which then continues with the new settings.
pub(super) async fn scrub(registry: Registry, mut settings: watch::Receiver<Option<Scrubbing>>) {
    let walks = async {
        loop {
            let present = *settings.borrow_and_update();
            tokio::select! {
                () = walk_again_and_again(&registry, present) => {}
                changed = settings.changed() => {
                    if changed.is_err() {
                        return std::future::pending().await;
                    }
                }
            }
        }
    };
    tokio::join!(walks, measure(&registry));
}

/// Never ends.
async fn walk_again_and_again(registry: &Registry, settings: Option<Scrubbing>) {
    let Some(Scrubbing { period, rate }) = settings else {
        return std::future::pending().await;
    };
    let owner = Maintenance::by_the_stores_owner();
    // A registry that keeps restarting should not begin with this work each time.
    sleep(FIRST_AFTER.min(period)).await;
    let mut failed = None;
    loop {
        sleep(registry.next_scrub(&owner, period).await).await;
        let lease = match registry.lease(&owner, Work::Scrub).await {
            Ok(Leased::Granted(lease)) => lease,
            // The other process keeps the position of its walk in the store.
            Ok(Leased::Held { .. }) => {
                sleep(AGAIN_AFTER).await;
                continue;
            }
            Err(why) => {
                fail(&mut failed, &why);
                sleep(AGAIN_AFTER).await;
                continue;
            }
        };
        match registry.scrub(&owner, rate).await {
            Ok(done) => {
                lease.complete().await;
                failed = None;
                report(&done, period);
            }
            Err(why) => {
                fail(&mut failed, &why);
                sleep(AGAIN_AFTER).await;
            }
        }
    }
}

fn report(done: &Scrubbed, period: Duration) {
    let Scrubbed {
        blobs,
        manifests,
        bytes,
        damaged,
        took,
    } = *done;
    let seconds = took.as_secs();
    metrics::gauge!("wharfinger_scrub_age_seconds").set(0);
    tracing::info!(
        scrub.blobs = blobs,
        scrub.manifests = manifests,
        scrub.bytes = bytes,
        scrub.damaged = damaged,
        scrub.seconds = seconds,
        "a scrub has checked all blobs and manifests"
    );
    if damaged > 0 {
        tracing::error!(
            scrub.damaged = damaged,
            "the scrub found damaged blobs or manifests: earlier lines name them and their repositories; push these images again"
        );
    }
    if took > period {
        tracing::warn!(
            config.key = "storage.scrub",
            scrub.seconds = seconds,
            "the scrub took longer than storage.scrub.period: raise the period or storage.scrub.rate"
        );
    }
}

/// Logs a failure, unless the last one had the same reason.
fn fail(failed: &mut Option<String>, why: &Error) {
    let why = why.to_string();
    if failed.as_ref() != Some(&why) {
        tracing::error!("the scrub failed and will be tried again: {why}");
        *failed = Some(why);
    }
}

/// Never ends.
async fn measure(registry: &Registry) {
    let owner = Maintenance::by_the_stores_owner();
    let mut ticks = every(MEASURED_EVERY);
    loop {
        ticks.tick().await;
        if let Some(age) = registry.since_last_scrub(&owner).await {
            metrics::gauge!("wharfinger_scrub_age_seconds").set(age.as_secs_f64());
        }
    }
}

const FIRST_AFTER: Duration = Duration::from_secs(60);
/// The pause after a failure.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
const MEASURED_EVERY: Duration = Duration::from_secs(5);
