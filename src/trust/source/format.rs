//! The formats of keys in files and in the configuration. The configuration key decides the format.

use super::SourceError;
use crate::spiffe_id::TrustDomain;
use crate::trust::bundle::{Bundle, parse_map, parse_pem, parse_spiffe};
use crate::trust::content::Content;
use crate::trust::jwks::KeySet;
use crate::trust::jwks::{self, Parsed, UseRule};
use crate::trust::public_keys::public_keys;
use crate::trust::skipped::Skipped;
use crate::trust::x509::X509Authorities;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// `file:` and `inline:` of a trust domain: a SPIFFE bundle in JSON, or PEM, which has only X.509
    /// authorities. The content decides which.
    SpiffeBundleOrPem,
    /// `bundleMapFile:`, of which the bundle of one trust domain is used.
    BundleMap(TrustDomain),
    /// `jwksFile:` and `jwks:` of a trust domain: a plain JWK set. `use` is ignored.
    Jwks,
    /// `jwksFile:` of an OIDC issuer.
    OidcJwks,
    /// PEM certificates.
    PemRoots,
    /// An external token server's keys: PEM or a JWK set.
    PublicKeys,
}

impl Format {
    pub(super) fn parse(&self, name: &Arc<str>, text: &[u8]) -> Result<Content, SourceError> {
        let in_bundle = |why| SourceError::Bundle {
            name: name.clone(),
            why,
        };
        let in_jwks = |why| SourceError::Jwks {
            name: name.clone(),
            why,
        };
        Ok(match self {
            Self::SpiffeBundleOrPem if is_json(text) => parse_spiffe(text).map_err(in_bundle)?.into(),
            Self::BundleMap(trust_domain) => match parse_map(text, trust_domain).map_err(in_bundle)? {
                Some(bundle) => bundle.into(),
                // The map is the whole state, so a missing trust domain is withdrawn.
                None => Content {
                    skipped: vec![absent(trust_domain)],
                    ..Parsed {
                        value: Bundle::default(),
                        skipped: Vec::new(),
                    }
                    .into()
                },
            },
            Self::PemRoots if is_emptied(text) => Content {
                skipped: vec![emptied(name)],
                ..self.nothing()
            },
            Self::SpiffeBundleOrPem | Self::PemRoots => {
                let parsed = parse_pem(text).map_err(in_bundle)?;
                Content {
                    x509: Some(parsed.value),
                    skipped: parsed.skipped,
                    ..Content::default()
                }
            }
            Self::Jwks => {
                let parsed = jwks::parse(text, UseRule::Ignored).map_err(in_jwks)?;
                Content {
                    jwt: Some(parsed.value),
                    skipped: parsed.skipped,
                    ..Content::default()
                }
            }
            Self::OidcJwks | Self::PublicKeys => {
                let parsed = if *self == Self::PublicKeys {
                    public_keys(text)
                } else {
                    jwks::parse(text, UseRule::Oidc)
                }
                .map_err(in_jwks)?;
                if parsed.value.is_empty() && !parsed.skipped.is_empty() {
                    return Err(SourceError::NoneUsable {
                        name: name.clone(),
                        skipped: parsed.skipped,
                    });
                }
                Content {
                    jwt: Some(parsed.value),
                    skipped: parsed.skipped,
                    ..Content::default()
                }
            }
        })
    }

    /// Returns the kinds of key that this format can contain, without keys.
    pub(super) fn nothing(&self) -> Content {
        let x509 = || Some(X509Authorities::default());
        let jwt = || Some(KeySet::default());
        match self {
            Self::SpiffeBundleOrPem | Self::BundleMap(_) => Content {
                x509: x509(),
                jwt: jwt(),
                ..Content::default()
            },
            Self::Jwks | Self::OidcJwks | Self::PublicKeys => Content {
                jwt: jwt(),
                ..Content::default()
            },
            Self::PemRoots => Content {
                x509: x509(),
                ..Content::default()
            },
        }
    }
}

impl From<Parsed<Bundle>> for Content {
    fn from(Parsed { value, skipped }: Parsed<Bundle>) -> Self {
        let Bundle {
            x509,
            jwt,
            sequence,
            refresh_hint,
        } = value;
        Self {
            x509: Some(x509),
            jwt: Some(jwt),
            sequence,
            refresh_hint,
            skipped,
        }
    }
}

fn absent(trust_domain: &TrustDomain) -> Skipped {
    Skipped::new(
        format!("trust_domains[\"{trust_domain}\"]"),
        "the bundle map has no bundle of this trust domain, so its keys are withdrawn",
    )
}

/// Whether the file has no content. Plain authorities have no format other than PEM, so an empty file
/// withdraws them all, as `"keys": []` does in a SPIFFE bundle.
fn is_emptied(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .all(|line| line.is_empty() || line.starts_with(b"#"))
}

fn emptied(name: &Arc<str>) -> Skipped {
    Skipped::new(
        &**name,
        "it holds no certificate, so all its authorities are withdrawn",
    )
}

/// Whether the text is JSON. PEM may begin with comments, but not with the characters that begin a JSON
/// value.
fn is_json(text: &[u8]) -> bool {
    matches!(text.trim_ascii_start().first(), Some(b'{' | b'[' | b'"'))
}
