//! What is left of the making of a sealed blob: its rests and multipart uploads. They stay if a process ends, or
//! loses the service, right after the blob was sealed, and a request that arrives late may make them again.

use super::core::Core;
use super::keys;
use super::listing::{Names, note};
use crate::bucket::uploads::Marker;
use crate::{Failure, Written};

/// How many keys are listed at once.
const PAGE: usize = 1000;

impl Core {
    /// Up to `limit` names after `after` that have the object with all bytes, and more.
    pub(super) async fn list_remains(&self, after: &str, limit: usize) -> Result<Vec<Written>, Failure> {
        let mut names = self.names_with_rests(after, limit).await?;
        self.add_unfinished(&mut names, after).await?;
        let found = names.into_iter().take(limit);
        Ok(found.map(|(key, written)| Written { key, written }).collect())
    }

    /// At least `limit` names, unless these are all. The rests of a name follow its bytes in the list.
    async fn names_with_rests(&self, after: &str, limit: usize) -> Result<Names, Failure> {
        let mut names = Names::new();
        let mut last = keys::behind(after);
        let mut sealed = None;
        while names.len() <= limit {
            let page = self.objects.list(keys::ALL, &last, PAGE).await;
            let page = page.map_err(|why| self.failed(why))?;
            for entry in &page {
                let Some(name) = keys::name_at(&entry.key) else {
                    continue;
                };
                if keys::blob(name)? == entry.key {
                    sealed = Some(name.to_owned());
                } else if sealed.as_deref() == Some(name) {
                    note(&mut names, name, entry.written);
                }
            }
            match page.last().filter(|_| page.len() == PAGE) {
                Some(end) => last.clone_from(&end.key),
                None => break,
            }
        }
        Ok(names)
    }

    /// Adds the sealed names after `after` that have a multipart upload. A service need not have this list.
    async fn add_unfinished(&self, names: &mut Names, after: &str) -> Result<(), Failure> {
        let mut next = Some(Marker::default());
        while let Some(marker) = next {
            let page = match self.objects.uploads(keys::ALL, &marker).await {
                Ok(page) => page,
                Err(why) => {
                    tracing::debug!("could not list the uploads to the bucket: {why}");
                    return Ok(());
                }
            };
            for found in &page.found {
                let Some(name) = keys::name_at(&found.key).filter(|name| *name > after) else {
                    continue;
                };
                let size = self.objects.size(&found.key).await;
                if size.map_err(|why| self.failed(why))?.is_some() {
                    note(names, name, found.begun.unwrap_or(self.objects.now()));
                }
            }
            next = page.next.filter(|next| *next != marker);
        }
        Ok(())
    }
}
