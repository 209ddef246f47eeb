//! A client's own certificate, read once and still untrusted.

use super::Rejected;
use crate::clock::Timestamp;
use crate::spiffe_id::SpiffeId;
use pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// What a leaf says of itself. Its readers may route by it and must not decide by it.
#[derive(Clone, Debug)]
pub struct Leaf {
    pub(super) der: CertificateDer<'static>,
    uris: Vec<String>,
    is_authority: bool,
    /// `digitalSignature`, and `keyCertSign` or `cRLSign`.
    key_usage: Option<(bool, bool)>,
    client_auth: Option<bool>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Leaf {
    pub fn parse(der: &CertificateDer<'_>) -> Result<Self, Rejected> {
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| Rejected::Malformed)?;
        if !rest.is_empty() {
            return Err(Rejected::TrailingBytes);
        }
        let names = parsed.subject_alternative_name().map_err(|_| Rejected::Malformed)?;
        let uri = |name: &GeneralName<'_>| match name {
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        };
        let constraints = parsed.basic_constraints().map_err(|_| Rejected::Malformed)?;
        let usage = parsed.key_usage().map_err(|_| Rejected::Malformed)?;
        let extended = parsed.extended_key_usage().map_err(|_| Rejected::Malformed)?;
        Ok(Self {
            der: der.clone().into_owned(),
            uris: names.iter().flat_map(|names| names.value.general_names.iter()).filter_map(uri).collect(),
            is_authority: constraints.is_some_and(|constraints| constraints.value.ca),
            key_usage: usage.map(|usage| (usage.value.digital_signature(), usage.value.key_cert_sign() || usage.value.crl_sign())),
            client_auth: extended.map(|extended| extended.value.client_auth),
            not_before: Timestamp::from_secs(parsed.validity().not_before.timestamp()),
            not_after: Timestamp::from_secs(parsed.validity().not_after.timestamp()),
        })
    }

    /// Whether it means to be an SVID: then it is never anything else.
    #[must_use]
    pub fn claims_spiffe(&self) -> bool {
        self.uris.iter().any(|uri| uri.get(..9).is_some_and(|scheme| scheme.eq_ignore_ascii_case("spiffe://")))
    }

    /// The SPIFFE ID, if the leaf obeys the rules for leaves (X509-SVID 2, 4 and 5.2). Says nothing of who signed it.
    pub fn spiffe_id(&self) -> Result<SpiffeId, Rejected> {
        let [uri] = self.uris.as_slice() else { return Err(Rejected::UriNames { found: self.uris.len() }) };
        let id: SpiffeId = uri.parse()?;
        if !id.is_workload() {
            return Err(Rejected::NoPath);
        }
        if self.is_authority {
            return Err(Rejected::Authority);
        }
        match self.key_usage {
            None => return Err(Rejected::NoKeyUsage),
            Some((true, false)) => {}
            Some(_) => return Err(Rejected::KeyUsage),
        }
        if self.client_auth == Some(false) { Err(Rejected::ExtendedKeyUsage) } else { Ok(id) }
    }

    #[must_use]
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }
}
