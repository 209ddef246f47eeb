//! The commands, one file each.
//!
//! Exit codes: 0 success; 1 the command ran and failed; 2 the arguments or the configuration are wrong.

mod backup;
mod bar;
mod completion;
mod copy;
mod dev;
mod explain;
mod fsck;
mod gc;
mod holder;
mod logging;
mod login_check;
mod man;
mod probe;
mod serve;
mod trust;
mod upgrade;
mod verify;

use crate::app::{self, Store};
use crate::clock::Clock;
use crate::config::{self, Config, Environment, FixedSettings, Mistake};
use crate::registry::{Registry, Settings};
use clap::{CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// An OCI registry whose credentials are workload identities.
#[derive(Parser)]
#[command(name = "wharfinger", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the registry until SIGTERM or SIGINT
    #[command(
        after_help = "Example:\n  wharfinger serve /etc/wharfinger/config.yaml\n\nSIGHUP reloads the configuration, TLS files and keys. Changed files are also reloaded without it."
    )]
    Serve(serve::Options),
    /// Check a configuration and the files it names, and report all mistakes and warnings
    #[command(
        after_help = "Examples:\n  wharfinger verify config.yaml && systemctl restart wharfinger\n  wharfinger verify --strict config.yaml\n\nExit codes: 0 `serve` would start with this file, 1 `serve` would start but --strict was given and there are warnings, 2 `serve` would not start."
    )]
    Verify(verify::Options),
    /// Show which issuers and trust domains are trusted, the age of their keys, and failed sources
    #[command(
        after_help = "Examples:\n  wharfinger trust --state-directory /var/lib/wharfinger/state\n  wharfinger trust config.yaml --json\n\nExit codes: 0 the registry has keys for every trusted issuer and trust domain, 1 keys are missing for at least one, 2 the arguments or the configuration are wrong."
    )]
    Trust(trust::Options),
    /// Check every record, reference and byte of a store. No registry may use it, unless it is a bucket
    #[command(
        after_help = "Examples:\n  wharfinger fsck /etc/wharfinger/config.yaml\n  wharfinger fsck --mark /etc/wharfinger/config.yaml\n\nDamage means that acknowledged content is lost, may be lost, or cannot be read now. A leftover only costs space or one more push.\n\nExit codes: 0 no damage, 1 damage was found or the check failed, 2 the configuration is wrong."
    )]
    Fsck {
        /// The configuration, in YAML or JSON
        file: PathBuf,
        /// Print one JSON object per line: each finding, then the summary
        #[arg(long)]
        json: bool,
        /// Mark damaged blobs, so that the registry reports them as missing and clients push them again. Clear
        /// the mark of each blob whose bytes are good
        #[arg(long)]
        mark: bool,
    },
    /// Remove what nothing needs any more, once, even while a registry serves the store
    #[command(
        after_help = "Examples:\n  wharfinger gc --dry-run /etc/wharfinger/config.yaml\n  wharfinger gc /etc/wharfinger/config.yaml\n  wharfinger gc --output json /etc/wharfinger/config.yaml\n\nA running registry makes the pass itself, at the pace of its configuration. The command finds it through FILE. Without a registry, or on a bucket, the command makes the pass.\nIf it is interrupted, nothing is lost: the next pass removes the rest. The report is described in docs/reference/gc.md.\n\nExit codes: 0 the pass is complete, 1 some items could not be checked or removed, or the pass failed, 2 the configuration is wrong."
    )]
    Gc(gc::Options),
    /// Copy a store in a folder, even while a registry serves it. A registry can start on the copy
    #[command(
        after_help = "Examples:\n  wharfinger backup /etc/wharfinger/config.yaml /backup/wharfinger\n  wharfinger backup /etc/wharfinger/config.yaml /var/lib/wharfinger-backup --hard-link\n\nA running registry makes the copy itself. The command finds it through FILE, and the registry's user must be able to write to TO.\nIf a run is interrupted, run the same command again to continue. The copy does not include the state directory or the configuration. A bucket cannot be copied this way.\n\nExit codes: 0 the backup is complete, 1 it is incomplete or the store itself is damaged, 2 the configuration is wrong."
    )]
    Backup(backup::Options),
    /// Copy a store in a folder into an empty bucket. No registry may use either of them meanwhile
    #[command(
        after_help = "Example:\n  wharfinger copy /etc/wharfinger/folder.yaml /etc/wharfinger/bucket.yaml\n\nFROM and TO are configurations as `serve` reads them. Stop the registry on FROM first. If a run is interrupted, run the same command again to continue. A registry refuses a bucket whose copy is unfinished.\nUploads under way are not copied. The bytes of each blob are checked by their digest. A line with `damage:` names a blob that is damaged in FROM, and the copy goes on without it.\n\nExit codes: 0 the copy is complete, 1 it is incomplete, or complete but the store in FROM is damaged, 2 the arguments or a configuration are wrong."
    )]
    Copy(copy::Options),
    /// Find out by trying what an object store can do, and whether replicas may share it
    #[command(
        after_help = "Examples:\n  wharfinger probe /etc/wharfinger/config.yaml\n  wharfinger probe config.yaml --endpoint https://s3-b.example.org --output json\n\nIt writes small objects below probe/ and removes them. Registries may use the bucket meanwhile. docs/reference/stores.md explains the report.\n\nExit codes: 0 the store is fit for the configuration, 1 it is not or could not be probed, 2 the configuration is wrong."
    )]
    Probe(probe::Options),
    /// Let replicas write a bucket in the newest format. Only when no older version uses the bucket
    #[command(
        after_help = "Example:\n  wharfinger upgrade /etc/wharfinger/config.yaml\n\nRegistries of this version may use the bucket meanwhile. Older versions cannot use it afterwards. A store in a folder needs no command: `wharfinger serve` converts it when it starts.\n\nExit codes: 0 the store has the newest format, 1 it was not upgraded, 2 the configuration is wrong."
    )]
    Upgrade {
        /// The configuration, in YAML or JSON
        file: PathBuf,
    },
    /// Try the registry: serve it with a temporary trust domain, then push and pull an image
    #[command(
        after_help = "Examples:\n  wharfinger dev\n  wharfinger dev --folder /tmp/registry --port 0 --once"
    )]
    Dev(dev::Options),
    /// Show which identity a credential has under a configuration, or why it is rejected
    #[command(
        after_help = "Examples:\n  wharfinger explain config.yaml --token-file token\n  wharfinger explain config.yaml --cert svid.pem --repository team/app --action create\n\nThe command fetches keys from the sources in the file, so it needs the same network access as the registry.\nExit codes: 0 the credential is accepted (and may do ACTION), 1 it is rejected or may not do ACTION, 2 the arguments or the configuration are wrong."
    )]
    Explain(explain::Options),
    /// Log in to a running registry in each way that clients use, and show what to fix
    #[command(
        after_help = "Examples:\n  wharfinger login-check registry.example.org\n  wharfinger login-check localhost:5000 --ca ca.pem --token-file token --cert svid.pem --key svid.key --repository team/app\n\nNo secret is printed. Exit codes: 0 all is well, 1 something needs to be fixed, 2 the arguments are wrong."
    )]
    LoginCheck(login_check::Options),
    /// Print a completion script for a shell
    #[command(
        after_help = "Examples:\n  wharfinger completion bash > /etc/bash_completion.d/wharfinger\n  wharfinger completion zsh > \"${fpath[1]}/_wharfinger\"\n  wharfinger completion fish > ~/.config/fish/completions/wharfinger.fish"
    )]
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write a manual page for each command
    #[command(after_help = "Example:\n  wharfinger man /usr/local/share/man/man1")]
    Man {
        /// The folder for the pages. It is created if it does not exist
        folder: PathBuf,
    },
}

