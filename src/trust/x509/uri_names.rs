//! What the URI names of a certificate claim, by their words alone: whether it wants to be an X.509-SVID, and
//! of which trust domain. One that breaks a rule of SVIDs is a bad SVID, not something else.

use crate::spiffe_id::TrustDomain;

/// Whether any of them has the scheme `spiffe`, in whatever case.
pub(super) fn claim_spiffe<'a>(names: impl Iterator<Item = &'a str>) -> bool {
    after_scheme(names).next().is_some()
}

/// Whether any of them, well or badly written, is of this trust domain.
pub(super) fn claim_trust_domain<'a>(names: impl Iterator<Item = &'a str>, domain: &TrustDomain) -> bool {
    let authority = |rest: &str| {
        let authority = rest
            .trim_start_matches('/')
            .split(['/', '?', '#'])
            .next()
            .unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        host.split(':')
            .next()
            .unwrap_or_default()
            .eq_ignore_ascii_case(domain.as_str())
    };
    after_scheme(names).any(authority)
}

/// What follows the scheme `spiffe` in those that have it.
fn after_scheme<'a>(names: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    names.filter_map(|uri| {
        let (scheme, rest) = uri.split_at_checked(SCHEME.len())?;
        scheme.eq_ignore_ascii_case(SCHEME).then_some(rest)
    })
}

/// Without the slashes, which a bad one may lack.
const SCHEME: &str = "spiffe:";
