//! File descriptors, which each connection and each open blob takes one of.

use rustix::io::Errno;
use std::fs::File;
use std::io;

/// Whether this failed because the process, or the machine, has no descriptors left.
#[must_use]
pub fn are_lacking(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| {
        [Errno::MFILE, Errno::NFILE]
            .iter()
            .any(|lacking| lacking.raw_os_error() == code)
    })
}

/// Whether there is none now.
#[must_use]
pub fn are_exhausted() -> bool {
    File::open(NOTHING).is_err_and(|error| are_lacking(&error))
}

/// One that is kept for the moment when there is no other.
#[derive(Debug, Default)]
pub struct Spare(Option<File>);

impl Spare {
    /// Says whether there was one for it. A machine without `/dev/null` has to do without it.
    pub fn keep(&mut self) -> bool {
        if self.0.is_some() {
            return true;
        }
        match File::open(NOTHING) {
            Ok(file) => {
                self.0 = Some(file);
                true
            }
            Err(error) => !are_lacking(&error),
        }
    }

    pub fn give(&mut self) {
        self.0 = None;
    }
}

const NOTHING: &str = "/dev/null";
