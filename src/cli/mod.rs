//! The commands, one file each.
//!
//! The binary is also called by two other names, by which it is one command: `docker-credential-wharfinger`
//! and `wharfinger-credential-provider`.
//!
//! Exit codes: 0 success; 1 it ran and failed; 2 the arguments or the configuration are wrong.

mod backup;
mod bar;
mod completion;
mod credential_provider;
mod dev;
mod docker_credential;
mod explain;
mod fsck;
mod logging;
mod login_check;
mod man;
mod serve;
mod trust;
mod verify;

use crate::app;
use crate::clock::Clock;
use crate::config::{self, Config, Environment, Mistake};
use clap::{CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::io::{Read, Write};
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
    /// Serve the registry that a configuration file describes, until SIGTERM or SIGINT
    #[command(
        after_help = "Example:\n  wharfinger serve /etc/wharfinger/config.yaml\n\nSIGHUP has the configuration, TLS and key files read again; they are also watched."
    )]
    Serve(serve::Options),
    /// Do everything that serving would do short of listening, and report every mistake and every warning
    #[command(
        after_help = "Examples:\n  wharfinger verify config.yaml && systemctl restart wharfinger\n  wharfinger verify --strict config.yaml\n\nExit codes: 0 `serve` would start with this file, 1 it would, but there are warnings and --strict was given, 2 it would not."
    )]
    Verify(verify::Options),
    /// Say whom a running server, or a configuration, trusts: keys, their age, and what went wrong
    #[command(
        after_help = "Examples:\n  wharfinger trust --state-directory /var/lib/wharfinger/state\n  wharfinger trust config.yaml --json\n\nExit codes: 0 everyone who is trusted can be verified, 1 somebody cannot, 2 wrong arguments or configuration."
    )]
    Trust(trust::Options),
    /// Check every record, every reference and every byte of a store that is not in use
    #[command(
        after_help = "Examples:\n  wharfinger fsck /etc/wharfinger/config.yaml\n  wharfinger fsck --mark /etc/wharfinger/config.yaml\n\nDamage is what was acknowledged and is lost, could be, or cannot be read now. A leftover costs space, or one more push, and nothing else.\n\nExit codes: 0 no damage, 1 damage or the check could not be made, 2 the configuration is wrong."
    )]
    Fsck {
        /// The configuration, in YAML or JSON
        file: PathBuf,
        /// A JSON object a line: each finding, then the summary
        #[arg(long)]
        json: bool,
        /// Mark the blobs whose bytes are damaged: clients that push are told that they are not here, so that
        /// they send them again. Clear the marks of those whose bytes are good
        #[arg(long)]
        mark: bool,
    },
    /// Copy the store, while a registry serves it or not, to a folder that a registry can be started on
    #[command(
        after_help = "Examples:\n  wharfinger backup /etc/wharfinger/config.yaml /backup/wharfinger\n  wharfinger backup /etc/wharfinger/config.yaml /var/lib/wharfinger-backup --hard-link\n\nA running registry makes the copy itself: FILE says where it can be asked, and its user must be able to write TO. A run that was stopped\ngoes on where it was when the command is given again. The state directory, and the configuration, are not in the copy.\n\nExit codes: 0 the backup is complete, 1 it is not, or the store itself has lost something, 2 the configuration is wrong."
    )]
    Backup(backup::Options),
    /// Serve a registry with a throw-away trust domain, and push and pull through it once. For trials only
    #[command(
        after_help = "Examples:\n  wharfinger dev\n  wharfinger dev --folder /tmp/registry --port 0 --once"
    )]
    Dev(dev::Options),
    /// Say why a credential is somebody or nobody, and what it may do, by the word of a configuration file
    #[command(
        after_help = "Examples:\n  wharfinger explain config.yaml --token-file token\n  wharfinger explain config.yaml --cert svid.pem --repository team/app --action create\n\nIt verifies with the sources that the file names, so it needs what the registry needs to reach them.\nExit codes: 0 it is somebody (and may do ACTION), 1 it is not, 2 wrong arguments or configuration."
    )]
    Explain(explain::Options),
    /// Try every way in that clients know against a running registry, and say what to change
    #[command(
        after_help = "Examples:\n  wharfinger login-check registry.example.org\n  wharfinger login-check localhost:5000 --ca ca.pem --token-file token --cert svid.pem --key svid.key --repository team/app\n\nNo secret is printed. Exit codes: 0 nothing is to be changed, 1 something is, 2 wrong arguments."
    )]
    LoginCheck(login_check::Options),
    /// Hand this workload's token to docker, podman, skopeo, crane, helm and others, as their credential
    /// helper
    #[command(
        after_help = "Clients run it as docker-credential-wharfinger: put the binary, or a link to it, on the PATH under this name.\n\nExample:\n  echo registry.example.org | wharfinger docker-credential get"
    )]
    DockerCredential {
        /// What the client wants
        verb: docker_credential::Wanted,
    },
    /// Hand a pod's or the node's token to the kubelet, as its image credential provider
    #[command(
        after_help = "The kubelet runs it as wharfinger-credential-provider: put the binary, or a link to it, into --image-credential-provider-bin-dir under this name."
    )]
    CredentialProvider,
    /// Print the completions of a shell
    #[command(
        after_help = "Examples:\n  wharfinger completion bash > /etc/bash_completion.d/wharfinger\n  wharfinger completion zsh > \"${fpath[1]}/_wharfinger\"\n  wharfinger completion fish > ~/.config/fish/completions/wharfinger.fish"
    )]
    Completion {
        /// The shell that reads them
        shell: clap_complete::Shell,
    },
    /// Write the manual pages, one for each command
    #[command(after_help = "Example:\n  wharfinger man /usr/local/share/man/man1")]
    Man {
        /// The folder to write them to. It is created if it does not exist
        folder: PathBuf,
    },
}

