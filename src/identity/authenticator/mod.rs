//! The choice of the credential of a request. Each kind of credential has a file of its own, which verifies
//! it and returns the identity. A token or an SVID is verified by the rules and keys of the one issuer or
//! trust domain that it names. If they reject it, no other is tried.

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

/// Verifies credentials by the configuration. Immutable: a reload makes a new one.
#[derive(Debug)]
pub struct Authenticator {
    pub(super) issuers: Vec<Issuer>,
    pub(super) domains: Vec<Domain>,
    pub(super) certificates: Vec<CertificateEntry>,
    pub(super) minted: Option<Minted>,
    pub(super) passwords: Option<Arc<Htpasswd>>,
    /// How long to wait before a wrong password is answered.
    fail_delay: Duration,
    token_server: Option<TokenServer>,
    pub(super) deny: DenyList,
    several_audiences: SeveralAudiences,
    cache: Option<TokenCache>,
    /// Credentials are ignored, and every caller is anonymous.
    ignores_credentials: bool,
    /// The address of this allocation identifies the authenticator, so that results of an earlier
    /// configuration are not reused.
    pub(super) itself: Arc<()>,
}

impl Authenticator {
    /// The entries are in the order of the configuration.
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

    /// Also accepts the registry's own tokens.
    #[must_use]
    pub fn with_minted(self, minted: Minted) -> Self {
        Self {
            minted: Some(minted),
            ..self
        }
    }

    /// Also accepts the names and passwords of a file. A wrong password is answered after `fail_delay`.
    #[must_use]
    pub fn with_passwords(self, passwords: Arc<Htpasswd>, fail_delay: Duration) -> Self {
        Self {
            passwords: Some(passwords),
            fail_delay,
            ..self
        }
    }

    /// Also accepts the tokens of an external token server.
    #[must_use]
    pub fn with_token_server(self, token_server: TokenServer) -> Self {
        Self {
            token_server: Some(token_server),
            ..self
        }
    }

    /// Rejects the credentials that these rules revoke.
    #[must_use]
    pub fn with_deny(self, deny: DenyList) -> Self {
        Self { deny, ..self }
    }

    /// Ignores credentials. Only for an open registry: clients may send it credentials that they have for
    /// another registry.
    #[must_use]
    pub fn ignoring_credentials(self) -> Self {
        Self {
            ignores_credentials: true,
            ..self
        }
    }

    /// Caches the identities behind repeated tokens.
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

    /// Returns the identity of the caller. It is anonymous only if no credential was presented. A credential
    /// that is rejected or cannot be checked is a failure.
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

    /// As [`Self::authenticate`], for a token that is not in a header. `from` is the client's address.
    pub async fn authenticate_token(
        &self,
        token: &Secret,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Identity, Failure> {
        self.token_identity(token, Kind::Access, from, now).await
    }

    /// As [`Self::authenticate_token`], for a refresh token. It is one of the registry's own refresh tokens
    /// or another issuer's token. The registry's own access tokens are rejected.
    pub async fn authenticate_refresh(
        &self,
        token: &Secret,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Identity, Failure> {
        self.token_identity(token, Kind::Refresh, from, now).await
    }

    /// As [`Self::authenticate`], for a name and a password that are not in a header. The password may be a
    /// token; the name is then ignored.
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

    /// Returns the presented token without verifying it, for a token service that returns it after
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
