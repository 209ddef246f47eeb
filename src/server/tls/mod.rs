//! The certificates of the server, and their replacement while it runs. They come from files, which are read
//! again when they change. The registry's own X.509-SVID comes from the Workload API, and its key is never
//! written to disk. Sessions are never resumed: a resumed session would not ask for the client's certificate,
//! and would outlive the trust in it.

mod choice;
mod expiry;
mod pair;

pub use expiry::{Expiring, Expiry};
pub use pair::{InvalidTls, PairFiles};

use super::client_certificate::{ChainCheck, ClientAuth, verifier};
use crate::clock::{Clock, Timestamp};
use arc_swap::{ArcSwap, ArcSwapOption};
use choice::Certificates;
use pair::Pair;
use pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificates to choose from by the name that the client asks for.
    pub files: Vec<PairFiles>,
    /// Whether there will also be an X.509-SVID, for clients that ask for a name that no file has.
    pub svid: bool,
    pub client_auth: ClientAuth,
    /// Offer HTTP/2 beside HTTP/1.1.
    pub http2: bool,
}

/// Settings with the content of their files.
pub struct Prepared {
    settings: TlsSettings,
    pairs: Vec<Pair>,
}

impl Prepared {
    /// Reads all pairs of files, and reports all mistakes.
    pub fn read(settings: TlsSettings) -> Result<Self, Vec<InvalidTls>> {
        let mut pairs = Vec::new();
        let mut mistakes = Vec::new();
        for files in &settings.files {
            match Pair::read(files, &provider()) {
                Ok(pair) => pairs.push(pair),
                Err(why) => mistakes.push(why),
            }
        }
        if mistakes.is_empty() {
            Ok(Self { settings, pairs })
        } else {
            Err(mistakes)
        }
    }

    /// The certificates in the files that have expired or soon will.
    #[must_use]
    pub fn expiring(&self, now: Timestamp) -> Vec<Expiring> {
        let pairs = self.settings.files.iter().zip(&self.pairs);
        pairs
            .flat_map(|(files, pair)| expiry::expiring(&file_source(files), &pair.certified.cert, now))
            .collect()
    }
}

/// The TLS configuration of new connections. Open connections keep theirs. Clones are cheap and share it.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    check: Option<ChainCheck>,
    clock: Clock,
    current: ArcSwap<ServerConfig>,
    svid: Arc<ArcSwapOption<CertifiedKey>>,
    svid_until: ArcSwapOption<Timestamp>,
    /// Notified of every new certificate.
    news: Notify,
    /// Locked while files are read, so that the latest read is also the latest swap.
    loaded: Mutex<Prepared>,
}

/// The result of reading the files again.
#[derive(Debug, Default, PartialEq)]
pub struct Reloaded {
    /// The certificates that were replaced.
    pub changed: Vec<PathBuf>,
    /// The reasons why others were not replaced.
    pub failed: Vec<InvalidTls>,
}

impl Tls {
    /// `check` is used only with [`ClientAuth::Required`].
    pub fn new(prepared: Prepared, check: Option<ChainCheck>, clock: Clock) -> Result<Self, InvalidTls> {
        let svid = Arc::default();
        let config = config(&prepared, check.clone(), &clock, &svid)?;
        let current = ArcSwap::from_pointee(config);
        Ok(Self(Arc::new(Inner {
            check,
            clock,
            current,
            svid,
            svid_until: ArcSwapOption::empty(),
            news: Notify::new(),
            loaded: Mutex::new(prepared),
        })))
    }

    /// Replaces the settings for new connections.
    pub fn replace(&self, prepared: Prepared) -> Result<(), InvalidTls> {
        let mut loaded = self.loaded();
        self.0.current.store(Arc::new(config(
            &prepared,
            self.0.check.clone(),
            &self.0.clock,
            &self.0.svid,
        )?));
        *loaded = prepared;
        drop(loaded);
        self.0.news.notify_waiters();
        Ok(())
    }

    /// Reads the files again. A fault in one pair does not keep the others from being replaced.
    pub fn reload(&self) -> Reloaded {
        let mut loaded = self.loaded();
        let mut reloaded = Reloaded::default();
        let Prepared { settings, pairs } = &mut *loaded;
        for (files, pair) in settings.files.iter().zip(pairs) {
            match Pair::read(files, &provider()) {
                Ok(read) if read.hash == pair.hash => {}
                Ok(read) => {
                    *pair = read;
                    reloaded.changed.push(files.cert.clone());
                }
                Err(why) => reloaded.failed.push(why),
            }
        }
        if !reloaded.changed.is_empty() {
            match config(&loaded, self.0.check.clone(), &self.0.clock, &self.0.svid) {
                Ok(config) => self.0.current.store(Arc::new(config)),
                Err(why) => reloaded.failed.push(why),
            }
        }
        reloaded
    }

