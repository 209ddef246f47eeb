//! From a credential to an identity: the choice of the credential, its verification, and the CEL mapping to
//! username and groups. This module decides who the caller is; [`crate::access`] decides what the caller may
//! do.

mod attributes;
mod authenticator;
mod credential;
mod deny;
mod explain;
mod grounds;
mod htpasswd;
#[expect(clippy::module_inception, reason = "the concept that the module is named for")]
mod identity;
mod mapping;
mod peer;
mod reason;
mod refusal;
mod scope;
mod several_audiences;
mod thumbprint;
mod token_cache;

pub use attributes::{Attribute, Attributes, InvalidUriPattern, UriPattern};
pub use authenticator::{Authenticator, CertificateEntry, Domain, Issuer, Minted, SharedKey, TokenServer};
pub use credential::Presented;
#[doc(hidden)]
pub use credential::credential_read;
pub use deny::{DenyList, DenyRule, InvalidSerial, Serial};
pub use explain::{Entry, Tried};
#[doc(hidden)]
pub use htpasswd::passwords_read;
pub use htpasswd::{Htpasswd, InvalidHtpasswd};
pub use identity::{CredentialType, Identity, Principal, Session};
pub use mapping::{InvalidMapping, Mapping, MappingSettings};
pub use peer::Peer;
pub use reason::reason;
pub use refusal::{Busy, Evidence, Failure, Refusal, Refused};
pub use scope::{Rights, Scope};
pub use thumbprint::{InvalidThumbprint, Thumbprint};

use crate::source_address::SourceAddress;

#[cfg(test)]
mod tests;
