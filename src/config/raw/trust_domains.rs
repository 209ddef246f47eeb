//! `http.auth.spiffe`

use super::mapping::ClaimMapping;
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

/// `http.auth.spiffe`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Spiffe {
    /// The Workload API's address. Default: the environment's `SPIFFE_ENDPOINT_SOCKET`.
    #[serde(rename = "workloadAPI")]
    pub workload_api: Option<String>,
    /// The trust domains whose SVIDs are accepted.
    pub trust_domains: Vec<Domain>,
}

/// `http.auth.spiffe.trustDomains[]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Domain {
    /// The trust domain's name, without `spiffe://`.
    pub name: String,
    /// The accepted audiences. A JWT-SVID must have at least one of them. Required unless `svids` is
    /// `[x509]`.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// Also accept the names of this registry as audiences: each host of `http.externalURL`, with or without
    /// its port, and optionally with `https://` or `oci://` in front. A repository after the host
    /// (`oci://host/app`, `host/app`) limits the token to that repository. Default false.
    pub audience_from_host: Option<bool>,
    /// The accepted kinds of SVID. Default: both.
    pub svids: Option<Vec<SvidKind>>,
    /// The sources of the bundle, in order of preference. They are never merged. At least one is required.
    #[serde(default)]
    pub bundle: Vec<BundleSource>,
    /// Names of other configured trust domains that may share authorities with this one. Without it, an X.509
    /// authority or JWT key that two trust domains have is used only for the first of them in the file,
    /// because each could issue identities of the other.
    #[serde(default)]
    pub shares_authorities_with: Vec<String>,
    /// How much clocks may differ. Default `30s`.
    pub clock_skew: Option<String>,
    /// How long a bundle from the network stays valid after its last confirmation, for every kind of source.
    /// Default `24h`.
    pub max_stale: Option<String>,
    /// What to do with the Workload API's last bundle when it answers PermissionDenied. `withdraw` (the
    /// default) drops it: at once if the answer ends an open stream, and after 30 s if new attempts get it.
    /// `retain` keeps it, as if the agent were down.
    pub on_permission_denied: Option<OnPermissionDenied>,
    /// Reject JWT-SVIDs with several audiences. Default false.
    pub single_audience: Option<bool>,
    /// The mapping from claims to username and groups. Default username: the SPIFFE ID.
    pub claim_mapping: Option<ClaimMapping>,
}

/// `svids[]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SvidKind {
    Jwt,
    X509,
}

/// `onPermissionDenied`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnPermissionDenied {
    Withdraw,
    Retain,
}

/// `bundle[]`: set exactly one key
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BundleSource {
    /// Use the Workload API.
    #[serde(rename = "workloadAPI")]
    pub workload_api: Option<Empty>,
    /// A file in SPIFFE JSON, or in PEM (X.509 authorities only). Reloaded when it changes.
    pub file: Option<PathBuf>,
    /// The content of `file` as text.
    pub inline: Option<String>,
    /// A file with a plain JWK set. `use` is ignored. Reloaded when it changes.
    pub jwks_file: Option<PathBuf>,
    /// The content of `jwksFile` as text.
    pub jwks: Option<String>,
    /// A file with a SPIFFE bundle map. Only this trust domain's bundle in it is used. Several trust domains
    /// may share the file. Reloaded when it changes.
    pub bundle_map_file: Option<PathBuf>,
    /// JWT keys of an OIDC issuer, found by discovery. Tokens that they verify must have this `iss`. The
    /// value is the issuer, or an object with more settings.
    pub oidc_issuer: Option<IssuerOrReach>,
    /// The trust domain's federation endpoint.
    pub endpoint: Option<Endpoint>,
}

/// An issuer, or how to reach it
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum IssuerOrReach {
    Issuer(String),
    Reach(Box<Reach>),
}

/// `bundle[].oidcIssuer`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Reach {
    /// The issuer, exactly as in the token's `iss`.
    pub issuer: String,
    /// The URL of the discovery document. Default `<issuer>/.well-known/openid-configuration`.
    #[serde(rename = "discoveryURL")]
    pub discovery_url: Option<String>,
    /// The URL of the key set. Discovery is then skipped.
    #[serde(rename = "jwksURL")]
    pub jwks_url: Option<String>,
    /// A PEM file with the CA of the issuer's server, or that server's own self-signed certificate. It
    /// replaces the system's roots. Read at each fetch.
    pub certificate_authority_file: Option<PathBuf>,
    /// The content of `certificateAuthorityFile` as text. Set only one of them.
    pub certificate_authority: Option<String>,
    /// A file with a bearer token to fetch keys with. Read at each fetch.
    pub bearer_token_file: Option<PathBuf>,
    /// More origins, such as `https://host:port`, that may receive the bearer token.
    #[serde(default)]
    pub bearer_token_origins: Vec<String>,
    /// An HTTP proxy to fetch keys through. Default: the environment's.
    pub proxy: Option<String>,
}

/// `bundle[].endpoint`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Endpoint {
    /// The URL of the bundle. It must use https.
    pub url: String,
    /// How the server is verified: `https_web` by its name, `https_spiffe` by its X.509-SVID.
    pub profile: Profile,
    /// The SPIFFE ID of the endpoint's server. Required for `https_spiffe`, and not allowed otherwise.
    #[serde(rename = "endpointSpiffeID")]
    pub endpoint_spiffe_id: Option<String>,
    /// A file with the bundle of the endpoint's trust domain, in SPIFFE JSON or PEM. If the endpoint belongs
    /// to this trust domain, the file is used only for the first connection, and the last fetched bundle from
    /// then on. Required for `https_spiffe`, and not allowed otherwise.
    pub bootstrap_file: Option<PathBuf>,
    /// A PEM file with the CA of the endpoint's server, for `https_web` only. It replaces the system's roots.
    /// Read at each fetch.
    pub certificate_authority_file: Option<PathBuf>,
    /// An HTTP proxy to fetch the bundle through. Default: the environment's.
    pub proxy: Option<String>,
}

/// `bundle[].endpoint.profile`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    HttpsWeb,
    HttpsSpiffe,
}

/// `{}`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Empty {}
