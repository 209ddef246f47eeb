//! Writes log lines to standard error from one thread. Other threads put their lines into a bounded queue and continue,
//! so a log reader that stops reading blocks only the log. When the queue is full, lines are dropped and counted. The
//! log reports their number when it can be written again.
//!
//! Warnings and errors are written at once, and other lines within 50 ms. Waiting lines are written before the process
//! ends.

use crate::limits::LOG_QUEUE_BYTES;
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// How long a line may wait for others, so that they are written with one system call.
const DELAY: Duration = Duration::from_millis(50);
/// Waiting lines of this many bytes are written at once.
const ENOUGH: usize = 64 << 10;
/// How long the end of the process waits for the reader of the log.
const AT_THE_END: Duration = Duration::from_secs(2);

/// A handle to the log. Clones are cheap and share the queue.
#[derive(Clone)]
pub(super) struct Sink(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    /// Notified when there is something to write, or when it becomes urgent.
    came: Condvar,
    /// Notified when everything is written.
    written: Condvar,
    /// Makes the line with the number of dropped lines.
    notice: Box<dyn Fn(u64) -> String + Send + Sync>,
}

#[derive(Default)]
struct Queue {
    lines: Vec<u8>,
    /// How many bytes the thread has taken but not written yet.
    taken: usize,
    /// Whether a waiting line is a warning or an error, or a flush waits.
    urgent: bool,
    /// Dropped lines that the log has not reported yet.
    dropped: u64,
}

impl Queue {
    const fn is_due(&self) -> bool {
        self.urgent || self.lines.len() >= ENOUGH
    }

    const fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.dropped == 0
    }
}

/// Accepts one line.
pub(super) struct Line<'a> {
    shared: &'a Shared,
    urgent: bool,
}

impl Sink {
    /// Creates a sink. `notice` makes the line with the number of dropped lines.
    pub(super) fn new(notice: impl Fn(u64) -> String + Send + Sync + 'static) -> Self {
        let queue = Mutex::default();
        let came = Condvar::new();
        let written = Condvar::new();
        Self(Arc::new(Shared {
            queue,
            came,
            written,
            notice: Box::new(notice),
        }))
    }

    /// Starts the thread that writes.
    pub(super) fn start(&self, out: impl Write + Send + 'static) -> io::Result<()> {
        let shared = self.0.clone();
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || shared.write_on(out))
            .map(drop)
    }

    /// Returns when everything is written, or after [`AT_THE_END`].
    pub(super) fn flush(&self) {
        let mut queue = self.0.queue();
        queue.urgent = true;
        self.0.came.notify_one();
        let unwritten = |queue: &mut Queue| !queue.is_empty() || queue.taken > 0;
        drop(self.0.written.wait_timeout_while(queue, AT_THE_END, unwritten));
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes lines for ever.
    fn write_on(&self, mut out: impl Write) {
        loop {
            let queue = self
                .came
                .wait_while(self.queue(), |queue| queue.is_empty())
                .unwrap_or_else(PoisonError::into_inner);
            let waited = self
                .came
                .wait_timeout_while(queue, DELAY, |queue| !queue.is_due());
            let mut queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            let lines = std::mem::take(&mut queue.lines);
            let dropped = std::mem::take(&mut queue.dropped);
            (queue.urgent, queue.taken) = (false, lines.len());
            drop(queue);
            self.write(&mut out, &lines);
            if dropped > 0 {
                // The dropped lines came after the written ones.
                self.write(&mut out, (self.notice)(dropped).as_bytes());
            }
            self.queue().taken = 0;
            self.written.notify_all();
        }
    }

    /// Writes the lines, and frees their space in the queue as the reader accepts them.
    fn write(&self, out: &mut impl Write, mut lines: &[u8]) {
        while !lines.is_empty() {
            match out.write(lines) {
                Ok(count @ 1..) => {
                    lines = lines.get(count..).unwrap_or_default();
                    let mut queue = self.queue();
                    queue.taken = queue.taken.saturating_sub(count);
                }
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                // Another process that shares the pipe may have made it non-blocking.
                Err(why) if why.kind() == ErrorKind::WouldBlock => std::thread::park_timeout(DELAY),
                Ok(_) | Err(_) => {
                    // The reader has gone. The registry continues, and only the metric can report it.
                    count_dropped(lines.iter().filter(|byte| **byte == b'\n').count() as u64);
                    return;
                }
            }
        }
        drop(out.flush());
    }
}

