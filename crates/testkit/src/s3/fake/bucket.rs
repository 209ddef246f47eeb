//! What a bucket holds.

use super::object::{Object, Objects};
use super::rules::Rules;
use super::snapshots::Snapshots;
use std::collections::BTreeMap;
use wharfinger_base::clock::Timestamp;

#[derive(Default)]
pub(super) struct Bucket {
    pub(super) objects: Objects,
    /// By their ids.
    pub(super) uploads: BTreeMap<String, Upload>,
    pub(super) uploads_begun: usize,
    /// The objects before the last change, for a list that is behind.
    pub(super) before: Objects,
    pub(super) snapshots: Snapshots,
}

/// How a call is carried out.
#[derive(Clone, Copy)]
pub(super) struct Manner<'a> {
    pub(super) rules: &'a Rules,
    pub(super) now: Timestamp,
    /// Whether the conditions of writes are checked.
    pub(super) checks: bool,
    /// Whether a later page of a list comes from what the bucket held at the first.
    pub(super) old_pages: bool,
}

/// An upload that was neither completed nor aborted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    pub key: String,
    pub begun: Timestamp,
    /// By their numbers.
    pub parts: BTreeMap<usize, Object>,
}
