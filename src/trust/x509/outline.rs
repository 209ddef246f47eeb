//! Finds the parts of a certificate without parsing them. Nothing is copied, and the work is linear in the
//! certificate's size. A client's certificate is checked here first, so that the parser sees only what the
//! limits allow.

use super::der::{self, Value, take, take_tagged, values};
use super::rejected::{Malformed, Oversized, Unread};
use crate::limits::{CERTIFICATE_BYTES, CERTIFICATE_EXTENSIONS, CERTIFICATE_NAME_BYTES, CERTIFICATE_NAMES};

/// RFC 5280 4.1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outline<'a> {
    /// The version: 1, 2 or 3.
    pub(super) version: u8,
    pub(super) serial: &'a [u8],
    pub(super) issuer: Value<'a>,
    pub(super) validity: Value<'a>,
    pub(super) subject: Value<'a>,
    pub(super) public_key: Value<'a>,
    extensions: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
struct Extension<'a> {
    oid: &'a [u8],
    value: &'a [u8],
}

impl<'a> Outline<'a> {
    /// Outlines a certificate and checks every limit.
    pub(super) fn bounded(der: &'a [u8]) -> Result<Self, Unread> {
        if der.len() > CERTIFICATE_BYTES {
            return Err(Oversized::Bytes { found: der.len() }.into());
        }
        let outline = Self::read(der)?;
        outline.check()?;
        Ok(outline)
    }

    /// Outlines a certificate without limits. Nothing else may be in `der`.
    pub(super) fn read(der: &'a [u8]) -> Result<Self, Malformed> {
        let mut rest = der;
        let certificate = take_tagged(&mut rest, der::SEQUENCE).ok_or(Malformed::Der)?;
        if !rest.is_empty() {
            return Err(Malformed::TrailingBytes { bytes: rest.len() });
        }
        Self::find(certificate.content).ok_or(Malformed::Der)
    }

    fn find(mut signed: &'a [u8]) -> Option<Self> {
        let mut rest = take_tagged(&mut signed, der::SEQUENCE)?.content;
        let version =
            take_tagged(&mut rest, der::EXPLICIT_0).map_or(Some(1), |explicit| version(explicit.content))?;
        let serial = take_tagged(&mut rest, der::INTEGER)?.content;
        take_tagged(&mut rest, der::SEQUENCE)?;
        let issuer = take_tagged(&mut rest, der::SEQUENCE)?;
        let validity = take_tagged(&mut rest, der::SEQUENCE)?;
        let subject = take_tagged(&mut rest, der::SEQUENCE)?;
        let public_key = take_tagged(&mut rest, der::SEQUENCE)?;
        let mut extensions: &[u8] = &[];
        while !rest.is_empty() {
            // Other values are unique identifiers, which are not used in practice.
            let value = take(&mut rest)?;
            if value.tag == der::EXPLICIT_3 {
                extensions = take_tagged(&mut { value.content }, der::SEQUENCE)?.content;
            }
        }
        Some(Self {
            version,
            serial,
            issuer,
            validity,
            subject,
            public_key,
            extensions,
        })
    }

    fn check(&self) -> Result<(), Unread> {
        let extensions = self
            .extensions()
            .try_fold(0, |count, extension| extension.map(|_| count + 1))?;
        if extensions > CERTIFICATE_EXTENSIONS {
            return Err(Oversized::Extensions { found: extensions }.into());
        }
        let mut found = 0;
        for name in self
            .alternative_names()
            .chain(attributes(self.subject))
            .chain(attributes(self.issuer))
        {
            let bytes = name?.content.len();
            if bytes > CERTIFICATE_NAME_BYTES {
                return Err(Oversized::Name { bytes }.into());
            }
            found += 1;
        }
        if found > CERTIFICATE_NAMES {
            Err(Oversized::Names { found }.into())
        } else {
            Ok(())
        }
    }

    /// Returns the subject's alternative names of every kind.
    pub(super) fn alternative_names(&self) -> impl Iterator<Item = Result<Value<'a>, Malformed>> + use<'a> {
        let lists = self
            .extensions()
            .filter_map(Result::ok)
            .filter(|extension| extension.oid == SUBJECT_ALTERNATIVE_NAME);
        lists.flat_map(|list| {
            values(take_tagged(&mut { list.value }, der::SEQUENCE).map_or(&[][..], |names| names.content))
        })
    }

    /// RFC 5280 4.2.1.2.
    pub(super) fn subject_key_id(&self) -> Option<&'a [u8]> {
        take_tagged(&mut self.extension(SUBJECT_KEY_IDENTIFIER)?, der::OCTET_STRING).map(|id| id.content)
    }

    /// Returns the identifier of the issuer's key (RFC 5280 4.2.1.1).
    pub(super) fn authority_key_id(&self) -> Option<&'a [u8]> {
        let members = take_tagged(&mut self.extension(AUTHORITY_KEY_IDENTIFIER)?, der::SEQUENCE)?.content;
        take_tagged(&mut { members }, der::IMPLICIT_0).map(|id| id.content)
    }

    fn extension(&self, oid: &[u8]) -> Option<&'a [u8]> {
        self.extensions()
            .filter_map(Result::ok)
            .find(|extension| extension.oid == oid)
            .map(|extension| extension.value)
    }

    fn extensions(&self) -> impl Iterator<Item = Result<Extension<'a>, Malformed>> + use<'a> {
        values(self.extensions).map(|value| extension(value?).ok_or(Malformed::Der))
    }
}

fn version(mut explicit: &[u8]) -> Option<u8> {
    match take_tagged(&mut explicit, der::INTEGER)?.content {
        [number] => number.checked_add(1),
        _ => None,
    }
}

fn extension(value: Value<'_>) -> Option<Extension<'_>> {
    let mut rest = value.content;
    let oid = take_tagged(&mut rest, der::OBJECT_IDENTIFIER)?.content;
    take_tagged(&mut rest, der::BOOLEAN);
    let value = take_tagged(&mut rest, der::OCTET_STRING)?.content;
    rest.is_empty().then_some(Extension { oid, value })
}

/// Returns the attributes of a distinguished name.
fn attributes(name: Value<'_>) -> impl Iterator<Item = Result<Value<'_>, Malformed>> {
    values(name.content).flat_map(|set| {
        let (content, error) = set.map_or_else(|why| (&[][..], Some(Err(why))), |set| (set.content, None));
        values(content).chain(error)
    })
}

/// 2.5.29.17.
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// 2.5.29.14.
const SUBJECT_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x0e];
/// 2.5.29.35.
const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x23];
