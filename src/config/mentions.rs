//! What a file says at all, however empty it leaves it. Whether a registry is open depends on it: a file that
//! names a login and leaves it empty, as a template does whose variable is unset, must not open one.

use super::Warning;
use super::not_built::{NOTHING_COLLECTED, lookup};
use serde_json::Value;

/// Which keys are in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mentions {
    /// `http.auth`
    pub(super) auth: bool,
    /// `accessControl`, in either place.
    pub(super) access_control: bool,
    /// `http.tls.cacert` or `http.tls.clientAuth`.
    pub(super) client_certificates: bool,
    /// `http.address` is there and empty.
    pub(super) empty_address: bool,
    /// It has zot's `distSpecVersion`.
    pub(super) zots: bool,
    /// `storage.gc`
    pub(super) gc: bool,
}

impl Mentions {
    /// Before anything is taken out of the document.
    pub(super) fn of(document: &Value) -> Self {
        let says = |path: &[&str]| lookup(document, path).is_some();
        Self {
            auth: says(&["http", "auth"]),
            access_control: says(&["accessControl"]) || says(&["http", "accessControl"]),
            client_certificates: says(&["http", "tls", "cacert"]) || says(&["http", "tls", "clientAuth"]),
            empty_address: lookup(document, &["http", "address"]) == Some(&Value::String(String::new())),
            zots: says(&["distSpecVersion"]),
            gc: says(&["storage", "gc"]),
        }
    }

    /// What a file of zot's asks for without a word, and does not get.
    pub(super) fn defaults_of_zot(&self) -> Option<Warning> {
        let collects = self.zots && !self.gc;
        collects.then(|| {
            Warning::new(
                "storage.gc",
                format!("is on by default in zot; {NOTHING_COLLECTED}"),
            )
        })
    }
}
