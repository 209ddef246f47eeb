//! Blobs and images that differ for each number, and are the same in every run.

use bytes::Bytes;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use wharfinger::oci::Digest;

pub(crate) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

/// Bytes and their digest.
pub(crate) struct Content {
    pub(crate) bytes: Bytes,
    pub(crate) digest: Digest,
}

impl Content {
    fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let hex: String = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self {
            digest: format!("sha256:{hex}").parse().unwrap(),
            bytes,
        }
    }
}

/// A blob of this many bytes.
pub(crate) fn blob(name: &str, size: usize) -> Content {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(size.max(name.len()), b'.');
    Content::new(bytes)
}

/// An image that needs these blobs.
pub(crate) fn image(name: &str, blobs: &[Content]) -> Content {
    let described: Vec<_> = blobs
        .iter()
        .map(|blob| {
            json!({
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": blob.digest.as_str(),
                "size": blob.bytes.len(),
            })
        })
        .collect();
    let (config, layers) = described.split_first().unwrap();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers, "annotations": {"name": name},
    });
    Content::new(manifest.to_string())
}
