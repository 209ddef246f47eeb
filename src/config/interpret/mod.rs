//! Turns the raw keys into a valid [`Config`]. It continues after a mistake, so that all are reported
//! together.

mod access;
mod advice;
mod bucket;
mod collecting;
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
mod quotas;
mod retention;
mod scrubbing;
mod shared;
mod sources;
mod store;
mod tls;
mod token;
mod web_identity;

use super::mentions::Mentions;
use super::raw;
use super::settings::{Config, Environment, FixedSettings, LiveSettings, WaysIn};
use super::{Level, LogFormat, Mistake, Warning};
use crate::budget;
use crate::exchange::Terms;
use crate::http::{Family, Network, TrustedProxies};
use crate::identity::{Mapping, MappingSettings};
use shared::Granted;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Information from outside the file.
pub(super) struct Surroundings<'a> {
    /// The folder from which relative paths start.
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

/// What the parts of the interpretation share.
struct Interpreter<'a> {
    around: &'a Surroundings<'a>,
    mistakes: Vec<Mistake>,
    warnings: Vec<Warning>,
}

/// Builds the settings. Parts that could not be understood are omitted and reported as mistakes.
pub(super) fn interpret(
    mut file: raw::File,
    around: &Surroundings<'_>,
    warnings: Vec<Warning>,
) -> (Config, Vec<Mistake>) {
    let mut interpreter = Interpreter {
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
        interpreter.mistake(
            "http.auth.bearer.service",
            "is used in a header: use only letters, digits and punctuation except \" and \\",
        );
    }
    let token_server = interpreter.token_server(bearer.cert, bearer.issuer, bearer.realm, &service);
    let cacert = http.tls.as_ref().and_then(|tls| tls.cacert.clone());
    let certificates = interpreter.certificates(auth.x509, auth.mtls, cacert);
    let given = auth.htpasswd.is_some();
    let passwords = auth
        .htpasswd
        .map(|htpasswd| htpasswd.path)
        .filter(|path| !path.as_os_str().is_empty());
    if given && passwords.is_none() {
        interpreter.mistake(
            "http.auth.htpasswd.path",
            "is empty: name the password file, or remove htpasswd",
        );
    }
    let passwords = passwords.map(|path| around.path(&path));
    let fail_delay = interpreter.fail_delay(auth.fail_delay);
    let external_urls = interpreter.external_urls(http.external_url);
    let proxies = interpreter.proxies(&http.trusted_proxies, http.forwarded_headers);
    let proxy_protocol = interpreter.proxy_protocol(&http.proxy_protocol);
    let unidentified = interpreter.unidentified(http.unidentified);
    let body_memory = interpreter.body_memory(http.body_memory.as_ref());
    let open_uploads = interpreter.open_uploads(http.open_uploads);
    for (key, access) in [
        ("accessControl", &mut file.access_control),
        ("http.accessControl", &mut http.access_control),
    ] {
        if let Some(access) = access {
            interpreter.in_lower_case(key, access);
        }
    }
    let access = file.access_control.as_ref().or(http.access_control.as_ref());
    let issuers = interpreter.issuers(bearer.oidc, &external_urls, &Granted::of(access));
    interpreter.advise_access(access);
    let agent = auth
        .spiffe
        .as_ref()
        .and_then(|spiffe| spiffe.workload_api.clone())
        .or_else(|| around.environment.endpoint_socket.clone());
    let domains = interpreter.domains(auth.spiffe, &external_urls);
    let tls = interpreter.tls(http.tls, &domains, &certificates);
    let workload_api = interpreter.workload_api(agent.clone(), &domains, tls.as_ref());
    let tokens = !issuers.is_empty() || !domains.is_empty() || token_server.is_some();
    // If entries have mistakes, they are already reported, and a missing login would only follow from them.
    let has_mistakes = interpreter
        .mistakes
        .iter()
        .any(|mistake| mistake.key.starts_with("http.auth."));
    let identifies = tokens || !certificates.is_empty() || passwords.is_some() || has_mistakes;
    let listen = interpreter.listen("http", http.address, http.port.as_ref(), Some(8080));
    interpreter.advise_passwords(
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
    let deny = interpreter.deny(auth.deny, &configured);
    let cors = interpreter.cors(http.allow_origin, identifies);
    let reach = open::Reach {
        listen: &listen,
        external_urls: &external_urls,
        cors: &cors,
        proxied: !http.trusted_proxies.is_empty() || !http.proxy_protocol.is_empty(),
    };
    let (policy, opened) = interpreter.access(file.access_control, http.access_control, identifies, &reach);
    let metrics = interpreter.metrics(file.extensions);
    let storage = interpreter.store(
        file.storage.root_directory.take(),
        file.storage.storage_driver.take(),
        agent.as_deref(),
    );
    let state_directory = interpreter.state_directory(file.state_directory, &storage);
    let redirects = interpreter.redirects(&file.storage, &storage);
    let sparse = interpreter.repositories("storage.sparse", &file.storage.sparse);
    let unchecked_descriptors = interpreter.repositories(
        "storage.uncheckedDescriptors",
        &file.storage.unchecked_descriptors,
    );
    let collecting = interpreter.collecting(&file.storage);
    let retention = interpreter.retention(file.storage.retention, collecting.runs);
    let scrubbing = interpreter.scrubbing(file.storage.scrub.as_ref());
    let quotas = interpreter.quotas(file.storage.quotas);
    let max_repos = file.storage.max_repos.filter(|most| *most > 0);
    let commit = interpreter.commit(file.storage.commit, &storage);
    let shares_tokens = storage.is_shared() && opened.is_none();
    let (token_keys, session_lifetime) = interpreter.token(auth.token, &state_directory, shares_tokens);
    interpreter.advise_zots(&listen);
    let config = Config {
        ways_in: WaysIn {
            issuers,
            domains,
            certificates,
            token_server,
            passwords,
            workload_api,
        },
        live: LiveSettings {
            policy: Arc::new(policy),
            terms: Terms {
                service,
                session_lifetime,
            },
            external_urls,
            proxies,
            proxy_protocol,
            unidentified,
            token_cache: auth.token_cache.unwrap_or(true),
            fail_delay,
            deny,
            opened,
            cors,
            metrics,
            scrubbing,
            retention: Arc::new(retention),
            redirects,
        },
        fixed: FixedSettings {
            listen,
            health: http
                .health
                .map(|health| interpreter.listen("http.health", health.address, Some(&health.port), None)),
            body_memory,
            open_uploads,
            storage,
            commit,
            sparse,
            unchecked_descriptors,
            collecting,
            max_repos: max_repos.and_then(|most| usize::try_from(most).ok()),
            quotas,
            state_directory,
            token_keys,
            level: file.log.as_ref().and_then(|log| log.level).unwrap_or(Level::Info),
            log_format: file.log.and_then(|log| log.format).unwrap_or(LogFormat::Auto),
        },
        tls,
        open: around.environment.open,
        warnings: interpreter.warnings,
    };
    (config, interpreter.mistakes)
}

impl Interpreter<'_> {
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
                format!("must be an amount of memory of at least {least}MiB, such as 64MiB or 1GiB"),
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

    /// The hosts whose names are accepted as audiences in addition to the listed ones.
    fn audience_hosts(&mut self, key: &str, wanted: Option<bool>, external_urls: &[String]) -> Vec<String> {
        if wanted != Some(true) {
            return Vec::new();
        }
        if external_urls.is_empty() {
            // The sender chooses the request's host, so a token for any other service could otherwise be
            // replayed here.
            self.mistake(
                format!("{key}.audienceFromHost"),
                "needs http.externalURL with the names of this registry",
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
                    format!("must be a scheme and a host such as https://registry.example.org, not {url:?}"),
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
                "must be at most {} seconds, found {}: clients do not wait longer",
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
                format!(
                    "must be a duration such as 30s, 5m or 24h, not {text:?}{}",
                    super::values::in_hours(text)
                ),
            );
        }
        duration
    }

    /// Compiles a mapping. Its errors become mistakes of this file.
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
            self.mistake(format!("{key}.audiences"), format!("needs at least one audience, or tokens for other services would be accepted: add this registry's name, and request {whose} for that name"));
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

/// The default of how much clocks may differ.
const CLOCK_SKEW: Duration = Duration::from_secs(30);
/// The default of how long keys from the network stay valid after their last fetch.
const MAX_STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest delay of the answer to a wrong password.
const LONGEST_FAIL_DELAY: Duration = Duration::from_secs(60);
