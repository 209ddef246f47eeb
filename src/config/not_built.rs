//! Keys that users bring from zot or from our own plans and that this registry does not have yet. One that
//! authenticates, restricts, limits or deletes is refused by name, for leaving it out would let someone in or
//! keep what should go; any other is a warning. A key whose value is empty asks for nothing.

use super::{Mistake, Warning};
use serde_json::Value;

/// Removes what is not built. Refusals become mistakes, the rest is returned as warnings.
pub(super) fn strip(document: &mut Value, mistakes: &mut Vec<Mistake>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for (path, instead) in REFUSED {
        remove(document, path, &mut |key, value| {
            if asks(&key, value) {
                mistakes.push(Mistake::new(
                    key,
                    format!("is not supported yet; without it the registry would do less than this file asks, so remove it only if you mean that{instead}"),
                ));
            }
        });
    }
    for (path, truth) in IGNORED {
        remove(document, path, &mut |key, value| {
            if asks(&key, value) {
                warnings.push(Warning::new(key, *truth));
            }
        });
    }
    warnings
}

/// Whether a key asks for something. An extension that is there is enabled unless it says otherwise, but for
/// `lint`.
fn asks(key: &str, value: &Value) -> bool {
    let extension = key
        .rsplit_once('.')
        .filter(|(parent, _)| parent.eq_ignore_ascii_case("extensions"))
        .map(|(_, name)| name);
    let enabled = || {
        let members = value.as_object().into_iter().flatten();
        let mut said = members
            .filter(|(key, value)| key.eq_ignore_ascii_case("enable") && !value.is_null())
            .peekable();
        match said.peek() {
            None => extension.is_some_and(|name| !name.eq_ignore_ascii_case("lint")),
            Some(_) => said.any(|(key, enable)| is_something(key, enable)),
        }
    };
    is_something(key.rsplit('.').next().unwrap_or(key), value) && (extension.is_none() || enabled())
}

/// `null`, `false`, `0`, empty text, lists and objects are nothing, and so is what holds nothing else. Text
/// is a truth value or a number only where zot has one: elsewhere `false` is a name or an expression. A
/// condition restricts, whatever it holds.
fn is_something(key: &str, value: &Value) -> bool {
    let weak = WEAK.iter().any(|weak| weak.eq_ignore_ascii_case(key));
    match value {
        Value::Array(items) if key.eq_ignore_ascii_case("conditions") => !items.is_empty(),
        Value::Object(object) if key.eq_ignore_ascii_case("conditions") => !object.is_empty(),
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) if weak => {
            !matches!(text.as_str(), "" | "0" | "f" | "F" | "false" | "False" | "FALSE")
        }
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => items.iter().any(|item| is_something(key, item)),
        Value::Object(object) => object.iter().any(|(key, value)| is_something(key, value)),
    }
}

/// Truth values and numbers of zot among what is not built. A key that is missing here is refused or warned
/// of with the text `false`.
const WEAK: &[&str] = &[
    "apikey",
    "dedupe",
    "deleteReferrers",
    "deleteUntagged",
    "dryRun",
    "enable",
    "fastRestart",
    "gc",
    "hydrateBlobOnRead",
    "insecure",
    "keepUntagged",
    "maxRepos",
    "port",
    "rate",
    "redirectBlobURL",
    "remoteCache",
    "secureSession",
    "skipVerify",
    "startTLS",
];

/// Removes a key.
pub(super) fn take(document: &mut Value, path: &str) {
    remove(document, path, &mut |_, _| {});
}

/// The value at the end of a path whose keys may be written in any case.
pub(super) fn lookup<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, step| {
        let mut members = value.as_object()?.iter();
        members
            .find(|(key, _)| key.eq_ignore_ascii_case(step))
            .map(|(_, value)| value)
    })
}

fn remove(document: &mut Value, path: &str, found: &mut dyn FnMut(String, &Value)) {
    let mut steps: Vec<&str> = path.split('.').collect();
    let Some(last) = steps.pop() else { return };
    descend(document, &steps, last, &mut String::new(), found);
}

