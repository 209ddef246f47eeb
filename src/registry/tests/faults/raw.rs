//! What is in the store right now, decoded. It is kept up to date with every change, so that the invariants
//! can be checked after each.

use super::super::super::keys::{Entry, Key};
use super::super::super::records::{self, Stored};
use super::super::super::states::blob::BlobRecord;
use super::super::super::states::link::LinkRecord;
use super::super::super::states::manifest::ManifestRecord;
use super::super::super::states::tag::TagRecord;
use super::super::*;
use super::table::Cause;
use crate::oci::{RepositoryName, Tag};
use crate::storage::Record;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher};
use std::ops::Bound;

#[derive(Default)]
pub(super) struct Raw {
    pub blobs: BTreeMap<Digest, BlobRecord>,
    pub links: BTreeMap<(RepositoryName, Digest), LinkRecord>,
    pub manifests: BTreeMap<(RepositoryName, Digest), ManifestRecord>,
    pub tags: BTreeMap<(RepositoryName, Tag), TagRecord>,
    /// The keys of all marks, live and condemned.
    pub marks: BTreeSet<String>,
    /// The requests that have written each tag since it last pointed at another manifest or at none.
    writers: BTreeMap<(RepositoryName, Tag), Vec<Cause>>,
    /// A hash of each record's content, without its nonce.
    content: BTreeMap<String, u64>,
}

impl Raw {
    /// Remembers the present state of a record. `None` if it was deleted.
    pub(super) fn note(&mut self, entry: Entry, key: &str, value: Option<&Bytes>, cause: Cause) {
        match value {
            Some(value) => drop(self.content.insert(key.to_owned(), without_nonce(value))),
            None => drop(self.content.remove(key)),
        }
        match entry {
            Entry::Blob(digest) => put(&mut self.blobs, digest, decoded(key, value)),
            Entry::Link(digest, repository) => {
                put(&mut self.links, (repository, digest), decoded(key, value))
            }
            Entry::Manifest(repository, digest) => {
                put(&mut self.manifests, (repository, digest), decoded(key, value));
            }
            Entry::Tag(repository, tag) => self.note_tag((repository, tag), decoded(key, value), cause),
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

    fn note_tag(&mut self, tag: (RepositoryName, Tag), record: Option<TagRecord>, cause: Cause) {
        let before = self.tags.get(&tag).and_then(TagRecord::target);
        let target = record.as_ref().and_then(TagRecord::target);
        if target.is_none() || target != before {
            self.writers.remove(&tag);
        }
        if target.is_some() {
            self.writers.entry(tag.clone()).or_default().push(cause);
        }
        put(&mut self.tags, tag, record);
    }

    /// The requests that have written the tag since it last pointed elsewhere.
    pub(super) fn writers(&self, repository: &RepositoryName, tag: &Tag) -> &[Cause] {
        let found = self.writers.get(&(repository.clone(), tag.clone()));
        found.map_or(&[], Vec::as_slice)
    }

    pub(super) fn hash_writers(&self, hasher: &mut impl Hasher) {
        self.writers.hash(hasher);
    }

    /// Whether the record has this content.
    pub(super) fn is(&self, key: &str, value: &Bytes) -> bool {
        self.content.get(key) == Some(&without_nonce(value))
    }

    /// The keys that are not `present`, which is sorted, as changes.
    pub(super) fn keys_beside(&self, present: &[String]) -> Vec<(String, Option<Bytes>)> {
        let gone = self
            .content
            .keys()
            .filter(|key| present.binary_search(key).is_err());
        gone.map(|key| (key.clone(), None)).collect()
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
