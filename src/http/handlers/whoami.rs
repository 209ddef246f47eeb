//! `/v2/_wharfinger/whoami`: the caller's identity and, with `?repository=`, what the caller may do there and
//! by which rule. Callers see only themselves. They see a pattern only if it grants them something, since a
//! pattern may name a secret project. No repository's name begins with `_`, so the path cannot be a
//! repository's.

use super::{Call, Reply};
use crate::access::{self, Action, Explanation};
use crate::http::fault::Fault;
use axum::response::Response;
use http::StatusCode;
use http::header::CACHE_CONTROL;
use serde_json::{Map, Value, json};

pub(in crate::http) fn answer(call: &Call) -> Result<Response, Fault> {
    if call.identity.is_anonymous() {
        return Err(Fault::unauthenticated());
    }
    let identity = &call.identity;
    let mut body = json!({
        "username": identity.username(),
        "groups": identity.groups(),
        "credential": identity.credential().as_str(),
        "principal": identity.principal().to_string(),
        "claims": identity.claims(),
        "validUntil": identity.valid_until().to_string(),
        "scope": identity.scope().map(ToString::to_string),
        "expiresIn": identity.valid_until().since(call.now).as_secs(),
    });
    if let (Some(name), Some(body)) = (call.query.named("repository")?, body.as_object_mut()) {
        let repository = name.parse().map_err(Fault::bad_name)?;
        body.insert(
            "access".to_owned(),
            described(&access::explain(&call.live.policy, identity, &repository)),
        );
    }
    Ok(Reply::new(StatusCode::OK)
        .header(CACHE_CONTROL, "no-store")
        .json(&body))
}

fn described(explanation: &Explanation) -> Value {
    let action = |action: Action, allowed: bool| json!({"allowed": allowed, "rule": explanation.reason_for_caller(action)});
    let actions: Map<String, Value> = explanation
        .relevant(None)
        .map(|explained| {
            (
                explained.action.as_str().to_owned(),
                action(explained.action, explained.is_allowed()),
            )
        })
        .collect();
    json!({"repository": explanation.repository.as_str(), "actions": actions})
}
