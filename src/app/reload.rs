//! Reloads a changed configuration without a restart. The file is checked every second. It may be written in
//! place, replaced by a rename, or swapped by a symlink as in Kubernetes. It is read after it has stopped
//! changing, because half of a policy is also a valid policy. SIGHUP reloads everything at once. If the file
//! has mistakes, all of them are logged and the old configuration stays.

use super::check::check;
use super::live::live;
use super::networks::networks;
use super::sources::Sources;
use super::tls::{self, Own, prepare};
use crate::clock::Clock;
use crate::config::{self, Config, Environment, FixedSettings, Mistake, Opened, Scrubbing, Warning};
use crate::exchange::Tokens;
use crate::http::{Shared, Strangers};
use crate::registry::collect::Rules;
use crate::server::{Networks, Reloaded, Tls};
use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// Everything that a new configuration changes.
pub(super) struct Reload {
    /// Absent if the configuration cannot change, as in `wharfinger dev`.
    pub(super) file: Option<PathBuf>,
    /// The settings with which the process started.
    pub(super) fixed: FixedSettings,
    pub(super) live: Shared,
    pub(super) strangers: Strangers,
    pub(super) networks: Arc<ArcSwap<Networks>>,
    pub(super) scrubbing: watch::Sender<Option<Scrubbing>>,
    pub(super) rules: watch::Sender<Rules>,
    pub(super) sources: Sources,
    pub(super) tls: Option<Tls>,
    pub(super) own: Own,
    pub(super) tokens: Tokens,
    pub(super) clock: Clock,
    /// The choice at the start. A reload cannot open the registry.
    pub(super) open: bool,
    /// Why the registry is open at present, if it is.
    pub(super) opened: Option<Opened>,
    pub(super) on_loopback: bool,
}

impl Reload {
    /// Runs for ever.
    pub(super) async fn run(mut self) {
        let Ok(mut hangups) = signal(SignalKind::hangup()) else {
            return std::future::pending().await;
        };
        let mut ticks = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watched = Watched::new(self.look().await);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    if watched.changed(self.look().await) {
                        self.configure().await;
                    }
                }
                Some(()) = hangups.recv() => {
                    tracing::info!("SIGHUP: reading the configuration, TLS and key files again");
                    self.sources.reload();
                    self.certificates().await;
                    watched = Watched::new(self.look().await);
                    self.configure().await;
                }
            }
        }
    }

    /// A digest of the file's content, or `None` if it cannot be read.
    async fn look(&self) -> Look {
        let file = self.file.clone()?;
        let read = tokio::task::spawn_blocking(move || std::fs::read(file).ok())
            .await
            .ok()
            .flatten()?;
        Some(Sha256::digest(read).into())
    }

    async fn certificates(&self) {
        let Some(tls) = self.tls.clone() else { return };
        if let Ok(Reloaded { failed, .. }) = tokio::task::spawn_blocking(move || tls.reload()).await {
            for why in failed {
                tracing::error!("cannot reload the TLS certificate, so its last version stays in use: {why}");
            }
        }
    }

    async fn configure(&mut self) {
        let Some(file) = self.file.clone() else { return };
        let reading = file.clone();
        let clock = self.clock.clone();
        let environment = Environment {
            open: self.open,
            ..Environment::of_process()
        };
        let further = move |draft| check(draft, &clock).err().unwrap_or_default();
        let Ok(loaded) =
            tokio::task::spawn_blocking(move || config::load(&reading, environment, further)).await
        else {
            return;
        };
        match loaded
            .map_err(|invalid| invalid.mistakes)
            .and_then(|config| self.take(config))
        {
            Ok(()) => {
                metrics::counter!("wharfinger_config_reloads_total", "result" => "applied").increment(1);
                in_force(&self.live, &file);
            }
            Err(mistakes) => {
                metrics::counter!("wharfinger_config_reloads_total", "result" => "refused").increment(1);
                metrics::gauge!("wharfinger_config_last_reload_applied").set(0);
                let count = mistakes.len();
                let generation = self.live.load().generation;
                tracing::error!(
                    config.file = %file.display(),
                    config.generation = generation,
                    mistakes = count,
                    "the changed configuration is refused, and the previous one stays in use"
                );
                for mistake in mistakes {
                    tracing::error!(config.key = mistake.key, "{mistake}");
                }
            }
        }
    }

    /// Applies the whole configuration or nothing.
    fn take(&mut self, config: Config) -> Result<(), Vec<Mistake>> {
        let own = config.own_svid();
        let Config {
            ways_in,
            live: settings,
            fixed,
            tls,
            warnings,
            ..
        } = config;
        if settings.opened.is_some() && self.opened.is_none() {
            return Err(vec![Mistake::new("http.auth", OPENS)]);
        }
        if let Some(mistake) = open_to_others(settings.opened, self.on_loopback) {
            return Err(vec![mistake]);
        }
        let opened = self.sources.open(ways_in);
        let mut mistakes = opened.mistakes;
        mistakes.extend(own.as_deref().and_then(|address| Own::check(address).err()));
        let has_tls = tls.is_some();
        let prepared = tls.map(prepare).transpose();
        let prepared = prepared.map_err(|why| mistakes.extend(why)).ok().flatten();
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        if let (Some(tls), Some(prepared)) = (&self.tls, prepared) {
            tls.replace(prepared).map_err(|why| vec![tls::mistake(&why)])?;
            self.own.follow(own.as_deref(), tls);
        }
        let mut takes_restart = self.fixed.changed(&fixed);
        if has_tls != self.tls.is_some() {
            takes_restart.push("http.tls (whether there is TLS)");
        }
        for key in takes_restart {
            tracing::warn!(
                config.key = key,
                "this change needs a restart; until then the previous value stays in use"
            );
        }
        warnings.iter().chain(&opened.warnings).for_each(Warning::log);
        self.sources.install(opened.running);
        self.strangers.bound(settings.unidentified);
        self.networks.store(Arc::new(networks(&settings)));
        self.scrubbing.send_if_modified(|scrubbing| {
            std::mem::replace(scrubbing, settings.scrubbing) != settings.scrubbing
        });
        let rules = settings.rules();
        self.rules.send_if_modified(|present| {
            let differs = present.retention != rules.retention;
            // Policies cannot be compared.
            let may_differ = rules.retention.keeps_immutable();
            *present = rules;
            differs || may_differ
        });
        self.opened = settings.opened;
        let generation = self.live.load().generation + 1;
        let tokens = Some(&self.tokens);
        let live = live(generation, opened.ways_in, settings, tokens, self.on_loopback);
        self.live.store(Arc::new(live));
        Ok(())
    }
}

