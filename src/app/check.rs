//! What `verify` does: everything that a start does, short of opening the store and listening.

use super::sources::Sources;
use super::store::check_bucket;
use super::tls::{Own, prepare};
use super::{foreign_store, tokens};
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, FixedSettings, Mistake, StorePlace, Warning};
use std::path::Path;

/// The messages at the start for a valid configuration.
#[derive(Debug, Default)]
pub struct Checked {
    pub warnings: Vec<Warning>,
    /// Elements that a standard says to ignore. No action is needed.
    pub notes: Vec<Warning>,
}

/// Does everything that a start does except opening the store and listening. It needs a tokio runtime.
/// Returns all mistakes that would prevent a start.
pub fn check(config: Config, clock: &Clock) -> Result<Checked, Vec<Mistake>> {
    let own = config.own_svid();
    let opened = Sources::new(clock.clone(), None).open(config.ways_in);
    let mut mistakes = opened.mistakes;
    let mut warnings = config.warnings;
    warnings.extend(opened.warnings);
    mistakes.extend(own.and_then(|address| Own::check(&address).err()));
    match config.tls.map(prepare).transpose() {
        Ok(prepared) => {
            let expiring = prepared
                .iter()
                .flat_map(|prepared| prepared.expiring(clock.now()));
            warnings.extend(expiring.map(|one| Warning::new("http.tls", one.sentence(clock.now()))));
        }
        Err(why) => mistakes.extend(why),
    }
    mistakes.extend(wrong_with_folders(&config.fixed, clock.now()));
    if mistakes.is_empty() {
        Ok(Checked {
            warnings,
            notes: opened.notes,
        })
    } else {
        Err(mistakes)
    }
}

/// Returns mistakes about the files and folders that only a restart changes.
pub(super) fn wrong_with_folders(fixed: &FixedSettings, now: Timestamp) -> Vec<Mistake> {
    let mut mistakes: Vec<_> = tokens::check(&fixed.token_keys, now).err().into_iter().collect();
    mistakes.extend(no_folder("stateDirectory", &fixed.state_directory));
    match &fixed.storage {
        StorePlace::Folder(folder) => {
            mistakes.extend(no_folder("storage.rootDirectory", folder));
            mistakes.extend(foreign_store::check(folder));
        }
        StorePlace::Bucket(place) => mistakes.extend(check_bucket(&place.settings).err()),
    }
    mistakes
}

fn no_folder(key: &str, path: &Path) -> Option<Mistake> {
    let wrong = path.exists() && !path.is_dir();
    wrong.then(|| {
        Mistake::new(
            key,
            format!(
                "{} is not a folder: name a folder, which may be a new one",
                path.display()
            ),
        )
    })
}
