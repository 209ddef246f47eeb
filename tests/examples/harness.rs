//! The registry's decisions without a registry: a configuration, keys for every issuer and trust domain in
//! it, and a caller.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use wharfinger::access::{self, Create, Delete, Policy, Read};
use wharfinger::clock::Timestamp;
use wharfinger::config::{self, Config, Mistake};
use wharfinger::identity::{Authenticator, Domain, Failure, Identity, Issuer, Peer, Presented, Refused};
use wharfinger::trust::jwks::{self, UseRule};
use wharfinger::trust::{Authorities, Slot, bundle};
use wharfinger_testkit::{Ca, Signer, uri};

pub(crate) const NOW: i64 = 1_795_500_000;

/// One key signs for all issuers. Other tests prove that each issuer is verified by its own keys.
static KEY: LazyLock<Signer> = LazyLock::new(|| Signer::new("k"));

pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The files of a folder with one of these endings, by name.
pub(crate) fn files(name: &str, endings: &[&str]) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder(name))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = entries
        .filter(|path| {
            path.extension()
                .is_some_and(|it| endings.iter().any(|ending| it == *ending))
        })
        .collect();
    found.sort();
    assert!(!found.is_empty(), "nothing in {name}");
    found
}

pub(crate) fn parse(text: &str) -> Result<Config, Vec<Mistake>> {
    config::parse(text, Path::new("/etc/wharfinger"), None)
}

pub(crate) struct Registry {
    authenticator: Authenticator,
    policy: Arc<Policy>,
    roots: HashMap<String, Ca>,
}

impl Registry {
    /// Has keys for every issuer and trust domain of the configuration.
    pub(crate) fn of(config: Config) -> Self {
        let issuers = config.ways_in.issuers.into_iter().map(|entry| {
            let keys = jwks::parse(key_set("sig").as_bytes(), UseRule::Oidc)
                .unwrap()
                .value;
            Issuer {
                name: entry.name,
                rules: entry.rules,
                keys: held(keys),
                mapping: entry.mapping,
            }
        });
        let mut roots = HashMap::new();
        let domains = config.ways_in.domains.into_iter().map(|entry| {
            let root = root(entry.name().as_str());
            let x509 = entry
                .accepts_x509
                .then(|| held(bundle::parse_pem(root.pem.as_bytes()).unwrap().value));
            let keys = || {
                held(
                    jwks::parse(key_set("jwt-svid").as_bytes(), UseRule::SpiffeBundle)
                        .unwrap()
                        .value,
                )
            };
            roots.insert(entry.name().to_string(), root);
            Domain {
                rules: entry.rules,
                jwt: entry.accepts_jwt.then(keys),
                x509,
                mapping: entry.mapping,
            }
        });
        let issuers = issuers.collect();
        let domains = domains.collect();
        Self {
            authenticator: Authenticator::new(issuers, domains, Vec::new()),
            policy: config.live.policy,
            roots,
        }
    }

    /// The caller with a token that has these claims. `exp` is added if it is missing.
    pub(crate) async fn token(&self, claims: Value) -> Result<Identity, Failure> {
        let header = format!("Bearer {}", sign(claims));
        self.authenticate(Some(&header), None).await
    }

    /// The same caller, whose client sends the token as a password.
    pub(crate) async fn password(&self, user: &str, claims: Value) -> Result<Identity, Failure> {
        let header = format!("Basic {}", STANDARD.encode(format!("{user}:{}", sign(claims))));
        self.authenticate(Some(&header), None).await
    }

    /// The caller with an X.509-SVID of this SPIFFE ID, issued by its own trust domain.
    pub(crate) async fn certificate(&self, id: &str) -> Result<Identity, Failure> {
        let domain = id.trim_start_matches("spiffe://").split('/').next().unwrap();
        let peer = Peer::new(vec![self.roots[domain].svid_der(id)]);
        self.authenticate(None, Some(&peer)).await
    }

    pub(crate) async fn anonymous(&self) -> Identity {
        self.authenticate(None, None).await.unwrap()
    }

    async fn authenticate(&self, header: Option<&str>, peer: Option<&Peer>) -> Result<Identity, Failure> {
        let presented = Presented {
            authorization: header.iter().map(|header| header.as_bytes()).collect(),
            peer,
            ambient: true,
            address: None,
        };
        self.authenticator
            .authenticate(&presented, Timestamp::from_secs(NOW))
            .await
    }

    /// What the caller may do, as the first letters of the actions: `rcud`.
    pub(crate) fn rights(&self, identity: &Identity, repository: &str) -> String {
        let repository = repository.parse().unwrap();
        let policy = &self.policy;
        let mut rights = String::new();
        let tag = "latest".parse().unwrap();
        let write = access::decide_write(policy, identity, &repository).ok();
        let create = access::decide::<Create>(policy, identity, &repository).is_ok();
        assert_eq!(
            create,
            write
                .as_ref()
                .is_some_and(access::Permit::<access::Write>::may_create)
        );
        for (letter, allowed) in [
            ('r', access::decide::<Read>(policy, identity, &repository).is_ok()),
            ('c', create),
            (
                'u',
                write.as_ref().is_some_and(|write| write.may_move(&tag).is_ok()),
            ),
            (
                'd',
                access::decide::<Delete>(policy, identity, &repository).is_ok(),
            ),
        ] {
            rights.extend(allowed.then_some(letter));
        }
        rights
    }
}

/// Why the caller is rejected.
pub(crate) fn refused(outcome: Result<Identity, Failure>) -> Refused {
    match outcome {
        Err(Failure::Refused(refusal)) => refusal.reason,
        other => panic!("expected a refusal, found {other:?}"),
    }
}

fn root(domain: &str) -> Ca {
    Ca::root_with(domain, |params| {
        params.subject_alt_names = vec![uri(&format!("spiffe://{domain}"))];
    })
}

/// A certificate authority in PEM, for settings that take one as text.
pub(crate) fn authority_pem() -> String {
    root("ca.example").pem
}

fn held<T>(keys: T) -> Arc<Authorities<T>> {
    let slot = Slot::new("test");
    slot.publish(keys, Timestamp::from_secs(NOW), Timestamp::MAX);
    Arc::new(Authorities::new(vec![slot]))
}

fn key_set(purpose: &str) -> String {
    let mut key = KEY.jwk();
    key["use"] = purpose.into();
    json!({ "keys": [key] }).to_string()
}

fn sign(mut claims: Value) -> String {
    let members = claims.as_object_mut().unwrap();
    members.entry("exp").or_insert_with(|| (NOW + 300).into());
    KEY.token_of(KEY.header(), claims)
}
