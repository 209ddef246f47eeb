//! Doors for the fuzzer. What lies in a store may have been damaged or planted, and is parsed by types that nobody else sees. The registry
//! itself uses nothing of this.

use super::hashing::Hasher;
use super::keys::{self, Entry};
use super::records::{BlobRecord, LinkRecord, ManifestRecord, Mark, Stored, TagRecord};
use super::uploads::Session;
use crate::oci::Algorithm;
use bytes::Bytes;

/// The kinds of record that a value can be read as, and whether each says the same once it is written and read again.
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
    ];
    kinds.into_iter().filter_map(|(kind, survives)| Some((kind, survives?))).collect()
}

fn survives<T: Stored + PartialEq>(value: &Bytes) -> Option<bool> {
    let record = T::decode(value).ok()?;
    let again = record.encode().and_then(|written| T::decode(&written));
    Some(again.is_ok_and(|again| again == record))
}

/// The key that is made of what a key leads to, if it leads anywhere.
#[doc(hidden)]
#[must_use]
pub fn key_rewritten(key: &str) -> Option<String> {
    match Entry::parse(key)? {
        Entry::Manifest(repository, digest) => Some(keys::manifest(&repository, &digest)),
        Entry::Tag(repository, tag) => Some(keys::tag(&repository, &tag)),
        Entry::BackReference(repository, digest, tag) => Some(keys::back_reference(&repository, &digest, &tag)),
        Entry::Referrer(repository, subject, referrer) => Some(keys::referrer(&repository, &subject, &referrer)),
        Entry::Catalog => Some(keys::catalog(keys::repository_of(key, keys::CATALOG)?.as_str())),
        Entry::Other => {
            let blob = keys::spread_digest_of(key, keys::BLOBS).map(|digest| keys::blob(&digest));
            let link = || keys::link_of(key).map(|(digest, repository)| keys::link(&digest, &repository));
            let upload = || Some(keys::upload(&key.strip_prefix(keys::UPLOADS)?.parse().ok()?));
            blob.or_else(link).or_else(upload)
        }
    }
}

/// The state of a hash that was taken up again from `state` after `length` bytes, if it can be. It is then carried on, as by an upload.
#[doc(hidden)]
#[must_use]
pub fn hash_state_rewritten(algorithm: Algorithm, state: &str, length: u64) -> Option<String> {
    let mut hasher = Hasher::restore(algorithm, state, length)?;
    let written = hasher.state();
    hasher.update(&[7; 300]);
    drop(hasher.digest());
    Some(written)
}
