//! Links that no manifest needs, and blobs that no repository links, for the whole store.
//!
//! The keys of links and of blobs are sorted by digest. What the manifests need is not. So each round keeps
//! the smallest references of all manifests, up to a fixed number, and checks only the range of digests that
//! they cover. This bounds the memory. A small store takes one round.

use super::super::Error;
use super::super::keys::{self, Entry, Key};
use super::super::states::link::LinkRecord;
use super::Collector;
use super::references::is_unknown;
use super::report::{Item, Notes, Phase, Stays};
use super::spot::Spot;
use crate::oci::{Digest, RepositoryName};
use crate::storage::Show;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// The digests that manifests need, between `from` and `end`.
struct Needs {
    from: Spot,
    /// `None` if no digest was dropped.
    end: Option<Spot>,
    /// How many references to keep.
    most: usize,
    found: BTreeSet<(Spot, u64)>,
}

impl Needs {
    const fn new(from: Spot, most: usize) -> Self {
        Self {
            from,
            end: None,
            most,
            found: BTreeSet::new(),
        }
    }

    fn cover(&self, digest: &Digest) -> bool {
        let spot = Spot::of(digest);
        spot >= self.from && self.end.is_none_or(|end| spot < end)
    }

    /// If two names collide, a link is kept that could be removed. Nothing is lost.
    fn has(&self, digest: &Digest, repository: &RepositoryName) -> bool {
        self.found.contains(&(Spot::of(digest), short(repository)))
    }

    fn add(&mut self, digest: &Digest, repository: u64) {
        if !self.cover(digest) {
            return;
        }
        self.found.insert((Spot::of(digest), repository));
        while self.found.len() > self.most {
            let (Some((first, _)), Some((last, _))) = (self.found.first(), self.found.last()) else {
                return;
            };
            if first == last {
                // Very many repositories have this blob. One digest cannot be split between rounds.
                self.most *= 2;
                return;
            }
            let end = *last;
            self.found.split_off(&(end, 0));
            self.end = Some(end);
        }
    }
}

fn short(repository: &RepositoryName) -> u64 {
    let mut hasher = DefaultHasher::new();
    repository.as_str().hash(&mut hasher);
    hasher.finish()
}

impl Collector {
    /// Checks the links and blobs from `from` on. Returns where the next round begins, or `None` at the end.
    pub(super) async fn round(&self, from: Spot, notes: &mut Notes<'_>) -> Result<Option<Spot>, Error> {
        self.round_of(from, MOST, notes).await
    }

    async fn round_of(&self, from: Spot, most: usize, notes: &mut Notes<'_>) -> Result<Option<Spot>, Error> {
        let mut needs = Needs::new(from, most);
        notes.begins(Phase::References);
        let mut after = String::new();
        while let Some(repository) = self.next_repository(&mut after).await? {
            self.gather(&repository, &mut needs, notes).await?;
            notes.passed_a_repository();
        }
        notes.begins(Phase::Links);
        self.unneeded_links(&needs, notes).await?;
        notes.begins(Phase::Blobs);
        self.unlinked_blobs(&needs, notes).await?;
        Ok(needs.end)
    }

    async fn gather(
        &self,
        repository: &RepositoryName,
        needs: &mut Needs,
        notes: &mut Notes<'_>,
    ) -> Result<(), Error> {
        let short = short(repository);
        let mut pages = self
            .registry
            .records
            .pages(keys::manifests(repository), String::new(), Show::All);
        while let Some(page) = pages.next().await? {
            notes.looked(page.len() as u64);
            for key in page {
                if let Some(digest) = keys::manifest_of(&key) {
                    notes.within(Spot::of(&digest).share(), Spot::SHARES);
                }
                match self.references(&key).await {
                    Ok(Some(references)) => {
                        for digest in references.into_digests() {
                            needs.add(&digest, short);
                        }
                    }
                    Ok(None) => {}
                    Err(why) if is_unknown(&why) => notes.stopped(repository, &why.to_string()),
                    Err(why) => return Err(why),
                }
            }
        }
        Ok(())
    }

