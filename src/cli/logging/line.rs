//! Formats one event as one line of JSON or text. This is our own code because every request logs a line, and the
//! library's formatter costs more than the rest of a small answer.
//!
//! JSON is flat: `timestamp`, `level`, the message and the fields in their order, `target`. Text has the time, the
//! level, the message, then `name=value` for each field, with quotes if needed.
//!
//! This is the only place that limits text from strangers. Every field has at most [`LOG_FIELD_BYTES`] after escaping,
//! so the number of fields limits the length of a line. Characters that control a terminal, or reorder or split a line,
//! are escaped.

use crate::clock::{Clock, Timestamp};
use crate::limits::{LOG_FIELD_BYTES, MESSAGE_BYTES};
use std::fmt::{self, Display, Write};
use std::sync::{Mutex, PoisonError};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

/// The longest reason of a rejection, in bytes. Other fields repeat its content. The client's copy has the
/// same limit.
const WHY_BYTES: usize = MESSAGE_BYTES;
/// The mark at the end of a truncated text.
const MORE: &str = "… (cut)";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Text,
}

pub(super) struct Lines {
    form: Form,
    clock: Clock,
    /// The last written second, and its text.
    second: Mutex<(i64, String)>,
}

impl Lines {
    pub(super) fn new(form: Form, clock: Clock) -> Self {
        Self {
            form,
            clock,
            second: Mutex::new((i64::MIN, String::new())),
        }
    }

    /// A line with the number of dropped lines.
    pub(super) fn dropped(&self, count: u64) -> String {
        let mut line = String::new();
        let message = format!("{count} log lines were dropped here because the log's reader was too slow");
        let _ = self.begin(&mut line, Level::WARN);
        let mut fields = Fields {
            form: self.form,
            line: &mut line,
            result: Ok(()),
        };
        fields.text("message", LOG_FIELD_BYTES, |text| text.write_str(&message));
        fields.plain("log.dropped", count);
        let _ = self.end(&mut line, module_path!());
        line
    }

    fn begin(&self, line: &mut impl Write, level: Level) -> fmt::Result {
        match self.form {
            Form::Json => {
                line.write_str("{\"timestamp\":\"")?;
                self.write_time(line)?;
                write!(line, "\",\"level\":\"{level}\"")
            }
            Form::Text => {
                self.write_time(line)?;
                write!(line, " {level:>5}")
            }
        }
    }

    fn end(&self, line: &mut impl Write, target: &str) -> fmt::Result {
        match self.form {
            Form::Json => {
                line.write_str(",\"target\":\"")?;
                Escaped { line, quoted: true }.write_str(target)?;
                line.write_str("\"}\n")
            }
            Form::Text => line.write_str("\n"),
        }
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

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        self.begin(&mut line, *event.metadata().level())?;
        let mut fields = Fields {
            form: self.form,
            line: &mut line,
            result: Ok(()),
        };
        event.record(&mut fields);
        fields.result?;
        self.end(&mut line, event.metadata().target())
    }
}

struct Fields<'a, W> {
    form: Form,
    line: &'a mut W,
    result: fmt::Result,
}

