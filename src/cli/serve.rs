//! `wharfinger serve FILE`

use super::{FAILED, SUCCESS, fail, interrupted, load_to_serve, logging, mistaken, yes_or_no};
use crate::app::Registrar;
use crate::clock::Clock;
use crate::server::Limits;
use crate::telemetry;
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::PathBuf;

#[derive(Args)]
pub(super) struct Options {
    /// The configuration, in YAML or JSON
    file: PathBuf,
    /// Serve even if the file admits strangers: no login on an address that is not loopback, or an issuer that
    /// anyone can get a token from, without a validation
    #[arg(long, env = "WHARFINGER_OPEN", hide_env_values = true, value_parser = yes_or_no)]
    open: bool,
}

pub(super) async fn run(options: &Options) -> u8 {
    let Options { file, open } = options;
    // Calibrating the metrics clock takes a millisecond, so it happens while the configuration is read.
    std::thread::spawn(telemetry::install);
    let config = match load_to_serve(file, *open) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let Err(why) = logging::start(config.fixed.level, config.fixed.log_format) {
        return fail(&format!("cannot start the thread that writes the log: {why}"));
    }
    raise_open_files();
    keep_freed_memory();
    // Signals are caught before the store is opened, so that none is lost and none ends the process halfway.
    let mut shutdown = Box::pin(interrupted());
    let clock = Clock::system();
    let registrar = tokio::select! {
        opened = Registrar::open(config, Some(file.to_owned()), clock) => match opened {
            Ok(registrar) => registrar,
            Err(mistakes) => return mistaken(file, mistakes),
        },
        () = &mut shutdown => {
            tracing::info!("stopped before the store was ready; the next start continues a conversion of the store, if one was running");
            return SUCCESS;
        }
    };
    match registrar.address() {
        Ok(address) => {
            tracing::info!(target: logging::SERVING, { server.address = %address, version = env!("CARGO_PKG_VERSION") }, "serving")
        }
        Err(why) => return fail(&format!("cannot read the listener's address: {why}")),
    }
    if let Some(address) = registrar.health_address() {
        tracing::info!(target: logging::SERVING, { health.address = %address }, "serving probes");
    }
    // Serve in a task. The main future runs on its own thread, and each new connection would have to be handed
    // over from there.
    if let Err(why) = tokio::spawn(registrar.run(shutdown)).await {
        tracing::error!("the server panicked, which is a bug; please report it: {why}");
        return FAILED;
    }
    tracing::info!("stopped");
    SUCCESS
}

/// Raises the soft limit of open files to the hard limit. Each connection needs a descriptor, and each blob in
/// transfer another. The usual soft limit of 1,024 only protects programs that use `select`.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(why) = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    ) {
        tracing::warn!("cannot raise the limit of open files: {why}");
    }
    let Some(most) = getrlimit(Resource::Nofile).current else {
        return;
    };
    let connections = Limits::default().connections as u64;
    if most < 2 * connections {
        tracing::warn!(
            "only {most} files may be open at once, so the registry serves {} connections instead of {connections}; raise the hard limit to {} \
             (LimitNOFILE=, ulimit -Hn)",
            Limits::default().for_open_files(Some(most)).connections,
            2 * connections
        );
    }
}

/// Makes glibc keep the memory that an upload frees, because the next upload needs as much. Otherwise glibc
/// returns it to the kernel and faults it in again page by page, which costs a tenth of a push. Freeing one
/// large allocation raises glibc's threshold (mallopt(3), "dynamic mmap threshold"). Other allocators ignore it.
fn keep_freed_memory() {
    const UPLOAD: usize = 2 << 20;
    drop(std::hint::black_box(Vec::<u8>::with_capacity(UPLOAD)));
}
