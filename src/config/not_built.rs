//! Keys that users bring from zot or from our own plans and that this registry does not have yet. One that authenticates, restricts, limits or deletes is refused by name, for
//! leaving it out would let someone in or keep what should go; any other is a warning.

use super::{Mistake, Warning};
use serde_json::Value;

/// Removes what is not built. Refusals become mistakes, the rest is returned as warnings.
pub(super) fn strip(document: &mut Value, mistakes: &mut Vec<Mistake>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for path in REFUSED {
        remove(document, path, &mut |key| {
            mistakes.push(Mistake::new(
                key,
                "is not supported yet; without it the registry would do less than this file asks, so remove it only if you mean that",
            ));
        });
    }
    for path in IGNORED {
        remove(document, path, &mut |key| warnings.push(Warning::new(key, "not supported; ignored")));
    }
    warnings
}

fn remove(document: &mut Value, path: &str, found: &mut dyn FnMut(String)) {
    let mut steps: Vec<&str> = path.split('.').collect();
    let Some(last) = steps.pop() else { return };
    descend(document, &steps, last, &mut String::new(), found);
}

/// `*` stands for every element of a list or every value of an object.
fn descend(value: &mut Value, steps: &[&str], last: &str, at: &mut String, found: &mut dyn FnMut(String)) {
    let Some((step, rest)) = steps.split_first() else {
        let Some(object) = value.as_object_mut() else { return };
        let written: Vec<String> = object.keys().filter(|key| key.eq_ignore_ascii_case(last)).cloned().collect();
        for key in written {
            object.remove(&key);
            found(if at.is_empty() { key } else { format!("{at}.{key}") });
        }
        return;
    };
    let children: Vec<(String, &mut Value)> = match value {
        Value::Array(items) if *step == "*" => items.iter_mut().enumerate().map(|(i, item)| (format!("[{i}]"), item)).collect(),
        Value::Object(map) if *step == "*" => map.iter_mut().map(|(key, item)| (format!("[{key:?}]"), item)).collect(),
        Value::Object(map) => {
            map.iter_mut().filter(|(key, _)| key.eq_ignore_ascii_case(step)).map(|(key, item)| (key.clone(), item)).collect()
        }
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

pub(super) const REFUSED: &[&str] = &[
    "http.auth.ldap",
    "http.auth.openid",
    "http.auth.apikey",
    "http.auth.bearer.awsSecretsManager",
    "http.auth.bearer.upstreamTokenEndpoint",
    "http.ratelimit",
    "accessControl.adminPolicy.conditions",
    "accessControl.repositories.*.policies.*.conditions",
    "http.accessControl.adminPolicy.conditions",
    "http.accessControl.repositories.*.policies.*.conditions",
    "storage.retention",
    "storage.maxRepos",
    "storage.storageDriver",
    "storage.subPaths",
    "cluster",
];

pub(super) const IGNORED: &[&str] = &[
    "http.allowOrigin",
    "http.compat",
    "http.readTimeout",
    "http.writeTimeout",
    "http.realm",
    "http.auth.sessionKeysFile",
    "http.auth.sessionDriver",
    "http.auth.secureSession",
    "log.output",
    "log.audit",
    "storage.dedupe",
    "storage.gc",
    "storage.gcDelay",
    "storage.gcInterval",
    "storage.gcTimeWindow",
    "storage.remoteCache",
    "storage.cacheDriver",
    "storage.redirectBlobURL",
    "storage.fastRestart",
    "storage.hydrateBlobOnRead",
    "scheduler",
    "extensions",
];
