//! Parses X.509-SVIDs and plain client certificates, and verifies their chains by the authorities of one
//! trust domain or one entry. Only this module builds X.509 paths. It does not choose the authorities: the
//! caller reads the leaf's SPIFFE ID and passes the authorities of that trust domain only.
//!
//! webpki cannot check constraints of URI names, directory names or policies, so a chain with such
//! constraints is rejected with that reason. The size of a client's chain is limited before it is parsed, and
//! so are the signature checks for it ([`crate::limits`]).
//!
//! <https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md>, RFC 5280 6.

mod again;
mod authorities;
mod bounds;
mod budget;
mod candidates;
mod claims;
mod dates;
mod der;
mod extensions;
mod fault;
mod intermediates;
mod leaf;
mod name;
mod outline;
mod possession;
mod profile;
mod public_key;
mod rejected;
mod remembered;
mod unverified_parts;
mod uri_names;
mod verified;
mod verify;

pub use again::{reverify_plain, reverify_svid};
pub use authorities::X509Authorities;
pub use bounds::check_chain;
pub use dates::next_change;
pub use leaf::Leaf;
pub use possession::provable_key;
pub use rejected::{Malformed, Oversized, PassedOver, Rejected, Unfit, Unprovable};
pub use remembered::RememberedChain;
pub use unverified_parts::UnverifiedParts;
pub use verified::VerifiedChain;
pub use verify::{verify_plain, verify_svid};

pub(in crate::trust) use authorities::Authority;
pub(in crate::trust) use name::dn;
pub(in crate::trust) use public_key::PublicKey;
pub(in crate::trust) use rejected::NotTheServer;
pub(in crate::trust) use verify::verify_server;

#[cfg(test)]
pub(crate) use possession::can_prove;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
