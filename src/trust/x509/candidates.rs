//! Chooses and orders the certificates for path building. webpki tries all authorities that share a name. So
//! certificates that cannot be part of a path are removed, and those that match key identifiers come first,
//! as in Go. A certificate with another key identifier is not the issuer, as in OpenSSL. Otherwise many
//! authorities with one name would use up the signature checks before the right one is tried.

use super::authorities::Authority;
use super::intermediates::Intermediate;
use super::outline::Outline;

/// Returns the intermediates, and keeps the authorities, that may be part of a path from `leaf`. The
/// likeliest come first.
pub(super) fn choose<'a>(
    leaf: &Outline<'_>,
    sent: Vec<Intermediate<'a>>,
    authorities: &mut Vec<&Authority>,
) -> Vec<Intermediate<'a>> {
    let leading = linked(sent, |one, chosen| {
        authorities
            .iter()
            .any(|authority| issued(&one.outline, authority.subject(), authority.key_id()))
            || chosen.iter().any(|other| is_issuer(other, &one.outline))
    });
    let mut chosen = linked(leading, |one, chosen| {
        is_issuer(one, leaf) || chosen.iter().any(|other| is_issuer(one, &other.outline))
    });
    authorities.retain(|authority| {
        let mut below = chosen.iter().map(|one| &one.outline).chain([leaf]);
        below.any(|certificate| issued(certificate, authority.subject(), authority.key_id()))
    });
    let keys = chosen
        .iter()
        .map(|one| one.outline)
        .chain([*leaf])
        .filter_map(|outline| outline.authority_key_id());
    let keys: Vec<_> = keys.map(<[u8]>::to_vec).collect();
    let is_named = |key: Option<&[u8]>| key.is_some_and(|key| keys.iter().any(|named| named == key));
    authorities.sort_by_key(|authority| !is_named(authority.key_id()));
    chosen.sort_by_key(|one| !is_named(one.outline.subject_key_id()));
    chosen
}

/// Returns the certificates that `joins` accepts, given those that it accepted before.
fn linked<'a>(
    mut rest: Vec<Intermediate<'a>>,
    joins: impl Fn(&Intermediate<'a>, &[Intermediate<'a>]) -> bool,
) -> Vec<Intermediate<'a>> {
    let mut chosen = Vec::new();
    loop {
        let (found, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(|one| joins(one, &chosen));
        if found.is_empty() {
            return chosen;
        }
        chosen.extend(found);
        rest = others;
    }
}

fn is_issuer(issuer: &Intermediate<'_>, certificate: &Outline<'_>) -> bool {
    issued(
        certificate,
        issuer.outline.subject.content,
        issuer.outline.subject_key_id(),
    )
}

/// Whether an authority with this name and key identifier may have issued the certificate.
fn issued(certificate: &Outline<'_>, name: &[u8], key: Option<&[u8]>) -> bool {
    let same_key = certificate
        .authority_key_id()
        .zip(key)
        .is_none_or(|(named, key)| named == key);
    certificate.issuer.content == name && same_key
}
