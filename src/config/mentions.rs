//! Which keys a file mentions, even if they are empty. A file that mentions a login but leaves it empty, as a
//! template with an unset variable does, must not open the registry.

use super::not_built::lookup;
use serde_json::Value;

/// The keys that the file mentions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mentions {
    /// `http.auth`
    pub(super) auth: bool,
    /// `accessControl`, in either of its places.
    pub(super) access_control: bool,
    /// `http.tls.cacert` or `http.tls.clientAuth`.
    pub(super) client_certificates: bool,
    /// `http.address` is present but empty.
    pub(super) empty_address: bool,
    /// The file has zot's `distSpecVersion`.
    pub(super) zots: bool,
}

impl Mentions {
    /// Reads the document before any key is removed from it.
    pub(super) fn of(document: &Value) -> Self {
        let says = |path: &[&str]| lookup(document, path).is_some();
        Self {
            auth: says(&["http", "auth"]),
            access_control: says(&["accessControl"]) || says(&["http", "accessControl"]),
            client_certificates: says(&["http", "tls", "cacert"]) || says(&["http", "tls", "clientAuth"]),
            empty_address: lookup(document, &["http", "address"]) == Some(&Value::String(String::new())),
            zots: says(&["distSpecVersion"]),
        }
    }
}