fn count_dropped(lines: u64) {
    metrics::counter!("wharfinger_log_lines_dropped_total").increment(lines);
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            shared: &self.0,
            urgent: false,
        }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line<'a> {
        Line {
            shared: &self.0,
            urgent: *metadata.level() <= Level::WARN,
        }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut queue = self.shared.queue();
        if queue.taken + queue.lines.len() + line.len() > LOG_QUEUE_BYTES {
            queue.dropped += 1;
            drop(queue);
            count_dropped(1);
            return Ok(line.len());
        }
        let was_empty = queue.is_empty();
        let was_due = queue.is_due();
        queue.lines.extend_from_slice(line);
        queue.urgent |= self.urgent;
        let wakes = was_empty || (queue.is_due() && !was_due);
        drop(queue);
        if wakes {
            self.shared.came.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// A writer that blocks until the test releases it.
    struct Out {
        written: Sender<String>,
        allowed: Receiver<()>,
    }

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            drop(self.written.send(String::from_utf8(bytes.to_vec()).unwrap()));
            self.allowed
                .recv()
                .map_err(|_| io::Error::from(ErrorKind::BrokenPipe))?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A sink, the bytes that its thread tries to write, and the handle that releases them.
    fn sink() -> (Sink, Receiver<String>, Sender<()>) {
        let (written, reader) = channel();
        let (allow, allowed) = channel();
        let sink = Sink::new(|count| format!("{count} dropped\n"));
        sink.start(Out { written, allowed }).unwrap();
        (sink, reader, allow)
    }

    fn line(sink: &Sink, urgent: bool, text: &str) {
        Line {
            shared: &sink.0,
            urgent,
        }
        .write_all(text.as_bytes())
        .unwrap();
    }

    #[test]
    fn urgent_and_other_lines_are_written_in_order() {
        let (sink, written, allow) = sink();
        for (urgent, text) in [(false, "a\n"), (true, "b\n"), (false, "c\n")] {
            line(&sink, urgent, text);
            assert_eq!(written.recv().unwrap(), text);
            allow.send(()).unwrap();
        }
        sink.flush();
        assert!(sink.0.queue().is_empty());
    }

    #[test]
    fn a_reader_that_stops_delays_no_writer_and_the_lost_lines_are_reported() {
        let (sink, written, allow) = sink();
        line(&sink, true, "first\n");
        assert_eq!(
            written.recv().unwrap(),
            "first\n",
            "and the reader does not take it yet"
        );
        let long = format!("{}\n", "x".repeat((LOG_QUEUE_BYTES >> 4) - 1));
        for urgent in [true, false].into_iter().cycle().take(40) {
            line(&sink, urgent, &long);
        }
        let queue = sink.0.queue();
        assert_eq!(
            (queue.lines.len(), queue.dropped),
            (15 * long.len(), 25),
            "all of that without a reader"
        );
        drop(queue);
        allow.send(()).unwrap();
        assert_eq!(written.recv().unwrap(), long.repeat(15));
        allow.send(()).unwrap();
        assert_eq!(written.recv().unwrap(), "25 dropped\n");
        allow.send(()).unwrap();
        line(&sink, true, "again\n");
        assert_eq!(written.recv().unwrap(), "again\n");
        allow.send(()).unwrap();
    }

    #[test]
    fn the_end_waits_for_pending_lines_but_not_for_ever() {
        let (sink, written, allow) = sink();
        line(&sink, false, "last\n");
        allow.send(()).unwrap();
        sink.flush();
        assert_eq!(written.try_recv().unwrap(), "last\n");
        line(&sink, false, "stuck\n");
        sink.flush();
        assert_eq!(
            written.try_recv().unwrap(),
            "stuck\n",
            "the write was tried, and flush did not wait for it"
        );
    }

    #[test]
    fn a_closed_reader_does_not_stop_the_program() {
        let (sink, written, allow) = sink();
        drop(allow);
        for text in ["a\n", "b\n"] {
            line(&sink, true, text);
            assert_eq!(written.recv().unwrap(), text);
        }
        sink.flush();
        assert_eq!(sink.0.queue().taken, 0);
    }
}