    /// Reloads whenever the content of a file has changed. Never returns. An error is logged once.
    pub async fn watch(self, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut reported = Vec::new();
        loop {
            ticks.tick().await;
            let tls = self.clone();
            let Ok(Reloaded { changed, failed }) = tokio::task::spawn_blocking(move || tls.reload()).await
            else {
                continue;
            };
            for cert in changed {
                tracing::info!(tls.cert = %cert.display(), "new connections get the new TLS certificate");
            }
            for why in failed.iter().filter(|why| !reported.contains(*why)) {
                tracing::error!(
                    "cannot replace the TLS certificate, so the previous one stays in use: {why}"
                );
            }
            reported = failed;
        }
    }

    /// Presents this X.509-SVID from now on. With `None`, its clients get a file's certificate, or their
    /// handshakes fail.
    pub fn present(
        &self,
        svid: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    ) -> Result<(), InvalidTls> {
        let certified = svid.map(|(chain, key)| {
            pair::certified(chain, key, &provider()).map_err(|why| InvalidTls::Svid { why })
        });
        let certified = certified.transpose()?;
        let until = certified.as_ref().and_then(pair::not_after);
        self.0.svid_until.store(until.map(Arc::new));
        self.0.svid.store(certified.map(Arc::new));
        self.0.news.notify_waiters();
        Ok(())
    }

    /// The source and the expiry of each certificate.
    #[must_use]
    pub fn certificates(&self) -> Vec<(String, Timestamp)> {
        let loaded = self.loaded();
        let files = loaded.settings.files.iter().zip(&loaded.pairs);
        let files = files.filter_map(|(files, pair)| Some((file_source(files), pair.not_after()?)));
        let svid = self.0.svid_until.load_full().filter(|_| loaded.settings.svid);
        files
            .chain(svid.map(|until| (WORKLOAD_API.to_owned(), *until)))
            .collect()
    }

    /// The certificates and intermediates that have expired or soon will.
    #[must_use]
    pub fn expiring(&self, now: Timestamp) -> Vec<Expiring> {
        let loaded = self.loaded();
        let mut found = loaded.expiring(now);
        if let Some(svid) = self.0.svid.load_full().filter(|_| loaded.settings.svid) {
            found.extend(expiry::expiring(WORKLOAD_API, &svid.cert, now));
        }
        found
    }

    /// Whether there is a certificate. The only one may not have arrived yet.
    #[must_use]
    pub fn presents_something(&self) -> bool {
        let loaded = self.loaded();
        !loaded.pairs.is_empty() || (loaded.settings.svid && self.0.svid.load().is_some())
    }

    /// Returns once there is a certificate.
    pub async fn presentable(&self) {
        loop {
            let news = self.0.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            if self.presents_something() {
                return;
            }
            news.await;
        }
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.0.current.load_full()
    }

    fn loaded(&self) -> MutexGuard<'_, Prepared> {
        self.0.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("settings", &self.loaded().settings)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

fn config(
    prepared: &Prepared,
    check: Option<ChainCheck>,
    clock: &Clock,
    svid: &Arc<ArcSwapOption<CertifiedKey>>,
) -> Result<ServerConfig, InvalidTls> {
    let Prepared { settings, pairs } = prepared;
    let provider = provider();
    let verifier = verifier(settings.client_auth, check, &provider);
    let builder = ServerConfig::builder_with_details(provider, Arc::new(Time(clock.clone())));
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(InvalidTls::Versions)?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(Certificates::new(
        pairs,
        settings.svid.then(|| svid.clone()),
    )));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = if settings.http2 {
        vec![b"h2".into(), b"http/1.1".into()]
    } else {
        vec![b"http/1.1".into()]
    };
    Ok(config)
}

fn file_source(files: &PairFiles) -> String {
    format!("file {}", files.cert.display())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

const WORKLOAD_API: &str = "Workload API";

#[derive(Debug)]
struct Time(Clock);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        u64::try_from(self.0.now().as_millis())
            .ok()
            .map(|now| UnixTime::since_unix_epoch(Duration::from_millis(now)))
    }
}
