//! Authorities, trust domains with their bundles, SVIDs and server certificates.

use super::signer::{Signer, encode};
use super::{AUDIENCE, now};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pki_types::CertificateDer;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use serde_json::{Value, json};
use time::OffsetDateTime;

/// A PEM certificate and its PEM key.
#[derive(Clone)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

/// A DER certificate and its DER key.
pub struct DerPair {
    pub certificate: CertificateDer<'static>,
    pub key: Vec<u8>,
}

/// A certificate authority with its key.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub der: CertificateDer<'static>,
    pub pem: String,
}

impl Ca {
    /// A root that is valid for an hour.
    pub fn new(name: &str) -> Self {
        Self::root_with(name, dates)
    }

    /// A root that is valid at any time of a test.
    pub fn root(name: &str) -> Self {
        Self::root_with(name, |_| {})
    }

    pub fn root_with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        Self::root_of(name, KeyPair::generate().unwrap(), change)
    }

    pub fn root_of(name: &str, key: KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = authority(name);
        change(&mut params);
        let certificate = params.self_signed(&key).unwrap();
        Self::of(&certificate, params, key)
    }

    pub fn intermediate(&self, name: &str) -> Self {
        self.intermediate_with(name, |_| {})
    }

    pub fn intermediate_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = authority(name);
        let key = KeyPair::generate().unwrap();
        change(&mut params);
        let certificate = self.certify(&params, &key);
        Self::of(&certificate, params, key)
    }

    fn of(certificate: &Certificate, params: CertificateParams, key: KeyPair) -> Self {
        Self {
            der: certificate.der().clone(),
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    pub fn key(&self) -> &KeyPair {
        self.issuer.key()
    }

    /// The authority's own certificate and key.
    pub fn itself(&self) -> DerPair {
        DerPair {
            certificate: self.der.clone(),
            key: self.key().serialize_der(),
        }
    }

    /// Signs any certificate for any key, valid or not.
    pub fn certify(&self, params: &CertificateParams, key: &impl PublicKeyData) -> Certificate {
        params.signed_by(key, &self.issuer).unwrap()
    }

    /// Certifies another authority's name and key.
    pub fn cross_sign(&self, name: &str, other: &Self) -> CertificateDer<'static> {
        self.certify(&authority(name), other.key()).der().clone()
    }

    /// A certificate like that of an X.509-SVID, but without a SPIFFE ID. It is valid at any time of a test.
    pub fn leaf(
        &self,
        key: &impl PublicKeyData,
        change: impl FnOnce(&mut CertificateParams),
    ) -> CertificateDer<'static> {
        let mut params = workload();
        change(&mut params);
        self.certify(&params, key).der().clone()
    }

    /// An X.509-SVID that is valid at any time of a test.
    pub fn svid_der(&self, id: &str) -> CertificateDer<'static> {
        self.svid_der_with(id, |_| {})
    }

    pub fn svid_der_with(
        &self,
        id: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> CertificateDer<'static> {
        self.leaf(&KeyPair::generate().unwrap(), |params| {
            params.subject_alt_names = vec![uri(id)];
            change(params);
        })
    }

    /// An X.509-SVID for any key, valid or not.
    pub fn svid_der_for(&self, id: &str, key: &impl PublicKeyData) -> CertificateDer<'static> {
        self.leaf(key, |params| params.subject_alt_names = vec![uri(id)])
    }

    /// The authority as an element of a SPIFFE bundle. Its key is a P-256 key.
    pub fn element(&self) -> Value {
        let (x, y) = self.key().public_key_raw()[1..].split_at(32);
        let x = encode(x);
        let y = encode(y);
        json!({"kty": "EC", "use": "x509-svid", "crv": "P-256", "x": x, "y": y, "x5c": [STANDARD.encode(&self.der)]})
    }

    /// A certificate for a server on loopback, with its addresses and with a name that clients must be able
    /// to resolve.
    pub fn server(&self) -> Pair {
        self.pair(&server())
    }

    /// The same in DER.
    pub fn der_server(&self) -> DerPair {
        self.der_pair(&server())
    }

    /// A server's certificate that expired yesterday.
    pub fn expired_server(&self) -> Pair {
        let mut params = CertificateParams::new(["localhost", "127.0.0.1"].map(str::to_owned)).unwrap();
        let day = time::Duration::days(1);
        let at = OffsetDateTime::from_unix_timestamp(now()).unwrap();
        (params.not_before, params.not_after) = (at - 10 * day, at - day);
        self.pair(&params)
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
        let mut params = workload();
        params.subject_alt_names = vec![uri(id)];
        change(&mut params);
        self.issue(params)
    }

    /// Any certificate with its key, in DER.
    pub fn der_pair(&self, params: &CertificateParams) -> DerPair {
        let key = KeyPair::generate().unwrap();
        DerPair {
            certificate: self.certify(params, &key).der().clone(),
            key: key.serialize_der(),
        }
    }

    fn issue(&self, mut params: CertificateParams) -> Pair {
        dates(&mut params);
        self.pair(&params)
    }

    /// Any certificate with its key.
    pub fn pair(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        Pair {
            certificate: self.certify(params, &key).pem(),
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
        let authority = self.ca.element();
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

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn server() -> CertificateParams {
    let mut params =
        CertificateParams::new(["localhost", "127.0.0.1", "::1", AUDIENCE].map(str::to_owned)).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    dates(&mut params);
    params
}

/// A workload's certificate, as SPIRE makes them.
fn workload() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CountryName, "US");
    params.distinguished_name.push(DnType::OrganizationName, "SPIRE");
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params
}

fn dates(params: &mut CertificateParams) {
    params.not_before = OffsetDateTime::from_unix_timestamp(now() - 60).unwrap();
    params.not_after = OffsetDateTime::from_unix_timestamp(now() + 3600).unwrap();
}
