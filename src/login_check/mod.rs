//! Tries every way to log in that clients use against a running registry, and reports for each what a client
//! would see and what to change.
//!
//! `probe` sends requests, and `judge` says what the answers mean, as pure functions with a table of tests.
//! `holder` reads the token, `report` prints each failure once, and `line` is a line of the report.

mod holder;
mod judge;
mod line;
mod probe;
mod report;

pub use line::{Line, Verdict};
pub use probe::Probe;

use crate::client::{Answer, Challenge, Outcome, Request};
use crate::clock::Timestamp;
use crate::oci::RepositoryName;
use crate::secret::Secret;
use crate::workload::RegistryHost;
use holder::Held;
use http::StatusCode;
use judge::Grant;
use report::Report;

/// The credentials to try. If one is missing, it is skipped and a line says so.
#[derive(Debug)]
pub struct Credentials {
    /// The token, or why there is none.
    pub token: Result<Secret, String>,
    /// Whether the client of the [`Probe`] has a certificate.
    pub certificate: bool,
}

/// Tries everything and reports each line as soon as it is known. Returns whether there is nothing to change.
pub async fn check(
    host: &RegistryHost,
    probe: &Probe,
    credentials: &Credentials,
    repository: Option<&RepositoryName>,
    now: Timestamp,
    tell: impl FnMut(&Line),
) -> bool {
    let mut report = Report::to(tell);
    let Some(Entry {
        probe,
        challenge,
        endpoint,
        certificate,
    }) = enter(host, probe, credentials, &mut report).await
    else {
        return report.end();
    };
    if let Some(outcome) = certificate {
        with_certificate(&probe, &outcome, endpoint.as_ref(), &mut report).await;
        report.repeated();
    } else {
        report.say(Line::skipped(
            "a client certificate alone",
            "no certificate: give --cert and --key",
        ));
    }
    match &credentials.token {
        Ok(token) => {
            let held = Held::read(token, host, challenge.as_ref(), now);
            with_token(&probe, token, &held, endpoint.as_ref(), &mut report).await;
            report.repeated();
        }
        Err(why) => report.say(Line::skipped(
            "every way in with a token",
            format!("no token: {why}"),
        )),
    }
    if let Some(repository) = repository {
        in_repository(&probe, repository, credentials, challenge.as_ref(), &mut report).await;
    }
    report.end()
}

/// The results of the first requests.
struct Entry {
    /// Presents the certificate with every request, if the registry requires one.
    probe: Probe,
    challenge: Option<Challenge>,
    /// The challenge, if credentials may be sent to its realm.
    endpoint: Option<Challenge>,
    /// The result with only the certificate.
    certificate: Option<Outcome>,
}

/// Sends a request with the certificate, if there is one, and one without. A registry may end the handshake
/// of clients without a certificate, so the certificate is tried first.
async fn enter(
    host: &RegistryHost,
    probe: &Probe,
    credentials: &Credentials,
    report: &mut Report<impl FnMut(&Line)>,
) -> Option<Entry> {
    let root = || Request::get(probe.url("/v2/"));
    let certificate = if credentials.certificate {
        Some(probe.ask_with_certificate(root()).await)
    } else {
        None
    };
    let without = probe.ask(root()).await;
    let (probe, ping): (Probe, Option<Answer>) = match (without, &certificate) {
        (Ok(ping), _) => (probe.clone(), Some(ping)),
        (Err(_), Some(Ok(answer))) => {
            report.say(judge::certificate_required());
            // With a valid certificate the answer is 200, without a challenge.
            (
                probe.presenting_always(),
                (answer.status != StatusCode::OK).then(|| answer.clone()),
            )
        }
        (Err(why), Some(Err(with_certificate))) if *with_certificate != why => {
            report.say(judge::certificate_refused(with_certificate));
            return None;
        }
        (Err(why), _) => {
            report.say(judge::unreachable(host, &why));
            return None;
        }
    };
    let mut challenge = None;
    if let Some(ping) = ping {
        let (found, lines) = judge::ping(&ping, probe.origin());
        lines.into_iter().for_each(|line| report.say(line));
        challenge = found;
    } else {
        report.say(Line::skipped(
            "the token endpoint",
            "clients with an accepted certificate are answered 200 and get no challenge",
        ));
    }
    let distrusted = challenge
        .as_ref()
        .and_then(|challenge: &Challenge| challenge.distrusted_by(probe.origin()));
    if let Some(why) = distrusted.filter(|_| credentials.token.is_ok() || credentials.certificate) {
        report.say(Line::skipped("token and certificate at the token endpoint", why));
    }
    let endpoint = challenge.clone().filter(|_| distrusted.is_none());
    Some(Entry {
        probe,
        challenge,
        endpoint,
        certificate,
    })
}

