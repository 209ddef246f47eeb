//! `wharfinger verify FILE`

use super::{FAILED, SUCCESS, load_to_serve, mistaken, say, say_error};
use crate::app;
use crate::clock::Clock;
use clap::Args;
use clap::builder::BoolishValueParser;
use std::path::PathBuf;

#[derive(Args)]
pub(super) struct Options {
    /// The configuration, in YAML or JSON
    file: PathBuf,
    /// End with 1 if there are warnings, as a check before a change is merged
    #[arg(long)]
    strict: bool,
    /// Verify the file for `serve --open`
    #[arg(long, env = "WHARFINGER_OPEN", hide_env_values = true, value_parser = BoolishValueParser::new())]
    open: bool,
}

pub(super) fn run(options: &Options) -> u8 {
    let Options { file, strict, open } = options;
    let checked = load_to_serve(file, *open).map(|config| app::check(config, &Clock::system()));
    let app::Checked { warnings, notes } = match checked {
        Ok(Ok(found)) => found,
        Ok(Err(mistakes)) => return mistaken(file, mistakes),
        Err(code) => return code,
    };
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
        say_error(&format!("{}: `serve` would start{count}, which --strict does not allow", file.display()));
        return FAILED;
    }
    say(&format!("{}: good{count}", file.display()));
    SUCCESS
}
