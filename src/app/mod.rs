//! Puts it all together: a [`Config`] becomes sources, an authenticator, a policy, a store, a registry and a
//! server. Nothing here decides anything.

mod backup;
mod certificates;
mod convert;
mod evaluate;
mod foreign_store;
mod live;
mod meter;
mod reload;
mod roots;
mod shared_keys;
mod sources;
mod starting;
mod tls;
mod tokens;

pub use backup::back_up;
pub use evaluate::{Evaluator, Verdict};

use crate::budget::Budget;
use crate::clock::Clock;
use crate::config::{Config, Mistake, Warning};
use crate::control::{self, Answers, MakeBackup, Report};
use crate::file_error::FileError;
use crate::http::{self, Readiness, Shared, StorageStanding, Strangers};
use crate::registry::Registry;
use crate::server::{self, Networks, Tls};
use crate::storage::local::meter::Meter;
use crate::telemetry::{self, Scrape};
use crate::trust::LastGood;
use arc_swap::ArcSwap;
use live::{Rest, live};
use reload::{Fixed, Reload, in_force};
use rustix::process::{Resource, getrlimit};
use sources::{Others, Sources};
use starting::{Starting, Store};
use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tls::{Own, judge, prepare};
use tokio::net::TcpListener;

/// What start-up would say of a configuration with which it serves.
#[derive(Debug, Default)]
pub struct Checked {
    pub warnings: Vec<Warning>,
    /// What is ignored as a standard asks. Nobody has to change anything.
    pub notes: Vec<Warning>,
}

/// Does everything that start-up does short of opening the store and listening. Needs a tokio runtime.
/// Returns every mistake on which start-up would end.
pub fn check(config: Config, clock: &Clock) -> Result<Checked, Vec<Mistake>> {
    let own = config
        .workload_api
        .clone()
        .filter(|_| config.tls.as_ref().is_some_and(|tls| tls.svid));
    let others = Others {
        certificates: config.certificates,
        token_server: config.token_server,
        passwords: config.passwords,
    };
    let opened = Sources::new(clock.clone(), None).open(
        config.issuers,
        config.domains,
        others,
        config.workload_api.as_deref(),
    );
    let mut mistakes = opened.mistakes;
    let mut warnings = config.warnings;
    warnings.extend(opened.warnings);
    mistakes.extend(own.and_then(|address| Own::check(&address).err()));
    match config.tls.map(prepare).transpose() {
        Ok(prepared) => {
            let expiring = prepared
                .iter()
                .flat_map(|prepared| prepared.expiring(clock.now()));
            warnings.extend(expiring.map(|one| Warning::new("http.tls", one.sentence(clock.now()))));
        }
        Err(why) => mistakes.extend(why),
    }
    mistakes.extend(tokens::check(&config.token_keys, clock.now()).err());
    mistakes.extend(no_folders(&config.storage, &config.state_directory));
    mistakes.extend(foreign_store::check(&config.storage));
    if mistakes.is_empty() {
        Ok(Checked {
            warnings,
            notes: opened.notes,
        })
    } else {
        Err(mistakes)
    }
}

fn no_folders(storage: &Path, state: &Path) -> Vec<Mistake> {
    let wrong = [("storage.rootDirectory", storage), ("stateDirectory", state)]
        .into_iter()
        .filter(|(_, path)| path.exists() && !path.is_dir());
    let mistake = |(key, path): (&str, &Path)| {
        Mistake::new(
            key,
            format!(
                "{} is not a folder: name one, or one that is to be made",
                path.display()
            ),
        )
    };
    wrong.map(mistake).collect()
}

/// A registry that is ready to serve: everything is open and the addresses are bound.
pub struct Registrar {
    listener: TcpListener,
    health: Option<TcpListener>,
    app: http::App,
    reload: Reload,
    meter: Meter,
    state_directory: PathBuf,
    trust: Arc<dyn Fn() -> Report + Send + Sync>,
    backup: Box<MakeBackup>,
}

