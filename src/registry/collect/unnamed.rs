//! Bytes that no record names. A crash leaves them, for example between the deletion of a record and the
//! removal of its bytes, and so does a request that a bucket applied late.
//!
//! An upload's record exists before its bytes do, and a blob's record names the bytes before the upload's
//! record goes. So old bytes are garbage if neither an upload nor a blob names them. The order matters: list
//! the bytes, then the uploads, then read the blobs. In the opposite order, bytes could pass from an upload
//! to a blob between the two and be seen in neither.
//!
//! What is left of the making of sealed bytes is garbage whatever records say.

use super::super::Error;
use super::super::keys::{self, Entry};
use super::Collector;
use super::references::is_unknown;
use super::report::{Goes, Item, Notes, Phase, Stays};
use crate::storage::{Failure, Resume, Show, Written};

/// The old bytes in a range of names, and which of them a record names. A name is 128 bits, so this takes
/// 17 bytes for each.
struct Names {
    sorted: Vec<u128>,
    named: Vec<bool>,
}

impl Names {
    fn new(mut names: Vec<u128>) -> Self {
        names.sort_unstable();
        Self {
            named: vec![false; names.len()],
            sorted: names,
        }
    }

    fn has(&mut self, name: &str) {
        let found = parse(name).and_then(|name| self.sorted.binary_search(&name).ok());
        if let Some(named) = found.and_then(|index| self.named.get_mut(index)) {
            *named = true;
        }
    }

    fn is_garbage(&self, name: &str) -> bool {
        let found = parse(name).and_then(|name| self.sorted.binary_search(&name).ok());
        found.is_some_and(|index| self.named.get(index) == Some(&false))
    }

    fn all_named(&self) -> bool {
        self.named.iter().all(|named| *named)
    }
}

/// `None` for bytes with a name that no upload gives. Those are kept.
fn parse(name: &str) -> Option<u128> {
    u128::from_str_radix(name, 16).ok()
}

/// A position in the list of bytes.
type After = String;

impl Collector {
    /// Removes old bytes that no record names.
    pub(super) async fn unnamed(&self, notes: &mut Notes<'_>) -> Result<(), Error> {
        self.unnamed_of(MOST, notes).await
    }

    /// Like [`unnamed`](Self::unnamed), with rounds of this many names. Each round reads all blobs.
    async fn unnamed_of(&self, most: usize, notes: &mut Notes<'_>) -> Result<(), Error> {
        notes.begins(Phase::Bytes);
        self.remains(notes).await?;
        let mut from = Some(After::new());
        while let Some(begin) = from {
            let (names, end) = self.old_names(&begin, most).await?;
            let mut names = Names::new(names);
            if !self.mark(&mut names, notes).await? {
                return Ok(());
            }
            if !names.all_named() {
                self.remove_unnamed(&begin, end.as_ref(), &names, notes).await?;
            }
            from = end;
        }
        Ok(())
    }

    /// Removes what is left of the making of sealed bytes.
    async fn remains(&self, notes: &mut Notes<'_>) -> Result<(), Error> {
        let mut after = After::new();
        loop {
            self.breath.take().await;
            let page = self.registry.bytes.list_remains(&after, LISTED).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(&last.key);
            for left in page.iter().filter(|left| !self.is_young(left.written)) {
                let removal = self.registry.bytes.remove_remains(&left.key);
                self.removed(&left.key, 0, removal, notes).await?;
            }
        }
    }

    /// Up to `most` names of old bytes, and where the next round begins.
    async fn old_names(&self, begin: &After, most: usize) -> Result<(Vec<u128>, Option<After>), Error> {
        let mut names = Vec::new();
        let mut after = begin.clone();
        while names.len() < most {
            let Some(page) = self.listed(&mut after).await? else {
                return Ok((names, None));
            };
            let old = page.iter().filter(|bytes| !self.is_young(bytes.written));
            names.extend(old.filter_map(|bytes| parse(&bytes.key)));
        }
        Ok((names, Some(after)))
    }

