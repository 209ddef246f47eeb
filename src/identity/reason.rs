//! The reason of a failure as a metric label. Labels come from a fixed set, so a client cannot create new
//! ones.

use super::{Busy, Failure, Refused};
use crate::spiffe_id::InvalidSpiffeId;
use crate::trust::{NoKeys, jwt, x509};

/// Returns the label, such as `jwt_expired`.
#[must_use]
pub const fn reason(failure: &Failure) -> &'static str {
    match failure {
        Failure::Refused(refusal) => of_refused(&refusal.reason),
        Failure::Undecidable { why, .. } => match why {
            NoKeys::None { .. } => "no_keys",
            NoKeys::NotFetched { .. } => "keys_not_fetched",
            NoKeys::NoPlace => "no_place_to_wait",
            NoKeys::Awaited => "key_awaited",
        },
        Failure::Busy { why, .. } => match why {
            Busy::Everyone => "busy",
            Busy::Source { .. } => "source_busy",
        },
    }
}

const fn of_refused(why: &Refused) -> &'static str {
    match why {
        Refused::SeveralAuthorizationHeaders => "several_authorization_headers",
        Refused::Scheme => "scheme",
        Refused::MalformedBasic => "malformed_basic",
        Refused::NotAToken => "not_a_token",
        Refused::Password => "password",
        Refused::PasswordNotComparable => "password_not_comparable",
        Refused::Jwt(why) => of_jwt(why),
        Refused::PasswordWithdrawn => "password_withdrawn",
        Refused::Revoked { .. } => "revoked",
        Refused::UnknownIssuer => "unknown_issuer",
        Refused::UnknownTrustDomain => "unknown_trust_domain",
        Refused::KindNotAccepted => "kind_not_accepted",
        Refused::Chain(why) => of_chain(why),
        Refused::Validation { .. } => "validation",
        Refused::Mapping { .. } => "mapping",
        Refused::EmptyUsername => "empty_username",
        Refused::UsernameTooLong { .. } => "username_too_long",
        Refused::UsernameIsSpiffeId => "username_is_spiffe_id",
        Refused::UsernameIsAnIssuers { .. } => "username_is_an_issuers",
        Refused::NoCommonName => "no_common_name",
        Refused::NoAttribute => "no_attribute",
        Refused::TooManyGroups { .. } => "too_many_groups",
        Refused::GroupTooLong { .. } => "group_too_long",
    }
}

const fn of_jwt(why: &jwt::Rejected) -> &'static str {
    use jwt::Rejected;
    match why {
        Rejected::TooLong { .. } => "jwt_too_long",
        Rejected::NotCompact { .. } => "jwt_not_compact",
        Rejected::Encoding { .. } => "jwt_encoding",
        Rejected::Json { .. } => "jwt_json",
        Rejected::HeaderType { .. } => "jwt_header_type",
        Rejected::UnknownAlgorithm { .. } => "jwt_unknown_algorithm",
        Rejected::AlgorithmNotAllowed { .. } => "jwt_algorithm_not_allowed",
        Rejected::ForbiddenHeader { .. } => "jwt_forbidden_header",
        Rejected::Type { .. } => "jwt_type",
        Rejected::WitSvid => "jwt_wit_svid",
        Rejected::KeyIdMissing => "jwt_key_id_missing",
        Rejected::Claim { .. } => "jwt_claim",
        Rejected::NotADate { .. } => "jwt_not_a_date",
        Rejected::Issuer { .. } => "jwt_issuer",
        Rejected::Subject(why) => match why {
            InvalidSpiffeId::Scheme => "jwt_subject_scheme",
            InvalidSpiffeId::NoTrustDomain => "jwt_subject_no_trust_domain",
            InvalidSpiffeId::TrustDomainScheme => "jwt_subject_trust_domain_scheme",
            InvalidSpiffeId::TrustDomainCharacter => "jwt_subject_trust_domain_character",
            InvalidSpiffeId::TooLong => "jwt_subject_too_long",
            InvalidSpiffeId::EmptySegment => "jwt_subject_empty_segment",
            InvalidSpiffeId::DotSegment => "jwt_subject_dot_segment",
            InvalidSpiffeId::PathCharacter => "jwt_subject_path_character",
        },
        Rejected::SubjectWithoutPath { .. } => "jwt_subject_without_path",
        Rejected::SubjectIsSpiffeId => "jwt_subject_is_spiffe_id",
        Rejected::TrustDomain { .. } => "jwt_trust_domain",
        Rejected::NoAudienceConfigured => "jwt_no_audience_configured",
        Rejected::Audience { .. } => "jwt_audience",
        Rejected::SeveralAudiences { .. } => "jwt_several_audiences",
        Rejected::Expired { .. } => "jwt_expired",
        Rejected::NotYetValid { .. } => "jwt_not_yet_valid",
        Rejected::Lifetime { .. } => "jwt_lifetime",
        Rejected::UnknownKey { .. } => "jwt_unknown_key",
        Rejected::UnusableKey { .. } => "jwt_unusable_key",
        Rejected::NoFittingKey { .. } => "jwt_no_fitting_key",
        Rejected::AlgorithmDoesNotFitKey { .. } => "jwt_algorithm_does_not_fit_key",
        Rejected::KeyOfAnotherIssuer { .. } => "jwt_key_of_another_issuer",
        Rejected::KeyIdNeeded { .. } => "jwt_key_id_needed",
        Rejected::MintedType { .. } => "jwt_minted_type",
        Rejected::MintedSource => "jwt_minted_source",
        Rejected::SessionOver { .. } => "jwt_session_over",
        Rejected::KeyWithdrawn { .. } => "jwt_key_withdrawn",
        Rejected::Signature => "jwt_signature",
    }
}