impl Registrar {
    /// Opens the sources, the listeners and the store. An issuer or a Workload API that does not answer is no
    /// mistake. `file` is read again when it changes. The store comes last: its conversion cannot be undone,
    /// so no mistake may be found after it that could have been found before. A conversion may take minutes,
    /// and probes are answered meanwhile. If this future is dropped, the process must end, and the next start
    /// goes on with the conversion.
    pub async fn open(config: Config, file: Option<PathBuf>, clock: Clock) -> Result<Self, Vec<Mistake>> {
        telemetry::install();
        let fixed = Fixed::of(&config);
        let own_address = config
            .workload_api
            .clone()
            .filter(|_| config.tls.as_ref().is_some_and(|tls| tls.svid));
        let mut sources = Sources::new(clock.clone(), Some(LastGood::new(&config.state_directory)));
        let realm = config
            .token_server
            .as_ref()
            .and_then(|server| server.realm.clone());
        let others = Others {
            certificates: config.certificates,
            token_server: config.token_server,
            passwords: config.passwords,
        };
        let opened = sources.open(
            config.issuers,
            config.domains,
            others,
            config.workload_api.as_deref(),
        );
        let mut mistakes = opened.mistakes;
        mistakes.extend(
            own_address
                .as_deref()
                .and_then(|address| Own::check(address).err()),
        );
        let present = |judge| {
            let prepared = config.tls.clone().map(prepare).transpose()?;
            let tls = prepared
                .map(|prepared| Tls::new(prepared, judge, clock.clone()))
                .transpose();
            tls.map_err(|why| vec![Mistake::new("http.tls", why.to_string())])
        };
        let starting_tls = present(None).map_err(|why| mistakes.extend(why)).ok().flatten();
        mistakes.extend(tokens::check(&config.token_keys, clock.now()).err());
        mistakes.extend(no_folders(&config.storage, &config.state_directory));
        mistakes.extend(foreign_store::check(&config.storage));
        let listener = bind("http", &config.listen.address, config.listen.port)
            .await
            .map_err(|why| mistakes.push(why))
            .ok();
        let health = match &config.health {
            Some(health) => bind("http.health", &health.address, health.port)
                .await
                .map_err(|why| mistakes.push(why))
                .ok(),
            None => None,
        };
        let on_loopback = listener
            .as_ref()
            .and_then(|listener| listener.local_addr().ok())
            .is_some_and(|at| at.ip().to_canonical().is_loopback());
        mistakes.extend(reload::open_to_others(config.opened, on_loopback));
        let (Some(listener), true) = (listener, mistakes.is_empty()) else {
            return Err(mistakes);
        };
        let strangers = Strangers::new(config.unidentified);
        let networks = Networks {
            trusted_proxies: config.proxies.clone(),
            proxy_protocol: config.proxy_protocol,
        };
        let networks = Arc::new(ArcSwap::from_pointee(networks));
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
            storage: &config.storage,
            commit: config.commit,
            registry: crate::registry::Settings {
                sparse: config.sparse,
                unchecked_descriptors: config.unchecked_descriptors,
                open_uploads: Some(config.open_uploads),
            },
            token_keys: &config.token_keys,
            session_lifetime: config.terms.session_lifetime,
            clock: &clock,
        };
        let Store {
            local,
            registry,
            tokens,
        } = starting.open(probed).await.map_err(|why| vec![why])?;
        let rest = Rest {
            policy: config.policy,
            terms: config.terms,
            external_urls: config.external_urls,
            token_cache: config.token_cache,
            realm,
            proxies: config.proxies,
            fail_delay: config.fail_delay,
            deny: config.deny,
            opened: config.opened,
            on_loopback,
            cors: config.cors,
            metrics: config.metrics,
        };
        let live = live(
            1,
            opened.issuers,
            opened.domains,
            opened.others,
            Some(&tokens),
            rest,
        );
        let live: Shared = Arc::new(ArcSwap::from_pointee(live));
        // Its files are read again: they may have changed during a conversion.
        let tls = present(Some(judge(live.clone(), clock.clone())))?;
        config
            .warnings
            .iter()
            .chain(&opened.warnings)
            .for_each(Warning::log);
        sources.install(opened.running);
        let mut own = Own::default();
        if let Some(tls) = &tls {
            own.follow(own_address.as_deref(), tls);
        }
        in_force(&live, file.as_deref().unwrap_or(Path::new("")));
        let trust = reporter(live.clone(), tls.clone(), clock.clone());
        let reporting = trust.clone();
        let memory = Budget::new(config.body_memory);
        let held = memory.clone();
        let scrape = Scrape::new(move |samples| {
            telemetry::process(samples);
            control::gauges(&reporting(), samples);
            samples.add(
                "wharfinger_body_memory_bytes",
                &[],
                f64::from(u32::try_from(held.used() >> 10).unwrap_or(u32::MAX)) * 1024.0,
            );
        });
        let app = http::App {
            live: live.clone(),
            memory,
            registry,
            tokens: tokens.clone(),
            clock: clock.clone(),
            ready: Arc::default(),
            strangers: strangers.clone(),
            scrape,
        };
        Ok(Self {
            listener,
            health,
            app,
            reload: Reload {
                file,
                fixed,
                live,
                strangers,
                networks,
                sources,
                tls,
                own,
                tokens,
                clock,
                open: config.open,
                opened: config.opened,
                on_loopback,
            },
            meter: Meter::new(&config.storage),
            state_directory: config.state_directory,
            trust,
            backup: backup::maker(&local),
        })
    }

    /// Where it listens; the port is real even if the configuration said 0.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where the probes' own listener is, if there is one.
    #[must_use]
    pub fn health_address(&self) -> Option<SocketAddr> {
        self.health
            .as_ref()
            .and_then(|listener| listener.local_addr().ok())
    }

    /// Serves until `shutdown`, then lets the requests that are running finish. SIGHUP has every file read
    /// again.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self {
            listener,
            health,
            app,
            reload,
            meter,
            state_directory,
            trust,
            backup,
        } = self;
        let ready = app.ready.clone();
        let clock = app.clock.clone();
        let tls = reload.tls.clone();
        let own_tls = tls.clone();
        let expiry_clock = clock.clone();
        let named = app.live.clone();
        let shared_clock = clock.clone();
        let strangers = reload.strangers.clone();
        let networks = reload.networks.clone();
        let settings = server::Settings {
            tls: tls.clone(),
            limits: server::Limits::default().for_open_files(getrlimit(Resource::Nofile).current),
            strangers,
            networks,
        };
        let probes = http::health_router(app.clone());
        let health = async {
            match health {
                Some(listener) => {
                    server::run(
                        listener,
                        server::Settings::default(),
                        probes,
                        clock.clone(),
                        std::future::pending(),
                    )
                    .await
                }
                None => std::future::pending().await,
            }
        };
        let watch_tls = async {
            match tls.clone() {
                Some(tls) => tls.watch(WATCH_EVERY).await,
                None => std::future::pending().await,
            }
        };
        let draining = {
            let ready = ready.clone();
            let tls = tls.clone();
            async move {
                // Nobody can be served before there is a certificate to show.
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
                tracing::info!(
                    "shutting down: requests that are running may finish; a second signal ends them at once"
                );
                ready.serves(false);
            }
        };
        let registry = app.registry.clone();
        let watched = app.ready.clone();
        let served = app.live.clone();
        let live = app.live.clone();
        let keys = app.tokens.keys().clone();
        let turning = tokens::turn(&keys, || live.load().terms.session_lifetime, clock.clone());
        let serving = server::run(
            listener,
            settings,
            http::Endpoint::new(app),
            clock.clone(),
            draining,
        );
        tokio::select! {
            () = serving => {}
            () = health => {}
            () = watch_tls => {}
            () = certificates::warn_of_expiry(own_tls.as_ref(), expiry_clock) => {}
            () = reload.run() => {}
            () = expire_uploads(&registry) => {}
            () = shared_keys::warn_of_shared_keys(&named, shared_clock) => {}
            () = turning => {}
            () = watch_passwords(&served) => {}
            () = watch_sharing(&served, &clock) => {}
            () = keep_metrics() => {}
            () = meter::measure(meter) => {}
            () = watch_storage(&registry, &watched) => {}
            () = answer_operator(&state_directory, trust, backup) => {}
        }
    }
}

