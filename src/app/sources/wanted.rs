//! The settings that identify a source.

use crate::trust::source::{FederationSettings, Following, Format, OidcSettings};
use std::path::PathBuf;

/// A source's settings, which identify it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Oidc(OidcSettings),
    /// For a trust domain, where a missing key is withdrawn at once.
    OidcOfDomain(OidcSettings),
    File(PathBuf, Format),
    Inline {
        name: String,
        text: String,
        format: Format,
    },
    WorkloadApi(String, Following),
    Federation(FederationSettings),
}
