//! From the raw keys to a [`Config`] that can only be right. Goes on after a mistake, so that all are
//! reported at once.

mod access;
mod advice;
mod connections;
mod deny;
mod domains;
mod expressions;
mod issuers;
mod kubernetes;
mod listen;
mod namesakes;
mod open;
mod others;
mod shared;
mod sources;
mod tls;
mod token;

pub use open::Opened;
pub use others::{CertificateConfig, TokenServerConfig};
pub use token::TokenKeys;

use super::mentions::Mentions;
use super::raw;
use super::{Level, LogFormat, Mistake, Warning};
use crate::access::{Policy, Repositories};
use crate::budget;
use crate::exchange::Terms;
use crate::http::{Cors, Family, Network, StrangerBounds, TrustedProxies};
use crate::identity::{DenyList, Mapping, MappingSettings};
use crate::server::TlsSettings;
use crate::spiffe_id::TrustDomain;
use crate::trust::jwt::{OidcRules, SvidRules};
use crate::trust::source::{FederationSettings, OidcSettings, OnPermissionDenied};
use shared::Granted;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A configuration without contradictions. Files and addresses in it have not been opened yet.
#[derive(Debug)]
pub struct Config {
    pub listen: Listen,
    /// The plain listener for probes.
    pub health: Option<Listen>,
    pub tls: Option<TlsSettings>,
    pub external_urls: Vec<String>,
    pub proxies: TrustedProxies,
    /// Load balancers that send a PROXY header.
    pub proxy_protocol: TrustedProxies,
    /// What one address may have open without a credential.
    pub unidentified: StrangerBounds,
    /// For the bodies of requests, in bytes.
    pub body_memory: usize,
    /// `http.openUploads`
    pub open_uploads: usize,
    /// On which tokens are issued.
    pub terms: Terms,
    /// The store's folder.
    pub storage: PathBuf,
    /// Whether what is acknowledged survives a power cut.
    pub commit: bool,
    /// Where manifests may lack what they refer to.
    pub sparse: Repositories,
    pub unchecked_descriptors: Repositories,
    /// What must outlive the process and is no content: the last good state of every network source, signing
    /// keys, the control socket. For the owner only.
    pub state_directory: PathBuf,
    pub token_keys: TokenKeys,
    pub issuers: Vec<IssuerConfig>,
    pub domains: Vec<DomainConfig>,
    pub certificates: Vec<CertificateConfig>,
    pub token_server: Option<TokenServerConfig>,
    /// The file of names and passwords.
    pub passwords: Option<PathBuf>,
    /// How long the answer to a wrong password waits.
    pub fail_delay: Duration,
    /// What the operator has revoked.
    pub deny: DenyList,
    /// There if a trust domain or `http.tls` asks for it.
    pub workload_api: Option<String>,
    /// Whether tokens that come again are known again.
    pub token_cache: bool,
    /// Whether it was read with [`Environment::open`].
    pub open: bool,
    /// There if nobody can log in and everybody may do everything.
    pub opened: Option<Opened>,
    /// Which pages of other sites may read the answers.
    pub cors: Cors,
    /// The path of the metrics on the registry's own address, if they are there.
    pub metrics: Option<String>,
    pub policy: Policy,
    pub level: Level,
    pub log_format: LogFormat,
    /// For the log, and for `verify`.
    pub warnings: Vec<Warning>,
}

/// Where to listen. Port 0 is chosen by the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    pub address: String,
    pub port: u16,
}

/// One entry of an OIDC issuer.
#[derive(Debug)]
pub struct IssuerConfig {
    /// As in `http.auth.bearer.oidc[0]`.
    pub key: String,
    pub name: Option<String>,
    pub rules: OidcRules,
    pub keys: IssuerKeys,
    pub mapping: Mapping,
}

impl IssuerConfig {
    /// For people: the issuer, and the name if there is one.
    #[must_use]
    pub fn label(&self) -> String {
        let issuer = &self.rules.issuer;
        self.name
            .as_ref()
            .map_or_else(|| issuer.clone(), |name| format!("{issuer} ({name})"))
    }
}

/// Where an issuer's keys come from.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a few of them, made once for each configuration"
)]
pub enum IssuerKeys {
    Fetched(OidcSettings),
    File(PathBuf),
}

/// One trust domain.
#[derive(Debug)]
pub struct DomainConfig {
    /// As in `http.auth.spiffe.trustDomains[0]`.
    pub key: String,
    pub rules: SvidRules,
    pub accepts_jwt: bool,
    pub accepts_x509: bool,
    /// In order of preference.
    pub sources: Vec<DomainSource>,
    pub max_stale: Duration,
    pub on_permission_denied: OnPermissionDenied,
    pub mapping: Mapping,
    /// With whom it may have authorities in common.
    pub shares_with: Vec<TrustDomain>,
}

