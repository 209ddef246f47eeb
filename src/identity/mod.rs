//! From a credential to an identity: which credential counts, its claims, and the CEL mapping to username and groups. It decides
//! who is asking and nothing else; what they may do is `access`'s.

mod authenticator;
mod credential;
#[expect(clippy::module_inception, reason = "the concept that the module is named for")]
mod identity;
mod mapping;
mod peer;
mod refusal;
mod several_audiences;

pub use authenticator::{Authenticator, CertificateEntry, Domain, Issuer};
pub use credential::Presented;
pub use identity::{CredentialType, Identity, Principal};
pub use mapping::{InvalidMapping, Mapping, MappingSettings};
pub use peer::Peer;
pub use refusal::{Evidence, Failure, Refusal, Refused};

#[cfg(test)]
mod tests;