const EXAMPLES: &str = "Examples:
  wharfinger dev                                        try a registry, with a real push and pull
  wharfinger verify config.yaml                         show every mistake in a configuration
  wharfinger serve config.yaml                          run the registry
  wharfinger explain config.yaml --token-file token     show why a token is rejected
  wharfinger login-check registry.example.org           show why a client cannot log in

Exit codes: 0 success, 1 the command ran and failed, 2 the arguments or the configuration are wrong.";

/// The commands and their options, from which the reference, the completions and the manual pages are made.
#[must_use]
pub fn definition() -> clap::Command {
    Arguments::command()
}

/// Runs the command line and returns the exit code.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments.command,
        Err(why) => {
            let code = if why.use_stderr() { WRONG } else { SUCCESS };
            drop(why.print());
            return ExitCode::from(code);
        }
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(why) => return ExitCode::from(fail(&format!("cannot start the runtime's threads: {why}"))),
    };
    let code = runtime.block_on(async {
        match command {
            Command::Serve(options) => serve::run(&options).await,
            Command::Verify(options) => verify::run(&options),
            Command::Trust(options) => trust::run(&options).await,
            Command::Fsck { file, json, mark } => fsck::run(&file, json, mark).await,
            Command::Gc(options) => gc::run(&options).await,
            Command::Backup(options) => backup::run(&options).await,
            Command::Copy(options) => copy::run(&options).await,
            Command::Probe(options) => probe::run(&options).await,
            Command::Upgrade { file } => upgrade::run(&file).await,
            Command::Dev(options) => dev::run(&options).await,
            Command::Explain(options) => explain::run(options).await,
            Command::LoginCheck(options) => login_check::run(options).await,
            Command::Completion { shell } => completion::run(shell),
            Command::Man { folder } => man::run(&folder),
        }
    });
    // A task that still blocks, for example on reading a file, must not keep the process alive.
    runtime.shutdown_background();
    logging::flush();
    ExitCode::from(code)
}