impl DomainConfig {
    /// Whether one of the two says so.
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

/// What a file does not say itself.
pub(super) struct Surroundings<'a> {
    /// Where relative paths start.
    folder: &'a Path,
    environment: Environment,
    mentions: Mentions,
    /// The relative paths in the file.
    relative: RefCell<BTreeSet<PathBuf>>,
}

impl<'a> Surroundings<'a> {
    pub(super) fn new(folder: &'a Path, environment: Environment, mentions: Mentions) -> Self {
        Self {
            folder,
            environment,
            mentions,
            relative: RefCell::default(),
        }
    }
}

/// What the process's environment says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// The Workload API's default address.
    pub endpoint_socket: Option<String>,
    /// The API server of the cluster that this runs in, as host and port.
    pub kubernetes_service: Option<(String, String)>,
    /// The operator's word, by `--open` or `WHARFINGER_OPEN`, that strangers are to be let in where the file
    /// lets them in.
    pub open: bool,
}

impl Environment {
    /// `SPIFFE_ENDPOINT_SOCKET`, `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT`.
    #[must_use]
    pub fn of_process() -> Self {
        let read = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            endpoint_socket: read("SPIFFE_ENDPOINT_SOCKET"),
            kubernetes_service: read("KUBERNETES_SERVICE_HOST").zip(read("KUBERNETES_SERVICE_PORT")),
            open: false,
        }
    }
}

/// What the parts of the build share.
struct Build<'a> {
    around: &'a Surroundings<'a>,
    mistakes: Vec<Mistake>,
    warnings: Vec<Warning>,
}

/// What could not be understood is left out, and among the mistakes.
pub(super) fn build(
    mut file: raw::File,
    around: &Surroundings<'_>,
    warnings: Vec<Warning>,
) -> (Config, Vec<Mistake>) {
    let mut build = Build {
        around,
        mistakes: Vec::new(),
        warnings,
    };
    let mut http = file.http;
    let auth = http.auth.unwrap_or_default();
    let bearer = auth.bearer.unwrap_or_default();
    let service = bearer
        .service
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "wharfinger".to_owned());
    if !service
        .bytes()
        .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
    {
        build.mistake(
            "http.auth.bearer.service",
            "goes into a header: letters, digits and punctuation except \" and \\ only",
        );
    }
    let token_server = build.token_server(bearer.cert, bearer.issuer, bearer.realm, &service);
    let cacert = http.tls.as_ref().and_then(|tls| tls.cacert.clone());
    let certificates = build.certificates(auth.x509, auth.mtls, cacert);
    let given = auth.htpasswd.is_some();
    let passwords = auth
        .htpasswd
        .map(|htpasswd| htpasswd.path)
        .filter(|path| !path.as_os_str().is_empty());
    if given && passwords.is_none() {
        build.mistake(
            "http.auth.htpasswd.path",
            "is empty: name the file of names and passwords, or take htpasswd out",
        );
    }
    let passwords = passwords.map(|path| around.path(&path));
    let fail_delay = build.fail_delay(auth.fail_delay);
    let external_urls = build.external_urls(http.external_url);
    let proxies = build.proxies(&http.trusted_proxies, http.forwarded_headers);
    let proxy_protocol = build.proxy_protocol(&http.proxy_protocol);
    let unidentified = build.unidentified(http.unidentified);
    let body_memory = build.body_memory(http.body_memory.as_ref());
    let open_uploads = build.open_uploads(http.open_uploads);
    for (key, access) in [
        ("accessControl", &mut file.access_control),
        ("http.accessControl", &mut http.access_control),
    ] {
        if let Some(access) = access {
            build.in_lower_case(key, access);
        }
    }
    let access = file.access_control.as_ref().or(http.access_control.as_ref());
    let issuers = build.issuers(bearer.oidc, &external_urls, &Granted::of(access));
    build.advise_access(access);
    let given = auth
        .spiffe
        .as_ref()
        .and_then(|spiffe| spiffe.workload_api.clone());
    let domains = build.domains(auth.spiffe, &external_urls);
    let tls = build.tls(http.tls, &domains, &certificates);
    let workload_api = build.workload_api(given, &domains, tls.as_ref());
    let tokens = !issuers.is_empty() || !domains.is_empty() || token_server.is_some();
    // What was wrong with an entry is said already; that nobody could log in would follow from it.
    let has_mistakes = build
        .mistakes
        .iter()
        .any(|mistake| mistake.key.starts_with("http.auth."));
    let identifies = tokens || !certificates.is_empty() || passwords.is_some() || has_mistakes;
    let listen = build.listen("http", http.address, http.port.as_ref(), Some(8080));
    build.advise_passwords(
        passwords.is_some(),
        tls.is_some(),
        !http.trusted_proxies.is_empty(),
        &listen.address,
    );
    let configured = deny::Configured {
        issuers: &issuers,
        domains: &domains,
        certificates: !certificates.is_empty(),
        token_server: token_server.is_some(),
        passwords: passwords.is_some(),
    };
    let deny = build.deny(auth.deny, &configured);
    let cors = build.cors(http.allow_origin, identifies);
    let reach = open::Reach {
        listen: &listen,
        external_urls: &external_urls,
        cors: &cors,
        proxied: !http.trusted_proxies.is_empty() || !http.proxy_protocol.is_empty(),
    };
    let (policy, opened) = build.access(file.access_control, http.access_control, identifies, &reach);
    let metrics = build.metrics(file.extensions);
    let storage = around.path(&file.storage.root_directory);
    let state_directory = file
        .state_directory
        .map_or_else(|| storage.join("state"), |folder| around.path(&folder));
    let sparse = build.repositories("storage.sparse", &file.storage.sparse);
    let unchecked_descriptors = build.repositories(
        "storage.uncheckedDescriptors",
        &file.storage.unchecked_descriptors,
    );
    let commit = file.storage.commit.unwrap_or(true);
    if !commit {
        build.warn(
            "storage.commit",
            "false: a power cut may take away what was acknowledged",
        );
    }
    let (token_keys, session_lifetime) = build.token(auth.token, &state_directory);
    build.advise_zots(&listen);
    let config = Config {
        listen,
        health: http
            .health
            .map(|health| build.listen("http.health", health.address, Some(&health.port), None)),
        tls,
        external_urls,
        proxies,
        proxy_protocol,
        unidentified,
        body_memory,
        open_uploads,
        terms: Terms {
            service,
            session_lifetime,
        },
        storage,
        commit,
        sparse,
        unchecked_descriptors,
        state_directory,
        token_keys,
        issuers,
        domains,
        certificates,
        token_server,
        passwords,
        fail_delay,
        deny,
        workload_api,
        token_cache: auth.token_cache.unwrap_or(true),
        open: around.environment.open,
        opened,
        cors,
        metrics,
        policy,
        level: file.log.as_ref().and_then(|log| log.level).unwrap_or(Level::Info),
        log_format: file.log.and_then(|log| log.format).unwrap_or(LogFormat::Auto),
        warnings: Vec::new(),
    };
    let Build {
        mistakes, warnings, ..
    } = build;
    (Config { warnings, ..config }, mistakes)
}

