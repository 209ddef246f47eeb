//! ID tokens of OIDC issuers.

use super::{Authenticator, Issuer};
use crate::clock::Timestamp;
use crate::identity::grounds::Grounds;
use crate::identity::refusal::Reason;
use crate::identity::{CredentialType, Identity, Refused};
use crate::trust::jwt::{self, Bearer, OidcRules, Remembered, Unverified, VerifiedJwt};
use std::sync::Arc;

impl Authenticator {
    pub(super) fn entries(&self, issuer: &str) -> Vec<&Issuer> {
        self.issuers
            .iter()
            .filter(|entry| entry.rules.issuer == issuer)
            .collect()
    }

    /// Returns the entries of this issuer. If there is none, returns the entries that skip the comparison of
    /// `iss`.
    pub(super) fn entries_of(&self, issuer: &str) -> Vec<&Issuer> {
        let named = self.entries(issuer);
        if named.is_empty() {
            self.any_issuer().unwrap_or_default()
        } else {
            named
        }
    }

    /// Returns the first entry that skips the comparison of `iss`, and the other such entries of its issuer,
    /// which share its keys.
    pub(super) fn any_issuer(&self) -> Option<Vec<&Issuer>> {
        let skipping = || self.issuers.iter().filter(|entry| entry.rules.skip_issuer);
        let first = skipping().next()?;
        Some(
            skipping()
                .filter(|entry| entry.rules.issuer == first.rules.issuer)
                .collect(),
        )
    }

    /// Verifies a token by entries that share their keys.
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

    /// Maps the token by the first entry that accepts it and whose validations pass.
    fn mapped(&self, verified: VerifiedJwt, entries: &[&Issuer]) -> Result<Identity, Reason> {
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

    pub(in crate::identity) async fn oidc_again(
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
}
