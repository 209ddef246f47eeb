//! Which certificates a path is looked for among, and in which order. webpki tries every order of authorities that share a name; what
//! cannot lead anywhere is left out first, and what the key identifiers name is tried first, as Go does.

use super::authorities::Authority;
use super::outline::Outline;
use super::verify::Intermediate;

/// Leaves the intermediates and authorities that may be part of a path from `leaf`, the likeliest first.
pub(super) fn choose<'a>(leaf: &Outline<'_>, sent: Vec<Intermediate<'a>>, authorities: &mut Vec<&Authority>) -> Vec<Intermediate<'a>> {
    let mut chosen = leading_to(authorities, sent);
    let issuers: Vec<_> = chosen.iter().map(|one| one.outline.issuer.content).chain([leaf.issuer.content]).collect();
    authorities.retain(|authority| issuers.contains(&authority.subject()));
    let keys = chosen.iter().map(|one| one.outline).chain([*leaf]).filter_map(|outline| outline.authority_key_id());
    let keys: Vec<_> = keys.map(<[u8]>::to_vec).collect();
    let is_named = |key: Option<&[u8]>| key.is_some_and(|key| keys.iter().any(|named| named == key));
    authorities.sort_by_key(|authority| !is_named(authority.key_id()));
    chosen.sort_by_key(|one| !is_named(one.outline.subject_key_id()));
    chosen
}

/// The intermediates whose issuer is an authority, or one of them.
fn leading_to<'a>(authorities: &[&Authority], mut sent: Vec<Intermediate<'a>>) -> Vec<Intermediate<'a>> {
    let mut leading: Vec<Intermediate<'a>> = Vec::new();
    loop {
        let leads = |one: &Intermediate<'_>| {
            let issuer = one.outline.issuer.content;
            let by_authority = authorities.iter().any(|authority| authority.subject() == issuer);
            by_authority || leading.iter().any(|other| other.outline.subject.content == issuer)
        };
        let (found, rest): (Vec<_>, Vec<_>) = sent.into_iter().partition(leads);
        if found.is_empty() {
            return leading;
        }
        leading.extend(found);
        sent = rest;
    }
}
