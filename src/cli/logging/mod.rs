//! The log on standard error: text on a terminal, JSON lines elsewhere, at the configuration's level unless `RUST_LOG`
//! overrides it.
//!
//! `line` limits the length of every field, because strangers choose some values. `sink` writes from its own thread, so
//! that no thread that serves requests waits for the log's reader.

mod line;
mod sink;

use crate::clock::Clock;
use crate::config::{ALWAYS_LOGGED, Level, LogFormat};
use line::{Form, Lines};
use sink::Sink;
use std::any::Any;
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use tracing_subscriber::EnvFilter;

/// The target of the lines with the registry's addresses. They are written at every level.
pub(super) const SERVING: &str = ALWAYS_LOGGED;

static SINK: OnceLock<Sink> = OnceLock::new();

/// Starts the log. Only the first call has an effect. Fails if the writing thread cannot be started.
pub(super) fn start(level: Level, format: LogFormat) -> std::io::Result<()> {
    let level = match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    };
    let form = match format {
        LogFormat::Text => Form::Text,
        LogFormat::Json => Form::Json,
        LogFormat::Auto if std::io::stderr().is_terminal() => Form::Text,
        LogFormat::Auto => Form::Json,
    };
    let asked = std::env::var(EnvFilter::DEFAULT_ENV)
        .ok()
        .filter(|asked| !asked.trim().is_empty());
    let filter = asked.and_then(|asked| EnvFilter::try_new(asked).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new(format!("wharfinger={level},warn")));
    let filter = match format!("{SERVING}=info").parse() {
        Ok(always) => filter.add_directive(always),
        Err(_) => filter,
    };
    let sink = SINK.get_or_init(|| Sink::new(move |count| Lines::new(form, Clock::system()).dropped(count)));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .event_format(Lines::new(form, Clock::system()));
    if lines.with_writer(sink.clone()).try_init().is_ok() {
        sink.start(std::io::stderr())?;
        std::panic::set_hook(Box::new(panicked));
    }
    Ok(())
}

/// Writes all waiting lines, unless the log's reader is too slow. Call it before the process ends.
pub(super) fn flush() {
    if let Some(sink) = SINK.get() {
        sink.flush();
    }
}

/// Logs a panic. The default hook would write to standard error from the thread that panicked, and that thread may
/// serve requests.
fn panicked(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    tracing::error!(
        panic.at = place,
        "a thread panicked, which is a bug; please report it: {}",
        text(panic.payload())
    );
    if std::thread::current().name() == Some("main") {
        flush(); // the process ends
    }
}

fn text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("without a text")
}
