//! `wharfinger verify FILE`

use super::{FAILED, SUCCESS, load_to_serve, mistaken, say, say_error, yes_or_no};
use crate::app;
use crate::clock::Clock;
use crate::config::{Mistake, StorePlace};
use crate::storage::local::{self, OpenError};
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(super) struct Options {
    /// The configuration, in YAML or JSON
    file: PathBuf,
    /// Exit with 1 if there are warnings, for example in CI
    #[arg(long)]
    strict: bool,
    /// Check the file for `serve --open`
    #[arg(long, env = "WHARFINGER_OPEN", hide_env_values = true, value_parser = yes_or_no)]
    open: bool,
}

pub(super) fn run(options: &Options) -> u8 {
    let Options { file, strict, open } = options;
    let config = match load_to_serve(file, *open) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let place = config.fixed.storage.clone();
    let checked = app::check(config, &Clock::system());
    let app::Checked { warnings, notes } = match checked {
        Ok(found) => found,
        Err(mistakes) => return mistaken(file, mistakes),
    };
    if let StorePlace::Folder(folder) = &place
        && let Err(mistake) = inspect(folder)
    {
        return mistaken(file, vec![mistake]);
    }
    for note in &notes {
        say_error(&format!("note: {note}"));
    }
    for warning in &warnings {
        say_error(&format!("warning: {warning}"));
    }
    let count = match warnings.len() {
        0 => String::new(),
        1 => ", with 1 warning".to_owned(),
        count => format!(", with {count} warnings"),
    };
    if *strict && !warnings.is_empty() {
        say_error(&format!(
            "{}: `serve` would start{count}; --strict makes warnings an error",
            file.display()
        ));
        return FAILED;
    }
    say(&format!("{}: good{count}", file.display()));
    SUCCESS
}

/// Checks whether `serve` could open the store in this folder. Prints what it would convert.
fn inspect(folder: &Path) -> Result<(), Mistake> {
    let mistake = |why: String| Mistake::new("storage.rootDirectory", why);
    local::room_to_convert(folder).map_err(|why| mistake(why.to_string()))?;
    match local::inspect(folder) {
        Err(why @ (OpenError::Older { .. } | OpenError::Unfinished { .. })) => {
            say_error(&format!("note: storage.rootDirectory: {why}"));
            Ok(())
        }
        Err(
            why @ (OpenError::Newer { .. }
            | OpenError::UnknownFormat { .. }
            | OpenError::UnfinishedBackup { .. }),
        ) => Err(mistake(why.to_string())),
        // The user who verifies the file may lack permission to read the store.
        Ok(()) | Err(_) => Ok(()),
    }
}
