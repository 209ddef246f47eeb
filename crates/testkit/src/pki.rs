//! Authorities, trust domains with their bundles, SVIDs and server certificates.

use super::signer::Signer;
use super::{AUDIENCE, now};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use serde_json::{Value, json};
use time::OffsetDateTime;

/// A PEM certificate and its PEM key.
#[derive(Clone)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

/// A certificate authority.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    der: Vec<u8>,
    pub pem: String,
}

impl Ca {
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        dates(&mut params);
        let certificate = params.self_signed(&key).unwrap();
        let der = certificate.der().to_vec();
        let pem = certificate.pem();
        Self {
            issuer: Issuer::new(params, key),
            der,
            pem,
        }
    }

    /// A certificate for a server on loopback, with its addresses and with a name that clients must be able
    /// to resolve.
    pub fn server(&self) -> Pair {
        let mut params =
            CertificateParams::new(["localhost", "127.0.0.1", "::1", AUDIENCE].map(str::to_owned)).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params)
    }

    /// A server's certificate that expired yesterday.
    pub fn expired_server(&self) -> Pair {
        let mut params = CertificateParams::new(["localhost", "127.0.0.1"].map(str::to_owned)).unwrap();
        let day = time::Duration::days(1);
        let at = OffsetDateTime::from_unix_timestamp(now()).unwrap();
        (params.not_before, params.not_after) = (at - 10 * day, at - day);
        let key = KeyPair::generate().unwrap();
        Pair {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// A client's certificate that is not an SVID.
    pub fn client(&self, name: &str) -> Pair {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    /// An X.509-SVID, as SPIRE makes them, with any ID.
    pub fn svid(&self, id: &str) -> Pair {
        self.svid_with(id, |_| {})
    }

    pub fn svid_with(&self, id: &str, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "SPIRE");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.subject_alt_names = vec![uri(id)];
        change(&mut params);
        self.issue(params)
    }

    fn issue(&self, mut params: CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        dates(&mut params);
        Pair {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

/// A SPIFFE trust domain.
pub struct TrustDomain {
    name: String,
    pub ca: Ca,
    pub signer: Signer,
}

impl TrustDomain {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ca: Ca::new(name),
            signer: Signer::new("jwt-1"),
        }
    }

    /// `path` begins with a slash.
    pub fn id(&self, path: &str) -> String {
        format!("spiffe://{}{path}", self.name)
    }

    pub fn x509_svid(&self, path: &str) -> Pair {
        self.ca.svid(&self.id(path))
    }

    pub fn jwt_svid(&self, path: &str, audience: &str) -> String {
        self.signer
            .token(&json!({"sub": self.id(path), "aud": [audience]}))
    }

    /// The bundle in the SPIFFE format.
    pub fn bundle(&self) -> Value {
        let mut token_key = self.signer.jwk();
        token_key["use"] = "jwt-svid".into();
        let point = self.ca.issuer.key().public_key_raw();
        let (x, y) = point[1..].split_at(32);
        let x = super::signer::encode(x);
        let y = super::signer::encode(y);
        let authority = json!({"kty": "EC", "use": "x509-svid", "crv": "P-256", "x": x, "y": y, "x5c": [STANDARD.encode(&self.ca.der)]});
        json!({"spiffe_sequence": 1, "spiffe_refresh_hint": 300, "keys": [authority, token_key]})
    }
}

/// The authorities of most tests: a CA for servers, a trust domain that the registry knows, and one that it
/// does not.
pub struct TestPki {
    pub servers: Ca,
    pub domain: TrustDomain,
    pub foreign: TrustDomain,
}

impl TestPki {
    pub fn new() -> Self {
        Self {
            servers: Ca::new("servers"),
            domain: TrustDomain::new("prod.test"),
            foreign: TrustDomain::new("foreign.test"),
        }
    }
}

pub fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn dates(params: &mut CertificateParams) {
    params.not_before = OffsetDateTime::from_unix_timestamp(now() - 60).unwrap();
    params.not_after = OffsetDateTime::from_unix_timestamp(now() + 3600).unwrap();
}
