//! The bytes that each record needs. A backup copies these and no others.

use super::keys::{self, Entry, Key};
use super::records::{self, Stored};
use super::states::blob::{BlobRecord, BlobState};
use super::states::link::LinkRecord;
use super::states::session::{Session, SessionState};
use crate::storage::local::{Kind, Named, Names};
use bytes::Bytes;

/// Reads the names of bytes from records.
#[derive(Clone, Copy, Debug, Default)]
pub struct NamedBytes;

impl Names for NamedBytes {
    fn prefixes(&self) -> Vec<String> {
        [
            keys::blobs().as_str(),
            keys::all_links().as_str(),
            keys::all_uploads().as_str(),
        ]
        .map(str::to_owned)
        .into()
    }

    fn named(
        &self,
        key: &str,
        value: &Bytes,
    ) -> Result<Option<Named>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(match Entry::parse(key) {
            Some(Entry::Blob(_)) => {
                let BlobRecord {
                    state,
                    generation,
                    size,
                    ..
                } = read(key, value)?;
                // Bytes that are being removed may already be gone. Replaced bytes are not needed.
                (state != BlobState::Dying).then_some(Named {
                    name: generation,
                    size,
                    kind: Kind::Sealed,
                })
            }
            // Usually the blob's record names the same bytes. If it names newer ones, these are served only
            // while the blob's record is damaged.
            Some(Entry::Link(..)) => {
                let LinkRecord { generation, size, .. } = read(key, value)?;
                generation.map(|name| Named {
                    name,
                    size,
                    kind: Kind::Spare,
                })
            }
            Some(Entry::Upload(_, id)) => {
                let Session { state, offset, .. } = read(key, value)?;
                // Bytes of a closed upload that do not belong to a blob are never published.
                (state == SessionState::Open && offset > 0).then(|| Named {
                    name: id.to_string(),
                    size: offset,
                    kind: Kind::Unsealed,
                })
            }
            _ => None,
        })
    }
}

fn read<T: Stored>(key: &str, value: &Bytes) -> Result<T, super::Error> {
    Ok(records::decode(&Key::new(key.to_owned()), value)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Algorithm;
    use crate::registry::records::More;
    use crate::registry::states::Condemnable;
    use crate::registry::states::blob::Own;

    fn named<T: Stored>(key: &Key<T>, record: &T) -> Option<(String, u64, Kind)> {
        let value = records::encode(key, record, &More::default()).unwrap().bytes;
        assert!(
            NamedBytes
                .prefixes()
                .iter()
                .any(|prefix| key.as_str().starts_with(prefix)),
            "{key}"
        );
        let Named { name, size, kind } = NamedBytes.named(key.as_str(), &value).unwrap()?;
        Some((name, size, kind))
    }

    #[test]
    fn what_records_need() {
        let digest = format!("sha256:{}", "ab".repeat(32)).parse().unwrap();
        let repository = "team/app".parse().unwrap();
        let id = crate::registry::UploadId::random().unwrap();
        let own = Own {
            name: "g".to_owned(),
            size: 7,
        };
        let blob = BlobRecord {
            trash: vec!["t".to_owned()],
            ..BlobRecord::live(own)
        };
        let key = keys::blob(&digest);
        assert_eq!(named(&key, &blob), Some(("g".to_owned(), 7, Kind::Sealed)));
        assert_eq!(
            named(&key, &blob.condemned()),
            Some(("g".to_owned(), 7, Kind::Sealed))
        );
        assert_eq!(
            named(
                &key,
                &BlobRecord {
                    suspect: true,
                    ..blob.clone()
                }
            ),
            Some(("g".to_owned(), 7, Kind::Sealed))
        );
        assert_eq!(
            named(
                &key,
                &BlobRecord {
                    state: BlobState::Dying,
                    ..blob
                }
            ),
            None
        );
        let key = keys::link(&digest, &repository);
        assert_eq!(
            named(&key, &LinkRecord::live("g".to_owned(), 7)),
            Some(("g".to_owned(), 7, Kind::Spare))
        );
        assert_eq!(named(&key, &LinkRecord::PENDING), None);
        let key = keys::upload(&repository, &id);
        let session = Session::new("alice".to_owned(), Algorithm::Sha256);
        assert_eq!(named(&key, &session), None);
        let session = Session { offset: 5, ..session };
        assert_eq!(named(&key, &session), Some((id.to_string(), 5, Kind::Unsealed)));
        assert_eq!(named(&key, &session.clone().closed(5, digest)), None);
        assert_eq!(named(&key, &session.aborting()), None);
        let damaged = NamedBytes
            .named(key.as_str(), &Bytes::from_static(b"{}"))
            .unwrap_err()
            .to_string();
        assert!(damaged.contains(key.as_str()), "{damaged}");
    }
}