async fn with_token(
    probe: &Probe,
    token: &Secret,
    held: &Held,
    challenge: Option<&Challenge>,
    report: &mut Report<impl FnMut(&Line)>,
) {
    report.say(held.line());
    let fix = held.fix();
    let direct = probe.ask(Request::get(probe.url("/v2/")).bearer(token)).await;
    let in_at_all = matches!(&direct, Ok(answer) if answer.status == StatusCode::OK);
    let clients = "Flux, crane and docker with registrytoken, skopeo --registry-token";
    report.say(judge::direct("the token as bearer token", clients, &direct).fixed_by(fix));
    let basic = probe
        .ask(Request::get(probe.url("/v2/")).basic(USER, token))
        .await;
    let what = "the token as password, without the token endpoint";
    report.say(judge::direct(what, "clients that were challenged with Basic", &basic).fixed_by(fix));
    let Some(challenge) = challenge else { return };
    let docker = [
        ("account", USER),
        ("client_id", "docker"),
        ("offline_token", "true"),
    ];
    let outcome = probe.ask(challenge.get_token(&docker).basic(USER, token)).await;
    report.say(
        issued(probe, judge::GET_WITH_PASSWORD, outcome)
            .await
            .fixed_by(fix),
    );
    let secret = token.expose();
    let client = ("client_id", "wharfinger");
    for (grant, name, parameters) in [
        (
            judge::PASSWORD,
            "password",
            &[client, ("username", USER), ("password", secret)][..],
        ),
        (
            judge::IDENTITY_TOKEN,
            "refresh_token",
            &[client, ("refresh_token", secret)],
        ),
        (
            judge::EXCHANGE,
            "urn:ietf:params:oauth:grant-type:token-exchange",
            &[
                client,
                ("subject_token", secret),
                ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
            ],
        ),
    ] {
        let outcome = probe.ask(challenge.post_token(name, parameters)).await;
        report.say(issued(probe, grant, outcome).await.fixed_by(fix));
    }
    if in_at_all {
        report.say(judge::whoami(
            &probe.ask(Request::get(probe.url(WHOAMI)).bearer(token)).await,
        ));
    }
}

async fn with_certificate(
    probe: &Probe,
    outcome: &Outcome,
    challenge: Option<&Challenge>,
    report: &mut Report<impl FnMut(&Line)>,
) {
    report.say(judge::direct(
        "the client certificate alone",
        "docker, podman, skopeo, containerd, helm, regctl, cosign",
        outcome,
    ));
    if let Some(challenge) = challenge {
        let get = probe.ask_with_certificate(challenge.get_token(&[])).await;
        report.say(issued(probe, judge::GET_WITH_CERTIFICATE, get).await);
        let form = challenge.post_token("client_credentials", &[]);
        let post = probe.ask_with_certificate(form).await;
        report.say(issued(probe, judge::CLIENT_CREDENTIALS, post).await);
    }
    if matches!(outcome, Ok(answer) if answer.status == StatusCode::OK) {
        report.say(judge::whoami(
            &probe.ask_with_certificate(Request::get(probe.url(WHOAMI))).await,
        ));
    }
}

async fn in_repository(
    probe: &Probe,
    repository: &RepositoryName,
    credentials: &Credentials,
    challenge: Option<&Challenge>,
    report: &mut Report<impl FnMut(&Line)>,
) {
    let path = format!("/v2/{repository}/tags/list");
    // If every connection has a certificate, no request is anonymous.
    if !probe.always_presents() {
        let anonymous = probe.ask(Request::get(probe.url(&path))).await;
        report.say(judge::public(repository, &anonymous));
        if let Some(challenge) = challenge {
            let scope = format!("repository:{repository}:pull");
            let outcome = probe.ask(challenge.get_token(&[("scope", &scope)])).await;
            report.say(judge::anonymous(&outcome, &anonymous));
        }
    }
    let ask = Request::get(probe.url(&path));
    let outcome = match &credentials.token {
        Ok(token) => probe.ask(ask.bearer(token)).await,
        Err(_) if credentials.certificate => probe.ask_with_certificate(ask).await,
        Err(_) => return,
    };
    report.say(judge::readable(repository, &outcome));
}

/// Presents an issued token to the registry and judges the answer.
async fn issued(probe: &Probe, grant: Grant, outcome: Outcome) -> Line {
    match judge::issued(grant, &outcome) {
        Ok(token) => {
            let used = probe.ask(Request::get(probe.url("/v2/")).bearer(&token)).await;
            judge::used(grant, &used)
        }
        Err(line) => line,
    }
}

const USER: &str = "workload";
const WHOAMI: &str = "/v2/_wharfinger/whoami";
