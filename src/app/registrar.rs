//! A registry from its configuration to its last request.

use super::check::wrong_with_folders;
use super::listening::{bind, is_on_loopback};
use super::live::live;
use super::networks::networks;
use super::reload::{self, Reload, in_force};
use super::sources::Sources;
use super::starting::{Opened, Starting};
use super::store::Store;
use super::tasks::{Background, write_last_pulls, write_usage};
use super::tls::{Own, chain_check, prepare};
use super::{backup, collect, tls};
use crate::budget::Budget;
use crate::clock::Clock;
use crate::config::{Config, Mistake, StorePlace, Warning};
use crate::control::{self, Answers, Report, TrustRequest};
use crate::http::{self, Readiness, Shared, Strangers};
use crate::registry::Registry;
use crate::server::{self, Tls};
use crate::storage::local::meter::Meter;
use crate::telemetry::{self, Scrape};
use crate::trust::LastGood;
use arc_swap::ArcSwap;
use rustix::process::{Resource, getrlimit};
use std::convert::Infallible;
use std::fmt;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// A registry that is ready to serve. Everything is open and the addresses are bound.
pub struct Registrar {
    listener: TcpListener,
    health: Option<TcpListener>,
    app: http::App,
    background: Background,
    /// Held until the end.
    _state_lock: Option<File>,
}

impl Registrar {
    /// Opens the sources, the listeners and the store. It succeeds even if an issuer or a Workload API does
    /// not answer. `file` is reloaded when it changes. The store comes last, because its conversion cannot be
    /// undone and all mistakes must be found before it. A conversion may take minutes, and probes are
    /// answered meanwhile. If this future is dropped, the process must end, and the next start continues the
    /// conversion.
    pub async fn open(config: Config, file: Option<PathBuf>, clock: Clock) -> Result<Self, Vec<Mistake>> {
        telemetry::install();
        let own_address = config.own_svid();
        let Config {
            ways_in,
            live: settings,
            fixed,
            tls,
            open,
            warnings,
        } = config;
        let mut sources = Sources::new(clock.clone(), Some(LastGood::new(&fixed.state_directory)));
        let opened = sources.open(ways_in);
        let mut mistakes = opened.mistakes;
        mistakes.extend(
            own_address
                .as_deref()
                .and_then(|address| Own::check(address).err()),
        );
        let present = |check| {
            let prepared = tls.clone().map(prepare).transpose()?;
            let tls = prepared
                .map(|prepared| Tls::new(prepared, check, clock.clone()))
                .transpose();
            tls.map_err(|why| vec![tls::mistake(&why)])
        };
        let starting_tls = present(None).map_err(|why| mistakes.extend(why)).ok().flatten();
        mistakes.extend(wrong_with_folders(&fixed, clock.now()));
        let listener = bind("http", &fixed.listen).await;
        let listener = listener.map_err(|why| mistakes.push(why)).ok();
        let health = match &fixed.health {
            Some(health) => bind("http.health", health)
                .await
                .map_err(|why| mistakes.push(why))
                .ok(),
            None => None,
        };
        let on_loopback = listener.as_ref().is_some_and(is_on_loopback);
        mistakes.extend(reload::open_to_others(settings.opened, on_loopback));
        let (Some(listener), true) = (listener, mistakes.is_empty()) else {
            return Err(mistakes);
        };
        let strangers = Strangers::new(settings.unidentified);
        let networks = Arc::new(ArcSwap::from_pointee(networks(&settings)));
        let probed = match &health {
            Some(health) => (health, server::Settings::default()),
            None => (
                &listener,
                server::Settings {
                    tls: starting_tls,
                    networks: networks.clone(),
                    ..server::Settings::default()
                },
            ),
        };
        let starting = Starting {
            fixed: &fixed,
            session_lifetime: settings.terms.session_lifetime,
            clock: &clock,
        };
        let Opened {
            store,
            registry,
            tokens,
            state_lock,
        } = starting.open(probed).await.map_err(|why| vec![why])?;
        let opened_by = settings.opened;
        let scrubbing = watch::Sender::new(settings.scrubbing);
        let rules = watch::Sender::new(settings.rules());
        let live = live(1, opened.ways_in, settings, Some(&tokens), on_loopback);
        let live: Shared = Arc::new(ArcSwap::from_pointee(live));
        // Its files are read again, because they may have changed during a conversion.
        let tls = match present(Some(chain_check(live.clone(), clock.clone()))) {
            Ok(tls) => tls,
            Err(mistakes) => {
                store.leave().await;
                return Err(mistakes);
            }
        };
        warnings.iter().chain(&opened.warnings).for_each(Warning::log);
        sources.install(opened.running);
        let mut own = Own::default();
        if let Some(tls) = &tls {
            own.follow(own_address.as_deref(), tls);
        }
        in_force(&live, file.as_deref().unwrap_or(Path::new("")));
        let trust = reporter(live.clone(), tls.clone(), clock.clone());
        let memory = Budget::new(fixed.body_memory);
        let asked = {
            let rules = rules.subscribe();
            let collecting = fixed.collecting.clone();
            move || collecting.by_hand(rules.borrow().clone(), true)
        };
        let collecting = collect::handler(&registry, asked);
        let app = http::App {
            live: live.clone(),
            registry: registry.clone(),
            tokens: tokens.clone(),
            clock: clock.clone(),
            ready: Arc::default(),
            strangers: strangers.clone(),
            scrape: scrape(trust.clone(), memory.clone(), registry),
            memory,
        };
        let answers = Answers::default()
            .with(move |TrustRequest {}, _| std::future::ready(Ok::<_, Infallible>(trust())))
            .with(collecting);
        let background = Background {
            meter: meter(&fixed.storage),
            state_directory: fixed.state_directory.clone(),
            answers: with_backup(&store, answers),
            store,
            reload: Reload {
                file,
                fixed,
                live,
                strangers,
                networks,
                scrubbing,
                rules,
                sources,
                tls,
                own,
                tokens,
                clock,
                open,
                opened: opened_by,
                on_loopback,
            },
        };
        Ok(Self {
            listener,
            health,
            app,
            background,
            _state_lock: state_lock,
        })
    }

