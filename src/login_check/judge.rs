//! What a registry's answers mean for clients. Pure functions turn an answer into a line.

use super::line::Line;
use crate::client::{Answer, Challenge, InvalidChallenge, IssuedToken, Outcome, Unanswered, Url};
use crate::oci::RepositoryName;
use crate::secret::Secret;
use crate::tls_failure::Failure;
use crate::workload::RegistryHost;
use http::header::WWW_AUTHENTICATE;
use serde_json::Value;

/// One way to get a token from the token endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    /// The request, with the clients that send it.
    what: &'static str,
    /// Whether clients continue with GET after 404, 400, 401 or 405.
    falls_back: bool,
    /// Whether clients can log in without it.
    spare: bool,
}

impl Grant {
    const fn of(what: &'static str) -> Self {
        Self {
            what,
            falls_back: false,
            spare: false,
        }
    }
}

pub(super) const GET_WITH_PASSWORD: Grant =
    Grant::of("GET token with the token as password (docker, podman, skopeo, crane, cosign, oras)");
pub(super) const PASSWORD: Grant = Grant {
    falls_back: true,
    ..Grant::of("POST token, grant password (containerd, helm, buildkit; they try it first)")
};
pub(super) const IDENTITY_TOKEN: Grant = Grant::of(
    "POST token, grant refresh_token with the token as identity token (docker, containerd, podman, crane, oras)",
);
pub(super) const EXCHANGE: Grant = Grant::of("POST token, RFC 8693 token exchange (scripts)");
pub(super) const GET_WITH_CERTIFICATE: Grant = Grant {
    spare: true,
    ..Grant::of("GET token with the client certificate (containerd and crane, where they are challenged)")
};

pub(super) const CLIENT_CREDENTIALS: Grant = Grant {
    spare: true,
    ..Grant::of("POST token, grant client_credentials with the client certificate (scripts)")
};

pub(super) fn unreachable(host: &RegistryHost, why: &Unanswered) -> Line {
    let usual = "check the address; give --ca FILE if a private authority issued its certificate, --plain-http if it has no TLS, --cert and \
                 --key if it demands a client certificate";
    let Failure { what, fix } = &why.0;
    Line::bad(
        format!("GET /v2/ at {}", host.authority()),
        format!("no answer: {what}"),
        fix.as_deref().unwrap_or(usual),
    )
}

/// The line for a registry that rejects connections without a client certificate.
pub(super) fn certificate_required() -> Line {
    let found =
        "the registry ends the connection, as with `clientAuth: required`: every client needs a certificate";
    Line::note("GET /v2/ without a client certificate", found)
}

/// The line for a registry that ends the connection with this certificate for another reason than without
/// one.
pub(super) fn certificate_refused(why: &Unanswered) -> Line {
    let fix = "present a certificate of an authority that the registry accepts: its log has the reason";
    Line::bad(
        "GET /v2/ with the client certificate",
        format!("no answer: {}", why.0),
        fix,
    )
}

/// Judges the first request of every client. Without a valid challenge the token endpoint cannot be tried.
pub(super) fn ping(answer: &Answer, asked: &Url) -> (Option<Challenge>, Vec<Line>) {
    let what = "GET /v2/ without a credential (every client)";
    let values: Vec<&str> = answer
        .headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    // Several headers mean the same as one with commas (RFC 9110, 5.3).
    let value = values.join(", ");
    match (answer.status.as_u16(), Challenge::count(&value)) {
        (200, _) => {
            let fix = "answer 401 at /v2/ even if some repositories are public: clients that get 200 never present their credential";
            (None, vec![Line::bad(what, "200", fix)])
        }
        (401, _) if values.is_empty() => (
            None,
            vec![Line::bad(
                what,
                "401 without WWW-Authenticate",
                "send one Bearer challenge, or clients do not know how to log in",
            )],
        ),
        (401, 0 | 1) => match Challenge::parse(&value) {
            Ok(challenge) => {
                let line = realm(&challenge, asked).unwrap_or_else(|| {
                    Line::good(what, "401 with one Bearer challenge, realm on the same host")
                });
                (Some(challenge), vec![line])
            }
            Err(why) => (
                None,
                vec![Line::bad(
                    what,
                    format!("401, but its challenge cannot be used: {why}"),
                    challenge_fix(why),
                )],
            ),
        },
        (401, several) => {
            let fix = "send one challenge, Bearer: with Basic beside it, some clients choose by order and anonymous pulls fail";
            (
                Challenge::parse(&value).ok(),
                vec![Line::bad(what, format!("401 with {several} challenges"), fix)],
            )
        }
        (status @ 300..=399, _) => (
            None,
            vec![Line::bad(
                what,
                format!("{status}, a redirect"),
                "give the address that it leads to, and serve /v2/ there",
            )],
        ),
        _ => (
            None,
            vec![Line::bad(
                what,
                answer.said(),
                "this is not a registry, or something in front of it rejects requests: clients expect 401 or 200",
            )],
        ),
    }
}