const EXAMPLES: &str = "Examples:
  wharfinger dev                   try it: a registry of its own, with a real push and pull
  wharfinger verify config.yaml    every mistake of a configuration at once
  wharfinger serve config.yaml     serve
  wharfinger explain config.yaml --token-file token     why a token is refused
  wharfinger login-check registry.example.org           what clients meet

Exit codes: 0 success, 1 it ran and failed, 2 wrong arguments or configuration.";

/// The commands and their options, from which the reference, the completions and the manual pages are made.
#[must_use]
pub fn definition() -> clap::Command {
    Arguments::command()
}

/// Runs the command line and says how it went.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = match Arguments::try_parse_from(by_name(arguments)) {
        Ok(arguments) => arguments.command,
        Err(why) => {
            let code = if why.use_stderr() { WRONG } else { SUCCESS };
            drop(why.print());
            return ExitCode::from(code);
        }
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(why) => return ExitCode::from(fail(&format!("no threads could be started: {why}"))),
    };
    let code = runtime.block_on(async {
        match command {
            Command::Serve(options) => serve::run(&options).await,
            Command::Verify(options) => verify::run(&options),
            Command::Trust(options) => trust::run(&options).await,
            Command::Fsck { file, json, mark } => fsck::run(&file, json, mark).await,
            Command::Backup(options) => backup::run(&options).await,
            Command::Dev(options) => dev::run(&options).await,
            Command::Explain(options) => explain::run(options).await,
            Command::LoginCheck(options) => login_check::run(options).await,
            Command::DockerCredential { verb } => docker_credential::run(verb).await,
            Command::CredentialProvider => credential_provider::run().await,
            Command::Completion { shell } => completion::run(shell),
            Command::Man { folder } => man::run(&folder),
        }
    });
    // Whatever still blocks (a read of a file, say) must not keep the process.
    runtime.shutdown_background();
    logging::flush();
    ExitCode::from(code)
}

/// The same arguments with the command in front that the program's name stands for.
fn by_name(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let name = arguments
        .first()
        .and_then(|path| Path::new(path).file_name())
        .and_then(|name| name.to_str());
    let command = NAMES
        .iter()
        .find(|(other, _)| name == Some(*other))
        .map(|(_, command)| *command);
    if let Some(command) = command {
        arguments.insert(1, command.into());
        // As docker's own helpers answer them.
        if let Some(flag) = arguments
            .get_mut(2)
            .filter(|flag| command == DOCKER_CREDENTIAL && (*flag == "--version" || *flag == "-v"))
        {
            *flag = "version".into();
        }
    }
    arguments
}

/// All of it.
fn standard_input() -> std::io::Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(LARGEST_INPUT)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// Reads a configuration that is not served, and tells every mistake, those in the files that it names too.
fn load(file: &Path) -> Result<Config, u8> {
    load_to_serve(file, true)
}

/// The value of `WHARFINGER_OPEN`. Empty, as a template leaves a variable that is not set, it says nothing.
fn yes_or_no(text: &str) -> Result<bool, &'static str> {
    match text.trim().to_ascii_lowercase().as_str() {
        "" | "0" | "f" | "false" | "n" | "no" | "off" => Ok(false),
        "1" | "t" | "true" | "y" | "yes" | "on" => Ok(true),
        _ => Err("the environment variable WHARFINGER_OPEN must be 1 or 0, or not be set"),
    }
}

/// The same of one that is served, by an operator who says whether strangers are to be let in.
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

/// To standard output. A reader that has gone is no reason to stop.
fn say(text: &str) {
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}

fn say_error(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

/// Resolves at SIGTERM or SIGINT, and a second one ends the process at once. They are caught from this call
/// on, not only once somebody waits.
fn interrupted() -> impl Future<Output = ()> {
    let signals = Signals::catch();
    async {
        let Ok(mut signals) = signals else {
            return std::future::pending().await;
        };
        signals.next().await;
        tokio::spawn(async move {
            signals.next().await;
            tracing::warn!("ended at once by a second signal; requests that were running are cut off");
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

/// Other names of the binary, and the command that each stands for.
const NAMES: [(&str, &str); 2] = [
    ("docker-credential-wharfinger", DOCKER_CREDENTIAL),
    ("wharfinger-credential-provider", "credential-provider"),
];
const DOCKER_CREDENTIAL: &str = "docker-credential";
/// No request of a client is longer, in bytes.
const LARGEST_INPUT: u64 = 1 << 20;
const SUCCESS: u8 = 0;
const FAILED: u8 = 1;
const WRONG: u8 = 2;
