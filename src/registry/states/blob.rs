//! A blob: the name of the bytes of a digest.

use super::{Condemnable, Next};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::registry) struct BlobRecord {
    pub state: BlobState,
    /// The name of the bytes.
    pub generation: String,
    pub size: u64,
    /// The bytes were found to be damaged. The next push of the digest replaces them. Until then, clients
    /// that push do not learn that the blob exists.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspect: bool,
    /// The names of replaced bytes that wait for the collector. They are removed before the record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trash: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::registry) enum BlobState {
    Live,
    Cond,
    /// The bytes are being removed.
    Dying,
}

/// Sealed bytes that wait to be published. They are published at most once: after that, a collector may
/// already be removing them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::registry) struct Own {
    pub name: String,
    pub size: u64,
}

impl BlobRecord {
    pub(in crate::registry) fn live(own: Own) -> Self {
        Self {
            state: BlobState::Live,
            generation: own.name,
            size: own.size,
            suspect: false,
            trash: Vec::new(),
        }
    }

    /// Whether `name` is, or was, the name of the blob's bytes. Such bytes no longer belong to the upload
    /// that wrote them.
    pub(in crate::registry) fn has(&self, name: &str) -> bool {
        self.generation == name || self.trash.iter().any(|replaced| replaced == name)
    }

    /// Whether the record allows its bytes to be offered to another push.
    pub(in crate::registry) fn is_usable(&self) -> bool {
        self.state != BlobState::Dying && !self.suspect
    }

    /// Makes the record live with good bytes: its own if they are `intact`, otherwise `own`. Returns the new
    /// record, or `None` if there are no good bytes.
    pub(in crate::registry) fn settle(
        found: Option<Self>,
        intact: bool,
        own: Option<&Own>,
    ) -> Next<Self, Option<Self>> {
        match (found, own) {
            (Some(blob), _) if blob.is_usable() && intact && blob.state == BlobState::Live => {
                Next::Keep(Some(blob))
            }
            (Some(blob), _) if blob.is_usable() && intact => {
                Next::Write(blob.rescued(), Some(blob.rescued()))
            }
            (_, None) => Next::Keep(None),
            (Some(old), Some(own)) => {
                let mut trash = old.trash;
                trash.push(old.generation);
                let blob = Self {
                    trash,
                    ..Self::live(own.clone())
                };
                Next::Write(blob.clone(), Some(blob))
            }
            (None, Some(own)) => Next::Write(Self::live(own.clone()), Some(Self::live(own.clone()))),
        }
    }

    /// Its bytes, and those that were replaced, are about to be removed.
    pub(in crate::registry) fn dying(&self) -> Self {
        Self {
            state: BlobState::Dying,
            ..self.clone()
        }
    }

    /// Takes over the bytes of an upload that ended, so that the collector removes them, unless they are the blob's.
    pub(in crate::registry) fn take_over(found: Option<Self>, own: &Own) -> Next<Self, ()> {
        match found {
            Some(blob) if blob.has(&own.name) => Next::Keep(()),
            Some(mut blob) => {
                blob.trash.push(own.name.clone());
                Next::Write(blob, ())
            }
            None => Next::Write(Self::live(own.clone()).dying(), ()),
        }
    }

    /// The replaced bytes are gone.
    pub(in crate::registry) fn emptied(&self) -> Self {
        Self {
            trash: Vec::new(),
            ..self.clone()
        }
    }

    /// Marks the blob as suspect because its bytes `name` are damaged. Returns whether that is new.
    pub(in crate::registry) fn suspected(found: Option<Self>, name: &str) -> Next<Self, bool> {
        match found {
            Some(blob) if blob.state != BlobState::Dying && blob.generation == name && !blob.suspect => {
                Next::Write(
                    Self {
                        suspect: true,
                        ..blob
                    },
                    true,
                )
            }
            _ => Next::Keep(false),
        }
    }

    /// Clears the mark because the bytes `name` have the right digest. Returns whether there was a mark.
    pub(in crate::registry) fn cleared(found: Option<Self>, name: &str) -> Next<Self, bool> {
        match found {
            Some(blob) if blob.state != BlobState::Dying && blob.generation == name && blob.suspect => {
                Next::Write(
                    Self {
                        suspect: false,
                        ..blob
                    },
                    true,
                )
            }
            _ => Next::Keep(false),
        }
    }
}

impl Condemnable for BlobRecord {
    fn is_condemned(&self) -> bool {
        self.state == BlobState::Cond
    }

    fn condemned(&self) -> Self {
        Self {
            state: BlobState::Cond,
            ..self.clone()
        }
    }

