//! `http.auth.bearer`

use super::mapping::ClaimMapping;
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

/// `http.auth.bearer`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Bearer {
    /// The URL of an external token server, which clients are then sent to. Only beside `cert`; else clients
    /// are sent to this registry's own token endpoint.
    pub realm: Option<String>,
    /// A file with the key of an external token server, whose tokens are then accepted for `service`: PEM
    /// with a public key or a certificate, or a JWK set. Read again when it changes.
    pub cert: Option<PathBuf>,
    /// The `iss` of the external token server's tokens. Default: whatever its key signed.
    pub issuer: Option<String>,
    /// The service name in the challenge. Default `wharfinger`.
    pub service: Option<String>,
    /// The issuers whose ID tokens are accepted.
    #[serde(default)]
    pub oidc: Vec<Oidc>,
}

/// `http.auth.bearer.oidc[]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Oidc {
    /// Tells entries of one issuer apart whose keys are different, as those of several clusters whose issuer
    /// is the default `https://kubernetes.default.svc.cluster.local`: the key that verifies a token decides
    /// which entry it belongs to. Part of the principal, to whom uploads belong, and of the default username:
    /// `claims.iss + '/NAME/' + claims.sub`. Keep it. Required of each such entry; entries of one name share
    /// their keys.
    pub name: Option<String>,
    /// The issuer, exactly as it stands in the token's `iss`. Required unless `type` finds it.
    pub issuer: Option<String>,
    /// `kubernetes`: this registry's own cluster. What is not given is found by itself: the issuer in the
    /// pod's token, the key set at the API server (`jwksURL`), its CA, and the pod's token to fetch it with
    /// (`bearerTokenFile`).
    #[serde(rename = "type")]
    pub kind: Option<IssuerType>,
    /// The audiences, of which a token must name at least one. At least one is required.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// Also accept the names of this registry as audiences: each host of `http.externalURL` with and without
    /// its port, with `https://` or `oci://` in front, and with a repository behind it (`oci://host/app`,
    /// `host/app`), which limits the token to that repository. Default false.
    pub audience_from_host: Option<bool>,
    /// A PEM file with the CA of the issuer's server, or that server's own self-signed certificate. Replaces
    /// the system's roots; read again at each fetch.
    pub certificate_authority_file: Option<PathBuf>,
    /// What `certificateAuthorityFile` holds, as text. Not beside it.
    pub certificate_authority: Option<String>,
    /// Compare neither the discovery document's issuer nor the token's. For tests.
    pub skip_issuer_verification: Option<bool>,
    /// Where the discovery document really is. Default `<issuer>/.well-known/openid-configuration`.
    #[serde(rename = "discoveryURL")]
    pub discovery_url: Option<String>,
    /// Where the key set is; skips discovery.
    #[serde(rename = "jwksURL")]
    pub jwks_url: Option<String>,
    /// A file with the key set; no network at all. Reloaded when it changes.
    pub jwks_file: Option<PathBuf>,
    /// A file with a bearer token that is sent to fetch keys, as Kubernetes asks for. Read again at each
    /// fetch.
    pub bearer_token_file: Option<PathBuf>,
    /// More origins, as `https://host:port`, that the bearer token may be sent to. Those of `issuer`,
    /// `discoveryURL` and `jwksURL` may always.
    #[serde(default)]
    pub bearer_token_origins: Vec<String>,
    /// An HTTP proxy to fetch keys through, as `http://proxy.example.org:3128`. Default: the environment's
    /// `HTTPS_PROXY` and so on.
    pub proxy: Option<String>,
    /// The signature algorithms that are accepted. Default: every asymmetric one that fits the key. `EdDSA`
    /// and `Ed25519` are the same.
    pub algorithms: Option<Vec<String>>,
    /// The longest life a token may have, measured from `iat`. Default: no bound.
    pub max_token_lifetime: Option<String>,
    /// How far clocks may differ. Default `30s`.
    pub clock_skew: Option<String>,
    /// How long keys serve after their last successful fetch. Default `24h`.
    pub max_stale: Option<String>,
    /// Refuse tokens for several audiences. Default false.
    pub single_audience: Option<bool>,
    /// Accept the tokens of an issuer that anyone in the world can get one of (GitHub, GitLab.com, Buildkite,
    /// Google, HCP Terraform, Vercel, Codeberg, Sigstore), although no validation says whose are meant.
    /// Default false: such an entry is refused where a `defaultPolicy` or a missing `accessControl` grants a
    /// stranger something, or where an expression for `username` or `groups` could yield a user or group that
    /// `accessControl` names: any expression but `claims.sub`, the default, and texts in quotes.
    pub accept_everyone: Option<bool>,
    /// From claims to username and groups. Default username: `claims.iss + '/' + claims.sub`, with `name`
    /// between them if there is one.
    pub claim_mapping: Option<ClaimMapping>,
}

/// `http.auth.bearer.oidc[].type`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IssuerType {
    Kubernetes,
}
