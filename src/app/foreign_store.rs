//! Detects folders and buckets of another registry. We write nothing into such a store, because the other registry
//! could take our files for its own, and we could not serve its images.

use crate::config::Mistake;
use crate::storage::bucket::Bucket;
use crate::storage::{Failure, RecordStore as _, STORE_ID};
use std::collections::VecDeque;
use std::fmt::Display;
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
        words(&folder.display(), &whose, "another folder"),
    ))
}

/// The same for the bucket `place`. It reads names only, and only if our store is not there.
pub(super) async fn check_bucket(bucket: &Bucket, place: &impl Display) -> Result<Option<Mistake>, Failure> {
    if bucket.get(STORE_ID).await?.is_some() {
        return Ok(None);
    }
    let mut names = bucket.names(&format!("{DISTRIBUTION}/"), 1).await?;
    names.extend(bucket.names("", NAMES).await?);
    let whose = names.iter().find_map(|name| whose_object(name));
    Ok(whose.map(|whose| {
        Mistake::new(
            "storage.storageDriver.rootdirectory",
            words(place, &whose, "another rootdirectory or bucket"),
        )
    }))
}

fn words(place: &impl Display, whose: &str, instead: &str) -> String {
    format!(
        "{place} holds the store of {whose}, which has another layout: name {instead}, and copy the images with that registry running beside this one \
         (docs/how-to/from-zot.md); nothing was written into it"
    )
}

fn whose_object(name: &str) -> Option<String> {
    let first = name.split('/').next().unwrap_or_default();
    if name.starts_with(&format!("{DISTRIBUTION}/")) {
        return Some(distributions(&name));
    }
    let is_layout = Path::new(name).file_name().is_some_and(|last| last == LAYOUT);
    (is_layout || ZOTS.contains(&first) || is_blob_of_a_layout(name)).then(|| zots(&name))
}

/// Whether it is a blob of an image layout: `blobs/sha256/<64 digits>` at any depth.
fn is_blob_of_a_layout(name: &str) -> bool {
    let mut parts = name.rsplit('/');
    let hex = parts.next().unwrap_or_default();
    hex.len() == 64
        && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
        && parts.next() == Some("sha256")
        && parts.next() == Some("blobs")
}

fn distributions(found: &impl Display) -> String {
    format!("distribution (registry:2; {found} is there)")
}

fn zots(found: &impl Display) -> String {
    format!("zot, or an OCI image layout ({found} is there)")
}

fn whose(folder: &Path) -> Option<String> {
    let distribution = folder.join(DISTRIBUTION);
    if distribution.is_dir() {
        return Some(distributions(&distribution.display()));
    }
    let own = ZOTS
        .iter()
        .map(|name| folder.join(name))
        .find(|path| path.exists());
    let found = own.or_else(|| layout_below(folder))?;
    Some(zots(&found.display()))
}

/// The first image layout at or below the folder. zot has one for each repository, at any depth.
fn layout_below(folder: &Path) -> Option<PathBuf> {
    let mut left = VecDeque::from([folder.to_owned()]);
    for _ in 0..FOLDERS {
        let next = left.pop_front()?;
        let layout = next.join(LAYOUT);
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

/// What distribution keeps below the root.
const DISTRIBUTION: &str = "docker/registry/v2";
/// A file of every image layout.
const LAYOUT: &str = "oci-layout";
/// The files at the root of zot's store.
const ZOTS: [&str; 4] = ["meta.db", "cache.db", "_trivy", "_blobstore"];
/// How many folders are searched. zot's own files are found without a search.
const FOLDERS: usize = 1000;
/// How many objects of a bucket are looked at: one page of a list.
const NAMES: usize = 1000;

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

    #[test]
    fn objects_of_other_registries_are_known_by_their_names() {
        let blob = format!("team/app/blobs/sha256/{}", "0a".repeat(32));
        for name in [
            "meta.db",
            "_trivy/db/trivy.db",
            "oci-layout",
            "team/app/oci-layout",
            &blob,
            "docker/registry/v2/blobs/sha256/0a/0a/data",
        ] {
            let whose = whose_object(name).unwrap_or_else(|| panic!("{name}"));
            assert!(whose.contains(name), "{whose}");
        }
        for name in [
            "records/b._sha256-._0a",
            "d/ab/abcd",
            "probe/passed",
            "backups/registry.tar",
            "docker/registry/v1/x",
            "team/app/blobs/sha256/0a",
            "trivy/db",
        ] {
            assert_eq!(whose_object(name), None, "{name}");
        }
    }
}
