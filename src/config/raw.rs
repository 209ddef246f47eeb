//! The keys of the configuration file, as they are written. The reference in `docs/` is generated from these
//! types and their comments, so a comment here is what a user reads.

mod access;
mod deny;
mod extensions;
mod token;

pub use access::{AccessControl, Action, Grant, Group, Metrics, Repository};
pub use deny::Deny;
pub use extensions::Extensions;
pub use token::Token;

use super::values::{OneOrMany, TextOrNumber};
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

/// `http`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Http {
    /// The address to listen on, or a host name of this machine. `0.0.0.0` and `::` are every one. Default
    /// `127.0.0.1`.
    pub address: Option<String>,
    /// The port, as text or a number. Default 8080; 0 is chosen by the system.
    pub port: Option<TextOrNumber>,
    /// What clients call this registry, as `https://registry.example.org`. Default: what each request called
    /// it.
    #[serde(rename = "externalURL")]
    pub external_url: Option<OneOrMany>,
    /// The origins of pages in browsers that may read what this registry answers (CORS), as
    /// `https://ui.example.org`, separated by commas or as a list; `*` is every origin, and then browsers
    /// send no password of theirs. Default none.
    pub allow_origin: Option<OneOrMany>,
    /// The reverse proxies, as addresses and networks (`192.0.2.10`, `2001:db8:7::/64`), that may say the
    /// scheme, host and address of the client. Name the proxies alone: everything else in a network can say
    /// the same. Their own certificates identify nobody.
    #[serde(default)]
    pub trusted_proxies: Vec<String>,
    /// The headers that the trusted proxies write: `x-forwarded` (`X-Forwarded-For` and `-Proto`),
    /// `x-forwarded-host` (these and `X-Forwarded-Host`) or `forwarded` (RFC 7239). The other ones are
    /// ignored. Default `x-forwarded`.
    pub forwarded_headers: Option<ForwardedHeaders>,
    /// The load balancers, as addresses and networks, that pass connections through and begin each with a
    /// PROXY header (version 1 or 2): the address that it names is the client's. They must send it, and a
    /// connection from anywhere else that begins with one is refused.
    #[serde(default)]
    pub proxy_protocol: Vec<String>,
    /// Bounds for each client address (IPv6: each /64), as long as its connections have presented no
    /// credential that was accepted. Connections of `trustedProxies` are exempt; their requests are bounded
    /// by the client that they name, or else all together.
    pub unidentified: Option<Unidentified>,
    /// The memory that the bodies of requests may hold together, in bytes or as `64MiB` or `1GiB`: manifests,
    /// forms, and what of uploads is not written yet. Manifests and lists of referrers of more than 512 KiB
    /// take part of it while they are sent. When it is in use, uploads take turns, and a request that finds
    /// none within 5 seconds is answered with 503 before its body is read. One identity has a quarter at
    /// most, one address without a login an eighth (at least 4 MiB each), and all callers without a login
    /// have half. At least `16MiB`; default `64MiB`. Read at start.
    pub body_memory: Option<TextOrNumber>,
    /// Uploads that one caller may have open; callers without a login count by address. For one more the
    /// answer is 429, until one is finished, cancelled, or expires 24 hours after its last request. Blobs
    /// that come in one request do not count. At least 1; default 1000. Read at start.
    pub open_uploads: Option<u32>,
    /// A plain listener of its own for `/livez`, `/readyz`, `/startupz` and `/metrics`, which asks nobody for
    /// a credential.
    pub health: Option<Health>,
    /// TLS. Without it the registry speaks plain HTTP.
    pub tls: Option<Tls>,
    /// Who may log in.
    pub auth: Option<Auth>,
    /// The same as `accessControl` beside `http`; not both.
    pub access_control: Option<AccessControl>,
}

/// `http.forwardedHeaders`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeaders {
    XForwarded,
    XForwardedHost,
    Forwarded,
}

/// `http.unidentified`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Unidentified {
    /// Connections of one address; also its HTTP/2 streams, which are counted apart. For one more connection
    /// the one that has been idle for the longest is closed. If requests are being answered on all of them,
    /// it is refused. Default 1024.
    pub connections_per_address: Option<u32>,
    /// Requests of one address that are being answered. 128 more wait for up to ten seconds, and are then
    /// answered with 429. Answers that hold nothing, such as a 401, are not bounded. At most half of
    /// `connectionsPerAddress` is sensible. Default 320.
    pub requests_per_address: Option<u32>,
}

/// `http.health`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Health {
    /// The address to listen on. Default `127.0.0.1`.
    pub address: Option<String>,
    /// The port, as text or a number.
    pub port: TextOrNumber,
}

