//! Keys of zot, or of our own plans, that this registry does not have yet. If such a key authenticates,
//! restricts, limits or deletes, it is a mistake, because ignoring it could admit someone or keep content
//! that should be deleted. All others are warnings. A key with an empty value is ignored.

use super::{Mistake, Warning};
use serde_json::Value;

/// Removes keys that are not built. Keys that protect something become mistakes. The others are returned as
/// warnings.
pub(super) fn strip(document: &mut Value, mistakes: &mut Vec<Mistake>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    take_empty(document, "storage.storageDriver");
    for (path, instead) in REFUSED {
        remove(document, path, &mut |key, value| {
            if asks(&key, value) {
                mistakes.push(Mistake::new(
                    key,
                    format!("is not supported yet, and it would restrict or protect something: remove it only if you can do without it{instead}"),
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

/// Whether a key turns something on. A present extension, except `lint`, is on unless it is disabled.
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

/// Whether a value turns something on. `null`, `false`, `0`, empty text, empty lists and objects, and values
/// that contain only these, do not. Text counts as a boolean or a number only where zot expects one;
/// elsewhere `false` is a name or an expression. A condition always restricts.
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

/// zot's booleans and numbers among the keys that are not built. For a key that is missing here, the text
/// `false` would count as a value.
const WEAK: &[&str] = &[
    "accelerate",
    "apikey",
    "dedupe",
    "deleteReferrers",
    "deleteUntagged",
    "dryRun",
    "enable",
    "encrypt",
    "fastRestart",
    "gc",
    "hydrateBlobOnRead",
    "insecure",
    "keepUntagged",
    "port",
    "rate",
    "multipartcombinesmallpart",
    "remoteCache",
    "secureSession",
    "skipVerify",
    "startTLS",
    "usedualstack",
    "usefipsendpoint",
];

/// Removes a key.
pub(super) fn take(document: &mut Value, path: &str) {
    remove(document, path, &mut |_, _| {});
}

/// Removes a key whose value says nothing.
fn take_empty(document: &mut Value, path: &str) {
    let steps: Vec<&str> = path.split('.').collect();
    let says = |value: &Value| is_something(steps.last().copied().unwrap_or_default(), value);
    if lookup(document, &steps).is_some_and(|value| !says(value)) {
        take(document, path);
    }
}

/// The value at the end of a path. Its keys may be in upper or lower case.
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

/// Each path, and the replacement to suggest.
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
    ("storage.storageDriver.encrypt", BUCKET_ENCRYPTS),
    ("storage.storageDriver.keyid", BUCKET_ENCRYPTS),
    (
        "storage.storageDriver.usefipsendpoint",
        ": name the FIPS endpoint in regionendpoint",
    ),
    (
        "storage.storageDriver.credentials",
        ": use keyfile (gcs), accountkey (azure), or what the environment offers",
    ),
    ("storage.subPaths", ""),
    ("cluster", ""),
    (
        "extensions.sync",
        ": images of other registries are not fetched; copy them with skopeo, crane or regctl",
    ),
    ("extensions.lint", ": manifests are not checked for annotations"),
];

/// Each path, and what the registry does instead.
pub(super) const IGNORED: &[(&str, &str)] = &[
    ("http.compat", "ignored: Docker manifests are always accepted"),
    (
        "http.readTimeout",
        "ignored: a request may take any time while it makes progress",
    ),
    (
        "http.writeTimeout",
        "ignored: an answer may take any time while its client reads",
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
        "ignored: there is no separate audit log; the log has a line for each request",
    ),
    (
        "storage.dedupe",
        "ignored: equal blobs are always stored once, across all repositories",
    ),
    ("storage.remoteCache", NO_CACHE),
    ("storage.cacheDriver", NO_CACHE),
    ("storage.storageDriver.chunksize", OWN_PARTS),
    ("storage.storageDriver.maxconcurrency", OWN_PARTS),
    ("storage.storageDriver.multipartcombinesmallpart", OWN_PARTS),
    ("storage.storageDriver.multipartcopychunksize", NO_COPIES),
    ("storage.storageDriver.multipartcopymaxconcurrency", NO_COPIES),
    ("storage.storageDriver.multipartcopythresholdsize", NO_COPIES),
    ("storage.storageDriver.copy_status_poll_max_retry", NO_COPIES),
    ("storage.storageDriver.copy_status_poll_delay", NO_COPIES),
    (
        "storage.storageDriver.storageclass",
        "ignored: objects get the bucket's default class, and a lifecycle rule can move them",
    ),
    (
        "storage.storageDriver.objectacl",
        "ignored: objects get the bucket's default permissions, which are private",
    ),
    (
        "storage.storageDriver.accelerate",
        "ignored: name the accelerated endpoint in regionendpoint",
    ),
    (
        "storage.storageDriver.usedualstack",
        "ignored: name the dual-stack endpoint in regionendpoint",
    ),
    (
        "storage.storageDriver.realm",
        "ignored: name the service in serviceurl",
    ),
    ("storage.storageDriver.useragent", "ignored"),
    ("storage.storageDriver.loglevel", "ignored: see log.level"),
    ("storage.storageDriver.max_retries", OWN_RETRIES),
    ("storage.storageDriver.retry_delay", OWN_RETRIES),
    ("storage.fastRestart", "ignored: a start never scans the store"),
    ("storage.hydrateBlobOnRead", "ignored: a read never creates blobs"),
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
        "not supported; ignored: there is no user interface",
    ),
    (
        "extensions.scrub",
        "ignored: storage.scrub checks every byte while the registry serves, and `wharfinger fsck` does it once",
    ),
    (
        "extensions.trust",
        "not supported; ignored: signatures are stored and not verified",
    ),
    ("extensions.events", "not supported; ignored: no events are sent"),
    ("extensions.mgmt", "not supported; ignored"),
    ("extensions.apikey", "not supported; ignored"),
];

const BUCKET_ENCRYPTS: &str = ": set the bucket's default encryption, which applies to every object";
const OWN_PARTS: &str = "ignored: the registry chooses the size and the number of parts";
const NO_COPIES: &str = "ignored: the registry never copies an object";
const OWN_RETRIES: &str = "ignored: the registry has its own rules for retries";
const NO_SESSIONS: &str = "ignored: there are no browser sessions";
const NO_CACHE: &str = "ignored: the store needs no cache";
