//! What a configuration means, grouped by what it feeds: the ways to log in, what a reload replaces, and what
//! takes a restart.

use super::window::Window;
use super::{Level, LogFormat, Warning};
use crate::access::{Policy, Repositories};
use crate::exchange::Terms;
use crate::http::{Cors, Redirects, StrangerBounds, TrustedProxies};
use crate::identity::{DenyList, Mapping};
use crate::registry::Quotas;
use crate::registry::collect::{Options, Pace, Rules};
use crate::registry::retention::Retention;
use crate::registry::scrub::Rate;
use crate::server::TlsSettings;
use crate::spiffe_id::TrustDomain;
use crate::storage::bucket;
use crate::trust::jwt::{OidcRules, SvidRules, TokenServerRules};
use crate::trust::source::{FederationSettings, OidcSettings, OnPermissionDenied};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A configuration without contradictions. Files and addresses in it have not been opened yet.
#[derive(Debug)]
pub struct Config {
    pub ways_in: WaysIn,
    pub live: LiveSettings,
    pub fixed: FixedSettings,
    pub tls: Option<TlsSettings>,
    /// Whether it was read with [`Environment::open`].
    pub open: bool,
    /// Warnings for the log and for `verify`.
    pub warnings: Vec<Warning>,
}

impl Config {
    /// The Workload API that the registry's own certificate comes from, if it presents an X.509-SVID.
    #[must_use]
    pub fn own_svid(&self) -> Option<String> {
        let presents = self.tls.as_ref().is_some_and(|tls| tls.svid);
        self.ways_in.workload_api.clone().filter(|_| presents)
    }
}

/// The credentials that are accepted, and where the keys that verify them come from.
#[derive(Debug)]
pub struct WaysIn {
    pub issuers: Vec<IssuerConfig>,
    pub domains: Vec<DomainConfig>,
    pub certificates: Vec<CertificateConfig>,
    pub token_server: Option<TokenServerConfig>,
    /// The password file.
    pub passwords: Option<PathBuf>,
    /// The Workload API's address, if a trust domain or `http.tls` needs it.
    pub workload_api: Option<String>,
}

/// What a reload replaces, and what needs no file or connection to be opened.
#[derive(Debug)]
pub struct LiveSettings {
    pub policy: Arc<Policy>,
    /// What the registry's own tokens say.
    pub terms: Terms,
    pub external_urls: Vec<String>,
    pub proxies: TrustedProxies,
    /// Load balancers that send a PROXY header.
    pub proxy_protocol: TrustedProxies,
    /// The limits of one address without a credential.
    pub unidentified: StrangerBounds,
    /// Whether the identity behind a repeated token is cached.
    pub token_cache: bool,
    /// The delay of the answer to a wrong password.
    pub fail_delay: Duration,
    /// What the operator has revoked.
    pub deny: DenyList,
    /// Why the registry is open, if it is: there is no login, and everyone may do everything.
    pub opened: Option<Opened>,
    /// The origins whose pages may read the answers.
    pub cors: Cors,
    /// The path of the metrics on the registry's own address, if they are served there.
    pub metrics: Option<String>,
    /// How content is hashed again. `None` if it is not.
    pub scrubbing: Option<Scrubbing>,
    /// `storage.retention`
    pub retention: Arc<Retention>,
    /// Which downloads are redirected to the bucket. `None` if none are.
    pub redirects: Option<Redirects>,
}

impl LiveSettings {
    /// What a collector may delete in addition to garbage.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules {
            retention: self.retention.clone(),
            access: Some(self.policy.clone()),
            by_hand: false,
        }
    }
}

/// What takes a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedSettings {
    pub listen: Listen,
    /// The listener for probes, without TLS.
    pub health: Option<Listen>,
    /// The memory for request bodies, in bytes.
    pub body_memory: usize,
    /// `http.openUploads`
    pub open_uploads: usize,
    pub storage: StorePlace,
    /// Whether acknowledged content survives a power cut.
    pub commit: bool,
    /// The repositories where a manifest's blobs and children may be missing.
    pub sparse: Repositories,
    pub unchecked_descriptors: Repositories,
    pub collecting: Collecting,
    /// `storage.maxRepos`
    pub max_repos: Option<usize>,
    pub quotas: Quotas,
    /// The folder for state that must survive the process: the last good answer of every network source,
    /// signing keys, and the control socket. Only the owner has access.
    pub state_directory: PathBuf,
    pub token_keys: TokenKeys,
    pub level: Level,
    pub log_format: LogFormat,
}

