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
    /// Serve a file that lets strangers in: one without a login at an address that is not loopback, or an
    /// issuer that anyone can get a token of, without a validation
    #[arg(long, env = "WHARFINGER_OPEN", hide_env_values = true, value_parser = yes_or_no)]
    open: bool,
}

pub(super) async fn run(options: &Options) -> u8 {
    let Options { file, open } = options;
    // Its clock is held against the system's for a millisecond, while the configuration is read.
    std::thread::spawn(telemetry::install);
    let config = match load_to_serve(file, *open) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let Err(why) = logging::start(config.fixed.level, config.fixed.log_format) {
        return fail(&format!(
            "the thread that writes the log cannot be started: {why}"
        ));
    }
    raise_open_files();
    keep_freed_memory();
    // Before the store is opened, so that no signal is lost and none ends it halfway.
    let mut shutdown = Box::pin(interrupted());
    let clock = Clock::system();
    let registrar = tokio::select! {
        opened = Registrar::open(config, Some(file.to_owned()), clock) => match opened {
            Ok(registrar) => registrar,
            Err(mistakes) => return mistaken(file, mistakes),
        },
        () = &mut shutdown => {
            tracing::info!("stopped before the store was ready; if it was being converted, the next start goes on with it");
            return SUCCESS;
        }
    };
    match registrar.address() {
        Ok(address) => {
            tracing::info!(target: logging::SERVING, { server.address = %address, version = env!("CARGO_PKG_VERSION") }, "serving")
        }
        Err(why) => return fail(&format!("the listener is gone: {why}")),
    }
    if let Some(address) = registrar.health_address() {
        tracing::info!(target: logging::SERVING, { health.address = %address }, "serving probes");
    }
    // As a task: this future has a thread of its own, to which every new connection would have to be handed
    // first.
    if let Err(why) = tokio::spawn(registrar.run(shutdown)).await {
        tracing::error!("serving ended with a panic, which is a bug: {why}");
        return FAILED;
    }
    tracing::info!("stopped");
    SUCCESS
}

/// Each connection is an open file, and so is each blob that goes through it. The usual limit of 1,024 is for
/// programs that use `select`, and theirs to raise for those that do not.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(why) = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    ) {
        tracing::warn!("the limit of open files cannot be raised: {why}");
    }
    let (connections, Some(most)) = (
        Limits::default().connections as u64,
        getrlimit(Resource::Nofile).current,
    ) else {
        return;
    };
    if most < 2 * connections {
        tracing::warn!(
            "{most} files may be open at once, so {} connections are served and not {connections}, which may need {} files: raise the hard \
             limit (LimitNOFILE=, ulimit -Hn)",
            Limits::default().for_open_files(Some(most)).connections,
            2 * connections
        );
    }
}

/// What one upload has in memory at once is kept when it is freed, since the next one needs as much:
/// otherwise glibc gives it back to the kernel with each batch, and gets it again page by page. Measured: a
/// tenth of a push. That something this large is freed is what makes glibc keep twice as much (mallopt(3),
/// "dynamic mmap threshold"); elsewhere it changes nothing.
fn keep_freed_memory() {
    const UPLOAD: usize = 2 << 20;
    drop(std::hint::black_box(Vec::<u8>::with_capacity(UPLOAD)));
}
