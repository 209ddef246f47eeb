//! A pass of the collector that the operator asks for, while a registry serves the store or not.

use crate::access::Maintenance;
use crate::control::{CollectRequest, Updates};
use crate::registry::collect::{Observer, Options, Reached, Report};
use crate::registry::{Error, Registry};
use futures_util::future::BoxFuture;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::interval;

/// Why a pass did not end.
#[derive(Debug, thiserror::Error)]
pub enum NotCollected {
    #[error(
        "the pass stopped before it was complete: {0}; what it removed is gone, and the next pass removes the rest"
    )]
    Failed(#[source] Error),
    #[error("the pass was stopped")]
    Stopped,
    #[error("the pass panicked, which is a bug; please report it: {0}")]
    Panicked(#[from] JoinError),
}

/// Makes one pass and reports progress to `news`. If this future is dropped, the pass stops; what it removed is
/// gone, and the next pass removes the rest.
pub async fn collect(
    registry: Registry,
    options: Options,
    mut news: impl FnMut(Reached),
) -> Result<Report, NotCollected> {
    let seen = Seen::default();
    let mut observer = seen.clone();
    let (running, stopped) = oneshot::channel::<()>();
    // A pass that does not rest would keep other tasks of its thread waiting.
    let mut collecting = spawn_blocking(move || {
        let owner = Maintenance::by_the_stores_owner();
        Handle::current().block_on(async {
            tokio::select! {
                made = registry.collect(&owner, &options, &mut observer) => Some(made),
                _ = stopped => None,
            }
        })
    });
    let mut ticks = interval(SAY_EVERY);
    let made = loop {
        tokio::select! {
            ended = &mut collecting => break ended,
            _ = ticks.tick() => news(seen.now()),
        }
    };
    drop(running);
    made?.ok_or(NotCollected::Stopped)?.map_err(NotCollected::Failed)
}

/// The handler of a command's request for a pass. The pass stops when the command ends.
pub(super) fn handler<O: Fn() -> Options>(
    registry: &Registry,
    options: O,
) -> impl Fn(CollectRequest, Updates<CollectRequest>) -> BoxFuture<'static, Result<Report, NotCollected>> + use<O>
{
    let registry = registry.clone();
    move |CollectRequest { dry_run }, updates| {
        let options = Options { dry_run, ..options() };
        Box::pin(answer(registry.clone(), options, updates))
    }
}

async fn answer(
    registry: Registry,
    options: Options,
    updates: Updates<CollectRequest>,
) -> Result<Report, NotCollected> {
    let dry_run = options.dry_run;
    tracing::info!(
        collection.kind = ASKED,
        collection.dry_run = dry_run,
        "the operator requested a collection"
    );
    let made = collect(registry, options, |reached| updates.send(reached)).await;
    if !dry_run {
        count(ASKED, made.as_ref().ok());
    }
    match &made {
        Ok(report) => tracing::info!(
            collection.kind = ASKED,
            collection.dry_run = dry_run,
            collection.items = report.going(),
            collection.bytes = report.freed_bytes(),
            "the collection that the operator requested is complete"
        ),
        Err(why) => tracing::error!(
            collection.kind = ASKED,
            collection.dry_run = dry_run,
            "the collection that the operator requested failed: {why}"
        ),
    }
    made
}

/// Adds what a collection removed to the metrics. `None` if it failed.
pub(super) fn count(kind: &'static str, report: Option<&Report>) {
    let result = if report.is_some() { "done" } else { "failed" };
    metrics::counter!("wharfinger_collections_total", "kind" => kind, "result" => result).increment(1);
    let Some(report) = report else { return };
    for (why, amount) in report.goes() {
        metrics::counter!("wharfinger_collected_total", "what" => why.label()).increment(amount.count);
    }
    metrics::counter!("wharfinger_collected_bytes_total").increment(report.freed_bytes());
}

/// What the pass had reached last.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Reached>>);

impl Seen {
    fn now(&self) -> Reached {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Seen {
    fn reached(&mut self, reached: Reached) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reached;
    }
}

/// The kind of a collection, in the log and the metrics.
const ASKED: &str = "asked";
const SAY_EVERY: Duration = Duration::from_secs(1);