impl FixedSettings {
    /// The keys whose values differ in `other`.
    #[must_use]
    pub fn changed(&self, other: &Self) -> Vec<&'static str> {
        let keys = [
            ("http.address, http.port", self.listen != other.listen),
            ("http.health", self.health != other.health),
            ("http.bodyMemory", self.body_memory != other.body_memory),
            ("http.openUploads", self.open_uploads != other.open_uploads),
            (
                "storage.rootDirectory, storageDriver",
                self.storage != other.storage,
            ),
            ("storage.commit", self.commit != other.commit),
            ("storage.sparse", self.sparse != other.sparse),
            (
                "storage.uncheckedDescriptors",
                self.unchecked_descriptors != other.unchecked_descriptors,
            ),
            (
                "storage.gc, gcDelay, gcInterval, gcTimeWindow, gcPace",
                self.collecting != other.collecting,
            ),
            ("storage.maxRepos", self.max_repos != other.max_repos),
            ("storage.quotas", self.quotas != other.quotas),
            ("stateDirectory", self.state_directory != other.state_directory),
            (
                "http.auth.token.signingKeyFile",
                self.token_keys != other.token_keys,
            ),
            ("log.level", self.level != other.level),
            ("log.format", self.log_format != other.log_format),
        ];
        let changed = keys.into_iter().filter(|(_, differs)| *differs);
        changed.map(|(key, _)| key).collect()
    }
}

/// Where the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorePlace {
    /// `storage.rootDirectory`
    Folder(PathBuf),
    /// `storage.storageDriver`
    Bucket(Box<BucketPlace>),
}

/// A bucket, and how it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketPlace {
    pub settings: bucket::Settings,
    /// Whether only this registry may use the bucket.
    pub single_replica: bool,
}

impl StorePlace {
    /// Whether several registries may use the store at once.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        match self {
            Self::Folder(_) => false,
            Self::Bucket(bucket) => !bucket.single_replica,
        }
    }

    /// Whether another process may still write to the store, or already does. Only a folder can be locked: the
    /// process before this one on a bucket may be cut off from it and come back.
    #[must_use]
    pub const fn may_overlap(&self) -> bool {
        matches!(self, Self::Bucket(_))
    }
}

impl fmt::Display for StorePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(f),
            Self::Bucket(bucket) => bucket.settings.fmt(f),
        }
    }
}

/// How garbage is collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collecting {
    /// Whether the registry collects while it serves. The other settings apply to `wharfinger gc` too.
    pub runs: bool,
    /// How old content must be before it is removed.
    pub delay: Duration,
    /// The time between two walks through the whole store. Zero means that there is one after the start.
    pub interval: Duration,
    /// The time of day in which garbage is removed.
    pub window: Option<Window>,
    pub pace: Pace,
}

impl Collecting {
    /// The options of a pass that the operator starts. It begins at the beginning and ignores the window. It
    /// rests only while the registry serves.
    #[must_use]
    pub fn by_hand(&self, rules: Rules, beside_requests: bool) -> Options {
        Options {
            grace: self.delay,
            rules: Rules {
                by_hand: true,
                ..rules
            },
            pace: if beside_requests {
                self.pace
            } else {
                Pace::UNBOUNDED
            },
            report_kept: true,
            ..Options::default()
        }
    }

    /// For a walk through the whole store while the registry serves.
    #[must_use]
    pub fn options(&self, rules: Rules) -> Options {
        Options {
            grace: self.delay,
            rules,
            pace: self.pace,
            resume: true,
            ..Options::default()
        }
    }
}

/// How content is hashed again while the registry serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scrubbing {
    /// The time between the beginnings of two walks through the whole store.
    pub period: Duration,
    pub rate: Rate,
}

