//! A small image as an OCI layout on disk.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::Path;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

pub(crate) fn sha256(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

/// Makes an image with one file in it, tagged `v1`.
pub(crate) struct Layout {
    pub(crate) digest: String,
}

impl Layout {
    pub(crate) fn write(path: &Path) -> Self {
        Self::with(path, b"Hello from a test.\n")
    }

    /// The same with this content of the file.
    pub(crate) fn with(path: &Path, content: &[u8]) -> Self {
        fs::create_dir_all(path.join("blobs/sha256")).unwrap();
        let layer = tar("hello", content);
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [sha256(&layer)]},
            "history": [{"created_by": "a test"}],
        });
        let config = config.to_string();
        let layers = [blob(path, "application/vnd.oci.image.layer.v1.tar", &layer)];
        let config = blob(
            path,
            "application/vnd.oci.image.config.v1+json",
            config.as_bytes(),
        );
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers})
            .to_string();
        let mut descriptor = blob(path, MANIFEST, manifest.as_bytes());
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
        fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        fs::write(
            path.join("index.json"),
            json!({"schemaVersion": 2, "manifests": [descriptor]}).to_string(),
        )
        .unwrap();
        Self {
            digest: sha256(manifest.as_bytes()),
        }
    }
}

fn blob(layout: &Path, media_type: &str, bytes: &[u8]) -> Value {
    let digest = sha256(bytes);
    fs::write(
        layout.join("blobs/sha256").join(&digest["sha256:".len()..]),
        bytes,
    )
    .unwrap();
    json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
}

/// An archive of one file (POSIX ustar).
fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut set = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    set(0, name);
    set(100, "0000644\0");
    set(108, "0000000\0");
    set(116, "0000000\0");
    set(124, &format!("{:011o}\0", content.len()));
    set(136, "00000000000\0");
    set(148, "        ");
    set(156, "0");
    set(257, "ustar\u{0}00");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    archive.extend_from_slice(content);
    archive.resize(512 + content.len().next_multiple_of(512) + 1024, 0);
    archive
}
