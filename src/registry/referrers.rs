//! What refers to a manifest by its `subject` (distribution-spec, Listing Referrers).

use super::large::LARGE;
use super::records::unless_unreadable;
use super::states::manifest::ManifestRecord;
use super::typed_store::Found;
use super::{Error, Registry, keys};
use crate::access::{Permit, Read};
use crate::limits::{MANIFEST_BYTES, PAGE_ENTRIES};
use crate::oci::{Annotations, Descriptor, Digest, ManifestType, RepositoryName};
use crate::storage::Show;

/// A part of the list, small enough for one index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Referrers {
    pub manifests: Vec<Descriptor>,
    /// If there may be more: what to ask for `after`.
    pub next: Option<Digest>,
    /// How many are left out since they cannot be read.
    pub unreadable: usize,
}

impl Referrers {
    /// As it is answered: no longer than a manifest may be, unless it has one descriptor alone.
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

/// What a manifest with a subject is in a list.
pub(super) struct Referring {
    subject: Digest,
    media_type: String,
    size: u64,
    artifact_type: Option<String>,
    annotations: Annotations,
}

impl Referring {
    fn of(found: &Found<ManifestRecord>) -> Option<Self> {
        let header = Some(&found.record)
            .filter(|record| record.is_readable())
            .map(|record| &record.header)?;
        Some(Self {
            subject: header.subject.as_ref()?.0.clone(),
            media_type: header.media_type.clone(),
            size: found.record.bytes.len() as u64,
            artifact_type: header.artifact_type.clone(),
            annotations: header.annotations.clone(),
        })
    }

    /// Bytes of memory.
    fn weight(&self) -> usize {
        self.annotations.len() + self.media_type.len() + self.artifact_type.as_ref().map_or(0, String::len)
    }
}

impl Registry {
    /// Empty, not an error, for a subject or a repository that does not exist.
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
        // Many large pages at the same time would be much memory.
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
        while let Some(keys) = pages.next().await? {
            for digest in keys
                .iter()
                .filter_map(|key| keys::digest_of(pages.prefix().rest(key)))
            {
                let descriptor = unless_unreadable(self.descriptor(repository, subject, &digest).await)?;
                page.unreadable += usize::from(descriptor.is_none());
                let Some(descriptor) = descriptor.flatten() else {
                    continue;
                };
                if artifact_type.is_some_and(|wanted| descriptor.artifact_type.as_deref() != Some(wanted)) {
                    continue;
                }
                let size = written_size(&descriptor);
                used = used.saturating_add(size);
                if used > most {
                    return Ok(None);
                }
                let last = page.manifests.last().map(|last| last.digest.clone());
                if last.is_some() && (page.manifests.len() == PAGE_ENTRIES || size > room) {
                    page.next = last;
                    return Ok(Some(page));
                }
                room = room.saturating_sub(size);
                page.manifests.push(descriptor);
            }
        }
        Ok(Some(page))
    }

    /// The index says where to look; the manifest says whether it is so.
    async fn descriptor(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        digest: &Digest,
    ) -> Result<Option<Descriptor>, Error> {
        // A large manifest would be too much to keep for the little that is listed of it.
        let listed = |found: &Found<ManifestRecord>| {
            let referring = Referring::of(found);
            let weight = referring.as_ref().map_or(0, Referring::weight);
            (referring, weight)
        };
        let found = self
            .records
            .look_up_as(&keys::manifest(repository, digest), listed)
            .await?;
        let referring = found
            .as_deref()
            .and_then(Option::as_ref)
            .filter(|referring| referring.subject == *subject);
        Ok(referring.map(|referring| Descriptor {
            media_type: referring.media_type.clone(),
            digest: digest.clone(),
            size: referring.size,
            artifact_type: referring.artifact_type.clone(),
            annotations: referring.annotations.clone(),
        }))
    }
}

/// With a comma.
fn written_size(descriptor: &Descriptor) -> usize {
    descriptor.written_len() + 1
}

const END: &[u8] = b"]}";
