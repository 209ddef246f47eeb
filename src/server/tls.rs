//! The server's side of TLS: what it presents, and how that is replaced while it runs. Sessions are never resumed, since a resumed
//! one would skip the question for the client's certificate and outlive the trust in it.

use super::client_certificate::{ClientAuth, Judge, verifier};
use crate::clock::Clock;
use arc_swap::ArcSwap;
use pki_types::pem::PemObject;
use pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;
use rustls::time_provider::TimeProvider;
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// PEM: the leaf, then its intermediates.
    pub cert: PathBuf,
    /// PEM: PKCS#8, SEC 1 or PKCS#1, not encrypted.
    pub key: PathBuf,
    pub client_auth: ClientAuth,
    /// Offer HTTP/2 beside HTTP/1.1.
    pub http2: bool,
}

/// Why a certificate and its key cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidTls {
    #[error("the file {} cannot be read: {why}", file.display())]
    Unreadable { file: PathBuf, why: std::io::ErrorKind },
    #[error("the file {} is no well-formed PEM: {why}", file.display())]
    Pem { file: PathBuf, why: String },
    #[error("the file {} has no certificate: expected \"-----BEGIN CERTIFICATE-----\", the server's own first", file.display())]
    NoCertificate { file: PathBuf },
    #[error("the file {} has no private key: expected \"-----BEGIN PRIVATE KEY-----\", not encrypted", file.display())]
    NoKey { file: PathBuf },
    #[error("the key in {} is not the one of the first certificate in {}: replace both files together", key.display(), cert.display())]
    Mismatch { cert: PathBuf, key: PathBuf },
    #[error("the certificate in {} with the key in {} cannot be used: {why}", cert.display(), key.display())]
    Unusable { cert: PathBuf, key: PathBuf, why: rustls::Error },
}

/// The TLS configuration that new connections get. Cheap to clone; all clones share it.
#[derive(Clone)]
pub struct Reloader(Arc<Inner>);

struct Inner {
    settings: TlsSettings,
    judge: Option<Judge>,
    clock: Clock,
    current: ArcSwap<ServerConfig>,
    /// What is in use was read from files with this hash. Held while reloading, so that the last to read is the last to swap.
    loaded: Mutex<Hash>,
}

type Hash = [u8; 32];

impl Reloader {
    /// Reads the pair of files. The judge has a say only with [`ClientAuth::Required`].
    pub fn open(settings: TlsSettings, judge: Option<Judge>, clock: Clock) -> Result<Self, InvalidTls> {
        let pair = Pair::read(&settings)?;
        let config = pair.config(&settings, judge.clone(), clock.clone())?;
        let current = ArcSwap::from_pointee(config);
        Ok(Self(Arc::new(Inner { settings, judge, clock, current, loaded: Mutex::new(pair.hash) })))
    }

    /// Reads the files again. `false` if they have not changed; on an error what was in use stays in use. Open connections keep
    /// what they began with.
    pub fn reload(&self) -> Result<bool, InvalidTls> {
        let inner = &*self.0;
        let mut loaded = inner.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = Pair::read(&inner.settings)?;
        if pair.hash == *loaded {
            return Ok(false);
        }
        let config = pair.config(&inner.settings, inner.judge.clone(), inner.clock.clone())?;
        inner.current.store(Arc::new(config));
        *loaded = pair.hash;
        Ok(true)
    }

    /// Reloads when the files' content has changed, however that came about. Never ends. An error is logged once.
    pub async fn watch(self, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut reported = None;
        loop {
            ticks.tick().await;
            let reloader = self.clone();
            let Ok(result) = tokio::task::spawn_blocking(move || reloader.reload()).await else { continue };
            reported = match result {
                Ok(changed) => {
                    if changed {
                        tracing::info!(tls.cert = %self.0.settings.cert.display(), "new connections get the new TLS certificate");
                    }
                    None
                }
                Err(error) => {
                    if reported.as_ref() != Some(&error) {
                        tracing::error!("the TLS certificate in use stays in use, because {error}");
                    }
                    Some(error)
                }
            };
        }
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.0.current.load_full()
    }
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

/// What the two files held at one moment.
struct Pair {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    hash: Hash,
}

impl Pair {
    fn read(settings: &TlsSettings) -> Result<Self, InvalidTls> {
        let (cert, key) = (read(&settings.cert)?, read(&settings.key)?);
        let mut hash = Sha256::new();
        hash.update(cert.len().to_be_bytes());
        hash.update(&cert);
        hash.update(&key);
        let hash = hash.finalize().into();
        let malformed = |file: &Path, why: pki_types::pem::Error| InvalidTls::Pem { file: file.to_owned(), why: why.to_string() };
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(&cert).collect::<Result<_, _>>().map_err(|error| malformed(&settings.cert, error))?;
        if chain.is_empty() {
            return Err(InvalidTls::NoCertificate { file: settings.cert.clone() });
        }
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| match error {
            pki_types::pem::Error::NoItemsFound => InvalidTls::NoKey { file: settings.key.clone() },
            error => malformed(&settings.key, error),
        })?;
        Ok(Self { chain, key, hash })
    }

    fn config(&self, settings: &TlsSettings, judge: Option<Judge>, clock: Clock) -> Result<ServerConfig, InvalidTls> {
        let failed = |error| {
            let (cert, key) = (settings.cert.clone(), settings.key.clone());
            match error {
                rustls::Error::InconsistentKeys(_) => InvalidTls::Mismatch { cert, key },
                why => InvalidTls::Unusable { cert, key, why },
            }
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = verifier(settings.client_auth, judge, &provider);
        let builder =
            ServerConfig::builder_with_details(provider, Arc::new(Time(clock))).with_safe_default_protocol_versions().map_err(failed)?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(self.chain.clone(), self.key.clone_key()).map_err(failed)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.alpn_protocols = if settings.http2 { vec![b"h2".into(), b"http/1.1".into()] } else { vec![b"http/1.1".into()] };
        Ok(config)
    }
}

fn read(file: &Path) -> Result<Vec<u8>, InvalidTls> {
    std::fs::read(file).map_err(|error| InvalidTls::Unreadable { file: file.to_owned(), why: error.kind() })
}

#[derive(Debug)]
struct Time(Clock);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        u64::try_from(self.0.now().as_millis()).ok().map(|now| UnixTime::since_unix_epoch(Duration::from_millis(now)))
    }
}
