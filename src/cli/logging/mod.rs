//! The log: JSON lines on standard error, at the configuration's level unless `RUST_LOG` says otherwise.

mod line;
mod sink;

use crate::clock::Clock;
use crate::config::Level;
use sink::Sink;
use std::sync::OnceLock;
use tracing_subscriber::EnvFilter;

static SINK: OnceLock<Sink> = OnceLock::new();

/// Only the first call counts.
pub(super) fn start(level: Level) {
    let level = match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(format!("wharfinger={level},warn")));
    let sink = SINK.get_or_init(|| Sink::new(std::io::stderr()));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).event_format(line::Json::new(Clock::system()));
    if lines.with_writer(sink.clone()).try_init().is_ok()
        && let Err(why) = sink.start()
    {
        tracing::warn!("log lines wait until there are many, because their thread could not be started: {why}");
    }
}

/// Writes what waits. To be called before the process ends.
pub(super) fn flush() {
    if let Some(sink) = SINK.get() {
        sink.flush();
    }
}