const fn of_chain(why: &x509::Rejected) -> &'static str {
    use x509::{Malformed, Oversized, Rejected, Unprovable};
    match why {
        Rejected::Malformed(why) => match why {
            Malformed::Der => "chain_malformed_der",
            Malformed::TrailingBytes { .. } => "chain_malformed_trailing_bytes",
            Malformed::RepeatedExtension { .. } => "chain_malformed_repeated_extension",
            Malformed::Extension { .. } => "chain_malformed_extension",
            Malformed::AlternativeName => "chain_malformed_alternative_name",
            Malformed::Name => "chain_malformed_name",
        },
        Rejected::Oversized(why) => match why {
            Oversized::Bytes { .. } => "chain_oversized_bytes",
            Oversized::Names { .. } => "chain_oversized_names",
            Oversized::Name { .. } => "chain_oversized_name",
            Oversized::Extensions { .. } => "chain_oversized_extensions",
        },
        Rejected::TooManyIntermediates { .. } => "chain_too_many_intermediates",
        Rejected::ChainTooLarge { .. } => "chain_chain_too_large",
        Rejected::UnprovableKey(why) => match why {
            Unprovable::RsaSize { .. } => "chain_unprovable_key_rsa_size",
            Unprovable::Algorithm { .. } => "chain_unprovable_key_algorithm",
            Unprovable::Malformed => "chain_unprovable_key_malformed",
        },
        Rejected::Version { .. } => "chain_version",
        Rejected::CriticalExtension { .. } => "chain_critical_extension",
        Rejected::NoUriName => "chain_no_uri_name",
        Rejected::SeveralUriNames { .. } => "chain_several_uri_names",
        Rejected::SpiffeId { .. } => "chain_spiffe_id",
        Rejected::RootPath { .. } => "chain_root_path",
        Rejected::CertificateAuthority => "chain_certificate_authority",
        Rejected::NoKeyUsage => "chain_no_key_usage",
        Rejected::NoDigitalSignature => "chain_no_digital_signature",
        Rejected::AuthorityKeyUsage { .. } => "chain_authority_key_usage",
        Rejected::NoClientAuth => "chain_no_client_auth",
        Rejected::NotYetValid { .. } => "chain_not_yet_valid",
        Rejected::Expired { .. } => "chain_expired",
        Rejected::NoAuthorities { .. } => "chain_no_authorities",
        Rejected::AuthoritiesOutOfDate { .. } => "chain_authorities_out_of_date",
        Rejected::NoPath { .. } => "chain_no_path",
        Rejected::SignatureChecks { .. } => "chain_signature_checks",
        Rejected::UnfitIssuer { .. } => "chain_unfit_issuer",
        Rejected::UriConstraints { .. } => "chain_uri_constraints",
        Rejected::DirectoryConstraints { .. } => "chain_directory_constraints",
        Rejected::NameConstraints => "chain_name_constraints",
        Rejected::AuthorityWithdrawn { .. } => "chain_authority_withdrawn",
        Rejected::Path { .. } => "chain_path",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::identity::{Evidence, Refused};
    use crate::trust::{jwt, x509};

    #[test]
    fn a_reason_label_contains_no_text_from_the_credential() {
        let at = Timestamp::from_secs(0);
        for (reason_of, expected) in [
            (Refused::UnknownIssuer, "unknown_issuer"),
            (
                Refused::Jwt(jwt::Rejected::Expired { at, now: at }),
                "jwt_expired",
            ),
            (
                Refused::Jwt(jwt::Rejected::UnknownKey {
                    key_id: "Stranger".into(),
                    known: vec![],
                    nameless: 0,
                }),
                "jwt_unknown_key",
            ),
            (Refused::Jwt(jwt::Rejected::Signature), "jwt_signature"),
            (
                Refused::Chain(x509::Rejected::Malformed(x509::Malformed::Der)),
                "chain_malformed_der",
            ),
            (
                Refused::Chain(x509::Rejected::SeveralUriNames { found: 2 }),
                "chain_several_uri_names",
            ),
            (
                Refused::Validation {
                    message: "Only(Us)".into(),
                },
                "validation",
            ),
            (Refused::UsernameTooLong { bytes: 5000 }, "username_too_long"),
        ] {
            assert_eq!(reason(&Evidence::default().refused(reason_of)), expected);
        }
    }
}
