//! The names of bytes: bytes that no record names, and those that several records name.

use super::super::keys::{self, Entry, Key};
use super::super::{Error, states::session::Session};
use super::Check;
use super::sorter::Sorted;
use crate::storage::Written;

/// How many names are listed at once.
const LISTED: usize = 1000;

/// A name of bytes, and the keys of the records that have it.
struct Named {
    name: String,
    keys: Vec<String>,
}

/// The names in order.
struct Names {
    lines: Sorted,
    /// The first line of the next name.
    ahead: Option<(String, String)>,
}

impl Names {
    fn new(mut lines: Sorted) -> Result<Self, Error> {
        let ahead = lines.next()?.map(|line| parts(&line));
        Ok(Self { lines, ahead })
    }

    fn next(&mut self) -> Result<Option<Named>, Error> {
        let Some((name, key)) = self.ahead.take() else {
            return Ok(None);
        };
        let mut keys = vec![key];
        while let Some(line) = self.lines.next()? {
            let (other, key) = parts(&line);
            if other != name {
                self.ahead = Some((other, key));
                break;
            }
            keys.push(key);
        }
        Ok(Some(Named { name, keys }))
    }
}

fn parts(line: &str) -> (String, String) {
    let (name, key) = line.split_once(' ').unwrap_or((line, ""));
    (name.to_owned(), key.to_owned())
}

impl Check<'_> {
    /// Notes that the record with this key names the bytes.
    pub(super) fn names(&mut self, name: &str, key: &str) -> Result<(), Error> {
        self.named.push(&format!("{name} {key}"))
    }

    /// Call this after all records have been checked.
    pub(super) async fn bytes(&mut self) -> Result<(), Error> {
        let mut names = Names::new(self.named.take().sorted()?)?;
        let mut next = names.next()?;
        let mut after = String::new();
        loop {
            let page = match self.registry.bytes.list_bytes(&after, LISTED).await {
                Ok(page) => {
                    let Some(last) = page.last() else { break };
                    after.clone_from(&last.key);
                    page
                }
                Err(why) => {
                    let Some(unlisted) = why.unlisted() else {
                        self.damage("bytes", format!("cannot be listed after {after:?}: {why}"));
                        break;
                    };
                    self.damage("bytes", unlisted.to_string());
                    after.clone_from(&unlisted.next);
                    unlisted.found.clone()
                }
            };
            for Written { key: found, .. } in page {
                while let Some(named) = next.take_if(|named| named.name < found) {
                    self.owners(&named).await;
                    next = names.next()?;
                }
                if next.as_ref().is_none_or(|named| named.name != found) {
                    self.leftover(
                        &format!("bytes {found}"),
                        "no record names them; the collector removes them when they are old",
                    );
                }
            }
        }
        while let Some(named) = next {
            self.owners(&named).await;
            next = names.next()?;
        }
        Ok(())
    }

    /// If two records name the same bytes, deleting one blob destroys both. The keys of blobs come first.
    async fn owners(&mut self, Named { name, keys }: &Named) {
        for key in keys.iter().skip(1) {
            match Entry::parse(key) {
                Some(Entry::Blob(_)) => self.damage(
                    key,
                    format!(
                        "its bytes {name} are also those of another blob, and deleting one destroys both"
                    ),
                ),
                Some(Entry::Upload(..)) => self.shared_upload(key, name).await,
                _ => {}
            }
        }
    }

    /// When an upload ends, its bytes are removed. Bytes that a blob uses are safe only if the upload names that
    /// blob.
    async fn shared_upload(&mut self, key: &str, name: &str) {
        let session = self.look(&Key::<Session>::new(key.to_owned())).await;
        let digest = session.and_then(|session| session.digest);
        let blob = match &digest {
            Some(digest) => self.look(&keys::blob(&digest.0)).await,
            None => None,
        };
        if !blob.is_some_and(|blob| blob.has(name)) {
            self.damage(
                key,
                "its bytes belong to a blob, which loses them when the upload ends",
            );
        }
    }
}
