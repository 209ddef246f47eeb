//! The X.509 authorities of one trust domain or one entry. webpki ignores the dates of trust anchors, so they
//! are stored here and checked at each verification.

use super::extensions::{Constrains, Extensions, certificate};
use super::name;
use super::outline::Outline;
use super::public_key::PublicKey;
use super::rejected::Unfit;
use crate::clock::Timestamp;
use crate::trust::fingerprint;
use crate::trust::keys::{KeyKind, KeyStatus, Keys};
use pki_types::{CertificateDer, TrustAnchor};
use std::fmt;
use std::sync::Arc;

/// Trust anchors for chains. Immutable and cheap to clone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct X509Authorities {
    authorities: Arc<[Authority]>,
}

impl X509Authorities {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.authorities.is_empty()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.authorities.len()
    }

    /// Returns when the first of them expires.
    #[must_use]
    pub fn earliest_expiry(&self) -> Option<Timestamp> {
        self.authorities.iter().map(|authority| authority.not_after).min()
    }

    /// Whether there are authorities and all of them have expired.
    pub(in crate::trust) fn have_expired_by(&self, now: Timestamp) -> bool {
        self.latest_expiry().is_some_and(|last| last < now)
    }

    pub(super) fn latest_expiry(&self) -> Option<Timestamp> {
        self.authorities.iter().map(|authority| authority.not_after).max()
    }

    pub(super) fn validities(&self) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        self.authorities
            .iter()
            .map(|authority| (authority.not_before, authority.not_after))
    }

    pub(super) fn valid_at(&self, now: Timestamp) -> impl Iterator<Item = &Authority> {
        self.authorities
            .iter()
            .filter(move |authority| authority.not_before <= now && now <= authority.not_after)
    }
}

impl FromIterator<Authority> for X509Authorities {
    fn from_iter<I: IntoIterator<Item = Authority>>(authorities: I) -> Self {
        Self {
            authorities: authorities.into_iter().collect(),
        }
    }
}

impl Keys for X509Authorities {
    fn describe(&self) -> Vec<KeyStatus> {
        let describe = |one: &Authority| KeyStatus {
            kind: KeyKind::X509,
            id: Some(one.subject.clone()).filter(|subject| !subject.is_empty()),
            algorithms: vec![one.public_key.name()],
            not_after: Some(one.not_after),
            withdrawn_until: None,
        };
        self.authorities.iter().map(describe).collect()
    }

    fn prints(&self) -> Vec<(&str, String)> {
        self.authorities
            .iter()
            .map(|one| (one.fingerprint(), format!("the authority {}", one.subject)))
            .collect()
    }

    fn without(&self, gone: &dyn Fn(&str) -> bool) -> Self {
        self.authorities
            .iter()
            .filter(|one| !gone(one.fingerprint()))
            .cloned()
            .collect()
    }
}

impl fmt::Debug for X509Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(
                self.authorities
                    .iter()
                    .map(|one| format!("{} until {}", one.subject, one.not_after)),
            )
            .finish()
    }
}

#[derive(Clone, PartialEq, Eq)]
pub(in crate::trust) struct Authority {
    pub(super) anchor: TrustAnchor<'static>,
    subject: String,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    /// How many intermediates may follow, without self-issued ones (RFC 5280 4.2.1.9).
    pub(super) path_len: Option<u32>,
    public_key: PublicKey,
    fingerprint: String,
    key_id: Option<Vec<u8>>,
    pub(super) constrains: Constrains,
}

impl Authority {
    /// Parses an authority. Rejects a certificate that is not meant to sign others, so that a leaf in a
    /// bundle does not become a trust anchor.
    pub(in crate::trust) fn parse(der: &[u8]) -> Result<Self, Unfit> {
        let certificate = certificate(der)?;
        let extensions = Extensions::read(&certificate)?;
        if !extensions.is_authority() {
            return Err(Unfit::NotAnAuthority);
        }
        if extensions.key_usage.is_some_and(|usage| !usage.key_cert_sign) {
            return Err(Unfit::NoKeyCertSign);
        }
        let der = CertificateDer::from(der);
        let validity = certificate.validity();
        Ok(Self {
            anchor: webpki::anchor_from_trusted_cert(&der)
                .map_err(Unfit::Anchor)?
                .to_owned(),
            subject: name::text(certificate.subject())?,
            not_before: Timestamp::from_secs(validity.not_before.timestamp()),
            not_after: Timestamp::from_secs(validity.not_after.timestamp()),
            path_len: extensions.basic_constraints.and_then(|found| found.path_len),
            public_key: PublicKey::of(certificate.public_key()),
            fingerprint: fingerprint(certificate.public_key().raw),
            constrains: extensions.constrains,
            key_id: Outline::read(&der)
                .ok()
                .and_then(|outline| outline.subject_key_id().map(<[u8]>::to_vec)),
        })
    }

    /// Returns the subject in DER without tag and length, as in [`super::outline::Outline`].
    pub(super) fn subject(&self) -> &[u8] {
        &self.anchor.subject
    }

    /// Returns the subject in the form of RFC 4514.
    pub(super) fn subject_dn(&self) -> &str {
        &self.subject
    }

    /// Returns the subject key identifier.
    pub(super) fn key_id(&self) -> Option<&[u8]> {
        self.key_id.as_deref()
    }

    /// Returns the fingerprint of its public key.
    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(in crate::trust) const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }
}
