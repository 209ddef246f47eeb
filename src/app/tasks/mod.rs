//! Background tasks, one file each. They run as long as the registry.

mod certificates;
mod collecting;
mod control;
mod disk;
mod leftovers;
mod metrics;
mod passwords;
mod pulls;
mod scrubbing;
mod shared_keys;
mod signing_keys;
mod storage;
mod uploads;
mod usage;

pub(super) use pulls::write_last_pulls;
pub(super) use usage::write_usage;

use super::reload::Reload;
use super::store::Store;
use crate::control::Answers;
use crate::http::App;
use crate::server::Tls;
use crate::storage::local::meter::Meter;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// What the tasks need in addition to the state that requests use.
pub(super) struct Background {
    pub(super) reload: Reload,
    pub(super) store: Store,
    /// Absent if the store is not on a disk.
    pub(super) meter: Option<Meter>,
    pub(super) state_directory: PathBuf,
    pub(super) answers: Answers,
}

impl Background {
    /// Never ends.
    pub(super) async fn run(self, app: &App) {
        let Self {
            reload,
            store,
            meter,
            state_directory,
            answers,
        } = self;
        let tls = reload.tls.clone();
        let scrubbing = reload.scrubbing.subscribe();
        let collecting = reload.fixed.collecting.clone();
        let pace = collecting.pace;
        let rules = reload.rules.subscribe();
        let patience = storage::Patience::with(&store);
        tokio::join!(
            follow_certificates(tls, app),
            reload.run(),
            uploads::expire_uploads(app.registry.clone()),
            pulls::record_pulls(app.registry.clone()),
            collecting::collect(app.registry.clone(), (collecting, rules), app.clock.clone()),
            scrubbing::scrub(app.registry.clone(), scrubbing),
            usage::keep_usage(app.registry.clone(), pace),
            shared_keys::warn_of_shared_keys(app.live.clone(), app.clock.clone()),
            shared_keys::compare_trust_domains(app.live.clone(), app.clock.clone()),
            signing_keys::rotate_signing_keys(app.tokens.keys().clone(), app.live.clone(), app.clock.clone()),
            passwords::follow_passwords(app.live.clone()),
            metrics::keep_metrics(),
            disk::measure(meter),
            leftovers::remove_leftovers(store),
            storage::watch_storage(app.registry.clone(), app.ready.clone(), patience),
            control::answer_operator(state_directory, answers),
        );
    }
}

async fn follow_certificates(tls: Option<Tls>, app: &App) {
    if let Some(tls) = tls {
        tokio::join!(
            tls.clone().watch(WATCH_EVERY),
            certificates::warn_of_expiry(tls, app.clock.clone())
        );
    }
}

/// Ticks at once, and then after each `period`. A late tick delays those after it.
fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// How often the TLS files are checked for changes.
const WATCH_EVERY: Duration = Duration::from_secs(2);
