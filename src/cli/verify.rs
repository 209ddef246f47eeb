//! `wharfinger verify FILE`

use super::{SUCCESS, load, mistaken, say, say_error};
use crate::app;
use crate::clock::Clock;
use std::path::Path;

pub(super) fn run(file: &Path) -> u8 {
    let config = match load(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    for warning in &config.warnings {
        say_error(&format!("warning: {warning}"));
    }
    match app::check(config, &Clock::system()) {
        Ok(()) => {
            say(&format!("{}: good", file.display()));
            SUCCESS
        }
        Err(mistakes) => mistaken(file, mistakes),
    }
}
