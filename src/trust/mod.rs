//! X.509 authorities by trust domain, key sets by issuer, and the verification of tokens and certificates
//! with them. Only this module decides whether a signature or a chain is valid. It knows nothing about
//! usernames, policy or HTTP.

mod algorithm;
mod authorities;
pub mod bundle;
mod content;
mod fingerprint;
mod generation;
mod json;
pub mod jwks;
pub mod jwt;
pub mod keys;
pub mod minted;
mod newer;
mod public_keys;
mod refetch;
mod refresh;
mod sharing;
mod skipped;
pub mod slot;
pub mod source;
pub mod status;
mod tasks;
pub mod tls;
mod waiting;
pub mod x509;

pub use authorities::{Authorities, NoKeys, Origin};
pub(crate) use fingerprint::{digest_of_base64url, fingerprint, fingerprint_of_digest};
pub use generation::Generation;
pub use json::InvalidJson;
pub use keys::{KeyStatus, Keys};
pub use refetch::{Next, Refetch};
pub use refresh::LastGood;
pub use slot::{Held, Slot};
pub use status::{SourceKind, Status};
pub use waiting::{Sender, WaitingRoom};