/// Reads a configuration for a command that does not serve. Prints every mistake, including those in the files
/// that it names.
fn load(file: &Path) -> Result<Config, u8> {
    load_to_serve(file, true)
}

/// The registry core on a store that this command opened.
fn registry_on(store: &Store, fixed: &FixedSettings) -> Registry {
    store.registry(Settings {
        sparse: fixed.sparse.clone(),
        unchecked_descriptors: fixed.unchecked_descriptors.clone(),
        grace: Some(fixed.collecting.delay),
        shared: fixed.storage.may_overlap(),
        scratch: Some(fixed.state_directory.clone()),
        ..Settings::default()
    })
}

/// Parses `WHARFINGER_OPEN`. An empty value means no, because templates leave an unset variable empty.
fn yes_or_no(text: &str) -> Result<bool, &'static str> {
    match text.trim().to_ascii_lowercase().as_str() {
        "" | "0" | "f" | "false" | "n" | "no" | "off" => Ok(false),
        "1" | "t" | "true" | "y" | "yes" | "on" => Ok(true),
        _ => Err("the environment variable WHARFINGER_OPEN must be 1, 0 or unset"),
    }
}

/// Reads a configuration to serve. `open` is the operator's permission to serve a file that admits strangers.
fn load_to_serve(file: &Path, open: bool) -> Result<Config, u8> {
    config::load(
        file,
        Environment {
            open,
            ..Environment::of_process()
        },
        |draft| app::check(draft, &Clock::system()).err().unwrap_or_default(),
    )
    .map_err(|why| {
        say_error(&why.to_string());
        WRONG
    })
}

fn mistaken(file: &Path, mistakes: Vec<Mistake>) -> u8 {
    say_error(
        &config::Invalid {
            file: file.to_owned(),
            mistakes,
        }
        .to_string(),
    );
    WRONG
}

fn fail(why: &str) -> u8 {
    say_error(&format!("error: {why}"));
    FAILED
}

/// Prints to standard output. Ignores errors: the reader may have closed the pipe.
fn say(text: &str) {
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}

fn say_error(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

/// Resolves at SIGTERM or SIGINT. A second signal ends the process at once. Signals are caught from this call
/// on, even before the future is polled.
fn interrupted() -> impl Future<Output = ()> {
    let signals = Signals::catch();
    async {
        let Ok(mut signals) = signals else {
            return std::future::pending().await;
        };
        signals.next().await;
        tokio::spawn(async move {
            signals.next().await;
            tracing::warn!("a second signal ended the process at once and cut off running requests");
            logging::flush();
            std::process::exit(FAILED.into());
        });
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

const SUCCESS: u8 = 0;
const FAILED: u8 = 1;
const WRONG: u8 = 2;
