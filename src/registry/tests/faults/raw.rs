//! What is in the store right now, decoded. It is kept up to date with every change, so that the invariants
//! can be checked after each.

use super::super::super::keys::{Entry, Key};
use super::super::super::records::{self, Stored};
use super::super::super::states::blob::BlobRecord;
use super::super::super::states::link::LinkRecord;
use super::super::super::states::manifest::ManifestRecord;
use super::super::super::states::tag::TagRecord;
use super::super::*;
use crate::oci::{RepositoryName, Tag};
use crate::storage::Record;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher as _};
use std::ops::Bound;

#[derive(Default)]
pub(super) struct Raw {
    pub blobs: BTreeMap<Digest, BlobRecord>,
    pub links: BTreeMap<(RepositoryName, Digest), LinkRecord>,
    pub manifests: BTreeMap<(RepositoryName, Digest), ManifestRecord>,
    pub tags: BTreeMap<(RepositoryName, Tag), TagRecord>,
    /// The keys of all marks, live and condemned.
    pub marks: BTreeSet<String>,
    /// A hash of each record's content, without its nonce.
    content: BTreeMap<String, u64>,
}

impl Raw {
    /// Remembers the present state of a record. `None` if it was deleted.
    pub(super) fn note(&mut self, key: &str, value: Option<&Bytes>) {
        match value {
            Some(value) => drop(self.content.insert(key.to_owned(), without_nonce(value))),
            None => drop(self.content.remove(key)),
        }
        let entry = Entry::parse(key).unwrap();
        match entry {
            Entry::Blob(digest) => put(&mut self.blobs, digest, decoded(key, value)),
            Entry::Link(digest, repository) => {
                put(&mut self.links, (repository, digest), decoded(key, value))
            }
            Entry::Manifest(repository, digest) => {
                put(&mut self.manifests, (repository, digest), decoded(key, value));
            }
            Entry::Tag(repository, tag) => put(&mut self.tags, (repository, tag), decoded(key, value)),
            Entry::BackReference(..)
            | Entry::Referrer(..)
            | Entry::Index(..)
            | Entry::Catalog(_)
            | Entry::Deletion(..) => match value {
                Some(_) => drop(self.marks.insert(key.to_owned())),
                None => drop(self.marks.remove(key)),
            },
            _ => {}
        }
    }

    /// A hash of one record. It is 0 if there is none.
    pub(super) fn hash_of(&self, key: &str) -> u64 {
        self.content.get(key).copied().unwrap_or_default()
    }

    /// The keys of this prefix, and a hash of each record.
    pub(super) fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a String, u64)> {
        let from = self
            .content
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        from.take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(key, hash)| (key, *hash))
    }
}

pub(super) fn decode<T: Stored>(key: &str, record: &Record) -> T {
    decoded(key, Some(&record.value)).unwrap()
}

fn decoded<T: Stored>(key: &str, value: Option<&Bytes>) -> Option<T> {
    value.map(|value| records::decode(&Key::new(key.to_owned()), value).unwrap().0)
}

fn put<K: Ord, T>(records: &mut BTreeMap<K, T>, key: K, record: Option<T>) {
    match record {
        Some(record) => drop(records.insert(key, record)),
        None => drop(records.remove(&key)),
    }
}

/// The first line of a record holds its nonce.
fn without_nonce(value: &Bytes) -> u64 {
    let line = value.iter().position(|byte| *byte == b'\n').unwrap();
    let mut hasher = DefaultHasher::new();
    hasher.write(&value[line..]);
    hasher.finish()
}
