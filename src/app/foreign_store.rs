//! Detects folders of another registry. We write nothing into such a folder, because the other registry could
//! take our files for its own, and we could not serve its images.

use crate::config::Mistake;
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

/// Returns a mistake if the store's folder belongs to another registry. It reads names only. Unreadable and
/// unknown files are accepted, because the folder may also contain `lost+found`, a configuration or
/// certificates.
pub(super) fn check(folder: &Path) -> Option<Mistake> {
    if folder.join("format").exists() || !folder.is_dir() {
        return None;
    }
    let whose = whose(folder)?;
    Some(Mistake::new(
        "storage.rootDirectory",
        format!(
            "{} holds the store of {whose}, which has another layout: name another folder, and copy the images with that registry running beside this one \
             (docs/how-to/from-zot.md); nothing was written into it",
            folder.display()
        ),
    ))
}

fn whose(folder: &Path) -> Option<String> {
    let distribution = folder.join("docker/registry/v2");
    if distribution.is_dir() {
        return Some(format!(
            "distribution (registry:2; {} is there)",
            distribution.display()
        ));
    }
    let zots = ZOTS
        .iter()
        .map(|name| folder.join(name))
        .find(|path| path.exists());
    let found = zots.or_else(|| layout_below(folder))?;
    Some(format!(
        "zot, or an OCI image layout ({} is there)",
        found.display()
    ))
}

/// The first image layout at or below the folder. zot has one for each repository, at any depth.
fn layout_below(folder: &Path) -> Option<PathBuf> {
    let mut left = VecDeque::from([folder.to_owned()]);
    for _ in 0..FOLDERS {
        let next = left.pop_front()?;
        let layout = next.join("oci-layout");
        if layout.is_file() {
            return Some(layout);
        }
        let entries = fs::read_dir(&next).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        left.extend(
            folders
                .map(|entry| entry.path())
                .take(FOLDERS - left.len().min(FOLDERS)),
        );
    }
    None
}

/// The files at the root of zot's store.
const ZOTS: [&str; 4] = ["meta.db", "cache.db", "_trivy", "_blobstore"];
/// How many folders are searched. zot's own files are found without a search.
const FOLDERS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    #[test]
    fn stores_of_other_registries_are_known_by_their_names() {
        for files in [
            &["meta.db"][..],
            &["cache.db", "alpine/index.json"],
            &["oci-layout", "index.json"],
            &["team/app/web/oci-layout", "team/app/web/index.json"],
            &["docker/registry/v2/repositories/a/_manifests/x"],
            &["lost+found/x", "app/blobs/sha256/ab", "app/oci-layout"],
        ] {
            let folder = folder(files);
            let mistake = check(folder.path()).unwrap_or_else(|| panic!("{files:?}"));
            assert!(mistake.what.contains("name another folder"), "{mistake}");
        }
        for files in [
            &[][..],
            &["lost+found/x"],
            &["config.json", "tls.crt"],
            &["docker/registry/v1/x"],
            &["format", "meta.db"],
        ] {
            assert_eq!(check(folder(files).path()), None, "{files:?}");
        }
        assert_eq!(check(Path::new("/nonexistent")), None);
    }
}
