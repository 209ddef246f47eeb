//! From what a request presents to the identity it proves. A credential is routed once, by what it says of
//! itself, to the rules and keys of its own issuer or trust domain; what these say is final, and nobody else
//! is asked.

use super::credential::Credential;
use super::deny::{DenyList, Proved};
use super::grounds::{Grounds, Known};
use super::htpasswd::{Attempt, NoMatch};
use super::minted::Minted;
use super::peer::Verdict;
use super::refusal::shown;
use super::several_audiences::SeveralAudiences;
use super::token_cache::TokenCache;
use super::{
    Busy, CredentialType, Evidence, Failure, Htpasswd, Identity, Mapping, Peer, Presented, Principal,
    Refused, SourceAddress, TokenServer,
};
use crate::clock::Timestamp;
use crate::secret::Secret;
use crate::spiffe_id::{SpiffeId, TrustDomain};
use crate::trust::jwks::KeySet;
use crate::trust::jwt::{self, Hearsay, OidcRules, Unverified, VerifiedJwt};
use crate::trust::minted::Kind;
use crate::trust::x509::{Leaf, VerifiedChain, X509Authorities};
use crate::trust::{Authorities, NoKeys};
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// One configured OIDC issuer entry.
#[derive(Debug)]
pub struct Issuer {
    /// Tells entries of one issuer apart that have different keys, as those of several clusters whose issuer
    /// is the default one. Part of the principal and of the default username.
    pub name: Option<String>,
    pub rules: OidcRules,
    /// Entries of one issuer and one name share them.
    pub keys: Arc<Authorities<KeySet>>,
    pub mapping: Mapping,
}

impl Issuer {
    /// For people: the issuer, and the name if there is one.
    #[must_use]
    pub fn label(&self) -> String {
        let issuer = &self.rules.issuer;
        self.name
            .as_ref()
            .map_or_else(|| issuer.clone(), |name| format!("{issuer} ({name})"))
    }
}

/// One configured trust domain.
#[derive(Debug)]
pub struct Domain {
    pub rules: jwt::SvidRules,
    /// `None` if JWT-SVIDs are not accepted.
    pub jwt: Option<Arc<Authorities<KeySet>>>,
    /// `None` if X.509-SVIDs are not accepted.
    pub x509: Option<Arc<Authorities<X509Authorities>>>,
    pub mapping: Mapping,
}

/// One configured authority for client certificates that are no SVIDs.
#[derive(Debug)]
pub struct CertificateEntry {
    /// Part of the principal: upload sessions belong to it.
    pub name: String,
    pub authorities: Arc<Authorities<X509Authorities>>,
    pub mapping: Mapping,
}

/// Every configured way to be somebody. Immutable.
#[derive(Debug)]
pub struct Authenticator {
    pub(super) issuers: Vec<Issuer>,
    pub(super) domains: Vec<Domain>,
    pub(super) certificates: Vec<CertificateEntry>,
    pub(super) minted: Option<Minted>,
    pub(super) passwords: Option<Arc<Htpasswd>>,
    /// How long the answer to a wrong password waits.
    fail_delay: Duration,
    token_server: Option<TokenServer>,
    pub(super) deny: DenyList,
    several_audiences: SeveralAudiences,
    cache: Option<TokenCache>,
    /// Nobody can log in, and everybody is anonymous whatever they present.
    ignores_credentials: bool,
    /// Its address tells this authenticator from those of other configurations.
    pub(super) itself: Arc<()>,
}

impl Authenticator {
    /// Each in the order of the configuration.
    #[must_use]
    pub fn new(issuers: Vec<Issuer>, domains: Vec<Domain>, certificates: Vec<CertificateEntry>) -> Self {
        Self {
            issuers,
            domains,
            certificates,
            minted: None,
            passwords: None,
            fail_delay: Duration::ZERO,
            token_server: None,
            deny: DenyList::default(),
            several_audiences: SeveralAudiences::default(),
            cache: None,
            ignores_credentials: false,
            itself: Arc::default(),
        }
    }

