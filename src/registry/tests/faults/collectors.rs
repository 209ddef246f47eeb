//! How the registry's own collector is used, with a step left out on demand, and a scrubber. Without a grace
//! period a collector deletes everything that nothing refers to.

use super::super::super::collect::{Collector, Notes, Options, Rules};
use super::super::super::scrub;
use super::super::*;
use super::planted::Fault;
use crate::access::Maintenance;
use crate::oci::RepositoryName;
use std::time::Duration;

/// How all actors in a crowd behave.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Conduct {
    /// How often each collector of links or blobs collects.
    pub rounds: u32,
    /// How old a record must be before a collector considers it.
    pub grace: Duration,
    /// Whether the first tag is immutable, and no client may override that.
    pub pinned: bool,
    /// Whether clients may read. The bytes of a blob that such a client pushes again are compared.
    pub may_read: bool,
    pub fault: Option<Fault>,
}

impl Conduct {
    /// No manifest here is kept for being untagged.
    fn options(&self) -> Options {
        Options {
            grace: self.grace,
            rules: Rules::giving_up(true, false),
            ..Options::default()
        }
    }

    fn collector(&self, registry: &Registry) -> Collector {
        Collector::new(registry, &self.options())
    }
}

pub(super) async fn link(
    registry: &Registry,
    conduct: &Conduct,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<(), Error> {
    let collector = conduct.collector(registry);
    collector
        .links(
            repository,
            std::slice::from_ref(digest),
            &mut Notes::new(false, &mut ()),
        )
        .await
}

pub(super) async fn blob(registry: &Registry, conduct: &Conduct, digest: &Digest) -> Result<(), Error> {
    let collector = conduct.collector(registry);
    collector
        .blobs(std::slice::from_ref(digest), &mut Notes::new(false, &mut ()))
        .await
}

pub(super) async fn manifest(
    registry: &Registry,
    conduct: &Conduct,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<(), Error> {
    let collector = conduct.collector(registry);
    collector
        .manifest(repository, digest, &mut Notes::new(false, &mut ()))
        .await
        .map(drop)
}

/// A walk through the whole store.
pub(super) async fn everything(registry: &Registry, conduct: &Conduct) -> Result<(), Error> {
    registry
        .collect(&Maintenance::by_the_stores_owner(), &conduct.options(), &mut ())
        .await
        .map(drop)
}

/// Returns the name of the blob's bytes if they are damaged. The blob is marked then.
pub(super) async fn scrub_content(registry: &Registry, digest: &Digest) -> Result<Option<String>, Error> {
    let key = keys::blob(digest);
    let Some(found) = registry.records.read(&key).await? else {
        return Ok(None);
    };
    let blob = found.record;
    let scrub::Found::Damaged = registry.scrub_blob(digest, &blob, &mut ()).await? else {
        return Ok(None);
    };
    // The store may have lost the answer to the mark.
    let now = registry.records.read(&key).await?.map(|now| now.record);
    let marked = now.is_some_and(|now| now.suspect && now.generation == blob.generation);
    Ok(marked.then_some(blob.generation))
}
