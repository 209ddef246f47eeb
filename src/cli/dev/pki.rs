//! A temporary trust domain: its authority, its bundle, and the SVIDs that it issues. Never use it in production.

use crate::clock::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde_json::json;
use std::net::IpAddr;
use std::time::Duration;

pub(super) const TRUST_DOMAIN: &str = "dev.wharfinger.test";
pub(super) const AUDIENCE: &str = "wharfinger-dev";
/// The identity that pushes, with its X.509-SVID.
pub(super) const BUILDER: &str = "spiffe://dev.wharfinger.test/ci/builder";
/// The identity that pulls, with its JWT-SVID.
pub(super) const READER: &str = "spiffe://dev.wharfinger.test/ns/default/sa/reader";

/// The lifetime of the authority.
pub(super) const AUTHORITY_LIFE: Duration = Duration::from_secs(365 * DAY);
/// The lifetime of the SVIDs that it issues.
pub(super) const SVID_LIFE: Duration = Duration::from_secs(DAY);
const DAY: u64 = 24 * 60 * 60;

#[derive(Debug, thiserror::Error)]
pub(super) enum PkiError {
    #[error("cannot create a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("cannot sign a JWT-SVID: {0}")]
    Token(#[from] jsonwebtoken::errors::Error),
    #[error("a date is out of range")]
    Date,
}

/// A PEM certificate and its PEM key.
pub(super) struct Pair {
    pub certificate: String,
    pub key: String,
}

/// The trust domain's authority. Signs certificates and tokens with one key each.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    token_key: KeyPair,
}

impl Authority {
    /// Loads the authority from its two keys in PEM. Its certificate is needed only in the bundle.
    pub(super) fn load(key: &str, token_key: &str) -> Result<Self, PkiError> {
        Ok(Self {
            issuer: Issuer::new(authority_params()?, KeyPair::from_pem(key)?),
            token_key: KeyPair::from_pem(token_key)?,
        })
    }

    /// Creates an authority. Returns its certificate and key, and the key that signs tokens.
    pub(super) fn create(now: Timestamp) -> Result<(Pair, String), PkiError> {
        let key = KeyPair::generate()?;
        let mut params = authority_params()?;
        dates(&mut params, now, AUTHORITY_LIFE)?;
        let certificate = params.self_signed(&key)?.pem();
        Ok((
            Pair {
                certificate,
                key: key.serialize_pem(),
            },
            KeyPair::generate()?.serialize_pem(),
        ))
    }

    /// The bundle in the SPIFFE format: the certificate for X.509-SVIDs, the public key for JWT-SVIDs.
    pub(super) fn bundle(&self, certificate_der: &[u8]) -> String {
        let point = self.token_key.public_key_raw();
        let x = point.get(1..33).unwrap_or_default();
        let y = point.get(33..).unwrap_or_default();
        let issuer_key = self.issuer.key().public_key_raw();
        let ix = issuer_key.get(1..33).unwrap_or_default();
        let iy = issuer_key.get(33..).unwrap_or_default();
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let bundle = json!({
            "spiffe_sequence": 1,
            "spiffe_refresh_hint": 300,
            "keys": [
                {"kty": "EC", "use": "x509-svid", "crv": "P-256", "x": number(ix), "y": number(iy), "x5c": [STANDARD.encode(certificate_der)]},
                {"kty": "EC", "use": "jwt-svid", "kid": KEY_ID, "crv": "P-256", "x": number(x), "y": number(y)},
            ],
        });
        format!("{bundle:#}\n")
    }

    /// An X.509-SVID.
    pub(super) fn x509_svid(&self, id: &str, now: Timestamp) -> Result<Pair, PkiError> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(id.try_into()?)];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        self.leaf(params, now)
    }

    /// The registry's own certificate, for loopback and for the address that it listens on.
    pub(super) fn server_certificate(&self, address: IpAddr, now: Timestamp) -> Result<Pair, PkiError> {
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        names.extend(
            Some(address)
                .filter(|address| !address.is_unspecified())
                .map(|address| address.to_string()),
        );
        names.dedup();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.leaf(params, now)
    }

    /// A JWT-SVID for this registry.
    pub(super) fn jwt_svid(&self, id: &str, now: Timestamp) -> Result<String, PkiError> {
        let header = Header {
            kid: Some(KEY_ID.to_owned()),
            ..Header::new(Algorithm::ES256)
        };
        let claims =
            json!({"sub": id, "aud": [AUDIENCE], "iat": now.as_secs(), "exp": now.plus(SVID_LIFE).as_secs()});
        Ok(jsonwebtoken::encode(
            &header,
            &claims,
            &EncodingKey::from_ec_der(self.token_key.serialized_der()),
        )?)
    }

    fn leaf(&self, mut params: CertificateParams, now: Timestamp) -> Result<Pair, PkiError> {
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        dates(&mut params, now, SVID_LIFE)?;
        let key = KeyPair::generate()?;
        Ok(Pair {
            certificate: params.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }
}

fn authority_params() -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "Wharfinger development authority");
    params.subject_alt_names = vec![SanType::URI(format!("spiffe://{TRUST_DOMAIN}").try_into()?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// From a minute ago, for clocks that differ a little.
fn dates(params: &mut CertificateParams, now: Timestamp, life: Duration) -> Result<(), PkiError> {
    let date =
        |at: Timestamp| time::OffsetDateTime::from_unix_timestamp(at.as_secs()).map_err(|_| PkiError::Date);
    params.not_before = date(now.minus(Duration::from_secs(60)))?;
    params.not_after = date(now.plus(life))?;
    Ok(())
}

const KEY_ID: &str = "dev";