/// Returns a mistake if the file opens the registry because its address is on loopback, but the running
/// listener is not on loopback. The address may be a host name that now resolves to another address.
pub(super) fn open_to_others(opened: Option<Opened>, on_loopback: bool) -> Option<Mistake> {
    let others = opened == Some(Opened::OnLoopback) && !on_loopback;
    others.then(|| {
        Mistake::new(
            "http.address",
            "does not resolve to a loopback address, and there is no login: add a login, or start with --open to allow everything to everyone",
        )
    })
}

/// Reports which generation of the configuration is in use.
pub(super) fn in_force(live: &Shared, file: &Path) {
    let generation = live.load().generation;
    metrics::gauge!("wharfinger_config_generation").set(u32::try_from(generation).unwrap_or(u32::MAX));
    metrics::gauge!("wharfinger_config_last_reload_applied").set(1);
    tracing::info!(config.file = %file.display(), config.generation = generation, "the configuration is in use");
}

type Look = Option<[u8; 32]>;

/// Detects when a file has changed and then stayed the same for one check.
struct Watched {
    taken: Look,
    last: Look,
}

impl Watched {
    const fn new(taken: Look) -> Self {
        Self { taken, last: taken }
    }

    fn changed(&mut self, now: Look) -> bool {
        let rests = now == self.last;
        self.last = now;
        if !rests || now == self.taken {
            return false;
        }
        self.taken = now;
        true
    }
}

/// The mistake for a file that no longer has a login.
const OPENS: &str = "is missing, so every caller could do everything; a reload cannot open a closed registry: restart it if this is intended";
/// How often the file is checked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_used_once_it_stops_changing() {
        let look = |byte: u8| Some([byte; 32]);
        let mut watched = Watched::new(look(1));
        let looks = [
            look(1),
            look(2),
            look(3),
            look(3),
            look(3),
            None,
            look(3),
            None,
            None,
            None,
            look(1),
            look(1),
        ];
        let changed = looks.map(|now| watched.changed(now));
        let expected = [
            false, false, false, true, false, false, false, false, true, false, false, true,
        ];
        assert_eq!(changed, expected);
    }
}
