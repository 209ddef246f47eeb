//! The manifests that refer to another manifest by `subject` (distribution-spec, Listing Referrers).

use super::keys::Key;
use super::large::LARGE;
use super::listed::{Annotated, Listed, Referring};
use super::records::unless_unreadable;
use super::states::manifest::ManifestRecord;
use super::{Error, Registry, keys};
use crate::access::{Permit, Read};
use crate::limits::{MANIFEST_BYTES, PAGE_ENTRIES, REFERRERS_SCANNED, REFERRERS_SCANNED_BYTES};
use crate::oci::{Descriptor, Digest, ManifestType};
use crate::storage::Show;

/// A page of the list. It fits into one index and takes a bounded amount of work, so it may be empty although
/// more pages follow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Referrers {
    pub manifests: Vec<Descriptor>,
    /// The `after` of the next page, if there may be more.
    pub next: Option<Digest>,
    /// How many manifests were skipped because they are unreadable.
    pub unreadable: usize,
}

impl Referrers {
    /// The index for the client. It is not larger than a manifest may be, unless its only descriptor is.
    #[must_use]
    pub fn index(&self) -> Vec<u8> {
        let start = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","manifests":["#,
            ManifestType::OciIndex
        );
        let length: usize = self.manifests.iter().map(written_size).sum();
        let mut json = Vec::with_capacity(start.len() + length + END.len());
        json.extend_from_slice(start.as_bytes());
        for (index, descriptor) in self.manifests.iter().enumerate() {
            if index > 0 {
                json.push(b',');
            }
            descriptor.write(&mut json);
        }
        json.extend_from_slice(END);
        json
    }
}

impl Registry {
    /// Returns an empty page, not an error, if the subject or the repository does not exist.
    pub async fn referrers(
        &self,
        permit: &Permit<Read>,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
    ) -> Result<Referrers, Error> {
        if let Some(page) = self.page(permit, subject, artifact_type, after, LARGE).await? {
            return Ok(page);
        }
        // Many large pages at the same time would need too much memory.
        let _turn = self.requests.take(MANIFEST_BYTES).await;
        Ok(self
            .page(permit, subject, artifact_type, after, usize::MAX)
            .await?
            .unwrap_or_default())
    }

    /// `None` if the page has more than `most` bytes.
    async fn page(
        &self,
        permit: &Permit<Read>,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        most: usize,
    ) -> Result<Option<Referrers>, Error> {
        let repository = permit.repository();
        let prefix = keys::referrers(repository, subject);
        let from = after
            .map(|after| keys::referrer(repository, subject, after).to_string())
            .unwrap_or_default();
        let mut pages = self.records.pages(prefix, from, Show::Visible);
        let mut page = Referrers::default();
        // Every descriptor is counted with a comma, and the last has none.
        let mut room = (MANIFEST_BYTES + 1).saturating_sub(page.index().len());
        let mut used = 0_usize;
        let mut scanned = Scanned::default();
        let mut last = None;
        while let Some(keys) = pages.next().await? {
            for digest in keys
                .iter()
                .filter_map(|key| keys::digest_of(pages.prefix().rest(key)))
            {
                if scanned.is_enough() {
                    page.next = last;
                    return Ok(Some(page));
                }
                let key = keys::manifest(repository, &digest);
                let listed = unless_unreadable(self.records.look_up_as::<Listed>(&key).await)?;
                page.unreadable += usize::from(listed.is_none());
                let listed = listed.flatten();
                scanned.add(listed.as_deref());
                // The entry is only a hint; the manifest decides.
                let found = match listed
                    .as_ref()
                    .and_then(|listed| listed.wanted(subject, artifact_type))
                {
                    Some(Referring {
                        annotations: None, ..
                    }) if most <= LARGE => return Ok(None),
                    Some(referring) => {
                        let described = unless_unreadable(self.described(&key, &digest, referring).await)?;
                        page.unreadable += usize::from(described.is_none());
                        described.flatten()
                    }
                    None => None,
                };
                if let Some(descriptor) = found {
                    let size = written_size(&descriptor);
                    used = used.saturating_add(size);
                    if used > most {
                        return Ok(None);
                    }
                    if !page.manifests.is_empty() && (page.manifests.len() == PAGE_ENTRIES || size > room) {
                        page.next = last;
                        return Ok(Some(page));
                    }
                    room = room.saturating_sub(size);
                    page.manifests.push(descriptor);
                }
                last = Some(digest);
            }
        }
        Ok(Some(page))
    }

    /// `None` if it was deleted meanwhile.
    async fn described(
        &self,
        key: &Key<ManifestRecord>,
        digest: &Digest,
        of: &Referring,
    ) -> Result<Option<Descriptor>, Error> {
        let annotations = match &of.annotations {
            Some(annotations) => annotations.clone(),
            None => match self.records.look_up_as::<Annotated>(key).await? {
                Some(annotated) => annotated.0.clone(),
                None => return Ok(None),
            },
        };
        Ok(Some(Descriptor {
            media_type: of.media_type.clone(),
            digest: digest.clone(),
            size: of.size,
            artifact_type: of.artifact_type.clone(),
            annotations,
        }))
    }
}

/// The cost of a page so far. A cached record costs as much as any other, so that all callers get the same
/// pages.
#[derive(Default)]
struct Scanned {
    records: usize,
    bytes: usize,
}

impl Scanned {
    fn add(&mut self, listed: Option<&Listed>) {
        self.records += 1;
        self.bytes = self
            .bytes
            .saturating_add(listed.map_or(0, |listed| listed.length));
    }

    const fn is_enough(&self) -> bool {
        self.records >= REFERRERS_SCANNED || self.bytes >= REFERRERS_SCANNED_BYTES
    }
}

/// The size includes a comma.
fn written_size(descriptor: &Descriptor) -> usize {
    descriptor.written_len() + 1
}

const END: &[u8] = b"]}";
