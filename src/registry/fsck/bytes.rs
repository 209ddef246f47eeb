//! Bytes that nothing names.

use super::Check;

/// How many names are listed at once.
const LISTED: usize = 1000;

impl Check<'_> {
    /// To be called when all names are known.
    pub(super) async fn bytes(&mut self) {
        let mut after = String::new();
        loop {
            match self.registry.bytes.list_bytes(&after, LISTED).await {
                Ok(page) => {
                    let Some(last) = page.last() else { return };
                    after.clone_from(&last.key);
                    for found in
                        page.iter().filter(|found| !self.named.contains(&found.key)).map(|found| found.key.clone()).collect::<Vec<_>>()
                    {
                        self.leftover(&format!("bytes {found}"), "nothing refers to them");
                    }
                }
                Err(why) => {
                    self.damage("bytes", format!("cannot be listed after {after:?}: {why}"));
                    return;
                }
            }
        }
    }
}
