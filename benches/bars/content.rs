//! The content that all servers serve.

use super::image::{image, layer, random};
use super::push::{push_blob, push_manifest};
use super::sha256;
use serde_json::Value;
use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub(crate) const KIB: usize = 1 << 10;
pub(crate) const MIB: usize = 1 << 20;
pub(crate) const REPOSITORY: &str = "bench/image";

/// Blobs and a manifest that names them, as files for nginx under the paths that registries use.
pub(crate) struct Content {
    pub(crate) root: PathBuf,
    pub(crate) blobs: Vec<(String, Vec<u8>)>,
    manifest: String,
}

impl Content {
    /// Creates blobs of these sizes.
    pub(crate) fn new(root: &Path, sizes: &[usize]) -> Self {
        let blobs: Vec<(String, Vec<u8>)> = sizes
            .iter()
            .map(|size| random(*size))
            .map(|bytes| (sha256(&bytes), bytes))
            .collect();
        let layers: Vec<Value> = blobs
            .iter()
            .map(|(digest, bytes)| layer(digest, bytes.len()))
            .collect();
        let manifest = image(&blobs[0].0, blobs[0].1.len(), &layers);
        let base = root.join("v2").join(REPOSITORY);
        fs::create_dir_all(base.join("blobs")).unwrap();
        fs::create_dir_all(base.join("manifests")).unwrap();
        for (digest, bytes) in &blobs {
            fs::write(base.join("blobs").join(digest), bytes).unwrap();
        }
        fs::write(base.join("manifests/latest"), &manifest).unwrap();
        Self {
            root: root.to_owned(),
            blobs,
            manifest,
        }
    }

    pub(crate) fn push_to(&self, address: SocketAddr) {
        for (digest, bytes) in &self.blobs {
            push_blob(address, REPOSITORY, digest, bytes);
        }
        push_manifest(address, REPOSITORY, "latest", &self.manifest);
    }
}

/// The files below `folder` whose size is one of these.
pub(crate) fn files(folder: &Path, sizes: impl Fn(usize) -> bool + Copy) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        let meta = entry.metadata().unwrap();
        if meta.is_dir() {
            found.extend(files(&entry.path(), sizes));
        } else if meta.is_file() && sizes(meta.len() as usize) {
            found.push(entry.path());
        }
    }
    found
}

/// Loads a file into the page cache.
pub(crate) fn read_through(file: &Path) {
    let mut file = fs::File::open(file).unwrap();
    let mut room = vec![0; MIB];
    while file.read(&mut room).unwrap() > 0 {}
}