    async fn unneeded_links(&self, needs: &Needs, notes: &mut Notes<'_>) -> Result<(), Error> {
        let prefix = keys::all_links();
        let after = prefix.key(needs.from).to_string();
        let mut pages = self.registry.records.pages(prefix, after, Show::All);
        let mut found: BTreeMap<RepositoryName, Vec<Digest>> = BTreeMap::new();
        let mut count = 0;
        'pages: while let Some(page) = pages.next().await? {
            self.breath.take().await;
            notes.looked(page.len() as u64);
            for key in page {
                let Some(Entry::Link(digest, repository)) = Entry::parse(key.as_str()) else {
                    continue;
                };
                if !needs.cover(&digest) {
                    break 'pages;
                }
                notes.reached(Spot::of(&digest).share(), Spot::SHARES);
                if needs.has(&digest, &repository) {
                    continue;
                }
                if notes.is_stopped(&repository) {
                    self.note_unchecked(&key, &repository, &digest, notes).await;
                    continue;
                }
                found.entry(repository).or_default().push(digest);
                count += 1;
                if count == LINKS_AT_ONCE {
                    self.check_links(std::mem::take(&mut found), notes).await?;
                    count = 0;
                }
            }
        }
        self.check_links(found, notes).await
    }

    async fn check_links(
        &self,
        found: BTreeMap<RepositoryName, Vec<Digest>>,
        notes: &mut Notes<'_>,
    ) -> Result<(), Error> {
        for (repository, digests) in found {
            self.links(&repository, &digests, notes).await?;
        }
        Ok(())
    }

    async fn note_unchecked(
        &self,
        key: &Key<LinkRecord>,
        repository: &RepositoryName,
        digest: &Digest,
        notes: &mut Notes<'_>,
    ) {
        let link = self.registry.records.read(key).await.ok().flatten();
        let item = Item {
            repository: Some(repository),
            name: digest.as_str(),
            bytes: link.map_or(0, |link| link.record.size),
        };
        notes.stays(&item, Stays::Unjudged);
    }

    /// Finds unlinked blobs by merging the keys of blobs with those of links, which have the same order.
    async fn unlinked_blobs(&self, needs: &Needs, notes: &mut Notes<'_>) -> Result<(), Error> {
        let records = &self.registry.records;
        let prefix = keys::all_links();
        let after = prefix.key(needs.from).to_string();
        let mut links = records.keys_after(prefix, after, Show::All);
        let mut link = self.next_linked(links.next().await?);
        let prefix = keys::blobs();
        let after = prefix.key(needs.from).to_string();
        let mut pages = records.pages(prefix, after, Show::All);
        let mut batch = Vec::new();
        'pages: while let Some(page) = pages.next().await? {
            self.breath.take().await;
            notes.looked(page.len() as u64);
            for key in page {
                let Some(Entry::Blob(digest)) = Entry::parse(key.as_str()) else {
                    continue;
                };
                if !needs.cover(&digest) {
                    break 'pages;
                }
                notes.reached(Spot::of(&digest).share(), Spot::SHARES);
                while matches!(&link, Linked::Skip) || matches!(&link, Linked::By(its) if *its < digest) {
                    link = self.next_linked(links.next().await?);
                }
                let is_linked = matches!(&link, Linked::By(its) if *its == digest);
                if !is_linked || self.has_trash(&key).await {
                    batch.push(digest);
                }
                if batch.len() == BLOBS_AT_ONCE {
                    self.blobs(&std::mem::take(&mut batch), notes).await?;
                }
            }
        }
        self.blobs(&batch, notes).await
    }

    fn next_linked(&self, key: Option<Key<LinkRecord>>) -> Linked {
        let Some(key) = key else { return Linked::End };
        match Entry::parse(key.as_str()) {
            Some(Entry::Link(digest, _)) if !self.is_pretended(key.as_str()) => Linked::By(digest),
            _ => Linked::Skip,
        }
    }

    async fn has_trash(&self, key: &Key<super::super::states::blob::BlobRecord>) -> bool {
        self.breath.take().await;
        // An unreadable record is reported when the blob is checked.
        self.registry.records.read(key).await.map_or(true, |found| {
            found.is_some_and(|found| !found.record.trash.is_empty())
        })
    }

    /// The next repository that has records of its own. The search begins after `after`, which is updated.
    pub(super) async fn next_repository(&self, after: &mut String) -> Result<Option<RepositoryName>, Error> {
        loop {
            let mut pages = self
                .registry
                .records
                .pages(keys::all_of_repositories::<()>(), after.clone(), Show::All)
                .of(1);
            let Some(key) = pages.next().await?.and_then(|mut page| page.pop()) else {
                return Ok(None);
            };
            if let Some(repository) = keys::repository_in(key.as_str()) {
                *after = keys::behind(&repository);
                return Ok(Some(repository));
            }
            *after = key.to_string();
        }
    }
}