    /// Accepts our own tokens as well.
    #[must_use]
    pub fn with_minted(self, minted: Minted) -> Self {
        Self {
            minted: Some(minted),
            ..self
        }
    }

    /// Accepts the names and passwords of a file as well. A wrong password is answered after `fail_delay`.
    #[must_use]
    pub fn with_passwords(self, passwords: Arc<Htpasswd>, fail_delay: Duration) -> Self {
        Self {
            passwords: Some(passwords),
            fail_delay,
            ..self
        }
    }

    /// Accepts the tokens of an external token server as well.
    #[must_use]
    pub fn with_token_server(self, token_server: TokenServer) -> Self {
        Self {
            token_server: Some(token_server),
            ..self
        }
    }

    /// Refuses what these rules revoke.
    #[must_use]
    pub fn with_deny(self, deny: DenyList) -> Self {
        Self { deny, ..self }
    }

    /// Looks at no credential: for an open registry alone, whose clients send what they have left from
    /// another one.
    #[must_use]
    pub fn ignoring_credentials(self) -> Self {
        Self {
            ignores_credentials: true,
            ..self
        }
    }

    /// Keeps who presented tokens that come again.
    #[must_use]
    pub fn with_token_cache(self) -> Self {
        Self {
            cache: TokenCache::new(),
            ..self
        }
    }

    #[must_use]
    pub const fn passwords(&self) -> Option<&Arc<Htpasswd>> {
        self.passwords.as_ref()
    }

    #[must_use]
    pub fn issuers(&self) -> &[Issuer] {
        &self.issuers
    }

    #[must_use]
    pub fn domains(&self) -> &[Domain] {
        &self.domains
    }

    #[must_use]
    pub fn certificates(&self) -> &[CertificateEntry] {
        &self.certificates
    }

    /// Who is asking. Anonymous only if no credential was presented; one that is bad or cannot be checked is
    /// a failure.
    pub async fn authenticate(&self, presented: &Presented<'_>, now: Timestamp) -> Result<Identity, Failure> {
        if self.ignores_credentials {
            return Ok(Identity::anonymous());
        }
        match Credential::choose(presented) {
            Ok(Credential::Anonymous) => Ok(Identity::anonymous()),
            Ok(Credential::Token(token)) => {
                self.token_identity(&token, Kind::Access, presented.address, now)
                    .await
            }
            Ok(Credential::Password { user, password }) => {
                self.password_identity(&user, password, presented.address).await
            }
            Ok(Credential::Certificate(peer)) => self.certificate_identity(peer, now).await,
            Err(reason) => Err(Evidence::default().refused(reason)),
        }
    }