    /// The next page of bytes. What cannot be listed is logged and left alone.
    async fn listed(&self, after: &mut After) -> Result<Option<Vec<Written>>, Error> {
        self.breath.take().await;
        let page = match self.registry.bytes.list_bytes(after, LISTED).await {
            Ok(page) => page,
            Err(why) => {
                let Some(unlisted) = why.unlisted() else {
                    return Err(why.into());
                };
                tracing::warn!("cannot look for bytes that no record names: {unlisted}");
                after.clone_from(&unlisted.next);
                return Ok(Some(unlisted.found.clone()));
            }
        };
        let Some(last) = page.last() else { return Ok(None) };
        after.clone_from(&last.key);
        Ok(Some(page))
    }

    /// Marks the names that uploads and blobs have. Returns `false` if a blob's record cannot be read, since
    /// it may name anything.
    async fn mark(&self, names: &mut Names, notes: &mut Notes<'_>) -> Result<bool, Error> {
        let records = &self.registry.records;
        let mut uploads = records.pages(keys::all_uploads(), String::new(), Show::All);
        while let Some(page) = uploads.next().await? {
            notes.looked(page.len() as u64);
            for key in page {
                if let Some(Entry::Upload(_, id)) = Entry::parse(key.as_str()) {
                    names.has(id.as_str());
                }
            }
        }
        let mut blobs = records.pages(keys::blobs(), String::new(), Show::All);
        while let Some(page) = blobs.next().await? {
            notes.looked(page.len() as u64);
            for key in page {
                self.breath.take().await;
                match records.read(&key).await {
                    Ok(found) => {
                        let blob = found.iter().map(|found| &found.record);
                        blob.flat_map(|blob| blob.trash.iter().chain([&blob.generation]))
                            .for_each(|name| names.has(name));
                    }
                    // The check of this blob has reported it.
                    Err(why) if is_unknown(&why) => return Ok(false),
                    Err(why) => return Err(why),
                }
            }
        }
        Ok(true)
    }

    async fn remove_unnamed(
        &self,
        begin: &After,
        end: Option<&After>,
        names: &Names,
        notes: &mut Notes<'_>,
    ) -> Result<(), Error> {
        let mut after = begin.clone();
        while end.is_none_or(|end| after < *end) {
            let Some(page) = self.listed(&mut after).await? else {
                return Ok(());
            };
            for bytes in page {
                if names.is_garbage(&bytes.key) && !self.is_young(bytes.written) {
                    self.remove_bytes(&bytes.key, notes).await?;
                }
            }
        }
        Ok(())
    }

    async fn remove_bytes(&self, name: &str, notes: &mut Notes<'_>) -> Result<(), Error> {
        let size = match self.registry.bytes.open(name).await {
            Ok(file) => file.size(),
            Err(_) => 0, // unsealed bytes cannot be opened
        };
        let none = Resume::default();
        let removal = self.registry.bytes.remove(name, &none);
        self.removed(name, size, removal, notes).await
    }

    /// Removes these bytes, unless the pass only looks.
    async fn removed(
        &self,
        name: &str,
        size: u64,
        removal: impl Future<Output = Result<(), Failure>>,
        notes: &mut Notes<'_>,
    ) -> Result<(), Error> {
        if self.is_dry() {
            notes.goes(&item(name, size), Goes::UnnamedBytes);
            return Ok(());
        }
        match removal.await {
            Ok(()) => notes.goes(&item(name, size), Goes::UnnamedBytes),
            Err(why @ Failure::Stopped) => return Err(why.into()),
            Err(why) => {
                tracing::warn!(blob.bytes = %name, "cannot remove bytes that no record names; the next pass tries again: {why}");
                notes.stays(&item(name, size), Stays::NotRemoved);
            }
        }
        Ok(())
    }
}

