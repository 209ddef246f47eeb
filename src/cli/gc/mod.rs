//! `wharfinger gc FILE`: makes one pass of the collector. If a registry serves the store, it makes the pass;
//! otherwise this process does.

mod table;

use super::bar::Bar;
use super::holder::Holder;
use super::{FAILED, SUCCESS, fail, interrupted, load, registry_on, say, say_error};
use crate::app;
use crate::config::{Config, FixedSettings};
use crate::control::CollectRequest;
use crate::registry::collect::{self, Reached, Report};
use crate::storage::local::{Local, OpenError};
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Args)]
pub(super) struct Options {
    /// The configuration, in YAML or JSON
    file: PathBuf,
    /// Change nothing, and report what a pass would do
    #[arg(long)]
    dry_run: bool,
    /// How to print the report
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// The report in JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Printed<'a> {
    complete: bool,
    freed_bytes: u64,
    #[serde(flatten)]
    report: &'a Report,
}

pub(super) async fn run(options: &Options) -> u8 {
    let config = match load(&options.file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let stopped = interrupted();
    let mut bar = Bar::new(std::io::stderr().is_terminal());
    let made = tokio::select! {
        made = make(&config, options.dry_run, &mut bar) => made,
        () = stopped => Err("interrupted before the pass was complete; the next pass removes the rest".to_owned()),
    };
    bar.end();
    match made {
        Ok(report) => print(&report, &config.fixed, options.output),
        Err(why) => fail(&why),
    }
}

async fn make(config: &Config, dry_run: bool, bar: &mut Bar) -> Result<Report, String> {
    let fixed = &config.fixed;
    let show = |Reached { phase, done, of }| bar.show_part(phase.words(), done, of);
    match Local::open_existing(&fixed.storage) {
        Ok(store) => {
            let store = Arc::new(store);
            let registry = registry_on(store.clone(), fixed);
            let options = collect::Options {
                dry_run,
                ..fixed.collecting.by_hand(config.live.rules(), false)
            };
            if !dry_run {
                store.remove_leftovers().map_err(|why| why.to_string())?;
            }
            let made = app::collect(registry, options, show).await;
            made.map_err(|why| why.to_string())
        }
        Err(why @ OpenError::InUse { .. }) => {
            let holder = Holder {
                state_directory: &fixed.state_directory,
                in_use: &why,
                work: "collection",
                again: "remove the rest",
            };
            holder.ask(&CollectRequest { dry_run }, show).await
        }
        Err(why) => Err(why.to_string()),
    }
}

fn print(report: &Report, fixed: &FixedSettings, output: Output) -> u8 {
    match output {
        Output::Text => say(&table::table(report, &fixed.storage)),
        Output::Json => {
            let printed = Printed {
                complete: report.is_complete(),
                freed_bytes: report.freed_bytes(),
                report,
            };
            match serde_json::to_string_pretty(&printed) {
                Ok(text) => say(&text),
                Err(why) => return fail(&why.to_string()),
            }
        }
    }
    if report.is_complete() {
        return SUCCESS;
    }
    say_error(
        "error: some items in the report could not be checked or removed; `wharfinger fsck` or the log names the cause",
    );
    FAILED
}