/// `*` stands for every element of a list or every value of an object.
fn descend(
    value: &mut Value,
    steps: &[&str],
    last: &str,
    at: &mut String,
    found: &mut dyn FnMut(String, &Value),
) {
    let Some((step, rest)) = steps.split_first() else {
        let Some(object) = value.as_object_mut() else {
            return;
        };
        let written: Vec<String> = object
            .keys()
            .filter(|key| key.eq_ignore_ascii_case(last))
            .cloned()
            .collect();
        for key in written {
            let value = object.remove(&key).unwrap_or_default();
            found(if at.is_empty() { key } else { format!("{at}.{key}") }, &value);
        }
        return;
    };
    let children: Vec<(String, &mut Value)> = match value {
        Value::Array(items) if *step == "*" => items
            .iter_mut()
            .enumerate()
            .map(|(i, item)| (format!("[{i}]"), item))
            .collect(),
        Value::Object(map) if *step == "*" => map
            .iter_mut()
            .map(|(key, item)| (format!("[{key:?}]"), item))
            .collect(),
        Value::Object(map) => map
            .iter_mut()
            .filter(|(key, _)| key.eq_ignore_ascii_case(step))
            .map(|(key, item)| (key.clone(), item))
            .collect(),
        _ => Vec::new(),
    };
    for (name, child) in children {
        let before = at.len();
        if !at.is_empty() && !name.starts_with('[') {
            at.push('.');
        }
        at.push_str(&name);
        descend(child, rest, last, at, found);
        at.truncate(before);
    }
}

/// By path, and what to use instead.
pub(super) const REFUSED: &[(&str, &str)] = &[
    (
        "http.auth.ldap",
        ": use htpasswd, or an issuer's tokens as passwords",
    ),
    (
        "http.auth.openid",
        ": people log in with an ID token as the password (http.auth.bearer.oidc), or by htpasswd",
    ),
    (
        "http.auth.apikey",
        ": use an ID token as the password (http.auth.bearer.oidc), or htpasswd",
    ),
    (
        "http.auth.bearer.awsSecretsManager",
        ": give the token server's key as a file in cert",
    ),
    ("http.auth.bearer.upstreamTokenEndpoint", ""),
    (
        "http.ratelimit",
        ": http.unidentified bounds callers without a login",
    ),
    ("accessControl.adminPolicy.conditions", ""),
    ("accessControl.repositories.*.policies.*.conditions", ""),
    ("http.accessControl.adminPolicy.conditions", ""),
    ("http.accessControl.repositories.*.policies.*.conditions", ""),
    ("storage.retention", ""),
    ("storage.maxRepos", ""),
    (
        "storage.storageDriver",
        ": the store is a folder, storage.rootDirectory",
    ),
    ("storage.subPaths", ""),
    ("cluster", ""),
    (
        "extensions.sync",
        ": images of other registries are not fetched; copy them with skopeo, crane or regctl",
    ),
    ("extensions.lint", ": manifests are not checked for annotations"),
];

/// By path, and what happens in truth.
pub(super) const IGNORED: &[(&str, &str)] = &[
    ("http.compat", "ignored: manifests of Docker are always accepted"),
    (
        "http.readTimeout",
        "ignored: a request may take as long as it makes progress",
    ),
    (
        "http.writeTimeout",
        "ignored: an answer may take as long as its client takes bytes",
    ),
    (
        "http.realm",
        "ignored: the challenge is Bearer, and names this registry's own token endpoint",
    ),
    ("http.auth.sessionKeysFile", NO_SESSIONS),
    ("http.auth.sessionDriver", NO_SESSIONS),
    ("http.auth.secureSession", NO_SESSIONS),
    ("log.output", "ignored: the log goes to standard error"),
    (
        "log.audit",
        "ignored: there is no audit log of its own; the log has a line for each request",
    ),
    (
        "storage.dedupe",
        "ignored: equal blobs are always stored once, whatever repositories have them",
    ),
    ("storage.gc", NOTHING_COLLECTED),
    ("storage.gcDelay", NOTHING_COLLECTED),
    ("storage.gcInterval", NOTHING_COLLECTED),
    ("storage.gcTimeWindow", NOTHING_COLLECTED),
    ("storage.remoteCache", NO_CACHE),
    ("storage.cacheDriver", NO_CACHE),
    (
        "storage.redirectBlobURL",
        "ignored: the registry sends every blob itself",
    ),
    ("storage.fastRestart", "ignored: no start walks over the store"),
    ("storage.hydrateBlobOnRead", "ignored: reading creates nothing"),
    ("scheduler", "ignored: there is nothing to schedule"),
    (
        "extensions.search.cve",
        "not supported; ignored: images are not scanned",
    ),
    (
        "extensions.search",
        "not supported; ignored: there is no search API",
    ),
    (
        "extensions.ui",
        "not supported; ignored: there are no pages for browsers",
    ),
    (
        "extensions.scrub",
        "not supported; ignored: `wharfinger fsck` checks every byte",
    ),
    (
        "extensions.trust",
        "not supported; ignored: signatures are stored and not verified",
    ),
    ("extensions.events", "not supported; ignored: no events are sent"),
    ("extensions.mgmt", "not supported; ignored"),
    ("extensions.apikey", "not supported; ignored"),
];

const NO_SESSIONS: &str = "ignored: there are no sessions of browsers";
const NO_CACHE: &str = "ignored: the store needs no cache";
pub(super) const NOTHING_COLLECTED: &str =
    "nothing is collected yet: what is deleted or replaced frees no space";