fn challenge_fix(why: InvalidChallenge) -> &'static str {
    match why {
        InvalidChallenge::Scheme => {
            "send a Bearer challenge: with Basic alone, clients cannot use bearer and identity tokens"
        }
        InvalidChallenge::NoRealm | InvalidChallenge::Realm => {
            "make the realm the absolute URL of the token endpoint"
        }
        InvalidChallenge::EmptyService => "give service a value: docker stops at an empty parameter",
    }
}

fn realm(challenge: &Challenge, asked: &Url) -> Option<Line> {
    let realm = challenge.realm();
    if realm.origin() == asked.origin() {
        return None;
    }
    let found = format!(
        "the realm is at {}, but you asked {}",
        realm.origin().ascii_serialization(),
        asked.origin().ascii_serialization()
    );
    let what = "the token endpoint's address (every client with a password)";
    if realm.scheme() == "http" && asked.scheme() == "https" {
        let fix = "clients refuse to go from https to http: set http.externalURL, or let the proxy say X-Forwarded-Proto and name it in http.trustedProxies";
        return Some(Line::bad(what, found, fix));
    }
    Some(Line::bad(
        what,
        found,
        "set http.externalURL to what clients call the registry, or keep the Host header in the proxy",
    ))
}

/// Judges a credential that was presented to the registry itself.
pub(super) fn direct(what: &str, clients: &str, outcome: &Outcome) -> Line {
    let what = format!("{what} ({clients})");
    match outcome {
        Ok(answer) if answer.status.as_u16() == 200 => Line::good(what, "200"),
        Ok(answer) => Line::bad(what, answer.said(), credential_fix(answer.status.as_u16())),
        Err(Unanswered(why)) => Line::bad(
            what,
            format!("no answer: {why}"),
            "does the registry accept this certificate's authority, with clientAuth optional?",
        ),
    }
}

fn credential_fix(status: u16) -> &'static str {
    match status {
        401 => "the registry's log has the reason under this request's id; `wharfinger explain` shows it too",
        403 => "answer 401 or 200 at /v2/: docker and crane stop at 403",
        503 => "the registry cannot reach the keys of this credential's issuer: its log names it",
        _ => "look for this request's id in the registry's log",
    }
}

/// Returns the token that a token endpoint issued, or a line that says why there is none.
pub(super) fn issued(grant: Grant, outcome: &Outcome) -> Result<Secret, Line> {
    let answer = outcome.as_ref().map_err(|Unanswered(why)| {
        Line::bad(
            grant.what,
            format!("no answer: {why}"),
            "the realm must be reachable from where clients are",
        )
    })?;
    match answer.status.as_u16() {
        200 => {}
        404 | 400 | 405 if grant.falls_back => {
            return Err(Line::note(
                grant.what,
                format!("{}; clients continue with GET", answer.said()),
            ));
        }
        404 | 405 => {
            return Err(Line::note(
                grant.what,
                format!("{}: not offered here", answer.status.as_u16()),
            ));
        }
        400 | 401 if grant.spare => {
            return Err(Line::note(
                grant.what,
                format!("{}; clients need none", answer.said()),
            ));
        }
        400 | 401 => return Err(Line::bad(grant.what, answer.said(), credential_fix(401))),
        _ => {
            return Err(Line::bad(
                grant.what,
                answer.said(),
                "answer 400 or 401: containerd and buildkit give up at any other status",
            ));
        }
    }
    let Some(issued) = IssuedToken::read(answer) else {
        return Err(Line::bad(
            grant.what,
            "200 without a token",
            "answer JSON with token or access_token, of less than 64 KiB",
        ));
    };
    match issued.expires_in {
        Some(seconds) if seconds < 60 => {
            let fix = "clients treat a lifetime below 60 s as 60 s and then present an expired token: present a credential that lives longer, or raise http.auth.token.sessionLifetime";
            Err(Line::bad(
                grant.what,
                format!("200 with a token for {seconds} s"),
                fix,
            ))
        }
        _ => Ok(issued.token),
    }
}

