//! The keys of the configuration file, as they are written. The reference in `docs/` is generated from these
//! types and their comments, so a comment here is what a user reads.

mod access;
mod auth;
mod deny;
mod extensions;
mod http;
mod log;
mod mapping;
mod oidc;
mod token;
mod trust_domains;

pub use access::{AccessControl, Action, Grant, Group, Metrics, Repository};
pub use auth::{Auth, Htpasswd, Mtls, X509};
pub use deny::Deny;
pub use extensions::Extensions;
pub use http::{CertificateFiles, ClientAuth, ForwardedHeaders, Health, Http, Tls, Unidentified};
pub use log::{Level, Log, LogFormat};
pub use mapping::{ClaimMapping, Validation, Variable};
pub use oidc::{Bearer, IssuerType, Oidc};
pub use token::Token;
pub use trust_domains::{
    BundleSource, Domain, Empty, Endpoint, IssuerOrReach, OnPermissionDenied, Profile, Reach, Spiffe,
    SvidKind,
};

use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

/// A whole configuration file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct File {
    /// zot's; read and ignored.
    pub dist_spec_version: Option<String>,
    /// Where records and blobs are kept.
    pub storage: Storage,
    /// The folder of what must outlive a restart and is no content, as the keys that issuers and trust
    /// domains last published. Made if it is missing, for its owner only. Default `state` inside
    /// `storage.rootDirectory`.
    pub state_directory: Option<PathBuf>,
    /// The listener, TLS and who may log in.
    #[serde(default)]
    pub http: Http,
    /// Who may do what. Without it every authenticated identity may do everything; without it and without
    /// `http.auth` everybody may, on loopback or with `--open` (see [open
    /// registries](../how-to/from-zot.md#open-registries)). It may stand in `http` as well, where zot has it.
    pub access_control: Option<AccessControl>,
    /// What is logged.
    pub log: Option<Log>,
    /// zot's.
    pub extensions: Option<Extensions>,
}

/// `storage`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Storage {
    /// The folder of the store. Made if it is missing; one process at a time.
    pub root_directory: PathBuf,
    /// Whether what is acknowledged survives a power cut. Default true. False is faster, and takes nothing
    /// away when only the process dies.
    pub commit: Option<bool>,
    /// Repositories, by patterns as in `accessControl.repositories`, in which a manifest is accepted although
    /// blobs and manifests that it refers to are missing, as mirrors need it that copy some platforms only.
    /// The client is warned. Default none. Read at start.
    #[serde(default)]
    pub sparse: Vec<String>,
    /// Repositories, by the same patterns, in which a manifest is accepted although the `size` of a
    /// descriptor is missing, malformed or wrong, or its `data` is not the content, as mirrors of broken
    /// images need it. Clients may fail to pull such an image. Default none. Read at start.
    #[serde(default)]
    pub unchecked_descriptors: Vec<String>,
}
