//! A client's own certificate, and the rules that it must meet by itself. It is parsed for one verification,
//! and is not trusted before [`super::verify_svid`] or [`super::verify_plain`] succeeds.
//!
//! X509-SVID 2, 3 to 4.4 and 5.2.

use super::budget::Budget;
use super::extensions::{Extensions, KeyUsage, certificate};
use super::name;
use super::outline::Outline;
use super::possession::provable_key;
use super::profile::Profile;
use super::rejected::{Malformed, NotTheServer, Rejected};
use super::uri_names;
use crate::clock::Timestamp;
use crate::spiffe_id::{SpiffeId, TrustDomain};
use pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use std::sync::Arc;
use x509_parser::extensions::GeneralName;

#[derive(Clone, Debug)]
pub struct Leaf {
    der: CertificateDer<'static>,
    /// The client has proved in the handshake that it has the private key.
    public_key: SubjectPublicKeyInfoDer<'static>,
    /// The signature checks left for this leaf.
    budget: Arc<Budget>,
    unknown_critical: Option<String>,
    uri_names: Vec<String>,
    is_authority: bool,
    key_usage: Option<KeyUsage>,
    /// Whether the extended key usage allows this use. Without the extension every use is allowed.
    client_auth: bool,
    any_use: bool,
    server_auth: bool,
    not_before: Timestamp,
    not_after: Timestamp,
    common_name: Option<String>,
    subject_dn: String,
    issuer_dn: String,
}

impl Leaf {
    /// Parses a certificate within the limits. Nothing else may be in `der`. A certificate whose key cannot
    /// be proved in the handshake is rejected here, so that it never becomes an identity.
    pub fn parse(der: &CertificateDer<'_>) -> Result<Self, Rejected> {
        Self::read(der, provable_key(der)?)
    }

    /// Parses the certificate of a configured server, or the registry's own. The limits for clients do not
    /// apply, and TLS itself checks whether the key can be used.
    pub(in crate::trust) fn parse_known(der: &CertificateDer<'_>) -> Result<Self, Rejected> {
        let public_key = Outline::read(der)?.public_key.whole.to_vec();
        Self::read(der, public_key.into())
    }

    fn read(
        der: &CertificateDer<'_>,
        public_key: SubjectPublicKeyInfoDer<'static>,
    ) -> Result<Self, Rejected> {
        let found = Outline::read(der)?.version;
        if found != 3 {
            return Err(Rejected::Version { found });
        }
        let certificate = certificate(der)?;
        let extensions = Extensions::read(&certificate)?;
        let is_address = |bytes: &[u8]| matches!(bytes.len(), 4 | 16);
        if extensions
            .alternative_names
            .iter()
            .any(|name| matches!(name, GeneralName::IPAddress(bytes) if !is_address(bytes)))
        {
            return Err(Malformed::AlternativeName.into());
        }
        let uri = |name: &GeneralName<'_>| {
            if let GeneralName::URI(uri) = name {
                Some((*uri).to_owned())
            } else {
                None
            }
        };
        let validity = certificate.validity();
        Ok(Self {
            der: der.clone().into_owned(),
            public_key,
            budget: Arc::default(),
            unknown_critical: extensions.unknown_critical.clone(),
            uri_names: extensions.alternative_names.iter().filter_map(uri).collect(),
            is_authority: extensions.is_authority(),
            key_usage: extensions.key_usage,
            any_use: extensions.extended_key_usage.is_some_and(|usage| usage.any),
            client_auth: extensions
                .extended_key_usage
                .is_none_or(|usage| usage.client_auth),
            server_auth: extensions
                .extended_key_usage
                .is_none_or(|usage| usage.server_auth),
            not_before: Timestamp::from_secs(validity.not_before.timestamp()),
            not_after: Timestamp::from_secs(validity.not_after.timestamp()),
            common_name: name::common_name(&certificate).map(str::to_owned),
            subject_dn: name::text(certificate.subject())?,
            issuer_dn: name::text(certificate.issuer())?,
        })
    }

    /// Whether it claims to be an X.509-SVID, valid or not: a URI name has the scheme `spiffe`, in upper or
    /// lower case.
    #[must_use]
    pub fn claims_spiffe(&self) -> bool {
        uri_names::claim_spiffe(self.uri_names())
    }

    /// Whether a URI name, valid or not, is in this trust domain. Such a certificate is verified by that
    /// trust domain's rules.
    #[must_use]
    pub fn claims_trust_domain(&self, name: &TrustDomain) -> bool {
        uri_names::claim_trust_domain(self.uri_names(), name)
    }

    pub(super) fn has_uri_names(&self) -> bool {
        !self.uri_names.is_empty()
    }

    fn uri_names(&self) -> impl Iterator<Item = &str> {
        self.uri_names.iter().map(String::as_str)
    }

    /// Returns the unverified SPIFFE ID, if the certificate may be a client's X.509-SVID.
    pub fn spiffe_id(&self) -> Result<SpiffeId, Rejected> {
        let id = self.svid_id()?;
        self.check_client(Profile::Svid)?;
        Ok(id)
    }

    /// As [`Self::spiffe_id`], for a server's X.509-SVID.
    pub(super) fn server_spiffe_id(&self) -> Result<SpiffeId, NotTheServer> {
        let id = self.svid_id()?;
        if self.server_auth {
            Ok(id)
        } else {
            Err(NotTheServer::NoServerAuth)
        }
    }

    fn svid_id(&self) -> Result<SpiffeId, Rejected> {
        let uri = match self.uri_names.as_slice() {
            [uri] => uri,
            [] => return Err(Rejected::NoUriName),
            several => return Err(Rejected::SeveralUriNames { found: several.len() }),
        };
        let id: SpiffeId = uri.parse().map_err(|why| Rejected::SpiffeId {
            found: name::shortened(uri),
            why,
        })?;
        if !id.is_workload() {
            return Err(Rejected::RootPath {
                trust_domain: id.trust_domain().clone(),
            });
        }
        if self.is_authority {
            return Err(Rejected::CertificateAuthority);
        }
        match self.key_usage {
            None => Err(Rejected::NoKeyUsage),
            Some(KeyUsage {
                key_cert_sign: true, ..
            }) => Err(Rejected::AuthorityKeyUsage { found: "keyCertSign" }),
            Some(KeyUsage { crl_sign: true, .. }) => Err(Rejected::AuthorityKeyUsage { found: "cRLSign" }),
            Some(KeyUsage {
                digital_signature: false,
                ..
            }) => Err(Rejected::NoDigitalSignature),
            Some(_) => Ok(id),
        }
    }

    /// Returns the last common name of the subject, as Go does.
    #[must_use]
    pub fn subject_cn(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// Returns the subject in the form of RFC 4514. It may be empty.
    #[must_use]
    pub fn subject_dn(&self) -> &str {
        &self.subject_dn
    }

    #[must_use]
    pub fn issuer_dn(&self) -> &str {
        &self.issuer_dn
    }

    #[must_use]
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Returns the last second in which it is valid.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    pub(super) fn unknown_critical(&self) -> Option<&str> {
        self.unknown_critical.as_deref()
    }

    pub(super) const fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static> {
        &self.public_key
    }

    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    pub(super) const fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// Checks what every client's certificate must meet.
    pub(super) fn check_client(&self, profile: Profile) -> Result<(), Rejected> {
        if self.is_authority {
            return Err(Rejected::CertificateAuthority);
        }
        let allowed = self.client_auth || (profile == Profile::Plain && self.any_use);
        if !allowed {
            return Err(Rejected::NoClientAuth);
        }
        Ok(())
    }
}
