//! `http`

use super::access::AccessControl;
use super::auth::Auth;
use crate::config::values::{OneOrMany, TextOrNumber};
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

/// `http`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Http {
    /// The address to listen on, or a host name of this machine. `0.0.0.0` and `::` mean all addresses.
    /// Default `127.0.0.1`.
    pub address: Option<String>,
    /// The port, as text or a number. With 0 the system chooses a port. Default 8080.
    pub port: Option<TextOrNumber>,
    /// The URLs that clients use, such as `https://registry.example.org`. Default: the scheme and host of
    /// each request.
    #[serde(rename = "externalURL")]
    pub external_url: Option<OneOrMany>,
    /// The origins of web pages that may read this registry's answers (CORS), such as
    /// `https://ui.example.org`, as a list or separated by commas. `*` means every origin, and browsers then
    /// send no stored password. Default none.
    pub allow_origin: Option<OneOrMany>,
    /// The addresses and networks (`192.0.2.10`, `2001:db8:7::/64`) of reverse proxies that may set the
    /// client's scheme, host and address. List only proxies, because every other machine in a listed network
    /// can set them too. A proxy's own certificate is ignored.
    #[serde(default)]
    pub trusted_proxies: Vec<String>,
    /// The headers that the trusted proxies write: `x-forwarded` (`X-Forwarded-For` and `-Proto`),
    /// `x-forwarded-host` (these and `X-Forwarded-Host`) or `forwarded` (RFC 7239). Other forwarding headers
    /// are ignored. Default `x-forwarded`.
    pub forwarded_headers: Option<ForwardedHeaders>,
    /// The addresses and networks of load balancers that pass connections through and start each with a PROXY
    /// header (version 1 or 2). The address in the header is used as the client's. Connections from these
    /// addresses must have the header, and connections from all others must not.
    #[serde(default)]
    pub proxy_protocol: Vec<String>,
    /// Limits for each client address (IPv6: each /64) until a connection presents an accepted credential.
    /// Connections of `trustedProxies` are exempt. Their requests count for the client that the proxy names,
    /// or for the proxy's own address if it names none.
    pub unidentified: Option<Unidentified>,
    /// The memory for all request bodies, in bytes or as `64MiB` or `1GiB`: manifests, forms, and the
    /// unwritten parts of uploads. Manifests and lists of referrers of more than 512 KiB also use it while
    /// they are sent. When it is in use, uploads take turns, and a request that gets none within 5 seconds is
    /// answered with 503 before its body is read. One identity gets at most a quarter, one address without a
    /// login an eighth (each at least 4 MiB), and all callers without a login half. At least `16MiB`; default
    /// `64MiB`. Changes need a restart.
    pub body_memory: Option<TextOrNumber>,
    /// How many uploads one caller may have open. Callers without a login are counted by address. A further
    /// upload is answered with 429 until another is finished, cancelled, or expires 24 hours after its last
    /// request. Blobs that arrive in one request are not counted. At least 1; default 1000. Changes need a
    /// restart.
    pub open_uploads: Option<u32>,
    /// A separate listener for `/livez`, `/readyz`, `/startupz` and `/metrics`, without TLS and without a
    /// login.
    pub health: Option<Health>,
    /// TLS. Without this key the registry uses plain HTTP.
    pub tls: Option<Tls>,
    /// The credentials that are accepted.
    pub auth: Option<Auth>,
    /// The same as the top-level `accessControl`. Set only one of them.
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
    /// The connections from one address, and separately its HTTP/2 streams. For a further connection, the one
    /// that has been idle the longest is closed. If requests are being answered on all of them, the new
    /// connection is refused. Default 1024.
    pub connections_per_address: Option<u32>,
    /// The requests from one address that are answered at the same time. 128 more wait for up to ten seconds
    /// and then get 429. Answers that use no memory, such as a 401, are not limited. Use at most half of
    /// `connectionsPerAddress`. Default 320.
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
    /// More certificates. A client gets the first certificate that covers the name it asks for. Otherwise it
    /// gets the registry's own X.509-SVID if there is one, or the first certificate.
    #[serde(default)]
    pub certificates: Vec<CertificateFiles>,
    /// Whether to present the registry's own X.509-SVID from the Workload API, in addition to certificate
    /// files or alone. Its key stays in memory, and a rotation drops no connection. The address is that of
    /// `http.auth.spiffe.workloadAPI`. Default false.
    #[serde(rename = "workloadAPI")]
    pub workload_api: Option<bool>,
    /// As in zot: a PEM file with authorities of client certificates, which works like an `http.auth.x509`
    /// entry. Reloaded when it changes.
    pub cacert: Option<PathBuf>,
    /// Whether clients may or must present a certificate. Default `optional` if the configuration accepts
    /// certificates, otherwise `off`.
    pub client_auth: Option<ClientAuth>,
    /// Whether to offer HTTP/2 in addition to HTTP/1.1. Default false.
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