/// Why a file without a login is served. Every caller may then do everything, and credentials are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It listens on loopback, and no setting shows that other machines reach it.
    OnLoopback,
    /// The operator used `--open`.
    ByOperator,
}

/// The source of the signing keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenKeys {
    /// The registry creates the keys and stores them in this folder.
    Folder(PathBuf),
    File(PathBuf),
}

/// The address to listen on. With port 0 the system chooses a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    pub address: String,
    pub port: u16,
}

/// One entry of an OIDC issuer.
#[derive(Debug)]
pub struct IssuerConfig {
    /// The entry's key, such as `http.auth.bearer.oidc[0]`.
    pub key: String,
    pub name: Option<String>,
    pub rules: OidcRules,
    pub keys: IssuerKeys,
    pub mapping: Mapping,
}

impl IssuerConfig {
    /// A label for people: the issuer, and the name if there is one.
    #[must_use]
    pub fn label(&self) -> String {
        let issuer = &self.rules.issuer;
        self.name
            .as_ref()
            .map_or_else(|| issuer.clone(), |name| format!("{issuer} ({name})"))
    }
}

/// The source of an issuer's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "a few of them, made once for each configuration"
)]
pub enum IssuerKeys {
    Fetched(OidcSettings),
    File(PathBuf),
}

/// An authority for client certificates that are not SVIDs.
#[derive(Debug)]
pub struct CertificateConfig {
    /// The key, such as `http.auth.x509[0].certificateAuthorityFile`.
    pub key: String,
    pub name: String,
    pub authorities: PathBuf,
    pub mapping: Mapping,
}

/// An external token server.
#[derive(Debug)]
pub struct TokenServerConfig {
    pub rules: TokenServerRules,
    pub keys: PathBuf,
    /// The token server's URL for clients. Without it they use the registry's own token endpoint.
    pub realm: Option<String>,
}

/// One trust domain.
#[derive(Debug)]
pub struct DomainConfig {
    /// The entry's key, such as `http.auth.spiffe.trustDomains[0]`.
    pub key: String,
    pub rules: SvidRules,
    pub accepts_jwt: bool,
    pub accepts_x509: bool,
    /// The sources, in order of preference.
    pub sources: Vec<DomainSource>,
    pub max_stale: Duration,
    pub on_permission_denied: OnPermissionDenied,
    pub mapping: Mapping,
    /// The trust domains that may share its authorities.
    pub shares_with: Vec<TrustDomain>,
}

impl DomainConfig {
    /// Whether one of the two trust domains allows sharing.
    #[must_use]
    pub fn shares_with(&self, other: &Self) -> bool {
        self.shares_with.contains(other.name()) || other.shares_with.contains(self.name())
    }

    #[must_use]
    pub const fn name(&self) -> &TrustDomain {
        &self.rules.trust_domain
    }
}

/// One of a trust domain's sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DomainSource {
    WorkloadApi,
    File(PathBuf),
    Inline(String),
    JwksFile(PathBuf),
    Jwks(String),
    BundleMapFile(PathBuf),
    OidcIssuer(OidcSettings),
    Endpoint(FederationSettings),
}

/// Values from the process's environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// The Workload API's default address.
    pub endpoint_socket: Option<String>,
    /// The API server of the registry's own cluster, as host and port.
    pub kubernetes_service: Option<(String, String)>,
    /// A PEM file with further authorities for S3.
    pub aws_ca_bundle: Option<PathBuf>,
    /// Whether the operator allows a file that admits strangers, with `--open` or `WHARFINGER_OPEN`.
    pub open: bool,
}

impl Environment {
    /// `SPIFFE_ENDPOINT_SOCKET`, `KUBERNETES_SERVICE_HOST`, `KUBERNETES_SERVICE_PORT` and `AWS_CA_BUNDLE`.
    #[must_use]
    pub fn of_process() -> Self {
        let read = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            endpoint_socket: read("SPIFFE_ENDPOINT_SOCKET"),
            kubernetes_service: read("KUBERNETES_SERVICE_HOST").zip(read("KUBERNETES_SERVICE_PORT")),
            aws_ca_bundle: read("AWS_CA_BUNDLE").map(PathBuf::from),
            open: false,
        }
    }
}