impl fmt::Debug for Registrar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registrar")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

async fn bind(key: &str, address: &str, port: u16) -> Result<TcpListener, Mistake> {
    TcpListener::bind((address, port)).await.map_err(|why| {
        let place = if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") };
        let (name, what) = match why.kind() {
            ErrorKind::AddrInUse => ("port", "another process listens there".to_owned()),
            ErrorKind::AddrNotAvailable => ("address", format!("this machine does not have the address {address}")),
            ErrorKind::PermissionDenied => {
                ("port", "permission denied: a port below 1024 needs root, the capability NET_BIND_SERVICE, or a lower net.ipv4.ip_unprivileged_port_start".to_owned())
            }
            _ => ("port", why.to_string()),
        };
        Mistake::new(format!("{key}.{name}"), format!("cannot listen on {place}: {what}"))
    })
}

/// What is trusted, and presented, at the moment that it is asked.
fn reporter(live: Shared, tls: Option<Tls>, clock: Clock) -> Arc<dyn Fn() -> Report + Send + Sync> {
    Arc::new(move || {
        let live = live.load_full();
        let certificates = tls.as_ref().map(Tls::certificates).unwrap_or_default();
        Report::new(live.generation, &live.authenticator, &certificates, clock.now())
    })
}

/// The registry serves without it, too.
async fn answer_operator(
    state_directory: &Path,
    trust: Arc<dyn Fn() -> Report + Send + Sync>,
    backup: Box<MakeBackup>,
) {
    let answers = Answers {
        trust: Box::new(move || trust()),
        backup,
    };
    let Err(why) = control::serve(state_directory, answers).await;
    let told = FileError::new(state_directory, &why);
    tracing::warn!(state.directory = %state_directory.display(), "nobody can ask this server with `wharfinger trust`, or for a backup: {told}");
    std::future::pending().await
}

