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
mod quotas;
mod retention;
mod storage_driver;
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
pub use quotas::Quotas;
pub use retention::{KeepTags, KeepUntagged, Retention, RetentionPolicy};
pub use storage_driver::{Driver, StorageDriver, WebIdentity};
pub use token::Token;
pub use trust_domains::{
    BundleSource, Domain, Empty, Endpoint, IssuerOrReach, OnPermissionDenied, Profile, Reach, Spiffe,
    SvidKind,
};

use super::values::TextOrNumber;
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

/// A whole configuration file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct File {
    /// A key of zot's. It is accepted and ignored.
    pub dist_spec_version: Option<String>,
    /// The store for records and blobs.
    pub storage: Storage,
    /// The folder for state that must survive a restart, such as signing keys and the cached keys of issuers
    /// and trust domains. The registry creates it if it is missing, with access for its owner only. Each
    /// registry needs its own. Default `state` inside `storage.rootDirectory`. Required with
    /// `storage.storageDriver`.
    pub state_directory: Option<PathBuf>,
    /// The listener, TLS and logins.
    #[serde(default)]
    pub http: Http,
    /// Permissions. Without this key, every authenticated identity may do everything. Without this key and
    /// `http.auth`, every caller may do everything, but only on loopback or with `--open` (see [open
    /// registries](../how-to/from-zot.md#open-registries)). The key may also be inside `http`, as in zot.
    pub access_control: Option<AccessControl>,
    /// The log.
    pub log: Option<Log>,
    /// Extensions, as in zot.
    pub extensions: Option<Extensions>,
}

/// `storage`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Storage {
    /// The folder of the store. The registry creates it if it is missing. Only one process may use it at a
    /// time. Required without `storageDriver`, and not used with it.
    pub root_directory: Option<PathBuf>,
    /// Stores everything in a bucket, which any number of registries may use at once (see [how to use a
    /// bucket](../how-to/buckets.md)). Each of them needs a `stateDirectory` of its own, and all of them the same
    /// `http.auth.token.signingKeyFile`. Default: the store is a folder.
    pub storage_driver: Option<StorageDriver>,
    /// Whether acknowledged content survives a power cut. Default true. False is faster. Content still
    /// survives a crash of the process. A bucket ignores it.
    pub commit: Option<bool>,
    /// Patterns of repositories, as in `accessControl.repositories`, that accept a manifest even if blobs or
    /// manifests that it refers to are missing. Mirrors that copy only some platforms need this. The client
    /// gets a warning. Default none. Changes need a restart.
    #[serde(default)]
    pub sparse: Vec<String>,
    /// Patterns of repositories that accept a manifest even if the `size` of a descriptor is missing,
    /// malformed or wrong, or its `data` is not the content. Mirrors of broken images need this. Clients may
    /// fail to pull such an image. Default none. Changes need a restart.
    #[serde(default)]
    pub unchecked_descriptors: Vec<String>,
    /// The most repositories. A push that would create another one gets 429 `TOOMANYREQUESTS`, as in zot, but
    /// already with its first upload. `0` means no limit. Default no limit. Changes need a restart.
    pub max_repos: Option<u32>,
    /// The most bytes that may be stored. Changes need a restart.
    #[serde(default)]
    pub quotas: Quotas,
    /// Which tags and manifests to keep (see [how to keep what you need](../how-to/retention.md)). Default:
    /// everything.
    pub retention: Option<Retention>,
    /// Whether the registry removes what nothing needs any more, while it serves: blobs that no manifest
    /// needs, and what interrupted requests left. Tags and manifests are kept, unless `retention` deletes
    /// them. `wharfinger gc` does the same once, also with false. Expired uploads are removed in any case.
    /// Default true, as in zot. [How it works](../explanation/collecting.md). Changes need a restart.
    pub gc: Option<bool>,
    /// How old content must be before it is removed, such as `24h`. As in zot, a number without a unit is
    /// nanoseconds; less than a second is refused, except 0. A client that pushed a blob, or learned
    /// that the registry has it, can rely on that for half of this time. What a manifest needs is safe at any
    /// value. Default `24h`, where zot has one hour. With 0, which is for tests, clients may have to repeat a
    /// push. Changes need a restart.
    pub gc_delay: Option<TextOrNumber>,
    /// How often the registry walks through the whole store. Between these walks, content that a deletion
    /// left unreferenced is removed within minutes after `gcDelay`. Default `24h`, where zot has one hour.
    /// With 0 there is one walk after the start. Changes need a restart.
    pub gc_interval: Option<TextOrNumber>,
    /// The time of day in UTC in which garbage is removed, such as `22:00-04:00`. An interrupted walk
    /// continues in the next window. If a walk makes no progress in a whole window, the log has a warning.
    /// Expired uploads are removed at any time. Default: all day. Changes need a restart.
    pub gc_time_window: Option<String>,
    /// The share of one processor's time that the removal may take, in percent, from 1 to 100. The walk
    /// through the store and the checks between the walks each have this share. Both pause while
    /// `wharfinger gc` runs. The removal becomes slower if the disk is slower or there is more traffic.
    /// Default 10. Changes need a restart.
    pub gc_pace: Option<u8>,
    /// Hashes every blob and manifest again and again while the registry serves, to find bytes that the disk
    /// has lost or changed. Off by default. `wharfinger fsck` does it once, for a store that no registry
    /// serves. [How to check a store](../how-to/check-a-store.md).
    pub scrub: Option<Scrub>,
    /// Whether a client that downloads a blob is redirected to the bucket. The bucket then sends the bytes, and
    /// every client must reach it. The URL in the redirect works without another credential, also after the client
    /// lost its rights (see [what redirects change](../how-to/buckets.md#redirects)). Default false, as in zot. A
    /// folder ignores it.
    #[serde(rename = "redirectBlobURL")]
    pub redirect_blob_url: Option<bool>,
    /// The size of the smallest blob that is redirected, in bytes or as `8MiB`. Default `1MiB`.
    pub redirect_min_size: Option<TextOrNumber>,
    /// How long the URL in a redirect works, from `1s` to `60m`. It never works longer than the credential of the
    /// registry that signed it. Default `10m`.
    pub redirect_lifetime: Option<String>,
}

/// `storage.scrub`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Scrub {
    /// The time from the beginning of one walk through the whole store to the beginning of the next, such as
    /// `168h`. Default `168h`, which is a week. 0 turns scrubbing off. An interrupted walk continues after a
    /// restart.
    pub period: Option<String>,
    /// How much is read, in MiB per second, at least 1. Default 20, which is 11.5 TiB in a week. A walk that
    /// takes longer than `period` at this rate is followed at once by the next, and the log says so.
    pub rate: Option<u32>,
}
