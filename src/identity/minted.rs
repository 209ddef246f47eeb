//! Who presents one of our own tokens. The token stands for a credential, and is worth what that credential
//! is worth now: its issuer or trust domain must still be configured, the key or authority that vouched must
//! still be one, the mapping is applied again. Only its time is its session's.

use super::authenticator::{Authenticator, Reason, subject};
use super::deny::Proved;
use super::grounds::Grounds;
use super::{CredentialType, Identity, Principal, Refused, Scope, Session};
use crate::clock::Timestamp;
use crate::trust::Authorities;
use crate::trust::jwks::KeySet;
use crate::trust::jwt::{self, Bearer, Remembered, Unverified};
use crate::trust::minted::{self, Kind, MintedRules, Source};
use crate::trust::x509::{self, RememberedChain};
use std::sync::Arc;

/// What our own tokens are verified by.
#[derive(Clone, Debug)]
pub struct Minted {
    pub rules: MintedRules,
    pub keys: Arc<Authorities<KeySet>>,
}

impl Authenticator {
    pub(super) async fn minted_identity(
        &self,
        token: &Unverified,
        kind: Kind,
        minted: &Minted,
        grounds: &mut Grounds,
        now: Timestamp,
    ) -> Result<Identity, Reason> {
        grounds.rest_on(&minted.keys, now);
        let verified = minted::verify(token, kind, &minted.rules, &minted.keys, now)?;
        self.deny.check(Proved::Minted {
            id: verified.id(),
            session: verified.session(),
        })?;
        let bearer = Bearer {
            sender: token.sender(),
            expires: verified.expires(),
        };
        let identity = match verified.source() {
            None => Identity::anonymous(),
            Some(Source::Oidc { entry, token }) => {
                self.oidc_again(entry.as_deref(), token, bearer, grounds, now)
                    .await?
            }
            Some(Source::JwtSvid(token)) => self.jwt_svid_again(token, bearer, grounds, now).await?,
            Some(Source::X509Svid(chain)) => self.x509_svid_again(chain, grounds, now)?,
            Some(Source::X509 { entry, chain }) => self.plain_again(entry, chain, grounds, now)?,
            Some(Source::Htpasswd { user, fingerprint }) => {
                let passwords = self.passwords.as_ref().ok_or(Refused::KindNotAccepted)?;
                grounds.rest_on(passwords, now);
                let identity = passwords
                    .again(user, fingerprint)
                    .ok_or(Refused::PasswordWithdrawn)?;
                self.deny.check(Proved::Password { user })?;
                self.in_own_namespace(None, None, identity)?
            }
        };
        let scope = verified.access().map(|access| Arc::new(Scope::granted(access)));
        let token = verified.id().to_owned();
        let first = verified.session().to_owned();
        let session = Session {
            began: verified.began(),
            ends: verified.expires(),
            token,
            first,
        };
        let valid_until = identity.valid_until.min(verified.expires());
        Ok(Identity {
            scope,
            session: Some(session),
            valid_until,
            ..identity
        })
    }

    pub(super) async fn oidc_again(
        &self,
        name: Option<&str>,
        token: &Remembered,
        bearer: Bearer,
        grounds: &mut Grounds,
        now: Timestamp,
    ) -> Result<Identity, Reason> {
        let mut entries = self.entries_of(token.issuer());
        for namesake in entries.iter().filter(|entry| entry.name.as_deref() != name) {
            grounds.rest_on(&namesake.keys, now);
        }
        if self.belongs_to_an_earlier(&entries, name, token.fingerprint(), now) {
            return Err(Refused::Jwt(jwt::Rejected::KeyWithdrawn {
                issuer: token.issuer().to_owned(),
            })
            .into());
        }
        entries.retain(|entry| entry.name.as_deref() == name);
        let rules: Vec<_> = entries.iter().map(|entry| &entry.rules).collect();
        let keys = &entries.first().ok_or(Refused::UnknownIssuer)?.keys;
        grounds.rest_on(keys, now);
        self.mapped(
            jwt::reverify_oidc(token, bearer, &rules, keys, now).await?,
            &entries,
        )
    }

    async fn jwt_svid_again(
        &self,
        token: &Remembered,
        bearer: Bearer,
        grounds: &mut Grounds,
        now: Timestamp,
    ) -> Result<Identity, Reason> {
        let id = token.spiffe_id().ok_or(Refused::UnknownTrustDomain)?;
        let domain = self
            .domain(id.trust_domain())
            .ok_or(Refused::UnknownTrustDomain)?;
        let keys = domain.jwt.as_ref().ok_or(Refused::KindNotAccepted)?;
        grounds.rest_on(keys, now);
        let verified = Arc::new(jwt::reverify_svid(token, bearer, &domain.rules, keys, now).await?);
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

    fn x509_svid_again(
        &self,
        chain: &RememberedChain,
        grounds: &mut Grounds,
        now: Timestamp,
    ) -> Result<Identity, Reason> {
        let id = chain.spiffe_id().ok_or(Refused::UnknownTrustDomain)?;
        let domain = self
            .domain(id.trust_domain())
            .ok_or(Refused::UnknownTrustDomain)?;
        let authorities = domain.x509.as_ref().ok_or(Refused::KindNotAccepted)?;
        grounds.rest_on(authorities, now);
        let view = authorities.view(now).map_err(Reason::Undecidable)?;
        let verified = Arc::new(x509::reverify_svid(chain, &view, now).map_err(Refused::Chain)?);
        let identity = self.proved_chain(
            verified,
            chain.subject_cn(),
            CredentialType::X509Svid,
            Principal::Spiffe(id),
            &domain.mapping,
        )?;
        Ok(self.in_own_namespace(None, Some(&domain.mapping), identity)?)
    }

    fn plain_again(
        &self,
        entry: &str,
        chain: &RememberedChain,
        grounds: &mut Grounds,
        now: Timestamp,
    ) -> Result<Identity, Reason> {
        let entry = self
            .certificates
            .iter()
            .find(|one| one.name == entry)
            .ok_or(Refused::KindNotAccepted)?;
        let is_an_svids = self
            .domains
            .iter()
            .any(|domain| chain.claims_trust_domain(&domain.rules.trust_domain));
        if is_an_svids || (chain.claims_spiffe() && !entry.mapping.names_uris()) {
            return Err(Refused::KindNotAccepted.into());
        }
        grounds.rest_on(&entry.authorities, now);
        let view = entry.authorities.view(now).map_err(Reason::Undecidable)?;
        let verified = Arc::new(x509::reverify_plain(chain, &view, now).map_err(Refused::Chain)?);
        let principal = Principal::Certificate {
            entry: entry.name.clone(),
            subject: subject(&verified),
        };
        let identity = self.proved_chain(
            verified,
            chain.subject_cn(),
            CredentialType::X509,
            principal,
            &entry.mapping,
        )?;
        Ok(self.in_own_namespace(None, Some(&entry.mapping), identity)?)
    }
}
