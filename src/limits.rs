//! The limits on what any caller may send, in one place. `docs/reference/limits.md` documents each of them.

/// The longest token that is parsed, in bytes.
pub const TOKEN_BYTES: usize = 32 * 1024;
/// The largest token that the token endpoint issues, in bytes. Proxies reject headers of more than 8 KiB.
pub const MINTED_BYTES: usize = 6 * 1024;
/// The largest form that the token endpoint reads, in bytes.
pub const FORM_BYTES: usize = 128 * 1024;
/// The longest password of a user in the password file, in bytes. bcrypt ignores everything after that.
pub const PASSWORD_BYTES: usize = 72;
/// The most passwords from one source address that wait, are being checked, or were wrong and wait for
/// `failDelay`. An IPv6 source is a /64.
pub const PASSWORDS_OF_SOURCE: usize = 32;
/// The most of these passwords for one username.
pub const PASSWORDS_OF_NAME: usize = 8;
/// The most requests from one source that wait for the check of the same username and password.
pub const PASSWORD_REQUESTS: usize = 128;
/// The most passwords from all sources that wait to be checked. If there are more, the source with the most
/// waiting loses its last one.
pub const PASSWORDS_WAITING: usize = 512;
/// The most forms that clients at one address may send to the token endpoint at the same time. An IPv6
/// address is a /64.
pub const FORMS_OF_ADDRESS: usize = 64;
/// The most requests without a login from one address that wait until others of the same address have ended.
/// The limit for forms is the same.
pub const WAITING_OF_ADDRESS: usize = 128;
/// How long such a request waits before it is answered with 429, in seconds.
pub const WAIT_SECONDS: u64 = 10;
/// The largest request header block, in bytes.
pub const HEADER_BYTES: usize = 64 * 1024;
/// After an early answer, an unread rest of the request's body of up to this many bytes is read, so that the
/// connection can be reused.
pub const SHORT_REST_BYTES: usize = 256 * 1024;
/// The most bytes of a request's body that are discarded after an early answer.
pub const DISCARDED_BYTES: usize = 64 * 1024 * 1024;
/// The most open streams of one HTTP/2 connection.
pub const HTTP2_STREAMS: u32 = 128;
/// The longest host that a request may name, with its port, in bytes. DNS allows names of 253.
pub const HOST_BYTES: usize = 260;
/// The longest PROXY header that a load balancer may send, in bytes.
pub const PROXY_HEADER_BYTES: usize = 4096;
/// The largest manifest, in bytes (OCI distribution-spec: at least 4 MiB should be supported).
pub const MANIFEST_BYTES: usize = 4 * 1024 * 1024;
/// The longest media type in a manifest's `artifactType` or config, in bytes (RFC 6838, 4.2: two names of
/// 127).
pub const MEDIA_TYPE_BYTES: usize = 255;
/// How long a request waits for memory for its body before it is answered with 503, in seconds.
pub const BODY_WAIT_SECONDS: u64 = 5;
/// The longest repository name, in bytes. With a host name in front it stays below the 255 that clients
/// allow.
pub const REPOSITORY_NAME_BYTES: usize = 230;
/// The longest SPIFFE ID, in bytes (SPIFFE-ID 2.3: 2048 must be supported).
pub const SPIFFE_ID_BYTES: usize = 2048;
/// The longest trust domain name, in bytes.
pub const TRUST_DOMAIN_BYTES: usize = 255;
/// The largest client certificate, in bytes.
pub const CERTIFICATE_BYTES: usize = 16 * 1024;
/// The most names in a certificate of a client's chain: alternative names and attributes of subject and
/// issuer together.
pub const CERTIFICATE_NAMES: usize = 128;
/// The longest of these names, in bytes.
pub const CERTIFICATE_NAME_BYTES: usize = 4 * 1024;
/// The most extensions of a certificate in a client's chain.
pub const CERTIFICATE_EXTENSIONS: usize = 64;
/// The most intermediate certificates that a client may send after its own.
pub const INTERMEDIATES: usize = 6;
/// The largest certificate chain of a client, in bytes, its own certificate included.
pub const CHAIN_BYTES: usize = 32 * 1024;
/// The most signatures that are checked to find a path from one client certificate to an authority.
pub const SIGNATURE_CHECKS: usize = 16;
/// The most signatures that are checked to find the key of one token among those of an issuer or trust
/// domain, newer ones included.
pub const TOKEN_SIGNATURE_CHECKS: usize = 8;
/// The most requests that wait at the same time for newer keys, because the key of their token is not known
/// yet.
pub const KEY_WAITS: usize = 4000;
/// The most requests that wait for the keys of one issuer or trust domain.
pub const KEY_WAITS_PER_ISSUER: usize = 1000;
/// How deep JSON in tokens and key sets may nest.
pub const JSON_DEPTH: u8 = 16;
/// The longest username that a mapping may yield, in bytes.
pub const USERNAME_BYTES: usize = 1024;
/// The most groups that a mapping may yield; each is at most [`USERNAME_BYTES`] long.
pub const GROUPS: usize = 1000;
/// The longest text in one field of a log line, in bytes as written. A longer text is truncated and ends with
/// `… (cut)`.
pub const LOG_FIELD_BYTES: usize = 2 * 1024;
/// The most bytes of the log that may wait for its reader. Further lines are dropped and counted.
pub const LOG_QUEUE_BYTES: usize = 4 * 1024 * 1024;
/// The longest message of an error that is sent to a client, in bytes.
pub const MESSAGE_BYTES: usize = 1024;
/// The most entries on one page of the catalogue or of a tag list.
pub const PAGE_ENTRIES: usize = 1000;
/// The most referrers that are examined for one page of their list, with any filter. The page may be empty
/// and have a `Link`.
pub const REFERRERS_SCANNED: usize = 10 * 1000;
/// The most bytes of records that are read for one page of referrers. A manifest's annotations are in its
/// record twice.
pub const REFERRERS_SCANNED_BYTES: usize = 32 * 1024 * 1024;
