//! Distinguished names as text (RFC 4514). The last RDN comes first, and values are escaped, so that a value
//! cannot look like another attribute.

use super::rejected::Malformed;
use std::fmt::Write as _;
use x509_parser::asn1_rs::ToDer as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

pub(super) fn text(name: &X509Name<'_>) -> Result<String, Malformed> {
    let rdns: Vec<_> = name.iter_rdn().collect();
    let mut text = String::new();
    for (index, rdn) in rdns.into_iter().rev().enumerate() {
        for (position, attribute) in rdn.iter().enumerate() {
            text.push_str(match (index, position) {
                (0, 0) => "",
                (_, 0) => ",",
                _ => "+",
            });
            write(&mut text, attribute)?;
        }
    }
    Ok(text)
}

/// Returns the last of several common names, as Go does, and so every registry and proxy written in Go.
pub(super) fn common_name<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a str> {
    certificate
        .subject()
        .iter_common_name()
        .filter_map(|name| name.as_str().ok())
        .last()
}

/// Returns a name for messages, shortened.
pub(in crate::trust) fn dn(name: &X509Name<'_>) -> String {
    text(name).map_or_else(
        |_| "a name that cannot be read".to_owned(),
        |text| shortened(&text),
    )
}

fn write(text: &mut String, attribute: &AttributeTypeAndValue<'_>) -> Result<(), Malformed> {
    let oid = attribute.attr_type().to_id_string();
    match SHORT_NAMES
        .iter()
        .find(|(known, _)| *known == oid)
        .zip(attribute.as_str().ok())
    {
        Some(((_, short), value)) => {
            text.push_str(short);
            text.push('=');
            escape(text, value);
        }
        None => {
            let der = attribute.attr_value().to_der_vec().map_err(|_| Malformed::Name)?;
            text.push_str(&oid);
            text.push_str("=#");
            push_hex(text, &der);
        }
    }
    Ok(())
}

/// RFC 4514 2.4.
fn escape(text: &mut String, value: &str) {
    let last = value.chars().count().saturating_sub(1);
    for (index, character) in value.chars().enumerate() {
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => text.extend(['\\', character]),
            '#' | ' ' if index == 0 => text.extend(['\\', character]),
            ' ' if index == last => text.push_str("\\ "),
            _ if character.is_control() => {
                for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                    text.push('\\');
                    push_hex(text, &[byte]);
                }
            }
            _ => text.push(character),
        }
    }
}

/// Shortens a name of the client's certificate for a rejection.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Returns a serial number in hexadecimal, without the leading zero that makes it positive.
pub(super) fn serial(bytes: &[u8]) -> String {
    let mut text = String::new();
    push_hex(
        &mut text,
        bytes
            .strip_prefix(&[0])
            .filter(|rest| !rest.is_empty())
            .unwrap_or(bytes),
    );
    text
}

/// Appends bytes in lower-case hexadecimal.
pub(super) fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
}

const SHOWN_CHARACTERS: usize = 256;

/// RFC 4514 3.
const SHORT_NAMES: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];
