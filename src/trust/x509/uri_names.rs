//! What a certificate's URI names claim, whether or not they are valid: that it is an X.509-SVID, and its
//! trust domain. A certificate that breaks a rule of SVIDs is an invalid SVID, not a plain certificate.

use crate::spiffe_id::TrustDomain;

/// Whether a name has the scheme `spiffe`, in upper or lower case.
pub(super) fn claim_spiffe<'a>(names: impl Iterator<Item = &'a str>) -> bool {
    after_scheme(names).next().is_some()
}

/// Whether a name, valid or not, is in this trust domain.
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

/// Returns what follows the scheme `spiffe`, for the names that have it.
fn after_scheme<'a>(names: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    names.filter_map(|uri| {
        let (scheme, rest) = uri.split_at_checked(SCHEME.len())?;
        scheme.eq_ignore_ascii_case(SCHEME).then_some(rest)
    })
}

/// Without the slashes, which an invalid name may lack.
const SCHEME: &str = "spiffe:";
