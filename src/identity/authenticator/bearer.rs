//! Tokens in a `Bearer` header or in place of a password. A token's own claims choose the rules and keys that
//! verify it.

use super::{Authenticator, Domain, Issuer, Minted, TokenServer};
use crate::clock::Timestamp;
use crate::identity::grounds::{Grounds, Known};
use crate::identity::refusal::{Reason, shown};
use crate::identity::{CredentialType, Evidence, Failure, Identity, Refused};
use crate::secret::Secret;
use crate::spiffe_id::SpiffeId;
use crate::trust::jwt::{self, Unverified, UnverifiedParts};
use crate::trust::minted::Kind;
use std::net::IpAddr;

pub(in crate::identity) enum Route<'a> {
    Svid(&'a Domain),
    /// Entries of one issuer. There is at least one.
    Oidc(Vec<&'a Issuer>),
    Minted(&'a Minted),
    TokenServer(&'a TokenServer),
}

impl Authenticator {
    /// Verifies a token. `kind` is the kind that one of the registry's own tokens must have.
    pub(super) async fn token_identity(
        &self,
        token: &Secret,
        kind: Kind,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Identity, Failure> {
        if self.ignores_credentials {
            return Ok(Identity::anonymous());
        }
        // The cache holds access tokens only: a refresh token must not be accepted as one.
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
            .map_err(|why| evidence_of_unverified(token).refused(Refused::Jwt(why)))?;
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

    /// Chooses the rules and keys for a token by its unverified `iss` and `sub`. A forged token is then
    /// rejected by the keys of the issuer that it names.
    pub(in crate::identity) fn route(&self, token: &Unverified) -> Result<Route<'_>, Refused> {
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
}

fn evidence_of_token(token: &Unverified) -> Evidence {
    Evidence {
        issuer: token.issuer().map(shown),
        key_id: token.key_id().map(shown),
        subject: token.subject().map(shown),
        ..Evidence::default()
    }
}

/// Evidence of a token that cannot be parsed. Without an issuer and a subject, the kind of credential is
/// unknown.
fn evidence_of_unverified(token: &Secret) -> Evidence {
    let UnverifiedParts {
        issuer,
        subject,
        key_id,
    } = UnverifiedParts::of(token.expose());
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