/// Keeps readiness in line with the store.
async fn watch_storage(registry: &Registry, ready: &Readiness) {
    let mut ticks = tokio::time::interval(WATCH_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut worked = true;
    let mut had_room = true;
    loop {
        ticks.tick().await;
        let checked = tokio::time::timeout(STORAGE_ANSWERS_WITHIN, registry.check_storage()).await;
        let (standing, why) = match checked {
            Ok(Ok(None)) => (StorageStanding::Works, None),
            Ok(Ok(Some(full))) => {
                if had_room {
                    tracing::error!("pushes are refused, and pulls and deletions work: {full}");
                }
                (StorageStanding::Full, None)
            }
            Ok(Err(why)) => (
                StorageStanding::Fails {
                    folder: why.unwritable_folder(),
                },
                Some(why.to_string()),
            ),
            Err(_) => (
                StorageStanding::Fails { folder: None },
                Some(format!("no answer within {STORAGE_ANSWERS_WITHIN:?}")),
            ),
        };
        match &why {
            Some(why) if worked => tracing::error!("not ready any more, since the storage fails: {why}"),
            None if !worked => tracing::info!("the storage works again"),
            _ => {}
        }
        let has_room = standing != StorageStanding::Full;
        if has_room && !had_room {
            tracing::info!("the storage has room again, and takes pushes");
        }
        ready.storage(standing);
        (worked, had_room) = (why.is_none(), has_room);
    }
}

/// Compares the keys of all trust domains, so that the log reports a shared key even before anyone presents a
/// credential.
async fn watch_sharing(live: &Shared, clock: &Clock) {
    let mut ticks = tokio::time::interval(WATCH_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let live = live.load_full();
        for domain in live.authenticator.domains() {
            let _ = domain.x509.as_ref().map(|keys| keys.withheld(clock.now()));
            let _ = domain.jwt.as_ref().map(|keys| keys.withheld(clock.now()));
        }
    }
}

/// Reads the password file again when it has changed. A bad one changes nothing, and each cause is told once.
async fn watch_passwords(live: &Shared) {
    let mut ticks = tokio::time::interval(WATCH_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
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

async fn keep_metrics() {
    let mut ticks = tokio::time::interval(telemetry::UPKEEP_EVERY);
    loop {
        ticks.tick().await;
        telemetry::upkeep();
    }
}

async fn expire_uploads(registry: &Registry) {
    if let Err(why) = registry.count_open_uploads().await {
        tracing::error!(
            "uploads that are open could not be counted, so http.openUploads bounds new ones only: {why}"
        );
    }
    let mut ticks = tokio::time::interval(EXPIRE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match registry.expire_uploads().await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "removed expired upload sessions"),
            Err(why) => tracing::error!("could not remove expired upload sessions: {why}"),
        }
    }
}

/// How often TLS and key files are compared with what is in use.
const WATCH_EVERY: Duration = Duration::from_secs(2);
/// How long the store may take before it counts as failing.
const STORAGE_ANSWERS_WITHIN: Duration = Duration::from_secs(20);
/// How often expired upload sessions are looked for.
const EXPIRE_EVERY: Duration = Duration::from_secs(10 * 60);
