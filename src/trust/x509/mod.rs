//! X.509-SVIDs: reading a leaf, and path building against the authorities of its own trust domain. The only place that knows X.509.
//!
//! <https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md>, RFC 5280

mod authorities;
mod leaf;
mod rejected;
mod verify;

pub use authorities::{InvalidBundle, X509Authorities, parse_der, parse_pem};
pub use leaf::Leaf;
pub use rejected::Rejected;
pub use verify::{VerifiedChain, verify_svid};

#[cfg(test)]
mod tests;
