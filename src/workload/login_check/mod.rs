//! Tries every way in that a client knows, against a running registry, and says of each what a client would meet and what to change.
//!
//! `probe` asks, `judge` says what the answers mean, as pure functions with a table of tests, and `line` is what people read.

mod challenge;
mod judge;
mod line;
mod probe;

pub use line::{Line, Verdict};
pub use probe::{InvalidProbe, Probe};

use super::RegistryHost;
use crate::oci::RepositoryName;
use crate::secret::Secret;
use challenge::Challenge;
use judge::Grant;
use probe::{Ask, Outcome};

/// What to try it with. Whatever is missing is skipped, and said to be.
#[derive(Debug, Default)]
pub struct Credentials {
    pub token: Option<Secret>,
    /// The client of the [`Probe`] has a certificate.
    pub certificate: bool,
}

/// Tries everything and tells each line as soon as it is known. Whether nothing was found to change.
pub async fn check(
    host: &RegistryHost,
    probe: &Probe,
    credentials: &Credentials,
    repository: Option<&RepositoryName>,
    mut tell: impl FnMut(&Line),
) -> bool {
    let mut good = true;
    let mut say = |line: Line| {
        good &= line.verdict != Verdict::Bad;
        tell(&line);
    };
    let ping = match probe.ask(Ask::get(probe.url("/v2/"))).await {
        Ok(ping) => ping,
        Err(why) => {
            say(judge::unreachable(host, &why));
            return false;
        }
    };
    let (challenge, lines) = judge::ping(&ping, &probe.origin());
    lines.into_iter().for_each(&mut say);
    let distrusted = challenge.as_ref().and_then(|challenge| challenge.distrusted_by(&probe.origin()));
    let endpoint = challenge.as_ref().filter(|_| distrusted.is_none());
    if let Some(why) = distrusted.filter(|_| credentials.token.is_some() || credentials.certificate) {
        say(Line::skipped("token and certificate at the token endpoint", why));
    }
    match &credentials.token {
        Some(token) => with_token(probe, token, endpoint, &mut say).await,
        None => say(Line::skipped(
            "every way in with a token",
            "no token: give --token-file, or run this where the credential helper finds one",
        )),
    }
    if credentials.certificate {
        with_certificate(probe, endpoint, &mut say).await;
    } else {
        say(Line::skipped("a client certificate alone", "no certificate: give --cert and --key"));
    }
    if let Some(repository) = repository {
        let path = format!("/v2/{repository}/tags/list");
        let anonymous = probe.ask(Ask::get(probe.url(&path))).await;
        say(judge::public(repository, &anonymous));
        if let Some(challenge) = &challenge {
            let scope = format!("repository:{repository}:pull");
            let outcome = probe.ask(Ask::get(challenge.token_url(&[("scope", &scope)]))).await;
            say(judge::anonymous(&outcome, &anonymous));
        }
        let ask = Ask::get(probe.url(&path));
        let outcome = match &credentials.token {
            Some(token) => probe.ask(ask.bearer(token.expose())).await,
            None if credentials.certificate => probe.ask(ask.with_certificate()).await,
            None => return good,
        };
        say(judge::readable(repository, &outcome));
    }
    good
}

async fn with_token(probe: &Probe, token: &Secret, challenge: Option<&Challenge>, say: &mut impl FnMut(Line)) {
    let direct = probe.ask(Ask::get(probe.url("/v2/")).bearer(token.expose())).await;
    let in_at_all = matches!(&direct, Ok(answer) if answer.status == 200);
    say(judge::direct("the token as bearer token", "Flux, crane and docker with registrytoken, skopeo --registry-token", &direct));
    let basic = probe.ask(Ask::get(probe.url("/v2/")).basic(USER, token.expose())).await;
    say(judge::direct("the token as password, without the token endpoint", "clients that were told Basic", &basic));
    let Some(challenge) = challenge else { return };
    let docker = [("account", USER), ("client_id", "docker"), ("offline_token", "true")];
    let outcome = probe.ask(Ask::get(challenge.token_url(&docker)).basic(USER, token.expose())).await;
    say(issued(probe, judge::GET_WITH_PASSWORD, outcome).await);
    let form = |grant: &'static str, extra: &[(&'static str, &str)]| {
        let mut form =
            vec![("grant_type", grant.to_owned()), ("service", challenge.service().to_owned()), ("client_id", "wharfinger".to_owned())];
        form.extend(extra.iter().map(|(name, value)| (*name, (*value).to_owned())));
        Ask::post(challenge.token_url(&[]), form)
    };
    let secret = token.expose();
    for (grant, ask) in [
        (judge::PASSWORD, form("password", &[("username", USER), ("password", secret)])),
        (judge::IDENTITY_TOKEN, form("refresh_token", &[("refresh_token", secret)])),
        (
            judge::EXCHANGE,
            form(
                "urn:ietf:params:oauth:grant-type:token-exchange",
                &[("subject_token", secret), ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt")],
            ),
        ),
    ] {
        let outcome = probe.ask(ask).await;
        say(issued(probe, grant, outcome).await);
    }
    if in_at_all {
        say(judge::whoami(&probe.ask(Ask::get(probe.url(WHOAMI)).bearer(secret)).await));
    }
}

async fn with_certificate(probe: &Probe, challenge: Option<&Challenge>, say: &mut impl FnMut(Line)) {
    let outcome = probe.ask(Ask::get(probe.url("/v2/")).with_certificate()).await;
    say(judge::direct("the client certificate alone", "docker, podman, skopeo, containerd, helm, regctl, cosign", &outcome));
    if let Some(challenge) = challenge {
        let get = probe.ask(Ask::get(challenge.token_url(&[])).with_certificate()).await;
        say(issued(probe, judge::GET_WITH_CERTIFICATE, get).await);
        let form = vec![("grant_type", "client_credentials".to_owned()), ("service", challenge.service().to_owned())];
        let post = probe.ask(Ask::post(challenge.token_url(&[]), form).with_certificate()).await;
        say(issued(probe, judge::CLIENT_CREDENTIALS, post).await);
    }
    if matches!(&outcome, Ok(answer) if answer.status == 200) {
        say(judge::whoami(&probe.ask(Ask::get(probe.url(WHOAMI)).with_certificate()).await));
    }
}

/// A token is worth something if it opens the door that it was asked for.
async fn issued(probe: &Probe, grant: Grant, outcome: Outcome) -> Line {
    match judge::issued(grant, &outcome) {
        Ok(token) => {
            let used = probe.ask(Ask::get(probe.url("/v2/")).bearer(token.expose())).await;
            judge::used(grant, &used)
        }
        Err(line) => line,
    }
}

const USER: &str = "workload";
const WHOAMI: &str = "/v2/_wharfinger/whoami";
