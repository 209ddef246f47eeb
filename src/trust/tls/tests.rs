//! Tests of the messages for faults of a server's certificate.

use super::server::{Authorities, verifier};
use crate::tls_failure::explain;
use crate::trust::x509::testing::{Ca, HOUR, at, uri, valid};
use pki_types::{CertificateDer, ServerName, UnixTime};
use rcgen::{CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, SanType};
use std::time::Duration;

const HOST: &str = "registry.test";

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

/// Makes a server's certificate with these changes.
fn server(ca: &Ca, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
    ca.leaf(&rcgen::KeyPair::generate().unwrap(), |params| {
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "server");
        params.subject_alt_names = vec![dns(HOST)];
        change(params);
    })
}

/// Returns the message for a certificate of [`HOST`], or nothing if it is accepted.
fn said(leaf: &CertificateDer<'_>, configured: &CertificateDer<'_>) -> Option<String> {
    let pem = pem(configured);
    let authorities = Authorities {
        pem: Some(pem.as_bytes()),
        named: "the authorities in ca.pem",
        fix: "name its authority in F",
    };
    let verifier = verifier(&authorities).unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(at(0).as_secs().try_into().unwrap()));
    let refused = verifier
        .verify_server_cert(leaf, &[], &ServerName::try_from(HOST).unwrap(), &[], now)
        .err()?;
    let text = explain(&refused).to_string();
    for rust in ["Error", "Context", "Other(", "Some(", "::", "{"] {
        assert!(!text.contains(rust), "{text}");
    }
    Some(text)
}