    /// Who presents this token, as [`Self::authenticate`] finds from a header. `from` is where the client is.
    pub async fn authenticate_token(
        &self,
        token: &Secret,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Identity, Failure> {
        self.token_identity(token, Kind::Access, from, now).await
    }

    /// Who presents this as a refresh token: one of ours, or a token of somebody else's, but none of our
    /// access tokens.
    pub async fn authenticate_refresh(
        &self,
        token: &Secret,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Identity, Failure> {
        self.token_identity(token, Kind::Refresh, from, now).await
    }

    /// Who presents this name and password, where the password may be a token, whatever the name.
    pub async fn authenticate_password(
        &self,
        user: &str,
        password: &Secret,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Identity, Failure> {
        if self.ignores_credentials {
            return Ok(Identity::anonymous());
        }
        match Credential::from_password(user, password.expose()) {
            Credential::Token(token) => self.token_identity(&token, Kind::Access, from, now).await,
            _ => self.password_identity(user, password.clone(), from).await,
        }
    }

    /// The token that was presented, unverified: for a token service that hands it back after
    /// [`Self::authenticate`].
    #[must_use]
    pub fn token(&self, presented: &Presented<'_>) -> Option<Secret> {
        match Credential::choose(presented) {
            Ok(Credential::Token(token)) => Some(token),
            _ => None,
        }
    }

    /// `kind` is what one of our own tokens must be.
    async fn token_identity(
        &self,
        token: &Secret,
        kind: Kind,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Identity, Failure> {
        if self.ignores_credentials {
            return Ok(Identity::anonymous());
        }
        // What a refresh token is for is not what is kept.
        let cached = self
            .cache
            .as_ref()
            .filter(|_| kind == Kind::Access)
            .map(|cache| (cache, cache.hash(token)));
        if let Some(identity) = cached.and_then(|(cache, hash)| cache.get(hash, now)) {
            self.several_audiences.note(&identity);
            return Ok(identity);
        }
        let token = Unverified::parse(token.expose())
            .map_err(|why| evidence_of_hearsay(token).refused(Refused::Jwt(why)))?;
        let token = token.sent_from(from);
        let mut evidence = evidence_of_token(&token);
        let route = self.route(&token);
        evidence.credential = match route {
            Ok(Route::Svid(_)) | Err(Refused::UnknownTrustDomain) => Some(CredentialType::JwtSvid),
            Ok(Route::Minted(_)) => Some(CredentialType::Minted),
            Ok(Route::TokenServer(_)) => Some(CredentialType::TokenServer),
            Ok(Route::Oidc(_)) | Err(_) => Some(CredentialType::Oidc),
        };
        let mut grounds = Grounds::default();
        let identity = match &route {
            Ok(Route::Svid(domain)) => self.svid_identity(&token, domain, &mut grounds, now).await,
            Ok(Route::Oidc(entries)) => self.oidc_identity(&token, entries, &mut grounds, now).await,
            Ok(Route::Minted(minted)) => {
                self.minted_identity(&token, kind, minted, &mut grounds, now)
                    .await
            }
            Ok(Route::TokenServer(server)) => {
                grounds.rest_on(&server.keys, now);
                server
                    .identity(&token, &self.deny, now)
                    .and_then(|identity| Ok(self.in_own_namespace(None, None, identity)?))
            }
            Err(reason) => Err(reason.clone().into()),
        };
        if let Err(Reason::Refused(Refused::Jwt(jwt::Rejected::UnknownKey { .. }))) = &identity {
            let of = match &route {
                Ok(Route::Svid(domain)) => domain.rules.trust_domain.as_str(),
                Ok(Route::Oidc(entries)) => entries.first().map_or("", |entry| &entry.rules.issuer),
                _ => "",
            };
            metrics::counter!("wharfinger_unknown_key_ids_total", "of" => of.to_owned()).increment(1);
        }
        let identity = identity.map_err(|why| why.with(evidence))?;
        if let Some((cache, hash)) = cached {
            cache.put(hash, Known::new(identity.clone(), grounds, now));
        }
        self.several_audiences.note(&identity);
        Ok(identity)
    }

    /// Where a token belongs. Decided by what it says of itself, so that a forged one meets the keys of whom
    /// it names.
    pub(super) fn route(&self, token: &Unverified) -> Result<Route<'_>, Refused> {
        let issuer = token.issuer().unwrap_or_default();
        if let Some(minted) = self
            .minted
            .as_ref()
            .filter(|minted| minted.rules.issuer == issuer)
        {
            return Ok(Route::Minted(minted));
        }
        let entries = self.entries(issuer);
        match token.spiffe_id() {
            Some(id) => match (self.domain(id.trust_domain()), entries.is_empty()) {
                (Some(domain), _) => Ok(Route::Svid(domain)),
                (None, true) => Err(Refused::UnknownTrustDomain),
                (None, false) => Ok(Route::Oidc(entries)),
            },
            None if entries.is_empty() => match (self.any_issuer(), &self.token_server) {
                (Some(entries), _) => Ok(Route::Oidc(entries)),
                (None, Some(server)) => Ok(Route::TokenServer(server)),
                (None, None) => Err(Refused::UnknownIssuer),
            },
            None => Ok(Route::Oidc(entries)),
        }
    }

    fn entries(&self, issuer: &str) -> Vec<&Issuer> {
        self.issuers
            .iter()
            .filter(|entry| entry.rules.issuer == issuer)
            .collect()
    }

    /// The entries that an issuer's tokens are for, if it is named by none those that compare no `iss`.
    pub(super) fn entries_of(&self, issuer: &str) -> Vec<&Issuer> {
        let named = self.entries(issuer);
        if named.is_empty() {
            self.any_issuer().unwrap_or_default()
        } else {
            named
        }
    }

    /// The first entry that compares no `iss`, with the others of its issuer that do not either: they share
    /// its keys.
    fn any_issuer(&self) -> Option<Vec<&Issuer>> {
        let skipping = || self.issuers.iter().filter(|entry| entry.rules.skip_issuer);
        let first = skipping().next()?;
        Some(
            skipping()
                .filter(|entry| entry.rules.issuer == first.rules.issuer)
                .collect(),
        )
    }

    /// By entries that share their keys.
    pub(super) async fn entry_identity(
        &self,
        token: &Unverified,
        entries: &[&Issuer],
        grounds: &mut Grounds,
        now: Timestamp,
    ) -> Result<Identity, Reason> {
        let rules: Vec<_> = entries.iter().map(|entry| &entry.rules).collect();
        let keys = &entries.first().ok_or(Refused::UnknownIssuer)?.keys;
        grounds.rest_on(keys, now);
        let verified = jwt::verify_oidc(token, &rules, keys, now).await?;
        self.mapped(verified, entries)
    }

    /// By the first of the entries that accept the token and whose validations pass.
    pub(super) fn mapped(&self, verified: VerifiedJwt, entries: &[&Issuer]) -> Result<Identity, Reason> {
        let verified = Arc::new(verified);
        let mut first_reason = None;
        for entry in verified
            .accepted_by()
            .iter()
            .filter_map(|index| entries.get(*index))
        {
            let OidcRules { audiences, hosts, .. } = &entry.rules;
            match self.proved_token(
                &verified,
                entry.name.as_deref(),
                CredentialType::Oidc,
                &entry.mapping,
                (audiences, hosts),
            ) {
                Err(reason @ Refused::Validation { .. }) => _ = first_reason.get_or_insert(reason),
                decided => return Ok(self.in_own_namespace(Some(entry), Some(&entry.mapping), decided?)?),
            }
        }
        Err(first_reason.unwrap_or(Refused::UnknownIssuer).into())
    }

    pub(super) async fn svid_identity(
        &self,
        token: &Unverified,
        domain: &Domain,
        grounds: &mut Grounds,
        now: Timestamp,
    ) -> Result<Identity, Reason> {
        let keys = domain.jwt.as_ref().ok_or(Refused::KindNotAccepted)?;
        grounds.rest_on(keys, now);
        let verified = Arc::new(jwt::verify_svid(token, &domain.rules, keys, now).await?);
        let audiences = &domain.rules.audiences;
        let hosts = &domain.rules.hosts;
        let identity = self.proved_token(
            &verified,
            None,
            CredentialType::JwtSvid,
            &domain.mapping,
            (audiences, hosts),
        )?;
        Ok(self.in_own_namespace(None, Some(&domain.mapping), identity)?)
    }

    async fn certificate_identity(&self, peer: &Peer, now: Timestamp) -> Result<Identity, Failure> {
        if let Some(known) = peer.known_to(&self.itself, now) {
            return known;
        }
        let _judging = peer.judging().await;
        if let Some(known) = peer.known_to(&self.itself, now) {
            return known;
        }
        let mut grounds = Grounds::default();
        let found = self.judge_certificate(peer, &mut grounds, now);
        peer.keep(&self.itself, found.clone(), grounds, now);
        found
    }

    #[expect(clippy::result_large_err, reason = "made once a connection")]
    fn judge_certificate(
        &self,
        peer: &Peer,
        grounds: &mut Grounds,
        now: Timestamp,
    ) -> Result<Identity, Failure> {
        let leaf = peer
            .leaf()
            .map_err(|why| peer.evidence().refused(Refused::Chain(why)))?;
        let (identity, credential) = if self.is_svid(&leaf) {
            (
                self.x509_svid_identity(peer, &leaf, grounds, now),
                CredentialType::X509Svid,
            )
        } else {
            (
                self.plain_identity(&self.certificates, peer, &leaf, grounds, now),
                CredentialType::X509,
            )
        };
        identity.map_err(|why| {
            why.with(Evidence {
                credential: Some(credential),
                ..peer.evidence()
            })
        })
    }

    /// A certificate with any SPIFFE URI is only ever an SVID, unless no configured trust domain is in its
    /// URIs and an entry says that its authorities may name URIs. The names alone decide: one that breaks a
    /// rule of SVIDs is a bad SVID, not something else.
    pub(super) fn is_svid(&self, leaf: &Leaf) -> bool {
        let known = || {
            self.domains
                .iter()
                .any(|domain| leaf.claims_trust_domain(&domain.rules.trust_domain))
        };
        leaf.claims_spiffe() && (known() || !self.certificates.iter().any(|entry| entry.mapping.names_uris()))
    }

    pub(super) fn x509_svid_identity(
        &self,
        peer: &Peer,
        leaf: &Leaf,
        grounds: &mut Grounds,
        now: Timestamp,
    ) -> Result<Identity, Reason> {
        let id = leaf.spiffe_id().map_err(Refused::Chain)?;
        let domain = self
            .domain(id.trust_domain())
            .ok_or(Refused::UnknownTrustDomain)?;
        let authorities = domain.x509.as_ref().ok_or(Refused::KindNotAccepted)?;
        grounds.rest_on(authorities, now);
        let chain = peer.svid(leaf, authorities, grounds, now)?;
        // Verification has compared it with the leaf's own. A chain without a SPIFFE ID is not that of an
        // SVID.
        let principal = Principal::Spiffe(chain.spiffe_id().ok_or(Refused::UnknownTrustDomain)?.clone());
        let identity = self.proved_chain(
            chain,
            leaf.subject_cn(),
            CredentialType::X509Svid,
            principal,
            &domain.mapping,
        )?;
        Ok(self.in_own_namespace(None, Some(&domain.mapping), identity)?)
    }

    /// Each entry in order: a plain certificate names nobody whose business it is. One that nothing can be
    /// said of ends the search, since who somebody is must not depend on which authorities happen to be
    /// known.
    pub(super) fn plain_identity(
        &self,
        entries: &[CertificateEntry],
        peer: &Peer,
        leaf: &Leaf,
        grounds: &mut Grounds,
        now: Timestamp,
    ) -> Result<Identity, Reason> {
        let mut untrusted = None;
        let mut invalid = None;
        // One with a SPIFFE URI is for those entries alone that say so.
        let wanted = |entry: &&CertificateEntry| !leaf.claims_spiffe() || entry.mapping.names_uris();
        for entry in entries.iter().filter(wanted) {
            grounds.rest_on(&entry.authorities, now);
            let chain = match peer.plain(leaf, &entry.authorities, grounds, now) {
                Ok(chain) => chain,
                Err(Verdict::Rejected(why)) => {
                    untrusted.get_or_insert(Refused::Chain(why));
                    continue;
                }
                Err(undecidable) => return Err(undecidable.into()),
            };
            let principal = Principal::Certificate {
                entry: entry.name.clone(),
                subject: subject(&chain),
            };
            match self.proved_chain(
                chain,
                leaf.subject_cn(),
                CredentialType::X509,
                principal,
                &entry.mapping,
            ) {
                Err(reason @ Refused::Validation { .. }) => _ = invalid.get_or_insert(reason),
                decided => return Ok(self.in_own_namespace(None, Some(&entry.mapping), decided?)?),
            }
        }
        Err(invalid.or(untrusted).unwrap_or(Refused::KindNotAccepted).into())
    }

    /// Of the password file.
    async fn password_identity(
        &self,
        user: &str,
        password: Secret,
        from: Option<IpAddr>,
    ) -> Result<Identity, Failure> {
        let Some(passwords) = &self.passwords else {
            return Err(Evidence::default().refused(Refused::NotAToken));
        };
        let evidence = || Evidence {
            credential: Some(CredentialType::Htpasswd),
            subject: Some(shown(user)),
            ..Evidence::default()
        };
        let source = from.map_or(SourceAddress::UNKNOWN, SourceAddress::of);
        let fail_delay = self.fail_delay;
        let busy = |why| Failure::Busy {
            why,
            evidence: evidence(),
        };
        let identity = passwords
            .check(Attempt {
                user,
                password,
                source,
                fail_delay,
            })
            .await
            .map_err(|why| match why {
                NoMatch::Wrong => evidence().refused(Refused::Password),
                NoMatch::NotComparable => evidence().refused(Refused::PasswordNotComparable),
                NoMatch::SourceBusy => busy(Busy::Source {
                    retry: fail_delay.max(SOON),
                }),
                NoMatch::Busy => busy(Busy::Everyone),
            })?;
        let accepted = self
            .deny
            .check(Proved::Password { user })
            .and_then(|()| self.in_own_namespace(None, None, identity));
        accepted.map_err(|reason| evidence().refused(reason))
    }

    pub(super) fn domain(&self, name: &TrustDomain) -> Option<&Domain> {
        self.domains
            .iter()
            .find(|domain| domain.rules.trust_domain == *name)
    }
}

pub(super) enum Route<'a> {
    Svid(&'a Domain),
    /// Entries of one issuer, at least one.
    Oidc(Vec<&'a Issuer>),
    Minted(&'a Minted),
    TokenServer(&'a TokenServer),
}

/// A [`Failure`] before it is said of which credential.
pub(super) enum Reason {
    Refused(Refused),
    Undecidable(NoKeys),
}

impl Reason {
    pub(super) fn with(self, evidence: Evidence) -> Failure {
        match self {
            Self::Refused(reason) => evidence.refused(reason),
            Self::Undecidable(why) => evidence.undecidable(why),
        }
    }
}

impl From<Refused> for Reason {
    fn from(reason: Refused) -> Self {
        Self::Refused(reason)
    }
}

impl From<jwt::Failure> for Reason {
    fn from(failure: jwt::Failure) -> Self {
        match failure {
            jwt::Failure::Rejected(why) => Self::Refused(Refused::Jwt(why)),
            jwt::Failure::Undecidable(why) => Self::Undecidable(why),
        }
    }
}

impl From<Verdict> for Reason {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Rejected(why) => Self::Refused(Refused::Chain(why)),
            Verdict::Undecidable(why) => Self::Undecidable(why),
        }
    }
}

/// Its DN. Whoever has none is told apart by the certificate itself.
pub(super) fn subject(chain: &VerifiedChain) -> String {
    let digest = || {
        chain
            .claims()
            .get("x509")
            .and_then(|x509| x509.get("sha256"))
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    if chain.subject_dn().is_empty() {
        format!("sha256:{}", digest())
    } else {
        chain.subject_dn().to_owned()
    }
}

fn evidence_of_token(token: &Unverified) -> Evidence {
    Evidence {
        issuer: token.issuer().map(shown),
        key_id: token.key_id().map(shown),
        subject: token.subject().map(shown),
        ..Evidence::default()
    }
}

/// Of a token that cannot be taken apart. What says nothing of itself may be of any kind.
fn evidence_of_hearsay(token: &Secret) -> Evidence {
    let Hearsay {
        issuer,
        subject,
        key_id,
    } = Hearsay::of(token.expose());
    let credential = match (&issuer, &subject) {
        (_, Some(subject)) if subject.parse::<SpiffeId>().is_ok() => Some(CredentialType::JwtSvid),
        (None, None) => None,
        _ => Some(CredentialType::Oidc),
    };
    let shown = |text: Option<String>| text.as_deref().map(shown);
    Evidence {
        credential,
        issuer: shown(issuer),
        key_id: shown(key_id),
        subject: shown(subject),
        serial: None,
    }
}

/// When a source that has too many attempts may try again, at the earliest.
const SOON: Duration = Duration::from_secs(1);
