//! What a store keeps under a key.

use aws_lc_rs::digest;
use bytes::Bytes;
use std::collections::BTreeMap;
use wharfinger_base::clock::Timestamp;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub body: Bytes,
    /// The entity tag, in quotes. Equal bytes have equal tags, as in S3.
    pub tag: String,
    pub written: Timestamp,
}

impl Object {
    pub(super) fn new(body: Bytes, written: Timestamp) -> Self {
        Self {
            tag: format!("\"{}\"", fingerprint(&body)),
            body,
            written,
        }
    }
}

pub(super) type Objects = BTreeMap<String, Object>;

/// 32 hexadecimal digits that stand for the bytes.
pub(super) fn fingerprint(bytes: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest
        .as_ref()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
