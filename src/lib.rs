//! Wharfinger: an OCI registry whose credentials are workload identities.
//!
//! To find your way, read `docs/design/architecture.md`: it follows a push from the socket to the disk, file
//! by file. The codes in comments and in the names of tests, such as `X-17` and `D-23`, are defined beside
//! it.
//!
//! Every request takes one path from the connection to the store. Each step accepts only a value that the
//! step before it created:
//!
//! ```text
//! TLS peer chain ─┐
//! Authorization  ─┼─▶ Credential ─▶ VerifiedJwt, VerifiedChain ─▶ Identity ─▶ Permit<Action> ─▶ Registry ─▶ Records, Blobs
//! (nothing)      ─┘
//! ```
//!
//! Modules have ranks. A module may import only from lower ranks, and modules of the same rank above 0 do not
//! import each other (`tests/architecture/` checks this):
//!
//! | rank | modules |
//! |---|---|
//! | 0 | [`oci`], [`budget`], [`spiffe_id`], [`clock`], [`secret`], [`limits`], [`recent`], [`source_address`], [`telemetry`], [`file_error`], [`shell`], [`descriptors`], [`object`], [`tls_failure`], `owner_file`: shared vocabulary, and no I/O except the files that only their owner may read |
//! | 1 | [`trust`] verifies, [`storage`] keeps records and bytes, [`expr`] wraps CEL, [`workload`] finds a workload's own token |
//! | 2 | [`identity`]: from a credential to an identity; [`client`]: pushes to a registry and pulls from it |
//! | 3 | [`access`]: from an identity to a permit; [`login_check`]: why a client cannot log in |
//! | 4 | [`registry`]: the OCI core, and [`exchange`]: the token service, both free of HTTP |
//! | 5 | [`http`]: requests, answers, the live configuration |
//! | 6 | [`server`]: listeners, TLS, limits, drain |
//! | 7 | [`config`]: from a file to settings; [`control`]: the operator's questions |
//! | 8 | [`app`]: puts it all together |
//! | 9 | [`cli`]: one file per command |
//!
//! Some modules are separate crates in `crates/` (D-56, D-57): [`workload`] with the code of the small programs
//! for clients, [`storage`], and the modules of rank 0 that they share with the registry. They are re-exported
//! here, and the rest of this crate uses them by that path.

pub mod access;
pub mod app;
pub mod budget;
pub mod cli;
pub mod client;
pub mod config;
pub mod control;
pub mod exchange;
pub mod expr;
pub mod http;
pub mod identity;
pub mod limits;
pub mod login_check;
pub mod oci;
mod owner_file;
pub mod registry;
pub mod server;
pub mod source_address;
pub mod spiffe_id;
pub mod telemetry;
pub mod trust;

pub use wharfinger_base::{clock, descriptors, file_error, object, recent, secret, shell, tls_failure};
pub use wharfinger_storage as storage;
pub use wharfinger_workload as workload;
