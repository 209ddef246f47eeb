//! JSON Web Tokens, strictly: OIDC ID tokens (RFC 7519, OpenID Connect Core 2) and JWT-SVIDs. The only place that knows JWS.
//!
//! A token is parsed once into an [`Unverified`]; who it claims to be from decides, outside, which verification it meets, and
//! only a good signature makes a [`VerifiedJwt`].
//! <https://github.com/spiffe/spiffe/blob/main/standards/JWT-SVID.md>

mod algorithm;
mod rejected;
mod unverified;
mod verify;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use rejected::{Failure, Rejected};
pub use unverified::{Unverified, looks_like_jwt};
pub use verify::{OidcRules, SvidRules, VerifiedJwt, verify_oidc, verify_svid};

#[cfg(test)]
mod tests;
