//! Wharfinger: an OCI registry whose credentials are workload identities.
//!
//! One road leads from a connection to a byte, and every step's value can only be made by the step before it:
//!
//! ```text
//! TLS peer chain ─┐
//! Authorization  ─┼─▶ Credential ─▶ Verified ─▶ Claims ─▶ Identity ─▶ Permit<Action> ─▶ Registry ─▶ Records, Blobs
//! (nothing)      ─┘
//! ```
//!
//! Modules have ranks; one may import only from lower ranks, and siblings above rank 0 do not know each other
//! (`tests/architecture.rs` checks it):
//!
//! | rank | modules |
//! |---|---|
//! | 0 | [`oci`], [`spiffe_id`], [`clock`], [`secret`], [`limits`]: vocabulary, no I/O |
//! | 1 | [`trust`] verifies, [`storage`] keeps records and bytes |
//! | 2 | [`identity`]: from a credential to an identity |
//! | 3 | [`access`]: from an identity to a permit |

pub mod access;
pub mod clock;
pub mod identity;
pub mod limits;
pub mod oci;
pub mod secret;
pub mod spiffe_id;
pub mod storage;
pub mod trust;
