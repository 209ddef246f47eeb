//! One event as one line of JSON, flat: `timestamp`, `level`, the message and the fields as they come, `target`. Written by hand
//! because each request has such a line, and the general way costs more than the rest of a small answer.

use crate::clock::{Clock, Timestamp};
use std::fmt::{self, Write};
use std::sync::{Mutex, PoisonError};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

pub(super) struct Json {
    clock: Clock,
    /// The second that was written last, and its text up to there.
    second: Mutex<(i64, String)>,
}

impl Json {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, second: Mutex::new((i64::MIN, String::new())) }
    }

    fn write_time(&self, line: &mut impl Write) -> fmt::Result {
        let now = self.clock.now();
        let mut known = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != now.as_secs() {
            let text = Timestamp::from_secs(now.as_secs()).to_string();
            *known = (now.as_secs(), text.trim_end_matches('Z').to_owned());
        }
        write!(line, "{}.{:03}Z", known.1, now.as_millis().rem_euclid(1000))
    }
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        line.write_str("{\"timestamp\":\"")?;
        self.write_time(&mut line)?;
        write!(line, "\",\"level\":\"{}\"", event.metadata().level())?;
        let mut fields = Fields { line: &mut line, result: Ok(()) };
        event.record(&mut fields);
        fields.result?;
        line.write_str(",\"target\":\"")?;
        Escaped(&mut line).write_str(event.metadata().target())?;
        line.write_str("\"}\n")
    }
}

struct Fields<'a, W> {
    line: &'a mut W,
    result: fmt::Result,
}

impl<W: Write> Fields<'_, W> {
    fn field(&mut self, field: &Field, quote: &str, value: impl FnOnce(&mut W) -> fmt::Result) {
        if self.result.is_ok() {
            self.result = self.write(field.name(), quote, value);
        }
    }

    fn write(&mut self, name: &str, quote: &str, value: impl FnOnce(&mut W) -> fmt::Result) -> fmt::Result {
        self.line.write_str(",\"")?;
        Escaped(self.line).write_str(name)?;
        self.line.write_str("\":")?;
        self.line.write_str(quote)?;
        value(self.line)?;
        self.line.write_str(quote)
    }
}

impl<W: Write> Visit for Fields<'_, W> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.field(field, "\"", |line| write!(Escaped(line), "{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, "\"", |line| Escaped(line).write_str(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, "", |line| write!(line, "{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field, "", |line| write!(line, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field, "", |line| write!(line, "{value}"));
    }
}

/// Writes what stands between the quotes of a JSON string (RFC 8259, 7).
struct Escaped<'a, W>(&'a mut W);

impl<W: Write> Write for Escaped<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let special = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
        let mut rest = text;
        while let Some(at) = rest.bytes().position(special) {
            let (plain, from) = rest.split_at(at);
            self.0.write_str(plain)?;
            let (escaped, after) = from.split_at(1);
            match escaped {
                "\"" => self.0.write_str("\\\""),
                "\\" => self.0.write_str("\\\\"),
                "\n" => self.0.write_str("\\n"),
                other => other.bytes().try_for_each(|byte| write!(self.0, "\\u{byte:04x}")),
            }?;
            rest = after;
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sink::Sink;
    use super::*;
    use serde_json::{Value, json};
    use std::io;
    use std::sync::Arc;
    use tracing_subscriber::util::SubscriberInitExt;

    #[derive(Clone, Default)]
    struct Out(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_json_whatever_is_in_it() {
        let (clock, hand) = Clock::manual(Timestamp::from_millis(1_795_409_759_007));
        let (out, nasty) = (Out::default(), "\"\\\n\r\t\u{1}é\u{1f600}");
        let sink = Sink::new(out.clone());
        let subscriber = tracing_subscriber::fmt().event_format(Json::new(clock)).with_writer(sink.clone()).finish();
        let guard = subscriber.set_default();
        tracing::info!(text = nasty, shown = %nasty, debugged = ?Some("x"), number = 7_u64, less = -7, yes = true, none = None::<&str>, "it {}", nasty);
        hand.advance(std::time::Duration::from_millis(1));
        tracing::warn!(http.status = 200, "next");
        drop(guard);
        sink.flush();
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let target = "wharfinger::cli::logging::line::tests";
        assert_eq!(
            lines,
            [
                json!({"timestamp": "2026-11-23T04:55:59.007Z", "level": "INFO", "message": format!("it {nasty}"), "text": nasty,
                    "shown": nasty, "debugged": "Some(\"x\")", "number": 7, "less": -7, "yes": true, "target": target}),
                json!({"timestamp": "2026-11-23T04:55:59.008Z", "level": "WARN", "message": "next", "http.status": 200, "target": target}),
            ]
        );
    }
}