/// The next link in the order of digests.
enum Linked {
    By(Digest),
    /// A dry run would have deleted it, or its key is not that of a link.
    Skip,
    End,
}

/// How many references a round keeps: about 16 MiB.
const MOST: usize = 1 << 18;
/// How many links are condemned before one walk through the manifests of each of their repositories.
const LINKS_AT_ONCE: usize = 10_000;
const BLOBS_AT_ONCE: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::collect::{Goes, Options};
    use crate::registry::tests::{Bench, content, push_blob, push_image, sha256};
    use serde_json::json;
    use std::time::Duration;

    fn digest(number: u32) -> Digest {
        sha256(&number.to_be_bytes())
    }

    #[test]
    fn a_round_has_every_reference_up_to_its_end() {
        let mut digests: Vec<_> = (0..1000).map(digest).collect();
        let repository: RepositoryName = "a".parse().unwrap();
        for most in [1, 7, 300, 1000, 5000] {
            let mut needs = Needs::new(Spot::BEGIN, most);
            for digest in &digests {
                needs.add(digest, short(&repository));
                needs.add(digest, 1);
            }
            assert!(needs.found.len() <= most.max(2), "{most}");
            for digest in &digests {
                assert_eq!(needs.has(digest, &repository), needs.cover(digest), "{most}");
            }
            assert_eq!(needs.end.is_none(), most > 2000);
        }
        digests.sort_unstable();
        let mut from = Some(Spot::BEGIN);
        let mut covered = Vec::new();
        while let Some(begin) = from {
            let mut needs = Needs::new(begin, 90);
            digests.iter().for_each(|digest| needs.add(digest, 1));
            covered.extend(digests.iter().filter(|digest| needs.cover(digest)).cloned());
            from = needs.end;
        }
        assert_eq!(covered, digests, "each once");
    }

    #[tokio::test]
    async fn many_rounds_remove_what_one_round_removes() {
        for most in [2, 5, MOST] {
            let bench = Bench::new();
            let mut kept = Vec::new();
            for number in 0..20 {
                let image = push_image(&bench.registry, "a", &format!("kept {number}"), &json!({})).await;
                push_blob(&bench.registry, "a", format!("garbage {number}").as_bytes()).await;
                kept.push((image, sha256(format!("kept {number}").as_bytes())));
            }
            bench.hand.advance(Duration::from_secs(60));
            let options = Options {
                grace: Duration::ZERO,
                ..Options::default()
            };
            let collector = Collector::new(&bench.registry, &options);
            let mut observer = ();
            let mut notes = Notes::new(false, &mut observer);
            let mut from = Some(Spot::BEGIN);
            let mut rounds = 0;
            while let Some(begin) = from {
                from = collector.round_of(begin, most, &mut notes).await.unwrap();
                rounds += 1;
            }
            let report = notes.finish();
            assert_eq!(report.goes()[&Goes::UnneededLink].count, 20, "{most}");
            assert_eq!(report.goes()[&Goes::UnlinkedBlob].count, 20, "{most}");
            assert_eq!(rounds > 1, most < MOST);
            for (_, blob) in &kept {
                assert!(content(&bench.registry, "a", blob).await.is_ok());
            }
            assert_eq!(bench.keys("b/").await.len(), 20);
        }
    }
}
