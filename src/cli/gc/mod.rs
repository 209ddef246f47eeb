//! `wharfinger gc FILE`: makes one pass of the collector. If a registry has the store's folder open, it makes
//! the pass; otherwise this process does. On a bucket this process always does. It waits for the pass of another
//! process, although several collectors at once are safe.

mod table;

use super::bar::Bar;
use super::holder::Holder;
use super::{FAILED, SUCCESS, fail, interrupted, load, registry_on, say, say_error};
use crate::access::Maintenance;
use crate::app::{self, NotCollected, NotOpened, Purpose, Store};
use crate::config::{Config, StorePlace};
use crate::control::{CollectRequest, Collected};
use crate::registry::collect::{self, Phase, Reached, Report};
use crate::registry::{Error, Lease, Leased, Registry, Work};
use crate::storage::local::OpenError;
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::sleep;

#[derive(Args)]
pub(super) struct Options {
    /// The configuration, in YAML or JSON
    file: PathBuf,
    /// Change nothing, and report what a pass would do
    #[arg(long)]
    dry_run: bool,
    /// Do not wait for the pass of another process on the same bucket
    #[arg(long)]
    now: bool,
    /// How to print the report
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// A pass that did not end.
struct Cut {
    /// A message for the user.
    why: String,
    /// What the pass did until then.
    report: Box<Report>,
}

impl From<app::Cut> for Cut {
    fn from(app::Cut { why, report }: app::Cut) -> Self {
        let why = why.to_string();
        Self { why, report }
    }
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
    let stop = interrupted();
    let mut bar = Bar::new(std::io::stderr().is_terminal());
    let made = make(&config, options, stop, &mut bar).await;
    bar.end();
    let store = &config.fixed.storage;
    match made {
        Ok(report) => {
            let is_complete = report.is_complete();
            if let Err(why) = print(&report, is_complete, store, options.output) {
                return fail(&why);
            }
            if is_complete {
                return SUCCESS;
            }
            say_error(
                "error: some items in the report could not be checked or removed; `wharfinger fsck` or the log names the cause",
            );
            FAILED
        }
        Err(Cut { why, report }) => {
            // A dry run has removed nothing.
            if !options.dry_run && report.going() > 0 {
                drop(print(&report, false, store, options.output));
            }
            fail(&why)
        }
    }
}

async fn make(
    config: &Config,
    Options {
        file, dry_run, now, ..
    }: &Options,
    stop: impl Future<Output = ()>,
    bar: &mut Bar,
) -> Result<Report, Cut> {
    let fixed = &config.fixed;
    let dry_run = *dry_run;
    let mut waits = false;
    let show = |Reached { phase, done, of }| {
        if phase == Phase::Waiting && !std::mem::replace(&mut waits, true) {
            bar.clear();
            say_error("another pass is running; this one waits until it ends");
        }
        bar.show_part(phase.words(), done, of);
    };
    let failed = |why| Cut {
        why,
        report: Box::default(),
    };
    let purpose = if dry_run {
        Purpose::Reading
    } else {
        Purpose::Changing
    };
    match Store::open_existing(&fixed.storage, "gc", purpose).await {
        Ok(store) => {
            let registry = registry_on(&store, fixed);
            let options = collect::Options {
                dry_run,
                ..fixed.collecting.by_hand(config.live.rules(), false)
            };
            if let Some(folder) = store.folder().filter(|_| !dry_run) {
                folder.remove_leftovers().map_err(|why| failed(why.to_string()))?;
            }
            tokio::pin!(stop);
            // A dry run changes nothing, so it waits for nobody.
            let lease = if dry_run {
                None
            } else {
                tokio::select! {
                    lease = lease(&registry, *now) => lease.map_err(|why| failed(why.to_string()))?,
                    () = &mut stop => return Err(failed(NotCollected::Stopped.to_string())),
                }
            };
            let made = app::collect(registry, options, stop, show).await;
            if let (Some(lease), Ok(_)) = (lease, &made) {
                lease.complete().await;
            }
            store.leave().await;
            made.map_err(Cut::from)
        }
        Err(NotOpened::Folder(why @ OpenError::InUse { .. })) => {
            let holder = Holder {
                state_directory: &fixed.state_directory,
                in_use: &why,
                work: "collection",
                again: "remove the rest",
            };
            let request = CollectRequest {
                dry_run,
                settings: fixed.collecting.by_hand(config.live.rules(), false).fingerprint(),
            };
            let asked = tokio::select! {
                asked = holder.ask(&request, show) => asked.map_err(failed)?,
                () = stop => {
                    return Err(failed(format!(
                        "{}. The registry's log names the tags and manifests that this one deleted",
                        NotCollected::Stopped
                    )));
                }
            };
            let Collected {
                report,
                other_settings,
            } = asked;
            if other_settings {
                say_error(&format!(
                    "note: the registry has loaded another storage.gcDelay or storage.retention than {} has, and this pass used the registry's; a change of gcDelay needs a restart",
                    file.display()
                ));
            }
            Ok(report)
        }
        Err(why) => Err(failed(why.to_string())),
    }
}

/// Waits until no other process of a shared store makes a pass, or only says so if it should not wait.
async fn lease(registry: &Registry, now: bool) -> Result<Option<Lease>, Error> {
    let owner = Maintenance::by_the_stores_owner();
    let mut waits = false;
    loop {
        match registry.lease(&owner, Work::Collection).await? {
            Leased::Granted(lease) => return Ok(Some(lease)),
            Leased::Held { by } if now => {
                say_error(&format!("note: {by} makes a pass too; two at once are safe"));
                return Ok(None);
            }
            Leased::Held { by } => {
                if !std::mem::replace(&mut waits, true) {
                    say_error(&format!(
                        "{by} makes a pass; this one waits until it ends (--now does not wait). If that process was killed, this takes 90 seconds"
                    ));
                }
                sleep(ASK_EVERY).await;
            }
        }
    }
}

const ASK_EVERY: Duration = Duration::from_secs(2);

/// Prints the report. `is_complete` says whether everything could be checked and removed.
fn print(report: &Report, is_complete: bool, store: &StorePlace, output: Output) -> Result<(), String> {
    match output {
        Output::Text => say(&table::table(report, is_complete, store)),
        Output::Json => {
            let printed = Printed {
                complete: is_complete,
                freed_bytes: report.freed_bytes(),
                report,
            };
            let text = serde_json::to_string_pretty(&printed);
            say(&text.map_err(|why| why.to_string())?);
        }
    }
    Ok(())
}
