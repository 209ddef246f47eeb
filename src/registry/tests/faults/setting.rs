//! What the runs of a seed and those of a search have in common.

use super::super::super::upload_id::Ids;
use super::super::*;
use super::client::Client;
use super::collectors::Conduct;
use super::history::History;
use super::planted::Fault;
use super::process::Process;
use super::world::World;

/// A client with a process of its own.
pub(super) fn client(conduct: Conduct, process: Arc<Process>, history: &Arc<History>) -> Client {
    let omitted = conduct.fault.and_then(Fault::omitted);
    let registry = Registry::new(process.clone(), process.clone())
        .with(settings(process.world()))
        .simulated(process.ids(), omitted);
    Client {
        registry,
        process,
        history: history.clone(),
        conduct,
    }
}

/// Several processes share a bucket.
pub(super) fn settings(world: &World) -> Settings {
    Settings {
        shared: world.store.nature.is_shared,
        ..any_sizes()
    }
}

/// A registry whose requests arrive at once and do not wait in the table.
pub(super) fn quiet(world: &World) -> Registry {
    let memory = world.store.memory.clone();
    Registry::new(memory.clone(), memory)
        .with(any_sizes())
        .simulated(Ids::seeded(world.seed), None)
}

/// Prints a figure, which tests show with `--nocapture`.
#[expect(clippy::print_stderr, reason = "figures of long runs are for people")]
pub(super) fn say(line: &str) {
    eprintln!("{line}");
}

/// Runs everything on this thread, with a clock that advances only when all tasks wait.
pub(super) fn simulate<T>(run: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(run)
}
