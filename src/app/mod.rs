//! Puts it all together: a [`Config`] becomes sources, an authenticator, a policy, a store, a registry and a server. Nothing here
//! decides anything.

mod sources;

use crate::clock::Clock;
use crate::config::{Config, Mistake};
use crate::http::{self, Live};
use crate::identity::{Authenticator, Peer, Presented};
use crate::registry::Registry;
use crate::server::{self, Judge, Prepared, Reloaded, Tls, TlsSettings};
use crate::storage::local::Local;
use crate::telemetry::{self, Scrape};
use arc_swap::ArcSwap;
use futures_util::FutureExt;
use sources::Sources;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Does everything that start-up does short of opening the store and listening. Needs a tokio runtime. Returns every mistake;
/// a key in a file that cannot be used is one.
pub fn check(config: Config, clock: &Clock) -> Result<(), Vec<Mistake>> {
    let tls = config.tls.clone();
    let mut opened = Sources::new(clock.clone()).open(config.issuers, config.domains, config.workload_api.as_deref());
    opened.mistakes.append(&mut opened.skipped);
    opened.mistakes.extend(tls.and_then(|tls| prepare(tls).err()).into_iter().flatten());
    if opened.mistakes.is_empty() { Ok(()) } else { Err(opened.mistakes) }
}

/// A registry that is ready to serve: everything is open and the addresses are bound.
pub struct Registrar {
    listener: TcpListener,
    health: Option<TcpListener>,
    app: http::App,
    tls: Option<Tls>,
    sources: Sources,
    clock: Clock,
}

impl Registrar {
    /// Opens the sources, the store and the listeners. An issuer or a Workload API that does not answer is no mistake.
    pub async fn open(config: Config, clock: Clock) -> Result<Self, Vec<Mistake>> {
        telemetry::install();
        let mut sources = Sources::new(clock.clone());
        let mut opened = sources.open(config.issuers, config.domains, config.workload_api.as_deref());
        for skipped in &opened.skipped {
            tracing::warn!("{skipped}");
        }
        let authenticator = Arc::new(Authenticator::new(opened.issuers, opened.domains, Vec::new()));
        let mistakes = &mut opened.mistakes;
        let opened_tls = config.tls.map(|settings| tls(settings, judge(authenticator.clone(), clock.clone()), &clock));
        let tls = opened_tls.transpose().map_err(|why| mistakes.extend(why)).ok().flatten();
        let listener = bind("http", &config.listen.address, config.listen.port).await.map_err(|why| mistakes.push(why)).ok();
        let health = match &config.health {
            Some(health) => bind("http.health", &health.address, health.port).await.map_err(|why| mistakes.push(why)).ok(),
            None => None,
        };
        let store = Local::open(&config.storage).map_err(|why| mistakes.push(Mistake::new("storage.rootDirectory", why.to_string()))).ok();
        let (Some(listener), Some(store), true) = (listener, store, opened.mistakes.is_empty()) else { return Err(opened.mistakes) };
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        sources.install(opened.running);
        let store = Arc::new(store);
        let live = Live {
            generation: 1,
            authenticator,
            policy: Arc::new(config.policy),
            service: config.service,
            external_urls: config.external_urls,
            challenge: true,
        };
        let app = http::App {
            live: Arc::new(ArcSwap::from_pointee(live)),
            registry: Registry::new(store.clone(), store, clock.clone()),
            clock: clock.clone(),
            ready: Arc::new(AtomicBool::new(false)),
            scrape: Scrape::default(),
        };
        Ok(Self { listener, health, app, tls, sources, clock })
    }

