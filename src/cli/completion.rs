//! `wharfinger completion SHELL`: what a shell needs to complete commands and options.

use super::{SUCCESS, definition};
use clap_complete::{Shell, generate};
use std::io::Write;

pub(super) fn run(shell: Shell) -> u8 {
    let mut script = Vec::new();
    generate(shell, &mut definition(), "wharfinger", &mut script);
    // A closed pipe is not an error.
    drop(std::io::stdout().lock().write_all(&script));
    SUCCESS
}