impl Build<'_> {
    fn mistake(&mut self, key: impl Into<String>, what: impl Into<String>) {
        self.mistakes.push(Mistake::new(key, what));
    }

    fn warn(&mut self, key: impl Into<String>, what: impl Into<String>) {
        self.warnings.push(Warning::new(key, what));
    }

    fn body_memory(&mut self, given: Option<&super::values::TextOrNumber>) -> usize {
        let Some(given) = given else { return budget::USUAL };
        let bytes = given
            .bytes()
            .and_then(|bytes| usize::try_from(bytes).ok())
            .filter(|bytes| *bytes >= budget::LEAST);
        if bytes.is_none() {
            let least = budget::LEAST >> 20;
            self.mistake(
                "http.bodyMemory",
                format!("must be an amount of memory of at least {least}MiB, as 64MiB or 1GiB"),
            );
        }
        bytes.unwrap_or(budget::USUAL)
    }

    fn proxies(&mut self, networks: &[String], headers: Option<raw::ForwardedHeaders>) -> TrustedProxies {
        let mut good = Vec::new();
        for (i, text) in networks.iter().enumerate() {
            match text.parse::<Network>() {
                Ok(network) => {
                    self.advise_proxy(i, text);
                    good.push(network);
                }
                Err(why) => self.mistake(format!("http.trustedProxies[{i}]"), format!("{text:?}: {why}")),
            }
        }
        let family = match headers {
            Some(raw::ForwardedHeaders::Forwarded) => Family::Forwarded,
            Some(raw::ForwardedHeaders::XForwardedHost) => Family::XForwardedHost,
            Some(raw::ForwardedHeaders::XForwarded) | None => Family::XForwarded,
        };
        good.into_iter().collect::<TrustedProxies>().writing(family)
    }

    /// The hosts whose names count as audiences beside those that are listed.
    fn audience_hosts(&mut self, key: &str, wanted: Option<bool>, external_urls: &[String]) -> Vec<String> {
        if wanted != Some(true) {
            return Vec::new();
        }
        if external_urls.is_empty() {
            // What a request says of its host its sender chose: a token for any other service could then be
            // replayed here.
            self.mistake(
                format!("{key}.audienceFromHost"),
                "needs http.externalURL, which says by which names this registry is called",
            );
        }
        let mut hosts = Vec::new();
        for url in external_urls {
            let Some((scheme, authority)) = url.split_once("://") else {
                continue;
            };
            let authority = authority.to_ascii_lowercase();
            let (host, port) = match authority
                .rsplit_once(':')
                .filter(|(_, port)| !port.ends_with(']'))
            {
                Some((host, port)) => (host.to_owned(), port.to_owned()),
                None => (
                    authority.clone(),
                    if scheme == "https" { "443" } else { "80" }.to_owned(),
                ),
            };
            hosts.push(format!("{host}:{port}"));
            hosts.push(host);
        }
        hosts
    }

    fn external_urls(&mut self, urls: Option<super::values::OneOrMany>) -> Vec<String> {
        let urls = urls.map(super::values::OneOrMany::into_list).unwrap_or_default();
        for (i, url) in urls.iter().enumerate() {
            let authority = url
                .strip_prefix("https://")
                .or_else(|| url.strip_prefix("http://"))
                .map(|rest| rest.trim_end_matches('/'));
            if authority
                .is_none_or(|authority| authority.is_empty() || authority.contains(['/', '?', '#', '@', '"']))
            {
                self.mistake(
                    format!("http.externalURL[{i}]"),
                    format!("must be a scheme and a host, as https://registry.example.org, not {url:?}"),
                );
            }
        }
        urls.into_iter()
            .map(|url| url.trim_end_matches('/').to_owned())
            .collect()
    }

    fn fail_delay(&mut self, seconds: Option<u64>) -> Duration {
        let delay = Duration::from_secs(seconds.unwrap_or(0));
        if delay > LONGEST_FAIL_DELAY {
            let what = format!(
                "must be at most {} seconds, found {}: clients give up before",
                LONGEST_FAIL_DELAY.as_secs(),
                delay.as_secs()
            );
            self.mistake("http.auth.failDelay", what);
        }
        delay
    }

    fn duration(&mut self, key: String, text: Option<&str>, default: Duration) -> Duration {
        self.optional_duration(key, text).unwrap_or(default)
    }

    fn optional_duration(&mut self, key: String, text: Option<&str>) -> Option<Duration> {
        let text = text?;
        let duration = super::values::duration(text);
        if duration.is_none() {
            self.mistake(
                key,
                format!("must be a length of time, as 30s, 5m or 24h, not {text:?}"),
            );
        }
        duration
    }

    /// Compiles a mapping; what is wrong with it is a mistake of this file.
    fn mapping(&mut self, key: &str, raw: Option<raw::ClaimMapping>) -> Mapping {
        self.advise_mapping(key, raw.as_ref());
        let raw = raw.unwrap_or_default();
        let settings = MappingSettings {
            variables: raw
                .variables
                .into_iter()
                .map(|variable| (variable.name, variable.expression))
                .collect(),
            validations: raw
                .validations
                .into_iter()
                .map(|validation| (validation.expression, validation.message))
                .collect(),
            username: raw.username,
            groups: raw.groups,
            may_name_others: raw.allow_other_issuers_usernames.unwrap_or(false),
        };
        Mapping::compile(&settings).unwrap_or_else(|mistakes| {
            for mistake in mistakes {
                self.mistake(
                    format!("{key}.claimMapping.{}", mistake.key),
                    mistake.why.to_string(),
                );
            }
            Mapping::default()
        })
    }

    fn audiences(&mut self, key: &str, audiences: &[String], from_host: Option<bool>, whose: &str) {
        if audiences.is_empty() && from_host != Some(true) {
            self.mistake(format!("{key}.audiences"), format!("at least one audience is needed, or a token for any service would let in: name this registry, and have {whose} issued for that name"));
        }
        if audiences.iter().any(String::is_empty) {
            self.mistake(format!("{key}.audiences"), "an audience must not be empty");
        }
    }
}

impl Surroundings<'_> {
    fn path(&self, path: &Path) -> PathBuf {
        if path.is_relative() {
            self.relative.borrow_mut().insert(path.to_owned());
        }
        self.folder.join(path)
    }
}

/// How far clocks may differ, unless the file says otherwise.
const CLOCK_SKEW: Duration = Duration::from_secs(30);
/// How long keys from the network serve after their last success, unless the file says otherwise.
const MAX_STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest that the answer to a wrong password may wait.
const LONGEST_FAIL_DELAY: Duration = Duration::from_secs(60);
