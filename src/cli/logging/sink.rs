//! Where log lines go: standard error, behind a buffer, so that a request does not pay for a system call. What matters (warnings and
//! errors, with all that came before) is written at once, the rest within a twentieth of a second, and all of it before the end.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// How long a line may wait.
const DELAY: Duration = Duration::from_millis(50);
/// How much may wait. Who brings more writes it.
const ROOM: usize = 64 << 10;

/// Cheap to clone; all clones share the buffer.
#[derive(Clone)]
pub(super) struct Sink(Arc<Shared>);

struct Shared {
    waiting: Mutex<Vec<u8>>,
    /// Told when a line comes into the empty buffer.
    came: Condvar,
    /// Locked while lines are being written, so that they stay in order. Taken before `waiting`.
    out: Mutex<Box<dyn Write + Send>>,
}

/// Takes one line.
pub(super) struct Line<'a> {
    shared: &'a Shared,
    at_once: bool,
}

impl Sink {
    pub(super) fn new(out: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Shared { waiting: Mutex::default(), came: Condvar::new(), out: Mutex::new(Box::new(out)) }))
    }

    /// Starts the thread that writes what waits.
    pub(super) fn start(&self) -> io::Result<()> {
        let shared = self.0.clone();
        std::thread::Builder::new().name("log".into()).spawn(move || shared.write_on()).map(drop)
    }

    /// Returns when everything is written.
    pub(super) fn flush(&self) {
        self.0.write();
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Vec<u8>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_on(&self) {
        loop {
            let came = self.came.wait_while(self.waiting(), |waiting| waiting.is_empty()).unwrap_or_else(PoisonError::into_inner);
            // Nobody tells it then: this is the delay.
            drop(self.came.wait_timeout_while(came, DELAY, |waiting| !waiting.is_empty()));
            self.write();
        }
    }

    fn write(&self) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = std::mem::take(&mut *self.waiting());
        // A log that cannot be written is no reason to stop, and there is nowhere to say so.
        drop(out.write_all(&lines));
        drop(out.flush());
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { shared: &self.0, at_once: false }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line<'a> {
        Line { shared: &self.0, at_once: *metadata.level() <= Level::WARN }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.shared.waiting();
        let (was_empty, full) = (waiting.is_empty(), waiting.len() + line.len() > ROOM);
        waiting.extend_from_slice(line);
        drop(waiting);
        if full || self.at_once {
            self.shared.write();
        } else if was_empty {
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

    struct Out(Sender<Vec<u8>>);

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            drop(self.0.send(bytes.to_vec()));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn sink() -> (Sink, Receiver<Vec<u8>>) {
        let (out, written) = channel();
        (Sink::new(Out(out)), written)
    }

    fn line(sink: &Sink, at_once: bool, text: &str) {
        Line { shared: &sink.0, at_once }.write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn lines_wait_until_something_matters() {
        let (sink, written) = sink();
        line(&sink, false, "a\n");
        line(&sink, false, "b\n");
        assert!(written.try_recv().is_err());
        line(&sink, true, "c\n");
        assert_eq!(written.recv().unwrap(), b"a\nb\nc\n");
        line(&sink, false, "d\n");
        sink.flush();
        assert_eq!(written.recv().unwrap(), b"d\n");
    }

    #[test]
    fn the_thread_writes_what_nobody_else_does() {
        let (sink, written) = sink();
        sink.start().unwrap();
        for text in ["a\n", "b\n"] {
            line(&sink, false, text);
            assert_eq!(written.recv().unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn the_buffer_does_not_grow_beyond_its_room() {
        let (sink, written) = sink();
        let long = "x".repeat(ROOM / 2);
        line(&sink, false, &long);
        line(&sink, false, &long);
        assert!(written.try_recv().is_err());
        line(&sink, false, "y");
        assert_eq!(written.recv().unwrap().len(), ROOM + 1);
    }
}
