//! A weak STS: it exchanges any token for keys of the store.
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>

use super::access::{Access, Grant};
use super::object::fingerprint;
use super::operation::Call;
use super::refusal::Refusal;
use super::xml;
use bytes::Bytes;
use http::Response;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use wharfinger_base::clock::Timestamp;

/// An exchange that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The path and the query. A token does not belong there.
    pub target: String,
    pub form: BTreeMap<String, String>,
    /// The access key that was given. `None` if the request was refused.
    pub access_key: Option<String>,
}

#[derive(Default)]
pub(super) struct Sts {
    pub(super) exchanges: Vec<Exchange>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Assumed {
    assume_role_with_web_identity_result: Outcome,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Outcome {
    credentials: Credentials,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Credentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    expiration: String,
}

impl Sts {
    /// `session` is how long the keys are valid, if not for as long as the caller asks.
    pub(super) fn answer(
        &mut self,
        call: &Call,
        access: &mut Access,
        session: Option<Duration>,
        now: Timestamp,
    ) -> Response<Bytes> {
        let form: BTreeMap<String, String> = form_urlencoded::parse(&call.body).into_owned().collect();
        let number = self.exchanges.len() + 1;
        let credentials =
            lifetime(call, &form).map(|life| issue(number, now.plus(session.unwrap_or(life)), access));
        let given = credentials.as_ref().ok();
        self.exchanges.push(Exchange {
            target: call.target(),
            form,
            access_key: given.map(|credentials| credentials.access_key_id.clone()),
        });
        match credentials {
            Err(refusal) => refusal.response_to(call.operation),
            Ok(credentials) => {
                let assume_role_with_web_identity_result = Outcome { credentials };
                xml::response(
                    "AssumeRoleWithWebIdentityResponse",
                    &Assumed {
                        assume_role_with_web_identity_result,
                    },
                )
            }
        }
    }
}

/// Checks the request. Returns how long the credentials live.
fn lifetime(call: &Call, form: &BTreeMap<String, String>) -> Result<Duration, Refusal> {
    let is = |name, value| form.get(name).is_some_and(|own| own == value);
    let posted = call.header(CONTENT_TYPE).unwrap_or_default();
    if !posted.starts_with("application/x-www-form-urlencoded")
        || !is("Action", "AssumeRoleWithWebIdentity")
        || !is("Version", "2011-06-15")
    {
        return Err(Refusal::INVALID_ACTION);
    }
    for name in ["RoleArn", "RoleSessionName", "WebIdentityToken"] {
        if form.get(name).is_none_or(String::is_empty) {
            return Err(Refusal::VALIDATION);
        }
    }
    let seconds = form.get("DurationSeconds").map_or(Ok(3600), |text| text.parse());
    let seconds = seconds.ok().filter(|seconds| (900..=43_200).contains(seconds));
    Ok(Duration::from_secs(seconds.ok_or(Refusal::VALIDATION)?))
}

fn issue(number: usize, expires: Timestamp, access: &mut Access) -> Credentials {
    let access_key_id = format!("ASIATESTKIT{number:05}");
    let session_token = fingerprint(access_key_id.as_bytes());
    let session = Some(session_token.clone());
    access.grant(&access_key_id, Grant { session, expires });
    Credentials {
        secret_access_key: fingerprint(session_token.as_bytes()),
        access_key_id,
        session_token,
        expiration: expires.to_string(),
    }
}