    fn rescued(&self) -> Self {
        Self {
            state: BlobState::Live,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(name: &str) -> Own {
        Own {
            name: name.to_owned(),
            size: 7,
        }
    }

    fn old() -> BlobRecord {
        BlobRecord {
            trash: vec!["t".to_owned()],
            ..BlobRecord::live(own("g"))
        }
    }

    #[test]
    fn settling() {
        let replaced = BlobRecord {
            trash: vec!["t".to_owned(), "g".to_owned()],
            ..BlobRecord::live(own("n"))
        };
        let replace = Next::Write(replaced.clone(), Some(replaced));
        let dying = BlobRecord {
            state: BlobState::Dying,
            ..old()
        };
        let suspect = BlobRecord {
            suspect: true,
            ..old()
        };
        for (found, intact, with_own, without) in [
            (
                None,
                false,
                Next::Write(BlobRecord::live(own("n")), Some(BlobRecord::live(own("n")))),
                Next::Keep(None),
            ),
            (
                Some(old()),
                true,
                Next::Keep(Some(old())),
                Next::Keep(Some(old())),
            ),
            (Some(old()), false, replace.clone(), Next::Keep(None)),
            (
                Some(old().condemned()),
                true,
                Next::Write(old(), Some(old())),
                Next::Write(old(), Some(old())),
            ),
            (Some(old().condemned()), false, replace.clone(), Next::Keep(None)),
            (Some(suspect.clone()), true, replace.clone(), Next::Keep(None)),
            (Some(suspect.condemned()), true, replace.clone(), Next::Keep(None)),
            (Some(dying), true, replace, Next::Keep(None)),
        ] {
            assert_eq!(
                BlobRecord::settle(found.clone(), intact, Some(&own("n"))),
                with_own,
                "{found:?} {intact}"
            );
            assert_eq!(
                BlobRecord::settle(found.clone(), intact, None),
                without,
                "{found:?} {intact}"
            );
        }
    }

    #[test]
    fn the_bytes_of_an_ended_upload_are_taken_over_once() {
        let with = |trash: &[&str]| BlobRecord {
            trash: trash.iter().map(|&name| name.to_owned()).collect(),
            ..old()
        };
        for (found, name, next) in [
            (None, "n", Next::Write(BlobRecord::live(own("n")).dying(), ())),
            (Some(old()), "n", Next::Write(with(&["t", "n"]), ())),
            (
                Some(old().condemned()),
                "n",
                Next::Write(with(&["t", "n"]).condemned(), ()),
            ),
            (
                Some(old().dying()),
                "n",
                Next::Write(with(&["t", "n"]).dying(), ()),
            ),
            (Some(old()), "g", Next::Keep(())),
            (Some(old().dying()), "t", Next::Keep(())),
        ] {
            assert_eq!(
                BlobRecord::take_over(found.clone(), &own(name)),
                next,
                "{found:?} {name}"
            );
        }
    }

    #[test]
    fn a_collector_keeps_the_damage_mark() {
        let suspect = BlobRecord {
            suspect: true,
            ..old()
        };
        for (blob, state, trash) in [
            (suspect.condemned(), BlobState::Cond, 1),
            (suspect.condemned().dying(), BlobState::Dying, 1),
            (suspect.condemned().rescued(), BlobState::Live, 1),
            (suspect.emptied(), BlobState::Live, 0),
        ] {
            assert_eq!((blob.state, blob.trash.len(), blob.suspect), (state, trash, true));
            assert_eq!(blob.generation, "g");
        }
    }

    #[test]
    fn only_the_bytes_that_a_blob_has_make_it_suspect() {
        let suspect = BlobRecord {
            suspect: true,
            ..old()
        };
        let dying = BlobRecord {
            state: BlobState::Dying,
            ..old()
        };
        for (found, name, next) in [
            (Some(old()), "g", Next::Write(suspect.clone(), true)),
            (
                Some(old().condemned()),
                "g",
                Next::Write(suspect.condemned(), true),
            ),
            (Some(old()), "t", Next::Keep(false)),
            (Some(suspect), "g", Next::Keep(false)),
            (Some(dying), "g", Next::Keep(false)),
            (None, "g", Next::Keep(false)),
        ] {
            assert_eq!(
                BlobRecord::suspected(found.clone(), name),
                next,
                "{found:?} {name}"
            );
        }
    }

    #[test]
    fn only_the_bytes_that_a_blob_has_clear_its_mark() {
        let suspect = BlobRecord {
            suspect: true,
            ..old()
        };
        let dying = BlobRecord {
            state: BlobState::Dying,
            ..suspect.clone()
        };
        for (found, name, next) in [
            (Some(suspect.clone()), "g", Next::Write(old(), true)),
            (
                Some(suspect.condemned()),
                "g",
                Next::Write(old().condemned(), true),
            ),
            (Some(suspect), "t", Next::Keep(false)),
            (Some(old()), "g", Next::Keep(false)),
            (Some(dying), "g", Next::Keep(false)),
            (None, "g", Next::Keep(false)),
        ] {
            assert_eq!(BlobRecord::cleared(found.clone(), name), next, "{found:?} {name}");
        }
    }
}
