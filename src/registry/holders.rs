//! Which repositories have a blob, for messages about damaged bytes.

use super::Registry;
use super::keys::{self, Entry};
use crate::oci::Digest;
use crate::storage::Show;

impl Registry {
    /// The names of the first repositories that have the blob, such as `team/app, team/web`. Empty if they
    /// cannot be listed.
    pub(super) async fn repositories_with(&self, digest: &Digest) -> String {
        let mut links = self.records.keys(keys::links(digest), Show::All);
        let mut names = Vec::new();
        while let Ok(Some(link)) = links.next().await {
            if names.len() == NAMED {
                names.push("...".to_owned());
                break;
            }
            if let Some(Entry::Link(_, repository)) = Entry::parse(link.as_str()) {
                names.push(repository.to_string());
            }
        }
        names.join(", ")
    }
}

/// How many repositories a message names.
const NAMED: usize = 10;
