//! Bytes that no record names.

use super::Check;
use crate::storage::Written;

/// How many names are listed at once.
const LISTED: usize = 1000;

impl Check<'_> {
    /// Call this after all records have been checked.
    pub(super) async fn bytes(&mut self) {
        let mut after = String::new();
        loop {
            match self.registry.bytes.list_bytes(&after, LISTED).await {
                Ok(page) => {
                    let Some(last) = page.last() else { return };
                    after.clone_from(&last.key);
                    self.nameless(&page);
                }
                Err(why) => match why.unlisted() {
                    Some(unlisted) => {
                        self.nameless(&unlisted.found);
                        self.damage("bytes", unlisted.to_string());
                        after.clone_from(&unlisted.next);
                    }
                    None => {
                        self.damage("bytes", format!("cannot be listed after {after:?}: {why}"));
                        return;
                    }
                },
            }
        }
    }

    fn nameless(&mut self, page: &[Written]) {
        for found in page {
            if !self.named.contains(&found.key) {
                self.leftover(
                    &format!("bytes {}", found.key),
                    "no record names them; the collector removes them when they are old",
                );
            }
        }
    }
}
