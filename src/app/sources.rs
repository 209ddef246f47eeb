//! The running sources of keys. A configuration asks for some: those that run with the same settings are
//! kept, with their keys and all, others are opened. Nothing new begins and nothing old ends before the
//! configuration is in force.

use super::roots::issue_svids;
use crate::clock::Clock;
use crate::config::{
    CertificateConfig, DomainConfig, DomainSource, IssuerConfig, IssuerKeys, Mistake, TokenServerConfig,
    Warning, WaysIn,
};
use crate::file_error::FileError;
use crate::identity::{CertificateEntry, Domain, Htpasswd, Issuer, TokenServer};
use crate::spiffe_id::TrustDomain;
use crate::trust::jwks::KeySet;
use crate::trust::source::{
    self, CaSource, EndpointProfile, FederationSettings, Following, Format, OidcSettings, Source,
    SourceError, WorkloadApi,
};
use crate::trust::x509::X509Authorities;
use crate::trust::{Authorities, LastGood, WaitingRoom};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Every source that runs, by its settings.
#[derive(Debug)]
pub(super) struct Sources {
    clock: Clock,
    /// Absent for `verify`, which writes nothing.
    last_good: Option<Arc<LastGood>>,
    /// Absent for those who want an answer at once.
    room: Option<WaitingRoom>,
    running: Running,
}

/// The sources of one configuration.
#[derive(Debug, Default)]
pub(super) struct Running {
    sources: Vec<(Wanted, Arc<Source>)>,
    passwords: Option<Arc<Htpasswd>>,
    /// By address.
    workload_apis: Vec<(String, WorkloadApi)>,
}

/// The ways to log in, with the keys that verify their credentials.
#[derive(Debug, Default)]
pub(super) struct OpenWaysIn {
    pub issuers: Vec<Issuer>,
    pub domains: Vec<Domain>,
    pub certificates: Vec<CertificateEntry>,
    pub token_server: Option<TokenServer>,
    /// Where an external token server sends clients.
    pub realm: Option<String>,
    pub passwords: Option<Arc<Htpasswd>>,
}

/// What could be opened, and what was wrong.
#[derive(Debug)]
pub(super) struct Opened {
    pub ways_in: OpenWaysIn,
    /// For [`Sources::install`], if there are no mistakes.
    pub running: Running,
    pub mistakes: Vec<Mistake>,
    /// What cannot be used and harms nothing else.
    pub warnings: Vec<Warning>,
    /// What is ignored as a standard asks. Nobody has to change anything.
    pub notes: Vec<Warning>,
}

impl Sources {
    /// Keeps what network sources say in `last_good`. Without it nothing is served either, and no request
    /// waits for newer keys.
    pub(super) fn new(clock: Clock, last_good: Option<Arc<LastGood>>) -> Self {
        let room = last_good.as_ref().map(|_| WaitingRoom::new(clock.clone()));
        Self {
            clock,
            last_good,
            room,
            running: Running::default(),
        }
    }

    /// What these entries need. Asks nobody on the network, changes nothing that runs, and starts nothing.
    pub(super) fn open(&self, wanted: WaysIn) -> Opened {
        let mut opening = Opening {
            sources: self,
            workload_api: wanted.workload_api,
            running: Running::default(),
            mistakes: Vec::new(),
            warnings: Vec::new(),
            notes: Vec::new(),
        };
        let realm = wanted
            .token_server
            .as_ref()
            .and_then(|server| server.realm.clone());
        let ways_in = OpenWaysIn {
            issuers: opening.issuers(wanted.issuers),
            domains: opening.domains(wanted.domains),
            certificates: opening.certificates(wanted.certificates),
            token_server: wanted.token_server.map(|server| opening.token_server(server)),
            realm,
            passwords: wanted.passwords.and_then(|path| opening.passwords(path)),
        };
        opening.running.passwords.clone_from(&ways_in.passwords);
        opening.check_names(&ways_in);
        let Opening {
            running,
            mistakes,
            warnings,
            notes,
            ..
        } = opening;
        Opened {
            ways_in,
            running,
            mistakes,
            warnings,
            notes,
        }
    }

