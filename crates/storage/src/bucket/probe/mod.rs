//! What a store can do, found out by trying. Many services accept the conditions of a write and do not keep them,
//! and two replicas on such a service would overwrite each other's records.
//!
//! A start makes a few requests. The first start on a bucket adds the races. [`full`] tries everything and is for people who choose a store. All objects are written below `probe/` and
//! removed again. `probe/passed` stays, and says that the races were won.

mod attempt;
mod bucket;
mod lists;
mod races;
mod report;
mod start;
mod writes;

pub use report::{Finding, Need, Report, Verdict};
pub use start::Unfit;
pub(super) use start::{for_one, for_replicas};

use super::OpenError;
use super::objects::Objects;
use super::settings::Settings;
use super::wire::Requests;
use std::sync::Arc;
use std::time::Duration;

/// Tries everything that the registry needs or can use, through each of these endpoints of one bucket. There must
/// be at least one.
pub async fn full(settings: &[Settings]) -> Result<Report, OpenError> {
    let mut endpoints = Vec::with_capacity(settings.len());
    for settings in settings {
        let objects = Objects::new(settings, &Requests::default())?;
        objects
            .list("", "", 1)
            .await
            .map_err(|why| objects.not_opened(&why))?;
        endpoints.push(Arc::new(objects));
    }
    let mut findings = Vec::new();
    if let Some(first) = endpoints.first() {
        let run = Run::new(&endpoints);
        findings.extend(writes::all(first, &run).await);
        findings.extend(races::all(&run).await);
        findings.extend(lists::all(&run).await);
        findings.extend(bucket::all(first).await);
        run.clean(first).await;
    }
    Ok(Report {
        bucket: settings.first().map(ToString::to_string).unwrap_or_default(),
        endpoints: endpoints.iter().map(|one| one.name().to_owned()).collect(),
        version: VERSION,
        findings,
    })
}

/// One probe, whose objects have names of their own.
struct Run<'a> {
    endpoints: &'a [Arc<Objects>],
    prefix: String,
}

impl<'a> Run<'a> {
    fn new(endpoints: &'a [Arc<Objects>]) -> Self {
        Self {
            endpoints,
            prefix: format!("{PREFIX}{:032x}/", fastrand::u128(..)),
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn explain(&self, failure: &object_store::Error) -> String {
        match self.endpoints.first() {
            Some(objects) => objects.explain(failure),
            None => failure.to_string(),
        }
    }

    /// Removes what this probe wrote, and what probes left that were interrupted. A failure leaves small objects.
    async fn clean(&self, objects: &Objects) {
        let listed = objects.list(PREFIX, "", MOST_LEFT).await.unwrap_or_default();
        let old = objects.now().minus(LEFT);
        let gone = listed
            .into_iter()
            .filter(|entry| entry.key != PASSED)
            .filter(|entry| entry.key.starts_with(&self.prefix) || entry.written < old);
        for entry in gone {
            drop(objects.delete(&entry.key).await);
        }
    }
}

/// Bytes that no other object has.
fn nonce() -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(&fastrand::u128(..).to_be_bytes())
}

/// Grows when a probe asks for more than an earlier one did.
const VERSION: u32 = 1;
const PREFIX: &str = "probe/";
/// Says which version of the probe the bucket has passed.
const PASSED: &str = "probe/passed";
/// The age after which the objects of an interrupted probe are removed.
const LEFT: Duration = Duration::from_secs(24 * 60 * 60);
const MOST_LEFT: usize = 1000;

#[cfg(test)]
mod tests;
