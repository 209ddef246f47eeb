//! `wharfinger docker-credential VERB`, and the same as `docker-credential-wharfinger VERB`.

use super::{FAILED, SUCCESS, say, say_error, standard_input};
use crate::clock::Clock;
use crate::workload::docker::{self, Reply, Verb};
use crate::workload::{Surroundings, Workload};
use clap::ValueEnum;

/// The operation that a client requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Wanted {
    /// Print the token for the registry whose address is on standard input
    Get,
    /// Do nothing: secrets are never stored
    Store,
    /// Do nothing: no secret is stored
    Erase,
    /// Print the registries that the settings name
    List,
    /// Print the helper's version
    Version,
}

pub(super) async fn run(wanted: Wanted) -> u8 {
    let verb = match wanted {
        Wanted::Get => Verb::Get,
        Wanted::Store => Verb::Store,
        Wanted::Erase => Verb::Erase,
        Wanted::List => Verb::List,
        Wanted::Version => Verb::Version,
    };
    let reply = if verb == Verb::Version {
        docker::version()
    } else {
        answer(verb).await
    };
    if !reply.output.is_empty() {
        say(&reply.output);
    }
    if let Some(note) = reply.note {
        say_error(&note);
    }
    if reply.failed { FAILED } else { SUCCESS }
}

async fn answer(verb: Verb) -> Reply {
    // For `list`, clients write nothing and leave standard input open, so a read would wait forever.
    let input = if verb == Verb::List {
        Ok(String::new())
    } else {
        standard_input()
    };
    match (input, Workload::find(Surroundings::of_process(), Clock::system())) {
        (Ok(input), Ok(workload)) => docker::answer(verb, &input, &workload).await,
        (Err(why), _) => Reply {
            output: why.to_string(),
            note: None,
            failed: true,
        },
        (_, Err(why)) => Reply {
            output: why.to_string(),
            note: None,
            failed: true,
        },
    }
}