const fn item(name: &str, bytes: u64) -> Item<'_> {
    Item {
        repository: None,
        name,
        bytes,
    }
}

/// How many names a round has: 17 MiB.
const MOST: usize = 1 << 20;
/// How many names are listed at once.
const LISTED: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::collect::{Options, Report};
    use crate::registry::tests::{Bench, body, content, create, push_image, sha256};
    use crate::storage::{BlobStore, RecordStore};
    use bytes::Bytes;
    use serde_json::json;
    use std::time::Duration;

    async fn leave(bench: &Bench, name: &str, sealed: bool) {
        let bytes = vec![Bytes::from_static(b"left")];
        let store = &bench.store;
        let none = Resume::default();
        store
            .write(name, 0, &none, bytes, Box::new(|_| ()))
            .await
            .unwrap();
        let kept = store.keep(name, 4, &none).await.unwrap();
        if sealed {
            store.seal(name, 4, &kept).await.unwrap();
        }
    }

    async fn pass(bench: &Bench, grace: Duration, most: usize) -> Report {
        let options = Options {
            grace,
            ..Options::default()
        };
        let collector = Collector::new(&bench.registry, &options);
        let mut observer = ();
        let mut notes = Notes::new(false, &mut observer);
        collector.unnamed_of(most, &mut notes).await.unwrap();
        notes.finish()
    }

    #[tokio::test]
    async fn old_bytes_that_no_record_names_are_removed_and_all_others_stay() {
        for most in [1, 3, MOST] {
            let bench = Bench::new();
            let mut images = Vec::new();
            for number in 0..5 {
                images.push(push_image(&bench.registry, "a", &format!("layer {number}"), &json!({})).await);
            }
            let registry = &bench.registry;
            let upload = registry.start_upload(&create("a"), None).await.unwrap().id;
            let half = body(&[b"half"]);
            registry
                .append(&create("a"), &upload, None, None, half)
                .await
                .unwrap();
            let named = bench.store.list_bytes("", 100).await.unwrap().len();
            for number in 0..10_u32 {
                leave(&bench, &format!("{number:032x}"), number % 2 == 0).await;
            }
            leave(&bench, "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", true).await;
            let hour = Duration::from_secs(3600);
            assert_eq!(pass(&bench, hour, most).await.going(), 0, "all of it is young");
            bench.hand.advance(hour);
            leave(&bench, &format!("{:032x}", u128::MAX), true).await;
            let report = pass(&bench, hour, most).await;
            let gone = report.store.goes[&Goes::UnnamedBytes];
            assert_eq!(
                (gone.count, gone.bytes),
                (10, 20),
                "{most}: unsealed bytes count as none"
            );
            assert_eq!(bench.store.list_bytes("", 100).await.unwrap().len(), named + 2);
            for number in 0..5 {
                let layer = sha256(format!("layer {number}").as_bytes());
                assert!(content(&bench.registry, "a", &layer).await.is_ok());
            }
            assert!(bench.has_bytes(&upload).await);
        }
    }

    #[tokio::test]
    async fn a_blob_that_cannot_be_read_may_name_anything() {
        let bench = Bench::new();
        push_image(&bench.registry, "a", "layer", &json!({})).await;
        leave(&bench, &format!("{:032x}", 7), true).await;
        let key = keys::blob(&sha256(b"layer")).to_string();
        let record = bench.store.get(&key).await.unwrap().unwrap();
        let damaged = Bytes::from_static(b"nonsense that is no record").into();
        bench.store.swap(&key, &record.version, damaged).await.unwrap();
        bench.hand.advance(Duration::from_secs(60));
        let listed = bench.store.list_bytes("", 100).await.unwrap();
        assert_eq!(pass(&bench, Duration::ZERO, MOST).await.going(), 0);
        assert_eq!(bench.store.list_bytes("", 100).await.unwrap(), listed);
    }
}