    /// Where it listens; the port is real even if the configuration said 0.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where the probes' own listener is, if there is one.
    #[must_use]
    pub fn health_address(&self) -> Option<SocketAddr> {
        self.health.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Serves until `shutdown`, then lets the requests that are running finish. SIGHUP reads TLS and key files again.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { listener, health, app, tls, sources, clock } = self;
        let ready = app.ready.clone();
        let plain = || server::Settings { tls: None, limits: server::Limits::default() };
        let settings = server::Settings { tls: tls.clone(), ..plain() };
        let probes = http::health_router(app.clone());
        let health = async {
            match health {
                Some(listener) => server::run(listener, plain(), probes, clock.clone(), std::future::pending()).await,
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
            async move {
                shutdown.await;
                tracing::info!("shutting down: requests that are running may finish");
                ready.store(false, Ordering::SeqCst);
            }
        };
        ready.store(true, Ordering::SeqCst);
        let registry = app.registry.clone();
        let serving = server::run(listener, settings, http::router(app), clock.clone(), draining);
        tokio::select! {
            () = serving => {}
            () = health => {}
            () = watch_tls => {}
            () = reload_on_hangup(tls.as_ref(), &sources) => {}
            () = expire_uploads(&registry) => {}
            () = keep_metrics() => {}
        }
    }
}

impl fmt::Debug for Registrar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registrar").field("listener", &self.listener).finish_non_exhaustive()
    }
}

async fn bind(key: &str, address: &str, port: u16) -> Result<TcpListener, Mistake> {
    let hint = "is something else listening there, or is the address not this machine's?";
    TcpListener::bind((address, port))
        .await
        .map_err(|why| Mistake::new(format!("{key}.port"), format!("cannot listen on {address}:{port}: {why}; {hint}")))
}

fn prepare(tls: TlsSettings) -> Result<Prepared, Vec<Mistake>> {
    Prepared::read(tls).map_err(|mistakes| mistakes.into_iter().map(|why| Mistake::new("http.tls", why.to_string())).collect())
}

fn tls(settings: TlsSettings, judge: Judge, clock: &Clock) -> Result<Tls, Vec<Mistake>> {
    Tls::new(prepare(settings)?, Some(judge), clock.clone()).map_err(|why| vec![Mistake::new("http.tls", why.to_string())])
}

/// Whether a chain identifies anyone, for `clientAuth: required`. Judging a certificate waits for nothing.
fn judge(authenticator: Arc<Authenticator>, clock: Clock) -> Judge {
    Arc::new(move |chain| {
        let peer = Peer::new(chain.to_vec());
        let presented = Presented { authorization: Vec::new(), peer: Some(&peer), ambient: true };
        authenticator.authenticate(&presented, clock.now()).now_or_never().is_some_and(|identity| identity.is_ok())
    })
}

async fn reload_on_hangup(tls: Option<&Tls>, sources: &Sources) {
    let Ok(mut hangups) = signal(SignalKind::hangup()) else { return std::future::pending().await };
    while hangups.recv().await.is_some() {
        tracing::info!("SIGHUP: reading TLS and key files again");
        sources.reload();
        let Some(tls) = tls.cloned() else { continue };
        if let Ok(Reloaded { failed, .. }) = tokio::task::spawn_blocking(move || tls.reload()).await {
            for why in failed {
                tracing::error!("the TLS certificate in use stays in use: {why}");
            }
        }
    }
    std::future::pending().await
}

async fn keep_metrics() {
    let mut ticks = tokio::time::interval(telemetry::UPKEEP_EVERY);
    loop {
        ticks.tick().await;
        telemetry::upkeep();
    }
}

async fn expire_uploads(registry: &Registry) {
    let mut ticks = tokio::time::interval(EXPIRE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match registry.expire_uploads().await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "removed expired upload sessions"),
            Err(why) => tracing::error!("expired upload sessions could not be removed: {why}"),
        }
    }
}

/// How often TLS and key files are compared with what is in use.
const WATCH_EVERY: Duration = Duration::from_secs(2);
/// How often expired upload sessions are looked for.
const EXPIRE_EVERY: Duration = Duration::from_secs(10 * 60);
