//! `wharfinger trust [FILE]`

use super::{FAILED, SUCCESS, fail, load, mistaken, say};
use crate::app::Evaluator;
use crate::clock::Clock;
use crate::control::{self, AskError, Report, TrustRequest, table};
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(super) struct Options {
    /// A configuration to evaluate without a server: the command fetches from its sources itself
    file: Option<PathBuf>,
    /// The state directory of the running server: `stateDirectory`, by default `state` in the store's folder
    #[arg(
        long,
        value_name = "FOLDER",
        env = "WHARFINGER_STATE_DIRECTORY",
        hide_env_values = true,
        conflicts_with = "file"
    )]
    state_directory: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(options: &Options) -> u8 {
    let report = match (&options.file, &options.state_directory) {
        (Some(file), _) => evaluate(file).await,
        (None, Some(folder)) => ask(folder).await,
        (None, None) => Err(fail(
            "name the running server's state directory (--state-directory or WHARFINGER_STATE_DIRECTORY), or give a configuration file",
        )),
    };
    let report = match report {
        Ok(report) => report,
        Err(code) => return code,
    };
    if options.json {
        match serde_json::to_string_pretty(&report) {
            Ok(text) => say(&text),
            Err(why) => return fail(&why.to_string()),
        }
    } else {
        say(table(&report).trim_end());
    }
    // A server that has just started may still wait for its sources. Our own report has already waited, so a
    // missing answer is a failure.
    let good = !report.is_alarming() && (options.file.is_none() || report.is_complete());
    if good { SUCCESS } else { FAILED }
}

async fn evaluate(file: &Path) -> Result<Report, u8> {
    let config = load(file)?;
    let evaluator = Evaluator::open(config, Clock::system()).map_err(|mistakes| mistaken(file, mistakes))?;
    Ok(evaluator.trust().await)
}

async fn ask(folder: &Path) -> Result<Report, u8> {
    let asked = control::ask(folder, &TrustRequest {}, |()| ()).await;
    asked.map_err(|why| match why {
        AskError::Unreachable { .. } => fail(&format!(
            "{why}; check that a server runs with this state directory, and run this command as its user"
        )),
        _ => fail(&why.to_string()),
    })
}