    /// Starts what is new in `running` and ends what is not in it. Needs a tokio runtime.
    pub(super) fn install(&mut self, running: Running) {
        for (_, source) in &running.sources {
            source.start();
        }
        self.running = running;
    }

    /// Has every watched file read again now.
    pub(super) fn reload(&self) {
        for (_, source) in &self.running.sources {
            source.reload();
        }
    }
}

/// A source's settings, by which it is known again.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Oidc(OidcSettings),
    /// For a trust domain, where a key that is left out is withdrawn at once.
    OidcOfDomain(OidcSettings),
    File(PathBuf, Format),
    Inline {
        name: String,
        text: String,
        format: Format,
    },
    WorkloadApi(String, Following),
    Federation(FederationSettings),
}

/// Trust domains by name, with what each holds.
type Before<T> = Vec<(Arc<str>, Arc<Authorities<T>>)>;

struct Opening<'a> {
    sources: &'a Sources,
    workload_api: Option<String>,
    running: Running,
    mistakes: Vec<Mistake>,
    warnings: Vec<Warning>,
    notes: Vec<Warning>,
}

impl Opening<'_> {
    fn issuers(&mut self, entries: Vec<IssuerConfig>) -> Vec<Issuer> {
        let mut issuers: Vec<Issuer> = Vec::new();
        for IssuerConfig {
            key,
            name,
            rules,
            keys,
            mapping,
        } in entries
        {
            let same = |earlier: &&Issuer| earlier.rules.issuer == rules.issuer && earlier.name == name;
            let shared = issuers.iter().find(same).map(|earlier| earlier.keys.clone());
            let keys = shared.unwrap_or_else(|| {
                let opened: Authorities<_> = self.issuer_keys(&key, keys).and_then(|source| source.jwt()).into_iter().collect();
                tracing::info!(oidc.issuer = rules.issuer, oidc.name = name, sources = %opened, "accepting OIDC ID tokens");
                Arc::new(opened.waiting_in(self.sources.room.as_ref()))
            });
            issuers.push(Issuer {
                name,
                rules,
                keys,
                mapping,
            });
        }
        issuers
    }

    /// Nobody of the password file may be named as an issuer's subject is.
    fn check_names(&mut self, ways_in: &OpenWaysIn) {
        let Some(passwords) = &ways_in.passwords else {
            return;
        };
        for issuer in ways_in.issuers.iter().map(|issuer| issuer.rules.issuer.as_str()) {
            if let Some(name) = passwords.name_within(issuer) {
                let what = format!(
                    "{}: {name:?} begins as the usernames of the issuer {issuer} do; rename it",
                    passwords.path().display()
                );
                self.mistakes.push(Mistake::new("http.auth.htpasswd.path", what));
            }
        }
    }

    fn certificates(&mut self, entries: Vec<CertificateConfig>) -> Vec<CertificateEntry> {
        let mut certificates = Vec::new();
        for CertificateConfig {
            key,
            name,
            authorities,
            mapping,
        } in entries
        {
            if !mapping.names_uris() && issue_svids(&authorities) {
                let what = "its authorities have SPIFFE IDs, and a certificate with one is never named by its common name: configure their trust domain in http.auth.spiffe";
                self.warnings.push(Warning::new(&key, what));
            }
            let source = self.source(&key, Wanted::File(authorities, Format::PemRoots));
            let authorities: Authorities<_> = source.and_then(|source| source.x509()).into_iter().collect();
            tracing::info!(entry = name, sources = %authorities, "accepting client certificates");
            certificates.push(CertificateEntry {
                name,
                authorities: Arc::new(authorities),
                mapping,
            });
        }
        certificates
    }

    fn token_server(&mut self, TokenServerConfig { rules, keys, .. }: TokenServerConfig) -> TokenServer {
        let source = self.source("http.auth.bearer.cert", Wanted::File(keys, Format::PublicKeys));
        let keys: Authorities<_> = source.and_then(|source| source.jwt()).into_iter().collect();
        tracing::info!(service = rules.service, sources = %keys, "accepting the tokens of a token server");
        TokenServer {
            rules,
            keys: Arc::new(keys),
        }
    }

    /// The file that is read already, or another one.
    fn passwords(&mut self, path: PathBuf) -> Option<Arc<Htpasswd>> {
        if let Some(kept) = self
            .sources
            .running
            .passwords
            .as_ref()
            .filter(|kept| kept.path() == path)
        {
            return Some(kept.clone());
        }
        match Htpasswd::open(&path) {
            Ok(opened) => {
                tracing::info!(file = %path.display(), "accepting names and passwords");
                Some(Arc::new(opened))
            }
            Err(mistakes) => {
                let named = |why: crate::identity::InvalidHtpasswd| {
                    Mistake::new("http.auth.htpasswd.path", format!("{}: {why}", path.display()))
                };
                self.mistakes.extend(mistakes.into_iter().map(named));
                None
            }
        }
    }

    fn issuer_keys(&mut self, key: &str, keys: IssuerKeys) -> Option<Arc<Source>> {
        match keys {
            IssuerKeys::Fetched(settings) => {
                self.files_of_fetching(key, &settings);
                self.source(key, Wanted::Oidc(settings))
            }
            IssuerKeys::File(path) => {
                self.source(&format!("{key}.jwksFile"), Wanted::File(path, Format::OidcJwks))
            }
        }
    }

    /// They are read at each fetch, so that they may appear later.
    fn files_of_fetching(&mut self, key: &str, settings: &OidcSettings) {
        match settings.ca.as_ref().map(|ca| (ca, ca.check())) {
            Some((CaSource::File(_), Err(why))) => {
                self.warnings.push(Warning::new(
                    format!("{key}.certificateAuthorityFile"),
                    why.to_string(),
                ));
            }
            // Text in the configuration cannot become right later.
            Some((CaSource::Inline(_), Err(why))) => {
                self.mistakes.push(Mistake::new(
                    format!("{key}.certificateAuthority"),
                    why.to_string(),
                ));
            }
            Some((_, Ok(()))) | None => {}
        }
        if let Some(path) = &settings.bearer_token_file
            && let Err(why) = std::fs::metadata(path)
        {
            let what = format!(
                "the file {} cannot be read: {}",
                path.display(),
                FileError::new(path, &why)
            );
            self.warnings
                .push(Warning::new(format!("{key}.bearerTokenFile"), what));
        }
    }

    /// The same: what vouches for an endpoint is read when it is needed.
    fn files_of_federation(&mut self, key: &str, settings: &FederationSettings) {
        let (name, checked) = match &settings.profile {
            EndpointProfile::Web { ca } => (
                "certificateAuthorityFile",
                ca.as_ref().map_or(Ok(()), CaSource::check),
            ),
            EndpointProfile::Spiffe { bootstrap, .. } => {
                ("bootstrapFile", source::check_bootstrap(bootstrap))
            }
        };
        if let Err(why) = checked {
            self.warnings
                .push(Warning::new(format!("{key}.{name}"), why.to_string()));
        }
    }

    /// In order. A key that two trust domains hold belongs to the first of them, also if that one accepts no
    /// SVIDs of its kind.
    fn domains(&mut self, configs: Vec<DomainConfig>) -> Vec<Domain> {
        let mut opened = Vec::new();
        let mut held = Vec::<(Arc<Authorities<_>>, Arc<Authorities<_>>)>::new();
        for (i, config) in configs.iter().enumerate() {
            let earlier = || {
                held.iter()
                    .zip(configs.iter().take(i))
                    .filter(|(_, other)| !config.shares_with(other))
            };
            let named = |name: &TrustDomain| Arc::<str>::from(name.as_str());
            let before_x509 = earlier()
                .map(|((x509, _), other)| (named(other.name()), x509.clone()))
                .collect();
            let before_jwt = earlier()
                .map(|((_, jwt), other)| (named(other.name()), jwt.clone()))
                .collect();
            let (x509, jwt) = self.authorities(config, before_x509, before_jwt);
            let domain = Domain {
                x509: config.accepts_x509.then(|| x509.clone()),
                jwt: config.accepts_jwt.then(|| jwt.clone()),
                rules: config.rules.clone(),
                mapping: config.mapping.clone(),
            };
            let now = self.sources.clock.now();
            let x509_withheld = domain.x509.iter().flat_map(|keys| keys.withheld(now));
            for what in x509_withheld.chain(domain.jwt.iter().flat_map(|keys| keys.withheld(now))) {
                self.warnings
                    .push(Warning::new(format!("{}.bundle", config.key), what));
            }
            opened.push(domain);
            held.push((x509, jwt));
        }
        opened
    }

    /// All that the trust domain's sources hold, but what those before it hold too.
    fn authorities(
        &mut self,
        config: &DomainConfig,
        before_x509: Before<X509Authorities>,
        before_jwt: Before<KeySet>,
    ) -> (Arc<Authorities<X509Authorities>>, Arc<Authorities<KeySet>>) {
        let mut x509 = Vec::new();
        let mut jwt = Vec::new();
        let before = self.mistakes.len();
        for (i, source) in config.sources.iter().enumerate() {
            let key = format!("{}.bundle[{i}]", config.key);
            let Some(wanted) = self.wanted(&key, source, config) else {
                continue;
            };
            match &wanted {
                Wanted::OidcOfDomain(settings) => {
                    self.files_of_fetching(&format!("{key}.oidcIssuer"), settings)
                }
                Wanted::Federation(settings) => {
                    self.files_of_federation(&format!("{key}.endpoint"), settings)
                }
                _ => {}
            }
            let Some(source) = self.source(&key, wanted) else {
                continue;
            };
            x509.extend(source.x509());
            jwt.extend(source.jwt());
        }
        for (accepted, offered, kind) in [
            (config.accepts_x509, x509.len(), "X.509-SVIDs"),
            (config.accepts_jwt, jwt.len(), "JWT-SVIDs"),
        ] {
            if accepted && offered == 0 && self.mistakes.len() == before {
                let what = format!(
                    "none of its sources offers authorities for {kind}: add one, or leave them out of svids"
                );
                self.mistakes
                    .push(Mistake::new(format!("{}.bundle", config.key), what));
            }
        }
        let (x509, jwt): (Authorities<_>, Authorities<_>) =
            (x509.into_iter().collect(), jwt.into_iter().collect());
        let name = config.name().as_str();
        let x509_sources = config.accepts_x509.then(|| tracing::field::display(&x509));
        let jwt_sources = config.accepts_jwt.then(|| tracing::field::display(&jwt));
        tracing::info!(
            spiffe.trust_domain = name,
            x509 = x509_sources,
            jwt = jwt_sources,
            "accepting SVIDs"
        );
        let jwt = jwt.waiting_in(self.sources.room.as_ref());
        (
            Arc::new(x509.apart_from(name, before_x509)),
            Arc::new(jwt.apart_from(name, before_jwt)),
        )
    }

    fn wanted(&self, key: &str, source: &DomainSource, domain: &DomainConfig) -> Option<Wanted> {
        let inline = |text: &String, format| Wanted::Inline {
            name: key.to_owned(),
            text: text.clone(),
            format,
        };
        Some(match source {
            DomainSource::WorkloadApi => {
                let following = Following {
                    trust_domain: domain.name().clone(),
                    max_stale: domain.max_stale,
                    on_denied: domain.on_permission_denied,
                };
                Wanted::WorkloadApi(self.workload_api.clone()?, following)
            }
            DomainSource::File(path) => Wanted::File(path.clone(), Format::SpiffeBundleOrPem),
            DomainSource::JwksFile(path) => Wanted::File(path.clone(), Format::Jwks),
            DomainSource::Inline(text) => inline(text, Format::SpiffeBundleOrPem),
            DomainSource::Jwks(text) => inline(text, Format::Jwks),
            DomainSource::BundleMapFile(path) => {
                Wanted::File(path.clone(), Format::BundleMap(domain.name().clone()))
            }
            DomainSource::OidcIssuer(settings) => Wanted::OidcOfDomain(settings.clone()),
            DomainSource::Endpoint(settings) => Wanted::Federation(settings.clone()),
        })
    }

    /// The source that runs with these settings, or a new one.
    fn source(&mut self, key: &str, wanted: Wanted) -> Option<Arc<Source>> {
        let known = |running: &Running| {
            running
                .sources
                .iter()
                .find(|(settings, _)| *settings == wanted)
                .map(|(_, source)| source.clone())
        };
        if let Some(shared) = known(&self.running) {
            self.tell_skipped(key, &shared);
            return Some(shared);
        }
        let kept = known(&self.sources.running);
        let source = match kept.map_or_else(|| self.create(&wanted).map(Arc::new), Ok) {
            Ok(source) => source,
            Err(why) => {
                let key = if let Wanted::WorkloadApi(..) = wanted {
                    "http.auth.spiffe.workloadAPI"
                } else {
                    key
                };
                let mistake = Mistake::new(key, why.to_string());
                // Several trust domains may ask the same Workload API.
                if !self.mistakes.contains(&mistake) {
                    self.mistakes.push(mistake);
                }
                return None;
            }
        };
        if let Wanted::WorkloadApi(address, _) = &wanted {
            self.keep_workload_api(address);
        }
        self.tell_skipped(key, &source);
        self.running.sources.push((wanted, source.clone()));
        Some(source)
    }

    /// At each place that names the source.
    fn tell_skipped(&mut self, key: &str, source: &Source) {
        for skipped in source.skipped() {
            if skipped.ignored {
                self.notes.push(Warning::new(
                    key,
                    format!("{skipped}; ignored, as the standard asks"),
                ));
            } else {
                self.warnings
                    .push(Warning::new(key, format!("{skipped}; skipped, the rest counts")));
            }
        }
    }

    fn create(&mut self, wanted: &Wanted) -> Result<Source, SourceError> {
        let clock = &self.sources.clock;
        let last_good = self.sources.last_good.as_ref();
        match wanted {
            Wanted::Oidc(settings) => Ok(source::oidc(settings.clone(), clock.clone(), last_good)),
            Wanted::OidcOfDomain(settings) => Ok(source::oidc_of_trust_domain(
                settings.clone(),
                clock.clone(),
                last_good,
            )),
            Wanted::Federation(settings) => {
                Ok(source::federation(settings.clone(), clock.clone(), last_good))
            }
            Wanted::File(path, format) => source::file(path, format.clone(), clock.clone(), WATCH_EVERY),
            Wanted::Inline { name, text, format } => {
                source::inline(name, text.as_bytes(), format, clock.now())
            }
            Wanted::WorkloadApi(address, following) => {
                self.keep_workload_api(address);
                let found = self.running.workload_api(address);
                let api = match found {
                    Some(api) => api,
                    None => {
                        let api =
                            WorkloadApi::new(address, &self.sources.clock, self.sources.last_good.as_ref())?;
                        self.running.workload_apis.push((address.clone(), api.clone()));
                        api
                    }
                };
                Ok(api.source(following))
            }
        }
    }

    /// Takes over the one that runs.
    fn keep_workload_api(&mut self, address: &str) {
        if self.running.workload_api(address).is_none()
            && let Some(api) = self.sources.running.workload_api(address)
        {
            self.running.workload_apis.push((address.to_owned(), api));
        }
    }
}

impl Running {
    fn workload_api(&self, address: &str) -> Option<WorkloadApi> {
        self.workload_apis
            .iter()
            .find(|(known, _)| known == address)
            .map(|(_, api)| api.clone())
    }
}

/// How often files of keys are compared with what is in use.
const WATCH_EVERY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