fn pem(der: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

#[test]
fn each_fault_is_a_sentence_with_the_certificate_and_the_fix() {
    let good = Ca::root("good");
    let other = Ca::root("other");
    let namesake = Ca::root("good");
    let who = "the certificate CN=server of registry.test";
    let spiffe = "spiffe://example.org/registry";
    assert_eq!(said(&server(&good, |_| {}), &good.der), None);
    let itself = Ca::root_with("itself", |params| params.subject_alt_names = vec![dns(HOST)]);
    assert_eq!(said(&itself.der, &itself.der), None, "as curl and Go accept it");
    let elsewhere = Ca::root_with("itself", |params| {
        params.subject_alt_names = vec![dns("elsewhere.test")]
    });
    let expired = Ca::root_with("itself", |params| {
        params.subject_alt_names = vec![dns(HOST)];
        valid(params, at(-2 * HOUR), at(-HOUR));
    });
    let for_clients = Ca::root_with("itself", |params| {
        params.subject_alt_names = vec![dns(HOST)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let self_signed = {
        let mut params = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "alone");
        params
            .self_signed(&rcgen::KeyPair::generate().unwrap())
            .unwrap()
            .der()
            .clone()
    };
    let mut critical = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    critical.set_criticality(true);
    let only_uri = |ca: &Ca| server(ca, |params| params.subject_alt_names = vec![uri(spiffe)]);
    let names_no_host = "names no host, only spiffe://example.org/registry: clients verify the host name, and an X.509-SVID has only a \
                         SPIFFE ID";
    for (leaf, configured, expected) in [
        (
            server(&other, |_| {}),
            &good.der,
            format!(
                "{who} was issued by CN=other, and no chain leads from there to the authorities in ca.pem; name its authority in F, or have the server \
                 send its intermediate certificates"
            ),
        ),
        (
            server(&namesake, |_| {}),
            &good.der,
            format!(
                "{who} was issued by CN=good, but the authorities in ca.pem have that name with another key; if the authority was replaced, \
                 name its authority in F"
            ),
        ),
        (only_uri(&good), &good.der, format!("{who} {names_no_host}; issue one with registry.test as a subject alternative name")),
        (
            only_uri(&other),
            &good.der,
            format!(
                "{who} was issued by CN=other, and no chain leads from there to the authorities in ca.pem; also, it {names_no_host}; name its \
                 authority in F, or have the server send its intermediate certificates"
            ),
        ),
        (
            server(&good, |params| params.subject_alt_names.clear()),
            &good.der,
            format!(
                "{who} names no host: it has no subject alternative name for one, and the common name is ignored; issue one with \
                 registry.test as a subject alternative name"
            ),
        ),
        (
            server(&good, |params| params.subject_alt_names = vec![dns("a.test"), SanType::IpAddress([10, 0, 0, 1].into())]),
            &good.der,
            format!("{who} is for a.test, 10.0.0.1; use one of these names, or issue it for registry.test as well"),
        ),
        (
            server(&good, |params| valid(params, at(-2 * HOUR), at(-HOUR))),
            &good.der,
            format!("{who}, or one in its chain, has expired; its own expiry is {}; renew it", at(-HOUR)),
        ),
        (
            server(&good, |params| valid(params, at(HOUR), at(2 * HOUR))),
            &good.der,
            format!("{who} is not valid before {}; compare the clocks of both machines", at(HOUR)),
        ),
        (
            server(&good, |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
            &good.der,
            format!(
                "{who} is not accepted: its extended key usage does not allow this use; issue it with serverAuth for a server and clientAuth \
                 for a client"
            ),
        ),
        (
            server(&good, |params| params.custom_extensions.push(critical)),
            &good.der,
            format!("{who} has the critical extension 1.2.3.4, which is not supported; issue it without that extension, or not critical"),
        ),
        (
            server(&good, |params| params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained)),
            &good.der,
            format!("{who} is that of an authority (cA true), not of a server; issue the server a certificate of its own"),
        ),
        (
            self_signed,
            &good.der,
            "the certificate CN=alone of registry.test is self-signed and not among the authorities in ca.pem; if it is the right one, name \
             its authority in F"
                .to_owned(),
        ),
        (
            itself.der.clone(),
            &good.der,
            "the certificate CN=itself of registry.test is self-signed, is marked as an authority's (cA true), and is not among the \
             authorities in ca.pem; if it is the right one, name its authority in F; better, issue the server a certificate of its own"
                .to_owned(),
        ),
        (
            elsewhere.der.clone(),
            &elsewhere.der,
            "the certificate CN=itself of registry.test is for elsewhere.test; use one of these names, or issue it for registry.test as well"
                .to_owned(),
        ),
        (
            expired.der.clone(),
            &expired.der,
            format!("the certificate CN=itself of registry.test, or one in its chain, has expired; its own expiry is {}; renew it", at(-HOUR)),
        ),
        (
            for_clients.der.clone(),
            &for_clients.der,
            "the certificate CN=itself of registry.test is not accepted: its extended key usage does not allow this use; issue it with \
             serverAuth for a server and clientAuth for a client"
                .to_owned(),
        ),
        (CertificateDer::from(vec![1, 2, 3]), &good.der, "the certificate of registry.test is malformed; issue it again".to_owned()),
    ] {
        assert_eq!(said(&leaf, configured), Some(expected));
    }
}

#[test]
fn a_tls_failure_without_a_certificate_fault_is_explained_too() {
    use rustls::{
        AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible, PeerMisbehaved,
    };
    for (error, expected) in [
        (
            Error::AlertReceived(AlertDescription::CertificateRequired),
            "requires a certificate, but none was presented",
        ),
        (
            Error::AlertReceived(AlertDescription::UnknownCA),
            "refused our certificate: it does not trust the authority that issued it",
        ),
        (
            Error::AlertReceived(AlertDescription::InternalError),
            "ended the handshake",
        ),
        (
            Error::InvalidMessage(InvalidMessage::InvalidContentType),
            "sent something that is not TLS; it may speak plain HTTP on this port",
        ),
        (
            Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered),
            "have it speak TLS 1.2 or 1.3",
        ),
        (
            Error::PeerMisbehaved(PeerMisbehaved::InvalidCertCompression),
            "violated the TLS protocol",
        ),
        (
            Error::InvalidCertificate(CertificateError::UnknownIssuer),
            "certificate is not accepted: it was not issued by an authority that is known here",
        ),
        (
            Error::HandshakeNotComplete,
            "the TLS handshake with the server failed",
        ),
    ] {
        let wrapped = std::io::Error::other(error);
        let text = explain(&wrapped).to_string();
        assert!(text.contains(expected), "{text}");
    }
    assert_eq!(
        explain(&std::io::Error::other("no route")).to_string(),
        "no route"
    );
}