/// Judges whether the registry accepts an issued token.
pub(super) fn used(grant: Grant, outcome: &Outcome) -> Line {
    match outcome {
        Ok(answer) if answer.status.as_u16() == 200 => {
            Line::good(grant.what, "200, and its token is accepted")
        }
        Ok(answer) => Line::bad(
            grant.what,
            format!("200, but the registry answers its token with {}", answer.said()),
            "the token endpoint belongs to another registry, or clocks differ",
        ),
        Err(Unanswered(why)) => Line::bad(
            grant.what,
            format!("200, but then no answer: {why}"),
            "the registry stopped answering",
        ),
    }
}

/// Judges an anonymous token. `direct` is the result of reading the repository without any token.
pub(super) fn anonymous(outcome: &Outcome, direct: &Outcome) -> Line {
    let what = "GET token without a credential (anonymous pulls of docker, podman, crane)";
    let public = direct
        .as_ref()
        .is_ok_and(|answer| matches!(answer.status.as_u16(), 200 | 404));
    match outcome {
        Ok(answer) if answer.status.as_u16() == 200 => Line::good(what, "200"),
        Ok(answer) if answer.status.as_u16() == 401 && public => Line::bad(
            what,
            answer.said(),
            "the repository is public, but clients that ping /v2/ first never get that far: give anonymous tokens",
        ),
        Ok(answer) if answer.status.as_u16() == 401 => Line::note(what, "401: it is not public"),
        Ok(answer) => Line::bad(
            what,
            answer.said(),
            "answer 200 with a token, or 401 if nothing is public",
        ),
        Err(Unanswered(why)) => Line::bad(
            what,
            format!("no answer: {why}"),
            "the realm must be reachable from where clients are",
        ),
    }
}

pub(super) fn public(repository: &RepositoryName, outcome: &Outcome) -> Line {
    let what = format!("reading {repository} without a credential");
    match outcome {
        Ok(answer) if matches!(answer.status.as_u16(), 200 | 404) => Line::note(what, "it is public"),
        Ok(answer) if answer.status.as_u16() == 401 => Line::note(what, "401: it is not public"),
        Ok(answer) => Line::bad(
            what,
            answer.said(),
            "answer 401, so that clients present a credential",
        ),
        Err(Unanswered(why)) => Line::bad(
            what,
            format!("no answer: {why}"),
            "the registry stopped answering",
        ),
    }
}

pub(super) fn readable(repository: &RepositoryName, outcome: &Outcome) -> Line {
    let what = format!("reading {repository}");
    match outcome {
        Ok(answer) if answer.status.as_u16() == 200 => Line::good(what, "allowed"),
        Ok(answer) if answer.status.as_u16() == 404 => Line::good(what, "allowed, and nothing is there yet"),
        Ok(answer) if answer.status.as_u16() == 403 => Line::bad(
            what,
            answer.said(),
            "grant read to this identity in accessControl; /v2/_wharfinger/whoami?repository= says which rule decides",
        ),
        Ok(answer) => Line::bad(what, answer.said(), credential_fix(answer.status.as_u16())),
        Err(Unanswered(why)) => Line::bad(
            what,
            format!("no answer: {why}"),
            "the registry stopped answering",
        ),
    }
}

/// Reports the caller's identity. Only Wharfinger has this endpoint.
pub(super) fn whoami(outcome: &Outcome) -> Line {
    let what = "who you are there";
    let identity = outcome
        .as_ref()
        .ok()
        .filter(|answer| answer.status.as_u16() == 200);
    let identity = identity.map(Answer::json).filter(Value::is_object);
    match identity {
        Some(identity) => {
            let text = |key: &str| {
                identity
                    .get(key)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            let groups = identity
                .get("groups")
                .filter(|groups| groups.as_array().is_some_and(|groups| !groups.is_empty()));
            let groups = groups
                .map(|groups| format!(", groups {groups}"))
                .unwrap_or_default();
            Line::good(
                what,
                format!(
                    "{} ({}){groups}, until {}",
                    text("username"),
                    text("credential"),
                    text("validUntil")
                ),
            )
        }
        None => Line::note(what, "this registry does not say"),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
