//! What refers to a manifest by its `subject` (distribution-spec, Listing Referrers).

use super::states::manifest::ManifestRecord;
use super::{Error, Registry, keys};
use crate::access::{Permit, Read};
use crate::limits::{MANIFEST_BYTES, PAGE_ENTRIES};
use crate::oci::{Descriptor, Digest, ManifestType, RepositoryName};
use crate::storage::Show;
use serde_json::json;

/// A part of the list, small enough for one index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Referrers {
    pub manifests: Vec<Descriptor>,
    /// If there may be more: what to ask for `after`.
    pub next: Option<Digest>,
}

impl Referrers {
    /// As it is answered: no longer than a manifest may be, unless it has one descriptor alone.
    #[must_use]
    pub fn index(&self) -> String {
        json!({"schemaVersion": 2, "mediaType": ManifestType::OciIndex.as_str(), "manifests": self.manifests}).to_string()
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
        let repository = permit.repository();
        let prefix = keys::referrers(repository, subject);
        let from = after.map(|after| keys::referrer(repository, subject, after).to_string()).unwrap_or_default();
        let mut pages = self.records.pages(prefix, from, Show::Visible);
        let mut page = Referrers::default();
        // Every descriptor is counted with a comma, and the last has none.
        let mut room = (MANIFEST_BYTES + 1).saturating_sub(page.index().len());
        while let Some(keys) = pages.next().await? {
            for digest in keys.iter().filter_map(|key| keys::digest_of(pages.prefix().rest(key))) {
                let Some(descriptor) = self.descriptor(repository, subject, &digest).await? else { continue };
                if artifact_type.is_some_and(|wanted| descriptor.artifact_type.as_deref() != Some(wanted)) {
                    continue;
                }
                let size = written_size(&descriptor);
                let last = page.manifests.last().map(|last| last.digest.clone());
                if last.is_some() && (page.manifests.len() == PAGE_ENTRIES || size > room) {
                    page.next = last;
                    return Ok(page);
                }
                room = room.saturating_sub(size);
                page.manifests.push(descriptor);
            }
        }
        Ok(page)
    }

    /// The index says where to look; the manifest says whether it is so.
    async fn descriptor(&self, repository: &RepositoryName, subject: &Digest, digest: &Digest) -> Result<Option<Descriptor>, Error> {
        let record = self.records.look_up(&keys::manifest(repository, digest)).await?;
        let Some(found) = record.filter(|found| found.record.is_readable()) else { return Ok(None) };
        let ManifestRecord { header, bytes } = &found.record;
        Ok(header.subject.as_ref().is_some_and(|found| found.0 == *subject).then(|| Descriptor {
            media_type: header.media_type.clone(),
            digest: digest.clone(),
            size: bytes.len() as u64,
            artifact_type: header.artifact_type.clone(),
            annotations: header.annotations.clone(),
        }))
    }
}

fn written_size(descriptor: &Descriptor) -> usize {
    // What cannot be written does not fit.
    serde_json::to_vec(descriptor).map_or(usize::MAX, |json| json.len() + 1)
}
