//! The keys of a store in a bucket, named as in zot and distribution.

use crate::config::values::SecretText;
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

/// `storage.storageDriver`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub struct StorageDriver {
    /// The kind of service: `s3` for Amazon S3 and services with its API, `gcs` for Google Cloud Storage or `azure`
    /// for Azure Blob Storage. `gcs` and `azure` are experimental.
    pub name: Driver,
    /// The bucket. It must exist. Required for `s3` and `gcs`.
    pub bucket: Option<String>,
    /// A prefix of all keys in the bucket, such as `registry/production`. Default none. Two registries may share a
    /// bucket if neither prefix begins with the other.
    pub rootdirectory: Option<String>,
    /// `s3`: the region of the bucket, such as `eu-central-1`. Required without `regionendpoint`. Default
    /// `us-east-1` with it.
    pub region: Option<String>,
    /// `s3`: the URL of a service other than Amazon S3, such as `https://s3.example.org`. A scheme in it takes
    /// precedence over `secure`.
    pub regionendpoint: Option<String>,
    /// `s3`: whether the bucket is part of the path (`https://host/bucket`) and not of the host name
    /// (`https://bucket.host`). Default true with `regionendpoint` or if the bucket's name has a dot, otherwise
    /// false.
    pub forcepathstyle: Option<bool>,
    /// `s3`: whether a `regionendpoint` without a scheme is reached by HTTPS. Default true.
    pub secure: Option<bool>,
    /// Accepts any certificate of the service. Anyone on the network path can then read and change the content.
    /// Default false: use `certificateAuthorityFile` for a private CA.
    pub skipverify: Option<bool>,
    /// A PEM file with the CA of the service's certificate, in addition to the system's roots. Default: the
    /// environment's `AWS_CA_BUNDLE`.
    #[serde(rename = "certificateAuthorityFile")]
    pub certificate_authority_file: Option<PathBuf>,
    /// `s3`: the ID of an access key. Set `accesskey` and `secretkey`, or neither. Without them and without
    /// `webidentity`, the credentials come from the environment, a profile file, a web identity of the environment or
    /// the instance's role.
    pub accesskey: Option<String>,
    /// `s3`: the secret of the access key.
    #[schemars(with = "Option<String>")]
    pub secretkey: Option<SecretText>,
    /// `s3`: the session token of temporary keys. The registry cannot renew it.
    #[schemars(with = "Option<String>")]
    pub sessiontoken: Option<SecretText>,
    /// `s3`: short-lived keys, which STS gives for a token of this workload. They are renewed in time.
    pub webidentity: Option<WebIdentity>,
    /// `s3`: requests are always signed with version 4. `true` is accepted.
    pub v4auth: Option<bool>,
    /// `gcs`: a file with a service account's key in JSON. zot's `credentialsFile` means the same. Default: the
    /// environment's `GOOGLE_APPLICATION_CREDENTIALS`, or the instance's service account.
    pub keyfile: Option<PathBuf>,
    /// `gcs`: another name of `keyfile`.
    #[serde(rename = "credentialsFile")]
    pub credentials_file: Option<PathBuf>,
    /// `azure`: the container. Required.
    pub container: Option<String>,
    /// `azure`: the storage account. Required.
    pub accountname: Option<String>,
    /// `azure`: a key of the account. Default: a workload identity from the environment, or a managed identity.
    #[schemars(with = "Option<String>")]
    pub accountkey: Option<SecretText>,
    /// `azure`: the URL of the service, for example of an emulator. Default: the account's own.
    pub serviceurl: Option<String>,
    /// `s3`: whether all parts of an upload but the last get the same size, which Cloudflare R2 needs. Default false.
    #[serde(rename = "equalParts")]
    pub equal_parts: Option<bool>,
    /// Whether only one registry at a time uses the bucket. A second one is refused, `http.auth.token.signingKeyFile`
    /// may be missing, and the service may ignore the conditions of requests ([with less
    /// safety](../how-to/buckets.md#one-registry)). Default false.
    #[serde(rename = "singleReplica")]
    pub single_replica: Option<bool>,
}

/// `storage.storageDriver.webidentity`. The token is a file's or, with `audience`, a JWT-SVID of the Workload API.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub struct WebIdentity {
    /// The role that the token is exchanged for, such as `arn:aws:iam::123456789012:role/registry`. Required.
    pub rolearn: Option<String>,
    /// How the cloud's audit log names the registry: 2 to 64 characters of `A-Z a-z 0-9 _ = , . @ -`. Default
    /// `wharfinger`.
    pub sessionname: Option<String>,
    /// The URL of STS. Default: the environment's `AWS_ENDPOINT_URL_STS`, or Amazon's STS in the bucket's region.
    /// Required with a `regionendpoint` that is not Amazon's. The certificate settings of the bucket apply to it.
    pub stsendpoint: Option<String>,
    /// A file with the token, such as a Kubernetes service account's projected token. It is read for each exchange.
    pub tokenfile: Option<PathBuf>,
    /// The audience of a JWT-SVID, which is fetched for each exchange from the Workload API
    /// (`http.auth.spiffe.workloadAPI`). STS must expect this audience.
    pub audience: Option<String>,
    /// With `audience`: the SPIFFE ID of the JWT-SVID, if this workload has several. Default: the agent's first.
    pub spiffeid: Option<String>,
}

/// `storage.storageDriver.name`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    S3,
    Gcs,
    Azure,
}
