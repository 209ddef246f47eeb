//! Docker's credential helper protocol, which podman, buildah, skopeo, crane, helm, oras, cosign, regctl and
//! others speak too: a verb as argument, a registry or a credential on standard input, an answer on standard
//! output. Clients look for errors on standard output as well, and compare some of the texts letter by
//! letter. They pass standard error on to the person at the terminal.
//!
//! <https://github.com/docker/docker-credential-helpers/blob/master/credentials/credentials.go>

use super::{Asker, Found, Handed, InvalidHost, PresentAs, RegistryHost, Withheld, Workload};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use wharfinger_base::object;

/// The verb of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    Store,
    Erase,
    List,
    Version,
}

/// The answer to a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The output for the client. It may contain the token, so it must not go elsewhere.
    pub output: String,
    /// A note for the person at the client, on standard error.
    pub note: Option<String>,
    pub failed: bool,
}

/// Answers one call.
pub async fn answer(verb: Verb, input: &str, workload: &Workload) -> Reply {
    let outcome = match verb {
        Verb::Get => get(input, workload).await,
        Verb::Store => store(input, workload).await,
        Verb::Erase => registry(input).map(|_| Reply::default()),
        Verb::List => Ok(Reply {
            output: list(workload).to_string(),
            ..Reply::default()
        }),
        Verb::Version => Ok(version()),
    };
    outcome.unwrap_or_else(|output| Reply {
        output,
        note: None,
        failed: true,
    })
}

/// Answers `version`, which needs no settings and no input.
#[must_use]
pub fn version() -> Reply {
    Reply {
        output: format!("{PROGRAM} (wharfinger) {}", env!("CARGO_PKG_VERSION")),
        ..Reply::default()
    }
}

async fn get(input: &str, workload: &Workload) -> Result<Reply, String> {
    let host = registry(input)?;
    match workload.token(&host, Asker::AnyClient).await {
        Ok(Found::Token(handed)) => Ok(Reply {
            output: credential(input, &handed).to_string(),
            ..Reply::default()
        }),
        Ok(Found::Nothing(withheld)) => Ok(Reply {
            output: NOT_FOUND.to_owned(),
            note: note(&withheld),
            failed: true,
        }),
        Err(why) => Err(format!("no token for {host}: {why}")),
    }
}

/// Returns a line for each token that was withheld.
fn note(withheld: &[Withheld]) -> Option<String> {
    let lines: Vec<_> = withheld.iter().take(LINES).map(ToString::to_string).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn credential(input: &str, handed: &Handed) -> Value {
    let username = match handed.present_as {
        PresentAs::Password => &handed.username,
        PresentAs::IdentityToken => IDENTITY_TOKEN,
    };
    json!({"ServerURL": input.trim(), "Username": username, "Secret": handed.secret.expose()})
}

/// `docker login` stores the password that it was given. A registry that gets its token from here does not
/// need it. For any other registry the password would be lost, so the login fails.
async fn store(input: &str, workload: &Workload) -> Result<Reply, String> {
    let stored: Stored = object::read(input.as_bytes())
        .map_err(|_| "expected a JSON object with ServerURL, Username and Secret".to_owned())?;
    let host = registry(&stored.server_url)?;
    if stored.username.is_empty() {
        return Err(NO_USERNAME.to_owned());
    }
    if !workload.serves(&host).await {
        return Err(format!(
            "wharfinger keeps no secrets and has no token of its own for {host}: name the registry in its settings file, or use another helper for it"
        ));
    }
    let note = format!(
        "wharfinger keeps no secrets: the password was not stored, and {host} gets this workload's own token"
    );
    Ok(Reply {
        note: Some(note),
        ..Reply::default()
    })
}

fn list(workload: &Workload) -> Value {
    let registries: Map<String, Value> = workload
        .registries()
        .into_iter()
        .map(|(host, username)| (host.to_string(), username.into()))
        .collect();
    Value::Object(registries)
}

fn registry(input: &str) -> Result<RegistryHost, String> {
    input.parse().map_err(|why| match why {
        InvalidHost::Empty => NO_SERVER.to_owned(),
        InvalidHost::Malformed => why.to_string(),
    })
}

#[derive(Deserialize)]
struct Stored {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    #[serde(rename = "Username", default)]
    username: String,
}

/// Clients compare this text, and then continue without a credential.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// Clients compare this text.
const NO_SERVER: &str = "no credentials server URL";
/// Clients compare this text.
const NO_USERNAME: &str = "no credentials username";
/// With this username clients treat the secret as an identity token.
const IDENTITY_TOKEN: &str = "<token>";
/// The program's name in `version`.
const PROGRAM: &str = "docker-credential-wharfinger";
/// A CI job may hold a token in any number of variables.
const LINES: usize = 8;
