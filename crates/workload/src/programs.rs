//! The two programs: their arguments, standard input and output, and exit codes. 0: success. 1: the program
//! ran and failed. 2: the arguments are wrong.

use super::docker::{self, Reply, Verb};
use super::install::install;
use super::{Surroundings, Workload, kubelet};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;
use wharfinger_base::clock::Clock;

/// `docker-credential-wharfinger VERB`, for docker and the clients that speak its protocol.
#[must_use]
pub fn docker_credential(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let verb = match only(arguments).as_deref() {
        Some("get") => Verb::Get,
        Some("store") => Verb::Store,
        Some("erase") => Verb::Erase,
        Some("list") => Verb::List,
        // Docker's own helpers accept the flags too.
        Some("version" | "--version" | "-v") => Verb::Version,
        other => return usage(other, HELPER_USAGE),
    };
    let reply = if verb == Verb::Version {
        docker::version()
    } else {
        run(helper(verb)).unwrap_or_else(failure)
    };
    if !reply.output.is_empty() {
        say(&reply.output);
    }
    if let Some(note) = reply.note {
        say_error(&note);
    }
    if reply.failed { FAILED } else { ExitCode::SUCCESS }
}

/// `wharfinger-credential-provider`, for the kubelet.
#[must_use]
pub fn credential_provider(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if let [_, option, folder] = &arguments[..]
        && option == "--install"
    {
        return installed(Path::new(folder));
    }
    match only(arguments).as_deref() {
        Some(NONE) => {}
        Some("--version" | "-V") => {
            say(&format!(
                "wharfinger-credential-provider {}",
                env!("CARGO_PKG_VERSION")
            ));
            return ExitCode::SUCCESS;
        }
        other => return usage(other, PROVIDER_USAGE),
    }
    match run(provider()).and_then(|response| response) {
        Ok(response) => {
            say(&response);
            ExitCode::SUCCESS
        }
        Err(why) => {
            say_error(&format!("error: {why}"));
            FAILED
        }
    }
}

fn installed(folder: &Path) -> ExitCode {
    match install(folder) {
        Ok(program) => {
            say(&format!("installed {}", program.display()));
            ExitCode::SUCCESS
        }
        Err(why) => {
            say_error(&format!("error: {why}"));
            FAILED
        }
    }
}

async fn helper(verb: Verb) -> Reply {
    // For `list`, clients write nothing and leave standard input open, so a read would wait forever.
    let input = if verb == Verb::List {
        Ok(String::new())
    } else {
        standard_input()
    };
    let input = match input {
        Ok(input) => input,
        Err(why) => return failure(why),
    };
    match Workload::find(Surroundings::of_process(), Clock::system()) {
        Ok(workload) => docker::answer(verb, &input, &workload).await,
        Err(why) => failure(why.to_string()),
    }
}

async fn provider() -> Result<String, String> {
    let clock = Clock::system();
    let request = standard_input()?;
    let workload =
        Workload::find(Surroundings::of_process(), clock.clone()).map_err(|why| why.to_string())?;
    match kubelet::answer(&request, &workload, clock.now()).await {
        Ok(response) => Ok(response.to_string()),
        Err(why) => Err(why.to_string()),
    }
}

/// Runs the future on this thread: a program that lives for milliseconds does not need a pool of threads.
fn run<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| format!("cannot start the runtime: {why}"))?;
    let done = runtime.block_on(future);
    // A task that still blocks, for example on reading a file, must not keep the process alive.
    runtime.shutdown_background();
    Ok(done)
}

/// Returns the only argument, [`NONE`] if there is none, and nothing if there are more.
fn only(arguments: impl IntoIterator<Item = OsString>) -> Option<String> {
    let mut arguments = arguments.into_iter().skip(1);
    let first = arguments
        .next()
        .map_or_else(|| NONE.to_owned(), |one| one.to_string_lossy().into_owned());
    arguments.next().is_none().then_some(first)
}

fn usage(argument: Option<&str>, usage: &str) -> ExitCode {
    if matches!(argument, Some("--help" | "-h" | "help")) {
        say(usage);
        return ExitCode::SUCCESS;
    }
    let why = match argument {
        None => "error: expected one argument at most\n\n".to_owned(),
        Some(NONE) => String::new(),
        Some(other) => format!("error: unexpected argument {}\n\n", super::printable(other)),
    };
    say_error(&format!("{why}{usage}"));
    ExitCode::from(WRONG)
}

fn failure(output: String) -> Reply {
    Reply {
        output,
        note: None,
        failed: true,
    }
}

/// Reads standard input to its end.
fn standard_input() -> Result<String, String> {
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(LARGEST_INPUT)
        .read_to_string(&mut text)
        .map_err(|why| format!("standard input cannot be read: {why}"))?;
    Ok(text)
}

/// Prints to standard output. Ignores errors: the reader may have closed the pipe.
fn say(text: &str) {
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}

fn say_error(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

const HELPER_USAGE: &str = "\
Give this workload's own token to docker, podman, skopeo, crane, helm and other clients.

Usage: docker-credential-wharfinger VERB

Verbs, as in docker's protocol for credential helpers:
  get      Print the token for the registry whose address is on standard input
  store    Do nothing: secrets are never stored
  erase    Do nothing: no secret is stored
  list     Print the registries that the settings name
  version  Print the helper's version

Example:
  echo registry.example.org | docker-credential-wharfinger get

Exit codes: 0 success, 1 there is no token or the helper failed, 2 the arguments are wrong.";

const PROVIDER_USAGE: &str = "\
Give a pod's or the node's own token to the kubelet.

Usage: wharfinger-credential-provider [--help | --version | --install FOLDER]

Reads a CredentialProviderRequest on standard input and prints a CredentialProviderResponse. Put the program
into the folder that --image-credential-provider-bin-dir of the kubelet names.

  --install FOLDER  Copy this program into the folder, or replace the one there

Example:
  wharfinger-credential-provider --install /usr/local/lib/kubelet-credential-providers

Exit codes: 0 success, 1 a token was withheld or the program failed, 2 the arguments are wrong.";

/// No argument.
const NONE: &str = "";
/// The longest request that a client may send, in bytes.
const LARGEST_INPUT: u64 = 1 << 20;
const FAILED: ExitCode = ExitCode::FAILURE;
const WRONG: u8 = 2;
