//! A pass of the collector that the operator asks for, while a registry serves the store or not.

use crate::access::Maintenance;
use crate::control::{CollectRequest, Collected, Updates};
use crate::registry::collect::{Observer, Options, Reached, Report};
use crate::registry::{Error, Registry};
use futures_util::TryFutureExt as _;
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
    #[error("interrupted before the pass was complete; the next pass removes the rest")]
    Stopped,
    #[error("the pass panicked, which is a bug; please report it: {0}")]
    Panicked(#[from] JoinError),
}

/// A pass that did not end.
#[derive(Debug)]
pub struct Cut {
    pub why: NotCollected,
    /// What the pass did until then.
    pub report: Box<Report>,
}

/// Makes one pass and reports progress to `news`. If `stop` ends or this future is dropped, the pass stops;
/// what it removed is gone, and the next pass removes the rest.
pub async fn collect(
    registry: Registry,
    options: Options,
    stop: impl Future<Output = ()>,
    mut news: impl FnMut(Reached),
) -> Result<Report, Cut> {
    let seen = Seen::default();
    let mut observer = seen.clone();
    let (running, stopped) = oneshot::channel::<()>();
    let mut running = Some(running);
    // A pass that does not rest would keep other tasks of its thread waiting.
    let mut collecting = spawn_blocking(move || {
        let mut report = Report::default();
        let made = Handle::current().block_on(async {
            tokio::select! {
                made = complete(&registry, &options, &mut observer, &mut report) => Some(made),
                _ = stopped => None,
            }
        });
        (made, report)
    });
    let mut ticks = interval(SAY_EVERY);
    tokio::pin!(stop);
    let made = loop {
        tokio::select! {
            ended = &mut collecting => break ended,
            () = &mut stop, if running.is_some() => running = None,
            _ = ticks.tick() => news(seen.now()),
        }
    };
    let (why, report) = match made {
        Ok((Some(Ok(())), report)) => return Ok(report),
        Ok((Some(Err(why)), report)) => (NotCollected::Failed(why), report),
        Ok((None, report)) => (NotCollected::Stopped, report),
        Err(why) => (NotCollected::Panicked(why), Report::default()),
    };
    Err(Cut {
        why,
        report: Box::new(report),
    })
}

/// Makes one pass. If the policies only report, a dry run also finds out how many bytes they would free.
async fn complete(
    registry: &Registry,
    options: &Options,
    observer: &mut Seen,
    report: &mut Report,
) -> Result<(), Error> {
    let owner = Maintenance::by_the_stores_owner();
    registry.collect_into(&owner, options, observer, report).await?;
    let Some(rules) = options.rules.applied().filter(|_| options.dry_run) else {
        return Ok(());
    };
    let options = Options {
        rules,
        ..options.clone()
    };
    let applied = registry.collect(&owner, &options, observer).await?;
    let more = applied.freed_bytes().saturating_sub(report.freed_bytes());
    report.retention_would_free = Some(more);
    Ok(())
}

/// The handler of a command's request for a pass. The pass stops when the command ends.
pub(super) fn handler<O: Fn() -> Options>(
    registry: &Registry,
    options: O,
) -> impl Fn(CollectRequest, Updates<CollectRequest>) -> BoxFuture<'static, Result<Collected, NotCollected>> + use<O>
{
    let registry = registry.clone();
    move |CollectRequest { dry_run, settings }, updates| {
        let options = Options { dry_run, ..options() };
        let other_settings = options.fingerprint() != settings;
        let answer = answer(registry.clone(), options, updates);
        Box::pin(answer.map_ok(move |report| Collected {
            report,
            other_settings,
        }))
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
    let never = std::future::pending();
    let made = collect(registry, options, never, |reached| updates.send(reached)).await;
    let made = made.map_err(|cut| cut.why);
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
