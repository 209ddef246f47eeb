//! What a certificate says about itself, for the log. It is not verified, and nothing may be decided by it.

use super::name;
use super::outline::Outline;
use super::uri_names;
use crate::limits::CERTIFICATE_NAME_BYTES;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

/// The readable parts of a certificate. Texts are not shortened or escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnverifiedParts {
    /// RFC 4514.
    pub subject: Option<String>,
    /// RFC 4514.
    pub issuer: Option<String>,
    /// In hexadecimal.
    pub serial: Option<String>,
    /// The first URI name.
    pub uri: Option<String>,
    /// As [`super::Leaf::claims_spiffe`].
    pub claims_spiffe: bool,
}

impl UnverifiedParts {
    /// Reads names one by one, so that a large certificate costs little.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        let Ok(outline) = Outline::read(certificate) else {
            return Self::default();
        };
        let uris = || {
            outline
                .alternative_names()
                .filter_map(Result::ok)
                .filter(|name| name.tag == URI)
                .map(|name| name.content)
        };
        let uris = || uris().filter_map(|uri| std::str::from_utf8(uri).ok());
        Self {
            subject: text(outline.subject.whole),
            issuer: text(outline.issuer.whole),
            serial: Some(name::serial(outline.serial)),
            uri: uris().next().map(str::to_owned),
            claims_spiffe: uri_names::claim_spiffe(uris()),
        }
    }
}

fn text(name: &[u8]) -> Option<String> {
    let (_, name) =
        X509Name::from_der(name.get(..).filter(|der| der.len() <= CERTIFICATE_NAME_BYTES)?).ok()?;
    name::text(&name).ok().filter(|text| !text.is_empty())
}

/// `uniformResourceIdentifier`, among the kinds of names.
const URI: u8 = 0x86;
