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
