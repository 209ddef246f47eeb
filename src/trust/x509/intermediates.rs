//! The certificates that a client sent after its own.

use super::extensions::{Constrains, Extensions, certificate};
use super::leaf::Leaf;
use super::name;
use super::outline::Outline;
use super::profile::Profile;
use super::rejected::{PassedOver, Unfit};
use crate::clock::Timestamp;
use pki_types::CertificateDer;

pub(super) struct Intermediate<'a> {
    pub(super) der: CertificateDer<'a>,
    pub(super) outline: Outline<'a>,
    pub(super) not_after: Timestamp,
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) constrains: Constrains,
}

/// Returns the intermediates that may be part of a path, and why the others may not.
pub(super) fn intermediates<'a>(
    leaf: &Leaf,
    chain: &'a [CertificateDer<'static>],
    now: Timestamp,
    profile: Profile,
) -> (Vec<Intermediate<'a>>, Vec<PassedOver>) {
    let mut fit = Vec::new();
    let mut passed_over = Vec::new();
    for der in chain.iter().filter(|der| *der != leaf.der()) {
        let mut subject = String::new();
        match intermediate(der, now, profile, &mut subject) {
            Ok(one) => fit.push(one),
            Err(why) => passed_over.push(PassedOver {
                subject: name::shortened(&subject),
                why,
            }),
        }
    }
    (fit, passed_over)
}

fn intermediate<'a>(
    der: &'a CertificateDer<'static>,
    now: Timestamp,
    profile: Profile,
    subject: &mut String,
) -> Result<Intermediate<'a>, Unfit> {
    let outline = if profile.is_a_clients() {
        Outline::bounded(der)?
    } else {
        Outline::read(der)?
    };
    let certificate = certificate(der)?;
    *subject = name::text(certificate.subject())?;
    let extensions = Extensions::read(&certificate)?;
    let validity = certificate.validity();
    let not_before = Timestamp::from_secs(validity.not_before.timestamp());
    let not_after = Timestamp::from_secs(validity.not_after.timestamp());
    if !extensions.is_authority() {
        return Err(Unfit::NotAnAuthority);
    }
    if !extensions
        .key_usage
        .map_or(!profile.demands_key_usage(), |usage| usage.key_cert_sign)
    {
        return Err(Unfit::NoKeyCertSign);
    }
    if now < not_before {
        return Err(Unfit::NotYetValid { not_before });
    }
    if not_after < now {
        return Err(Unfit::Expired { not_after });
    }
    if let Some(oid) = extensions.unknown_critical {
        return Err(Unfit::CriticalExtension { oid });
    }
    let subject = name::shortened(subject);
    let issuer = name::shortened(&name::text(certificate.issuer())?);
    Ok(Intermediate {
        der: CertificateDer::from(der.as_ref()),
        outline,
        not_after,
        subject,
        issuer,
        constrains: extensions.constrains,
    })
}
