//! Doors for the fuzzer. What lies in a store may have been damaged or planted, and is parsed by types that
//! nobody else sees. The registry itself uses nothing of this.

use super::hashing::Hasher;
use super::keys::Entry;
use super::records::survives;
use super::states::blob::BlobRecord;
use super::states::link::LinkRecord;
use super::states::manifest::ManifestRecord;
use super::states::mark::Mark;
use super::states::pulls::PullRecord;
use super::states::session::Session;
use super::states::tag::TagRecord;
use super::states::usage::UsageRecord;
use crate::oci::Algorithm;
use bytes::Bytes;

/// The kinds of record that a value can be read as, and whether each says the same once it is written and
/// read again.
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
        ("pulls", survives::<PullRecord>(&value)),
        ("usage", survives::<UsageRecord>(&value)),
    ];
    kinds
        .into_iter()
        .filter_map(|(kind, survives)| Some((kind, survives?)))
        .collect()
}

/// The key that is made of what a key leads to, if it leads anywhere.
#[doc(hidden)]
#[must_use]
pub fn key_rewritten(key: &str) -> Option<String> {
    match Entry::parse(key)? {
        Entry::Own => None,
        entry => Some(entry.key()),
    }
}

/// The state of a hash that was taken up again from `state` after `length` bytes, if it can be. It is then
/// carried on, as by an upload.
#[doc(hidden)]
#[must_use]
pub fn hash_state_rewritten(algorithm: Algorithm, state: &str, length: u64) -> Option<String> {
    let mut hasher = Hasher::restore(algorithm, state, length)?;
    let written = hasher.state();
    hasher.update(&[7; 300]);
    drop(hasher.digest());
    Some(written)
}
