//! The mark of an unfinished copy in the target.
//!
//! The copy writes the mark before the store's ID. A registry that opens a store reads or makes the ID before it
//! looks for the mark. So if both begin at once on an empty store, at least one of them sees the other.

use super::error::{NotCopied, of_target};
use super::{OWN, everything};
use crate::registry::Registry;
use crate::storage::{Failure, Record, RecordStore, STORE_ID, Show, UNFINISHED, Version};
use bytes::Bytes;

/// The right to copy into the target.
pub(super) struct Claim {
    version: Version,
    continued: bool,
}

impl Claim {
    /// Continues the copy of the store `id`, or begins it if the target is empty.
    pub(super) async fn of(to: &Registry, id: &str) -> Result<Self, NotCopied> {
        let records = &**to.records.raw();
        let value = || Bytes::from(id.to_owned()).into();
        let claim = match records.get_stored(UNFINISHED).await.map_err(of_target)? {
            Some(found) => {
                expect(&found, id, |found, expected| NotCopied::OtherCopy {
                    found,
                    expected,
                })?;
                // From now on, an earlier run cannot end.
                let swapped = records.swap(UNFINISHED, &found.version, value()).await;
                Self {
                    version: swapped.map_err(begun_twice)?,
                    continued: true,
                }
            }
            None => {
                must_be_empty(to, id).await?;
                let created = records.create(UNFINISHED, value()).await;
                Self {
                    version: created.map_err(begun_twice)?,
                    continued: false,
                }
            }
        };
        match records.create(STORE_ID, value()).await {
            Ok(_) => return Ok(claim),
            Err(Failure::Conflict) => {}
            Err(why) => return Err(of_target(why)),
        }
        match records.get_stored(STORE_ID).await.map_err(of_target)? {
            Some(found) if found.value == id.as_bytes() => Ok(claim),
            _ if claim.continued => Err(NotCopied::Taken),
            _ => {
                claim.end(to).await?;
                Err(NotCopied::Taken)
            }
        }
    }

    /// Whether an earlier run began the copy.
    pub(super) const fn is_continued(&self) -> bool {
        self.continued
    }

    /// Removes the mark.
    pub(super) async fn end(&self, to: &Registry) -> Result<(), NotCopied> {
        let deleted = to.records.raw().delete(UNFINISHED, &self.version).await;
        deleted.map_err(|why| match why {
            Failure::Conflict => NotCopied::Overtaken,
            why => of_target(why),
        })
    }
}

async fn must_be_empty(to: &Registry, id: &str) -> Result<(), NotCopied> {
    let records: &dyn RecordStore = &**to.records.raw();
    if let Some(found) = records.get_stored(STORE_ID).await.map_err(of_target)? {
        expect(&found, id, |found, expected| NotCopied::OtherStore {
            found,
            expected,
        })?;
        return Err(NotCopied::Complete);
    }
    let mut keys = to.records.keys(everything(), Show::All);
    while let Some(key) = keys.next().await.map_err(of_target)? {
        if !key.as_str().starts_with(OWN) {
            return Err(NotCopied::NotEmpty { what: "records" });
        }
    }
    if !to.bytes.list_bytes("", 1).await.map_err(of_target)?.is_empty() {
        return Err(NotCopied::NotEmpty { what: "blobs" });
    }
    Ok(())
}

/// Fails unless the record holds this ID.
fn expect(
    found: &Record,
    id: &str,
    otherwise: impl FnOnce(String, String) -> NotCopied,
) -> Result<(), NotCopied> {
    if found.value == id.as_bytes() {
        return Ok(());
    }
    let found = String::from_utf8_lossy(&found.value).into_owned();
    Err(otherwise(found, id.to_owned()))
}

fn begun_twice(why: Failure) -> NotCopied {
    match why {
        Failure::Conflict => NotCopied::Overtaken,
        why => of_target(why),
    }
}
