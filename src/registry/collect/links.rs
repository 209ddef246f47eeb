//! The links of a repository.

use super::super::Error;
use super::super::garbage::Candidate;
use super::super::keys;
use super::super::omitted::Step;
use super::super::states::link::LinkRecord;
use super::Collector;
use super::doomed::Doomed;
use super::references::is_unknown;
use super::report::{Goes, Item, Notes, Stays};
use crate::oci::{Digest, RepositoryName};
use std::collections::HashSet;

impl Collector {
    /// Deletes the repository's links to these blobs if they are old and no manifest needs them. All are
    /// condemned first. Then one walk through the manifests of the repository answers for all of them.
    pub(in crate::registry) async fn links(
        &self,
        repository: &RepositoryName,
        digests: &[Digest],
        notes: &mut Notes<'_>,
    ) -> Result<(), Error> {
        let early = if self.registry.omitted.has(Step::LookAfterwards) {
            Some(
                self.needed(repository, &digests.iter().cloned().collect())
                    .await?,
            )
        } else {
            None
        };
        let mut old = Vec::new();
        for digest in digests {
            let key = keys::link(digest, repository);
            match self.registry.records.read(&key).await {
                Ok(Some(found)) if self.is_young(found.written) => {
                    notes.stays(&item(repository, digest, &found.record), Stays::Young);
                    self.wait_for(found.written, Candidate::Link(repository.clone(), digest.clone()));
                }
                Ok(Some(found)) => old.push((key, found)),
                Ok(None) => {}
                Err(why) if is_unknown(&why) => {
                    let item = Item {
                        repository: Some(repository),
                        name: digest.as_str(),
                        bytes: 0,
                    };
                    notes.stays(&item, Stays::Unreadable);
                }
                Err(why) => return Err(why),
            }
        }
        if old.is_empty() {
            return Ok(());
        }
        let doomed = self.condemn(old).await?;
        let candidates: HashSet<Digest> = doomed.iter().filter_map(digest_of).collect();
        let needed = match early {
            Some(early) => Ok(early),
            None => self.needed(repository, &candidates).await,
        };
        let needed = match needed {
            Ok(needed) => needed,
            Err(why) => {
                self.restore(&doomed).await?;
                if !is_unknown(&why) {
                    return Err(why);
                }
                notes.stopped(repository, &why.to_string());
                for (one, digest) in doomed.iter().filter_map(|one| Some((one, digest_of(one)?))) {
                    notes.stays(&item(repository, &digest, &one.record), Stays::Unjudged);
                }
                return Ok(());
            }
        };
        let is_needed =
            |one: &Doomed<LinkRecord>| digest_of(one).is_none_or(|digest| needed.contains(&digest));
        let (stay, go): (Vec<_>, Vec<_>) = doomed.into_iter().partition(is_needed);
        self.restore(&stay).await?;
        let deleted = self.decide(&go, |_| None).await?;
        for (one, deleted) in go.iter().zip(deleted) {
            let Some(digest) = digest_of(one) else { continue };
            let item = item(repository, &digest, &one.record);
            if deleted.is_none() {
                notes.stays(&item, Stays::Needed);
                continue;
            }
            self.pretend(one.key.as_str());
            self.note([Candidate::Blob(digest.clone())]);
            if !self.is_dry() && one.record.generation.is_some() {
                self.registry
                    .usage
                    .lost_link(repository, &digest, one.record.size);
            }
            notes.goes(&item, Goes::UnneededLink);
        }
        Ok(())
    }
}

fn item<'a>(repository: &'a RepositoryName, digest: &'a Digest, link: &LinkRecord) -> Item<'a> {
    Item {
        repository: Some(repository),
        name: digest.as_str(),
        bytes: link.size,
    }
}

fn digest_of(one: &Doomed<LinkRecord>) -> Option<Digest> {
    match keys::Entry::parse(one.key.as_str()) {
        Some(keys::Entry::Link(digest, _)) => Some(digest),
        _ => None,
    }
}