impl<W: Write> Fields<'_, W> {
    /// Writes a text of at most `most` bytes.
    fn text(&mut self, name: &str, most: usize, value: impl FnOnce(&mut dyn Write) -> fmt::Result) {
        if self.result.is_ok() {
            self.result = match self.form {
                Form::Json => self.json_text(name, most, value),
                Form::Text => self.readable_text(name, most, value),
            };
        }
    }

    /// Writes a number or a boolean.
    fn plain(&mut self, name: &str, value: impl Display) {
        if self.result.is_ok() {
            self.result = self.name(name).and_then(|()| write!(self.line, "{value}"));
        }
    }

    fn name(&mut self, name: &str) -> fmt::Result {
        match self.form {
            Form::Json => {
                self.line.write_str(",\"")?;
                Escaped {
                    line: self.line,
                    quoted: true,
                }
                .write_str(name)?;
                self.line.write_str("\":")
            }
            Form::Text => write!(self.line, " {name}="),
        }
    }

    fn json_text(
        &mut self,
        name: &str,
        most: usize,
        value: impl FnOnce(&mut dyn Write) -> fmt::Result,
    ) -> fmt::Result {
        self.name(name)?;
        self.line.write_str("\"")?;
        Cut::text(self.line, true, most, value)?;
        self.line.write_str("\"")
    }

    /// Writes the message without a name, and other fields with one. A value with spaces or special characters gets
    /// quotes.
    fn readable_text(
        &mut self,
        name: &str,
        most: usize,
        value: impl FnOnce(&mut dyn Write) -> fmt::Result,
    ) -> fmt::Result {
        if name == "message" {
            self.line.write_str(" ")?;
            return Cut::text(self.line, false, most, value);
        }
        let mut text = String::new();
        Cut::text(&mut text, true, most, value)?;
        self.name(name)?;
        let is_special = |character: char| character.is_whitespace() || matches!(character, '"' | '\\' | '=');
        let quote = if text.is_empty() || text.contains(is_special) {
            "\""
        } else {
            ""
        };
        write!(self.line, "{quote}{text}{quote}")
    }
}

impl<W: Write> Visit for Fields<'_, W> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field.name(), most(field), |text| write!(text, "{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field.name(), most(field), |text| text.write_str(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field.name(), value);
    }
}

fn most(field: &Field) -> usize {
    if field.name() == "why" {
        WHY_BYTES
    } else {
        LOG_FIELD_BYTES
    }
}

/// Truncates a text after a number of escaped bytes, and marks it as truncated.
struct Cut<'a, W> {
    line: &'a mut W,
    quoted: bool,
    left: usize,
    full: bool,
}

impl<'a, W: Write> Cut<'a, W> {
    fn text(
        line: &'a mut W,
        quoted: bool,
        most: usize,
        write: impl FnOnce(&mut dyn Write) -> fmt::Result,
    ) -> fmt::Result {
        let mut cut = Self {
            line,
            quoted,
            left: most,
            full: false,
        };
        let written = write(&mut cut);
        if cut.full {
            cut.line.write_str(MORE)
        } else {
            written
        }
    }
}

impl<W: Write> Write for Cut<'_, W> {
    /// Returns an error when the text is full, so that the rest is not formatted.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.full {
            return Err(fmt::Error);
        }
        // Most texts take this path.
        if text.len() <= self.left && !text.bytes().any(may_need_escaping) {
            self.left -= text.len();
            return self.line.write_str(text);
        }
        let (kept, written) = fitting(text, self.left);
        self.left -= written;
        Escaped {
            line: self.line,
            quoted: self.quoted,
        }
        .write_str(kept)?;
        self.full = kept.len() < text.len();
        if self.full { Err(fmt::Error) } else { Ok(()) }
    }
}

/// The longest start of a text that takes at most `most` bytes after escaping, and its number of bytes.
fn fitting(text: &str, most: usize) -> (&str, usize) {
    let mut written = 0;
    for (at, character) in text.char_indices() {
        let next = written
            + match character {
                '"' | '\\' | '\n' => 2,
                _ if is_unseen(character) => 6 * character.len_utf16(),
                _ => character.len_utf8(),
            };
        if next > most {
            return (text.get(..at).unwrap_or_default(), written);
        }
        written = next;
    }
    (text, written)
}

/// Whether a byte may need escaping. Non-ASCII characters are checked one by one later.
const fn may_need_escaping(byte: u8) -> bool {
    byte < b' ' || byte >= 0x7f || matches!(byte, b'"' | b'\\')
}

/// Whether a character controls a terminal, reorders or splits the line, or is invisible: Unicode's categories Cc, Cf,
/// Zl and Zp.
fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

/// Writes the content of a JSON string (RFC 8259, section 7). It escapes more characters than JSON requires: see
/// [`is_unseen`]. In unquoted text, quotes and backslashes are not escaped.
struct Escaped<'a, W> {
    line: &'a mut W,
    quoted: bool,
}

