//! From what a request presents to the identity it proves. A credential is routed once, by what it says of
//! itself, to the rules and keys of its own issuer or trust domain; what these say is final, and nobody else
//! is asked.

mod bearer;
mod certificate;
mod entries;
mod jwt_svid;
mod minted;
mod namesakes;
mod namespace;
mod oidc;
mod password;
mod plain_certificate;
mod proved;
mod token_server;
mod x509_svid;

pub(super) use bearer::Route;
pub use entries::{CertificateEntry, Domain, Issuer};
pub use minted::Minted;
pub use namesakes::SharedKey;
pub use token_server::TokenServer;

use super::credential::Credential;
use super::deny::DenyList;
use super::several_audiences::SeveralAudiences;
use super::token_cache::TokenCache;
use super::{Evidence, Failure, Htpasswd, Identity, Presented};
use crate::clock::Timestamp;
use crate::secret::Secret;
use crate::spiffe_id::TrustDomain;
use crate::trust::minted::Kind;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

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

    pub(in crate::identity) fn domain(&self, name: &TrustDomain) -> Option<&Domain> {
        self.domains
            .iter()
            .find(|domain| domain.rules.trust_domain == *name)
    }
}
