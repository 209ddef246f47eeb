//! Entry points for the fuzzer. It tests the private types that parse the content of a store, because that
//! content may be damaged or forged. The registry itself does not use them.

use super::hashing::Hasher;
use super::keys::Entry;
use super::records::survives;
use super::states::blob::BlobRecord;
use super::states::link::LinkRecord;
use super::states::manifest::ManifestRecord;
use super::states::mark::Mark;
use super::states::pass::PassRecord;
use super::states::pulls::{PullRecord, PullsBegan};
use super::states::scrub::ScrubRecord;
use super::states::session::Session;
use super::states::tag::TagRecord;
use super::states::usage::UsageRecord;
use crate::oci::Algorithm;
use bytes::Bytes;

/// The kinds of record that the value can be decoded as, and for each whether it stays the same when it is
/// encoded and decoded again.
#[doc(hidden)]
#[must_use]
pub fn records_read(value: &[u8]) -> Vec<(&'static str, bool)> {
    let value = Bytes::copy_from_slice(value);
    let kinds = [
        ("blob", survives::<BlobRecord>(&value)),
        ("link", survives::<LinkRecord>(&value)),
        ("manifest", survives::<ManifestRecord>(&value)),
        ("tag", survives::<TagRecord>(&value)),
        ("mark", survives::<Mark>(&value)),
        ("session", survives::<Session>(&value)),
        ("pass", survives::<PassRecord>(&value)),
        ("scrub", survives::<ScrubRecord>(&value)),
        ("pulls", survives::<PullRecord>(&value)),
        ("pulls began", survives::<PullsBegan>(&value)),
        ("usage", survives::<UsageRecord>(&value)),
    ];
    kinds
        .into_iter()
        .filter_map(|(kind, survives)| Some((kind, survives?)))
        .collect()
}

/// Parses a key and formats it again. `None` if no record has such a key.
#[doc(hidden)]
#[must_use]
pub fn key_rewritten(key: &str) -> Option<String> {
    match Entry::parse(key)? {
        Entry::Own => None,
        entry => Some(entry.key()),
    }
}

/// Restores the hash state over `length` bytes and encodes it again. `None` if it cannot be restored. Also
/// continues the hash, as an upload would.
#[doc(hidden)]
#[must_use]
pub fn hash_state_rewritten(algorithm: Algorithm, state: &str, length: u64) -> Option<String> {
    let mut hasher = Hasher::restore(algorithm, state, length)?;
    let written = hasher.state();
    hasher.update(&[7; 300]);
    drop(hasher.digest());
    Some(written)
}
