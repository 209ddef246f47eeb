//! `http.auth.bearer`

use super::mapping::ClaimMapping;
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

/// `http.auth.bearer`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Bearer {
    /// The URL of an external token server for clients. It needs `cert`. Without `cert`, clients use this
    /// registry's own token endpoint.
    pub realm: Option<String>,
    /// A file with the key of an external token server: PEM with a public key or a certificate, or a JWK set.
    /// Its tokens are accepted for `service`. Reloaded when it changes.
    pub cert: Option<PathBuf>,
    /// The required `iss` of the external token server's tokens. Default: any.
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
    /// Distinguishes entries with the same issuer but different keys, such as several clusters with the
    /// default issuer `https://kubernetes.default.svc.cluster.local`. The key that verifies a token decides
    /// its entry. The name is part of the principal, which owns uploads, and of the default username,
    /// `claims.iss + '/NAME/' + claims.sub`, so do not change it later. Required for each such entry. Entries
    /// with the same name share their keys.
    pub name: Option<String>,
    /// The issuer, exactly as in the token's `iss`. Required unless `type` finds it.
    pub issuer: Option<String>,
    /// `kubernetes` means the registry's own cluster. The registry finds missing values itself: the issuer
    /// from the pod's token, the key set at the API server (`jwksURL`), its CA, and the pod's token to fetch
    /// it with (`bearerTokenFile`).
    #[serde(rename = "type")]
    pub kind: Option<IssuerType>,
    /// The accepted audiences. A token must have at least one of them. The list must not be empty.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// Also accept the names of this registry as audiences: each host of `http.externalURL`, with or without
    /// its port, and optionally with `https://` or `oci://` in front. A repository after the host
    /// (`oci://host/app`, `host/app`) limits the token to that repository. Default false.
    pub audience_from_host: Option<bool>,
    /// A PEM file with the CA of the issuer's server, or that server's own self-signed certificate. It
    /// replaces the system's roots. Read at each fetch.
    pub certificate_authority_file: Option<PathBuf>,
    /// The content of `certificateAuthorityFile` as text. Set only one of them.
    pub certificate_authority: Option<String>,
    /// Do not compare the issuer in the discovery document or in the token. For tests only.
    pub skip_issuer_verification: Option<bool>,
    /// The URL of the discovery document. Default `<issuer>/.well-known/openid-configuration`.
    #[serde(rename = "discoveryURL")]
    pub discovery_url: Option<String>,
    /// The URL of the key set. Discovery is then skipped.
    #[serde(rename = "jwksURL")]
    pub jwks_url: Option<String>,
    /// A file with the key set. The registry then uses no network. Reloaded when it changes.
    pub jwks_file: Option<PathBuf>,
    /// A file with a bearer token to fetch keys with, as Kubernetes requires. Read at each fetch.
    pub bearer_token_file: Option<PathBuf>,
    /// More origins, such as `https://host:port`, that may receive the bearer token. The origins of `issuer`,
    /// `discoveryURL` and `jwksURL` always may.
    #[serde(default)]
    pub bearer_token_origins: Vec<String>,
    /// An HTTP proxy to fetch keys through, such as `http://proxy.example.org:3128`. Default: the
    /// environment's `HTTPS_PROXY` and related variables.
    pub proxy: Option<String>,
    /// The accepted signature algorithms. Default: every asymmetric algorithm that fits the key. `EdDSA` and
    /// `Ed25519` are the same.
    pub algorithms: Option<Vec<String>>,
    /// The longest lifetime of a token, measured from `iat`. Default: no limit.
    pub max_token_lifetime: Option<String>,
    /// How much clocks may differ. Default `30s`.
    pub clock_skew: Option<String>,
    /// How long keys stay valid after their last successful fetch. Default `24h`.
    pub max_stale: Option<String>,
    /// Reject tokens with several audiences. Default false.
    pub single_audience: Option<bool>,
    /// Accept tokens of an issuer that issues tokens to anyone (GitHub, GitLab.com, Buildkite, Google, HCP
    /// Terraform, Vercel, Codeberg, Sigstore) without a validation that restricts them. Default false: such
    /// an entry is refused if a stranger could get access. That is the case if a `defaultPolicy` or a missing
    /// `accessControl` grants something, or if an expression for `username` or `groups` could yield a name in
    /// `accessControl`. Only `claims.sub`, the default and constant text are safe expressions.
    pub accept_everyone: Option<bool>,
    /// The mapping from claims to username and groups. Default username: `claims.iss + '/' + claims.sub`,
    /// with `name` between them if it is set.
    pub claim_mapping: Option<ClaimMapping>,
}

/// `http.auth.bearer.oidc[].type`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IssuerType {
    Kubernetes,
}