    /// The address that the registry listens on, with the real port even if the configuration has 0.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The address of the separate listener for probes, if there is one.
    #[must_use]
    pub fn health_address(&self) -> Option<SocketAddr> {
        self.health
            .as_ref()
            .and_then(|listener| listener.local_addr().ok())
    }

    /// Serves until `shutdown`, then lets running requests finish. SIGHUP reloads all files.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self {
            listener,
            health,
            app,
            background,
            _state_lock,
        } = self;
        let store = background.store.clone();
        let reload = &background.reload;
        let settings = server::Settings {
            tls: reload.tls.clone(),
            limits: server::Limits::default().for_open_files(getrlimit(Resource::Nofile).current),
            strangers: reload.strangers.clone(),
            networks: reload.networks.clone(),
        };
        let draining = draining(shutdown, app.ready.clone(), reload.tls.clone());
        let endpoint = http::Endpoint::new(app.clone());
        let serving = server::run(listener, settings, endpoint, app.clock.clone(), draining);
        tokio::select! {
            () = serving => {}
            () = answer_probes(health, &app) => {}
            () = background.run(&app) => {}
        }
        write_last_pulls(&app.registry).await;
        write_usage(&app.registry).await;
        store.leave().await;
    }
}

/// Only a folder is on a disk that can be measured.
fn meter(place: &StorePlace) -> Option<Meter> {
    match place {
        StorePlace::Folder(folder) => Some(Meter::new(folder)),
        StorePlace::Bucket(_) => None,
    }
}

/// Only a folder can be copied as it is at one moment.
fn with_backup(store: &Store, answers: Answers) -> Answers {
    match store.folder() {
        Some(folder) => answers.with(backup::handler(folder)),
        None => answers,
    }
}

impl fmt::Debug for Registrar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registrar")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

/// Resolves when the server must stop accepting requests and finish the running ones. The registry becomes
/// ready when it has a certificate to present, and stops being ready when this resolves.
async fn draining(shutdown: impl Future<Output = ()>, ready: Arc<Readiness>, tls: Option<Tls>) {
    let presentable = async {
        if let Some(tls) = &tls {
            tls.presentable().await;
        }
        ready.serves(true);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = shutdown => {}
        () = presentable => {}
    }
    tracing::info!("shutting down after running requests have finished; a second signal stops at once");
    ready.serves(false);
}

/// Runs for ever.
async fn answer_probes(health: Option<TcpListener>, app: &http::App) {
    if let Some(listener) = health {
        let probes = http::health_router(app.clone());
        let settings = server::Settings::default();
        server::run(
            listener,
            settings,
            probes,
            app.clock.clone(),
            std::future::pending(),
        )
        .await;
    }
    std::future::pending().await
}

/// Reports the present trust and the presented certificates.
fn reporter(live: Shared, tls: Option<Tls>, clock: Clock) -> Reporter {
    Arc::new(move || {
        let live = live.load_full();
        let certificates = tls.as_ref().map(Tls::certificates).unwrap_or_default();
        Report::new(live.generation, &live.authenticator, &certificates, clock.now())
    })
}

type Reporter = Arc<dyn Fn() -> Report + Send + Sync>;

fn scrape(trust: Reporter, memory: Budget, registry: Registry) -> Scrape {
    Scrape::new(move |samples| {
        telemetry::process(samples);
        control::gauges(&trust(), samples);
        samples.add(
            "wharfinger_body_memory_bytes",
            &[],
            f64::from(u32::try_from(memory.used() >> 10).unwrap_or(u32::MAX)) * 1024.0,
        );
        for quota in registry.quotas() {
            let labels = [("quota", quota.quota.as_str())];
            samples.add("wharfinger_quota_used_bytes", &labels, number(quota.used));
            samples.add("wharfinger_quota_allowed_bytes", &labels, number(quota.allowed));
        }
    })
}

#[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
const fn number(value: u64) -> f64 {
    value as f64
}
