//! Where the store is, and what depends on it.

use super::Interpreter;
use crate::config::raw;
use crate::config::settings::StorePlace;
use crate::http::Redirects;
use std::path::{Path, PathBuf};
use std::time::Duration;

impl Interpreter<'_> {
    /// `agent` is the Workload API's address.
    pub(super) fn store(
        &mut self,
        root: Option<PathBuf>,
        driver: Option<raw::StorageDriver>,
        agent: Option<&str>,
    ) -> StorePlace {
        let root = root.filter(|root| !root.as_os_str().is_empty());
        match (driver, root) {
            (Some(driver), _) => StorePlace::Bucket(Box::new(self.bucket(driver, agent))),
            (None, Some(root)) => StorePlace::Folder(self.around.path(&root)),
            (None, None) => {
                self.mistake(
                    "storage.rootDirectory",
                    "is missing: name the folder of the store, or a bucket in storage.storageDriver",
                );
                StorePlace::Folder(self.around.path(Path::new("")))
            }
        }
    }

    pub(super) fn state_directory(&mut self, given: Option<PathBuf>, place: &StorePlace) -> PathBuf {
        match (given.filter(|given| !given.as_os_str().is_empty()), place) {
            (Some(folder), _) => self.around.path(&folder),
            (None, StorePlace::Folder(folder)) => folder.join("state"),
            (None, StorePlace::Bucket(_)) => {
                self.mistake(
                    "stateDirectory",
                    "is missing: with a bucket, name a folder on this machine that no other registry uses, such as /var/lib/wharfinger",
                );
                PathBuf::new()
            }
        }
    }

    pub(super) fn commit(&mut self, given: Option<bool>, place: &StorePlace) -> bool {
        if given == Some(false) {
            let truth = match place {
                StorePlace::Folder(_) => "false: a power cut may lose acknowledged content",
                StorePlace::Bucket(_) => "ignored: what a bucket has acknowledged survives",
            };
            self.warn("storage.commit", truth);
        }
        given.unwrap_or(true)
    }

    /// `None` if the registry sends every blob itself.
    pub(super) fn redirects(&mut self, storage: &raw::Storage, place: &StorePlace) -> Option<Redirects> {
        let min_size = match &storage.redirect_min_size {
            None => Some(REDIRECT_FROM),
            Some(given) => given.bytes(),
        };
        if min_size.is_none() {
            self.mistake(
                "storage.redirectMinSize",
                "must be an amount of bytes, such as 1MiB or 0",
            );
        }
        let key = "storage.redirectLifetime";
        let lifetime = self.duration(
            key.to_owned(),
            storage.redirect_lifetime.as_deref(),
            REDIRECT_LIFETIME,
        );
        if !(Duration::from_secs(1)..=LONGEST_REDIRECT).contains(&lifetime) {
            let most = LONGEST_REDIRECT.as_secs() / 60;
            self.mistake(
                key,
                format!("must be between 1s and {most}m: who has the URL needs no other credential"),
            );
        }
        if storage.redirect_blob_url != Some(true) {
            return None;
        }
        if let StorePlace::Folder(_) = place {
            self.warn(
                "storage.redirectBlobURL",
                "ignored: the registry sends the blobs of a folder itself",
            );
            return None;
        }
        Some(Redirects {
            min_size: min_size?,
            lifetime,
        })
    }
}

/// The default of `storage.redirectMinSize`. A redirect costs the client another connection.
const REDIRECT_FROM: u64 = 1 << 20;
/// The default of `storage.redirectLifetime`.
const REDIRECT_LIFETIME: Duration = Duration::from_secs(10 * 60);
const LONGEST_REDIRECT: Duration = Duration::from_secs(60 * 60);
