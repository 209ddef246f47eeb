//! The image that `dev` pushes: one layer with one file, which podman, docker and containerd pull and unpack.
//! There is nothing in it to run.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/layer.md>

use crate::oci::ManifestType;
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// The bytes of one image. The same on every machine of one architecture.
pub(super) struct Image {
    pub(super) layer: Vec<u8>,
    pub(super) config: Vec<u8>,
    pub(super) manifest: Vec<u8>,
}

impl Image {
    pub(super) fn hello() -> Self {
        let layer = tar("hello.txt", b"Hello from Wharfinger.\n");
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
            "history": [{"created_by": "wharfinger dev"}],
        });
        let config = config.to_string().into_bytes();
        let descriptor = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()});
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": ManifestType::OciManifest.as_str(),
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        });
        Self {
            layer,
            config,
            manifest: manifest.to_string().into_bytes(),
        }
    }
}

pub(super) fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

/// The architecture as images name it, so that clients accept the image for this machine.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// An archive of one file that root owns, in the format that POSIX calls ustar.
fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let size = format!("{:011o}", content.len());
    let header = |checksum: &str| {
        let mode_owner_group = [("0000644", 8), ("0000000", 8), ("0000000", 8)];
        let size_time_checksum = [(size.as_str(), 12), ("00000000000", 12), (checksum, 8)];
        let kind_and_link = [("0", 1), ("", 100)];
        let format_names_devices_prefix = [
            ("ustar", 6),
            ("00", 2),
            ("", 32),
            ("", 32),
            ("0000000", 8),
            ("0000000", 8),
            ("", 155),
            ("", 12),
        ];
        let fields = [(name, 100)]
            .into_iter()
            .chain(mode_owner_group)
            .chain(size_time_checksum)
            .chain(kind_and_link);
        let mut bytes = Vec::new();
        for (text, width) in fields.chain(format_names_devices_prefix) {
            let end = bytes.len() + width;
            bytes.extend_from_slice(text.as_bytes());
            bytes.resize(end, 0);
        }
        bytes
    };
    // The sum is of the header with spaces in its place.
    let sum: u32 = header("        ").iter().map(|byte| u32::from(*byte)).sum();
    let mut archive = header(&format!("{sum:06o}\0 "));
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    archive
}

const BLOCK: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn tar_unpacks_the_layer() {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("layer.tar");
        let layer = Image::hello().layer;
        std::fs::write(&archive, &layer).unwrap();
        let unpacked = Command::new("tar")
            .arg("-C")
            .arg(folder.path())
            .arg("-xf")
            .arg(&archive)
            .output()
            .unwrap();
        assert!(
            unpacked.status.success() && unpacked.stderr.is_empty(),
            "{unpacked:?}"
        );
        assert_eq!(
            std::fs::read_to_string(folder.path().join("hello.txt")).unwrap(),
            "Hello from Wharfinger.\n"
        );
        assert_eq!(layer.len() % BLOCK, 0);
    }
}
