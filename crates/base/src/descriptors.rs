//! File descriptors. Each connection and each open blob uses one.

use rustix::io::Errno;
use std::fs::File;
use std::io;

/// Whether this error means that the process or the machine has no descriptors left.
#[must_use]
pub fn are_lacking(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| {
        [Errno::MFILE, Errno::NFILE]
            .iter()
            .any(|lacking| lacking.raw_os_error() == code)
    })
}

/// Whether no descriptor is left now.
#[must_use]
pub fn are_exhausted() -> bool {
    File::open(NOTHING).is_err_and(|error| are_lacking(&error))
}

/// A descriptor that is kept in reserve until no other is left.
#[derive(Debug, Default)]
pub struct Spare(Option<File>);

impl Spare {
    /// Opens the spare descriptor. Returns `false` if none was left. A machine without `/dev/null` has no
    /// spare.
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