impl<W: Write> Write for Escaped<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        let needs_escaping =
            |character| is_unseen(character) || (self.quoted && matches!(character, '"' | '\\'));
        while let Some(at) = rest.find(needs_escaping) {
            let (plain, from) = rest.split_at(at);
            self.line.write_str(plain)?;
            let mut characters = from.chars();
            match characters.next() {
                Some(mark @ ('"' | '\\')) => write!(self.line, "\\{mark}")?,
                Some('\n') => self.line.write_str("\\n")?,
                Some(unseen) => {
                    for unit in unseen.encode_utf16(&mut [0; 2]) {
                        write!(self.line, "\\u{unit:04x}")?;
                    }
                }
                None => {}
            }
            rest = characters.as_str();
        }
        self.line.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sink::Sink;
    use super::*;
    use serde_json::{Value, json};
    use std::cell::Cell;
    use std::io;
    use std::sync::Arc;
    use tracing::subscriber::DefaultGuard;
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

    impl Out {
        fn lines(&self) -> Vec<Value> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            text.lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect()
        }
    }

    /// The log of this thread goes to `out`.
    fn logging_to(out: &Out, form: Form, clock: Clock) -> (Sink, DefaultGuard) {
        let sink = Sink::new(|_| String::new());
        sink.start(out.clone()).unwrap();
        let subscriber = tracing_subscriber::fmt()
            .event_format(Lines::new(form, clock))
            .with_writer(sink.clone())
            .finish();
        (sink, subscriber.set_default())
    }

    #[test]
    fn the_length_of_a_line_is_bounded_whatever_a_stranger_sends() {
        let (clock, _) = Clock::manual(Timestamp::from_millis(0));
        let out = Out::default();
        let (sink, guard) = logging_to(&out, Form::Json, clock);
        let names = vec!["ä".repeat(50); 20_000];
        let long = "é".repeat(LOG_FIELD_BYTES);
        let controls = "\u{1}\"".repeat(LOG_FIELD_BYTES);
        let shown = Endless(Cell::new(0));
        tracing::warn!(text = long, listed = ?names, controls, shown = %shown, why = long, fits = "x".repeat(LOG_FIELD_BYTES), "it {long}");
        drop(guard);
        sink.flush();
        let bytes = out.0.lock().unwrap().len();
        assert!(bytes < 6 * (LOG_FIELD_BYTES + 100) + WHY_BYTES, "{bytes}");
        let line = out.lines().pop().unwrap();
        let kept = |name: &str| line[name].as_str().unwrap().to_owned();
        assert_eq!(kept("text"), format!("{}{MORE}", "é".repeat(LOG_FIELD_BYTES / 2)));
        assert_eq!(kept("why"), format!("{}{MORE}", "é".repeat(WHY_BYTES / 2)));
        assert_eq!(
            kept("message"),
            format!("it {}{MORE}", "é".repeat(LOG_FIELD_BYTES / 2 - 2))
        );
        assert_eq!(
            kept("controls"),
            format!("{}{MORE}", "\u{1}\"".repeat(LOG_FIELD_BYTES / 8))
        );
        assert_eq!(kept("fits"), "x".repeat(LOG_FIELD_BYTES));
        assert!(
            kept("listed").starts_with("[\"ää") && kept("listed").ends_with(MORE),
            "{line}"
        );
        assert_eq!(
            (kept("shown").len(), shown.0.get()),
            (LOG_FIELD_BYTES + MORE.len(), LOG_FIELD_BYTES + 1),
            "the rest is not formatted"
        );
    }

    /// Writes until it is stopped, and counts.
    struct Endless(Cell<usize>);

    impl Display for Endless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            for n in 1..1_000_000 {
                self.0.set(n);
                f.write_str("x")?;
            }
            Ok(())
        }
    }

    #[test]
    fn dropped_lines_are_reported_on_one_line() {
        let line = Lines::new(
            Form::Json,
            Clock::manual(Timestamp::from_millis(1_795_409_759_007)).0,
        )
        .dropped(7);
        let read: Value = serde_json::from_str(&line).unwrap();
        assert!(
            line.ends_with('\n')
                && read["message"]
                    .as_str()
                    .unwrap()
                    .starts_with("7 log lines were dropped"),
            "{line}"
        );
        assert_eq!(
            (&read["timestamp"], &read["level"], &read["log.dropped"]),
            (&json!("2026-11-23T04:55:59.007Z"), &json!("WARN"), &json!(7))
        );
    }

    #[test]
    fn a_line_of_text_is_one_line_and_cannot_control_a_terminal() {
        let (clock, _) = Clock::manual(Timestamp::from_millis(1_795_409_759_007));
        let out = Out::default();
        let (sink, guard) = logging_to(&out, Form::Text, clock.clone());
        let long = "y".repeat(LOG_FIELD_BYTES + 1);
        tracing::info!(server.address = %"127.0.0.1:8080", file = "a b", empty = "", count = 7, yes = true, "it \"serves\"");
        tracing::error!(
            nasty = "\"\\\n\u{1b}[31m\u{7f}\u{9b}é\u{a0}",
            long,
            "a\nb\u{1b}\u{9b}"
        );
        drop(guard);
        sink.flush();
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let cut = format!("\"{}{MORE}\"", "y".repeat(LOG_FIELD_BYTES));
        assert_eq!(
            lines,
            [
                r#"2026-11-23T04:55:59.007Z  INFO it "serves" server.address=127.0.0.1:8080 file="a b" empty="" count=7 yes=true"#,
                &format!(
                    r#"2026-11-23T04:55:59.007Z ERROR a\nb\u001b\u009b nasty="\"\\\n\u001b[31m\u007f\u009bé{}" long={cut}"#,
                    '\u{a0}'
                ),
            ]
        );
        let dropped = Lines::new(Form::Text, clock).dropped(7);
        let message = "7 log lines were dropped here because the log's reader was too slow";
        assert_eq!(
            dropped,
            format!("2026-11-23T04:55:59.007Z  WARN {message} log.dropped=7\n")
        );
    }

    #[test]
    fn characters_that_reorder_split_or_hide_text_are_escaped_and_text_with_white_space_is_quoted() {
        let (clock, _) = Clock::manual(Timestamp::from_millis(1_795_409_759_007));
        let out = Out::default();
        let (sink, guard) = logging_to(&out, Form::Text, clock);
        let tag = "\u{e0041}".repeat(LOG_FIELD_BYTES);
        tracing::info!(
            bidi = "a\u{202e}b\u{2066}",
            lines = "a\u{2028}b\u{2029}",
            wide = "a\u{3000}b\u{2003}c",
            thin = "é\u{200b}",
            tag,
            "it\u{202e}"
        );
        drop(guard);
        sink.flush();
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        let tags = r"\udb40\udc41".repeat(LOG_FIELD_BYTES / 12);
        let expected = format!(
            "2026-11-23T04:55:59.007Z  INFO it\\u202e bidi=\"a\\u202eb\\u2066\" lines=\"a\\u2028b\\u2029\" wide=\"a\u{3000}b\u{2003}c\" \
             thin=\"é\\u200b\" tag=\"{tags}{MORE}\"\n"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn unseen_characters_are_those_of_unicodes_categories() {
        let all: String = ('\0'..=char::MAX).collect();
        let unseen = regex::Regex::new(r"[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]").unwrap();
        let expected: String = unseen.find_iter(&all).map(|found| found.as_str()).collect();
        assert_eq!(
            all.chars()
                .filter(|character| is_unseen(*character))
                .collect::<String>(),
            expected
        );
    }

    #[test]
    fn a_line_is_json_whatever_is_in_it() {
        let (clock, hand) = Clock::manual(Timestamp::from_millis(1_795_409_759_007));
        let out = Out::default();
        let nasty = "\"\\\n\r\t\u{1}é\u{1f600}\u{2028}\u{202e}\u{e0041}";
        let (sink, guard) = logging_to(&out, Form::Json, clock);
        tracing::info!(text = nasty, shown = %nasty, debugged = ?Some("x"), number = 7_u64, less = -7, yes = true, none = None::<&str>, "it {}", nasty);
        hand.advance(std::time::Duration::from_millis(1));
        tracing::warn!(http.status = 200, "next");
        drop(guard);
        sink.flush();
        let lines = out.lines();
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