/// `http.tls`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Tls {
    /// A file with the certificate chain in PEM. Reloaded when it changes.
    pub cert: Option<PathBuf>,
    /// A file with the private key in PEM. Reloaded when it changes.
    pub key: Option<PathBuf>,
    /// More certificates. A client gets the first one that has the name that it asks for; else the registry's
    /// own X.509-SVID if there is one, else the first certificate.
    #[serde(default)]
    pub certificates: Vec<CertificateFiles>,
    /// Also, or only, the registry's own X.509-SVID from the Workload API, with its key in memory and its
    /// rotation without a dropped connection. The address is that of `http.auth.spiffe.workloadAPI`. Default
    /// false.
    #[serde(rename = "workloadAPI")]
    pub workload_api: Option<bool>,
    /// zot's: a PEM file with authorities of client certificates, as an `http.auth.x509` entry. Reloaded when
    /// it changes.
    pub cacert: Option<PathBuf>,
    /// Whether clients may or must present a certificate. Default `optional` when certificates can identify
    /// anyone, else `off`.
    pub client_auth: Option<ClientAuth>,
    /// Whether HTTP/2 is offered beside HTTP/1.1. Default false.
    pub http2: Option<bool>,
}

/// `http.tls.certificates[]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// A file with the certificate chain in PEM. Reloaded when it changes.
    pub cert: PathBuf,
    /// A file with the private key in PEM. Reloaded when it changes.
    pub key: PathBuf,
}

/// `http.tls.clientAuth`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    Off,
    Optional,
    Required,
}

/// `http.auth`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Auth {
    /// OIDC ID tokens.
    pub bearer: Option<Bearer>,
    /// JWT-SVIDs and X.509-SVIDs.
    pub spiffe: Option<Spiffe>,
    /// Client certificates that are no SVIDs, by their authorities. The first entry that trusts a certificate
    /// and whose validations pass counts.
    #[serde(default)]
    pub x509: Vec<X509>,
    /// zot's: who presents a client certificate of `tls.cacert`. Default: the common name.
    pub mtls: Option<Mtls>,
    /// Names and passwords.
    pub htpasswd: Option<Htpasswd>,
    /// zot's: how many seconds the answer to a wrong password waits. Default 0, at most 60. An attempt that
    /// waits takes one of the places that its address has; a client without a place gets 429. Unlike in zot,
    /// what policy denies is answered at once.
    pub fail_delay: Option<u64>,
    /// Credentials that are refused although their issuers still vouch for them. A change holds for the next
    /// request of every client, also for open connections and for tokens that were issued before.
    #[serde(default)]
    pub deny: Vec<Deny>,
    /// The tokens that this registry issues in exchange for a credential.
    pub token: Option<Token>,
    /// Keep who presented a token that comes again, as long as the token, the configuration and the keys or
    /// the password file that vouched for it count. Default true. Of a certificate the same is always kept
    /// for its connection.
    pub token_cache: Option<bool>,
}

/// `http.auth.x509[]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct X509 {
    /// A name for these authorities, which uploads belong to. Keep it.
    pub name: String,
    /// A PEM file with their certificates. Reloaded when it changes.
    pub certificate_authority_file: PathBuf,
    /// From claims to username and groups. Default username: the common name.
    pub claim_mapping: Option<ClaimMapping>,
}

/// `http.auth.mtls`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Mtls {
    /// `CommonName`, `Subject`, `Email`, `URI`, `DNSName`: the first that a certificate has is the username.
    /// Default: the common name.
    #[serde(default)]
    pub identity_attributes: Vec<String>,
    /// A regular expression over the whole URI, whose first group is the username.
    pub uri_san_pattern: Option<String>,
    /// Which of several URIs. Default 0.
    pub uri_san_index: Option<usize>,
    /// Which of several DNS names. Default 0.
    pub dns_san_index: Option<usize>,
    /// Which of several addresses. Default 0.
    pub email_san_index: Option<usize>,
    /// Accept a username that begins with a configured OIDC issuer and a slash, which could pass for a
    /// subject of that issuer. Default false: such a certificate is refused.
    pub allow_other_issuers_usernames: Option<bool>,
}

/// `http.auth.htpasswd`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Htpasswd {
    /// The file, with bcrypt hashes as `htpasswd -B` makes them. Read again when it changes.
    pub path: PathBuf,
}

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

/// `claimMapping`: CEL over `claims`, `vars` and `credential`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ClaimMapping {
    /// Named expressions; each may use those before it as `vars.<name>`.
    #[serde(default)]
    pub variables: Vec<Variable>,
    /// Expressions that must be true.
    #[serde(default)]
    pub validations: Vec<Validation>,
    /// An expression that yields text.
    pub username: Option<String>,
    /// An expression that yields a list of texts. Default: no groups.
    pub groups: Option<String>,
    /// Accept a username that begins with another configured issuer and a slash, which could pass for a
    /// subject of that issuer. Default false: such a credential is refused.
    pub allow_other_issuers_usernames: Option<bool>,
}

/// `claimMapping.variables[]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// The name behind `vars.`.
    pub name: String,
    /// The expression.
    pub expression: String,
}

/// `claimMapping.validations[]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// The expression.
    pub expression: String,
    /// What the log says when it is false.
    pub message: String,
}

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

/// `log`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// From this level on. Default `info`.
    pub level: Option<Level>,
    /// How lines look on standard error: `text` for people, `json` for programs, `auto` for text where
    /// standard error is a terminal and JSON elsewhere. Default `auto`. Read at start.
    pub format: Option<LogFormat>,
}

/// `log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Auto,
    Text,
    Json,
}

/// `log.level`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}
