//! The claims of a certificate for mappings (`sub`, `exp`, `spiffe`, `x509`).

use super::extensions::{Extensions, certificate};
use super::leaf::Leaf;
use super::name;
use super::rejected::Malformed;
use crate::spiffe_id::SpiffeId;
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Map, Value, json};
use std::net::{Ipv4Addr, Ipv6Addr};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::x509::AttributeTypeAndValue;

/// Builds the `x509` object. Lists are present even if they are empty. `subject.cn` is present only if the
/// subject has one.
fn x509(
    certificate: &X509Certificate<'_>,
    extensions: &Extensions<'_>,
) -> Result<Map<String, Value>, Malformed> {
    let subject = certificate.subject();
    let mut shown = json!({
        "o": texts(subject.iter_organization()),
        "ou": texts(subject.iter_organizational_unit()),
        "dn": name::text(subject)?,
    });
    if let (Some(cn), Some(members)) = (name::common_name(certificate), shown.as_object_mut()) {
        members.insert("cn".into(), cn.into());
    }
    let mut dns = Vec::new();
    let mut email = Vec::new();
    let mut ip = Vec::new();
    let mut uri = Vec::new();
    for name in &extensions.alternative_names {
        match name {
            GeneralName::DNSName(name) => dns.push((*name).to_owned()),
            GeneralName::RFC822Name(name) => email.push((*name).to_owned()),
            GeneralName::URI(name) => uri.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => ip.push(address(bytes).ok_or(Malformed::AlternativeName)?),
            _ => {}
        }
    }
    let members = [
        ("subject", shown),
        ("san", json!({"dns": dns, "email": email, "ip": ip, "uri": uri})),
        ("serial", name::serial(certificate.raw_serial()).into()),
        (
            "sha256",
            hex(digest(&SHA256, certificate.as_raw()).as_ref()).into(),
        ),
        ("issuer_dn", name::text(certificate.issuer())?.into()),
    ];
    Ok(members
        .into_iter()
        .map(|(member, value)| (member.to_owned(), value))
        .collect())
}

/// Builds all claims after the chain is verified. `spiffe_id` is that of an X.509-SVID, or `None` for a plain
/// certificate.
pub(super) fn whole(leaf: &Leaf, spiffe_id: Option<&SpiffeId>) -> Result<Map<String, Value>, Malformed> {
    let certificate = certificate(leaf.der())?;
    let mut claims = Map::new();
    match spiffe_id {
        Some(id) => {
            claims.insert("sub".into(), id.as_str().into());
            claims.insert("spiffe".into(), spiffe(id));
        }
        None => {
            claims.insert("iss".into(), leaf.issuer_dn().into());
            claims.insert("sub".into(), leaf.subject_dn().into());
        }
    }
    claims.insert("exp".into(), leaf.not_after().as_secs().into());
    claims.insert("nbf".into(), leaf.not_before().as_secs().into());
    claims.insert(
        "x509".into(),
        Value::Object(x509(&certificate, &Extensions::read(&certificate)?)?),
    );
    Ok(claims)
}

/// Builds the `spiffe` object.
pub(super) fn spiffe(id: &SpiffeId) -> Value {
    let segments: Vec<_> = id.segments().collect();
    json!({"id": id.as_str(), "trust_domain": id.trust_domain().as_str(), "path": id.path(), "segments": segments})
}

fn texts<'a>(attributes: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>) -> Vec<String> {
    attributes
        .filter_map(|attribute| attribute.as_str().ok().map(str::to_owned))
        .collect()
}

fn address(bytes: &[u8]) -> Option<String> {
    let four = <[u8; 4]>::try_from(bytes).map(|octets| Ipv4Addr::from(octets).to_string());
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(|octets| Ipv6Addr::from(octets).to_string()))
        .ok()
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    name::push_hex(&mut text, bytes);
    text
}
