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
    /// The audiences, of which a JWT-SVID must name at least one. Required unless `svids` is `[x509]`.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// Also accept the names of this registry as audiences: each host of `http.externalURL` with and without
    /// its port, with `https://` or `oci://` in front, and with a repository behind it (`oci://host/app`,
    /// `host/app`), which limits the token to that repository. Default false.
    pub audience_from_host: Option<bool>,
    /// Which SVIDs are accepted. Default both.
    pub svids: Option<Vec<SvidKind>>,
    /// Where the bundle comes from, in order of preference; never united. At least one is required.
    #[serde(default)]
    pub bundle: Vec<BundleSource>,
    /// The names of other trust domains here whose authorities this one may hold too, or which may hold its.
    /// Otherwise an X.509 authority or JWT key that two trust domains hold counts for the first of them in
    /// the file alone, since each could vouch for the other.
    #[serde(default)]
    pub shares_authorities_with: Vec<String>,
    /// How far clocks may differ. Default `30s`.
    pub clock_skew: Option<String>,
    /// How long what came over the network serves after it was last confirmed, whichever source it came from.
    /// Default `24h`.
    pub max_stale: Option<String>,
    /// What a PermissionDenied of the Workload API does to the bundle it gave before: `withdraw` it (the
    /// default), at once if it ends an open stream and after 30 s if it meets new attempts; or `retain` it,
    /// as if the agent were away.
    pub on_permission_denied: Option<OnPermissionDenied>,
    /// Refuse JWT-SVIDs for several audiences. Default false.
    pub single_audience: Option<bool>,
    /// From claims to username and groups. Default username: the SPIFFE ID.
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

/// `bundle[]`: exactly one of its keys.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BundleSource {
    /// From the Workload API.
    #[serde(rename = "workloadAPI")]
    pub workload_api: Option<Empty>,
    /// A file in SPIFFE JSON, or in PEM (X.509 authorities only). Reloaded when it changes.
    pub file: Option<PathBuf>,
    /// What `file` holds, as text.
    pub inline: Option<String>,
    /// A file with a plain JWK set; `use` is not looked at. Reloaded when it changes.
    pub jwks_file: Option<PathBuf>,
    /// What `jwksFile` holds, as text.
    pub jwks: Option<String>,
    /// A file with a SPIFFE bundle map, of which this trust domain's bundle counts; several trust domains may
    /// share it. Reloaded when it changes.
    pub bundle_map_file: Option<PathBuf>,
    /// JWT keys of an OIDC issuer, by discovery. Tokens verified by these must have it as their `iss`. The
    /// issuer, or an object that says how to reach it.
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
    /// The issuer, exactly as it stands in the token's `iss`.
    pub issuer: String,
    /// Where the discovery document really is. Default `<issuer>/.well-known/openid-configuration`.
    #[serde(rename = "discoveryURL")]
    pub discovery_url: Option<String>,
    /// Where the key set is; skips discovery.
    #[serde(rename = "jwksURL")]
    pub jwks_url: Option<String>,
    /// A PEM file with the CA of the issuer's server, or that server's own self-signed certificate. Replaces
    /// the system's roots; read again at each fetch.
    pub certificate_authority_file: Option<PathBuf>,
    /// What `certificateAuthorityFile` holds, as text. Not beside it.
    pub certificate_authority: Option<String>,
    /// A file with a bearer token that is sent to fetch keys. Read again at each fetch.
    pub bearer_token_file: Option<PathBuf>,
    /// More origins, as `https://host:port`, that the bearer token may be sent to.
    #[serde(default)]
    pub bearer_token_origins: Vec<String>,
    /// An HTTP proxy to fetch keys through. Default: the environment's.
    pub proxy: Option<String>,
}

/// `bundle[].endpoint`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Endpoint {
    /// Where the bundle is published: https only.
    pub url: String,
    /// How its server is known: `https_web` by its name, `https_spiffe` by its X.509-SVID.
    pub profile: Profile,
    /// The SPIFFE ID of the endpoint's server. Required for `https_spiffe`, and only there.
    #[serde(rename = "endpointSpiffeID")]
    pub endpoint_spiffe_id: Option<String>,
    /// A file with the bundle of the endpoint's trust domain, in SPIFFE JSON or PEM. If that is this trust
    /// domain itself, it serves for the first connection, and from then on the bundle fetched last. Required
    /// for `https_spiffe`, and only there.
    pub bootstrap_file: Option<PathBuf>,
    /// A PEM file with the CA of the endpoint's server, for `https_web` only. Replaces the system's roots;
    /// read again at each fetch.
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
