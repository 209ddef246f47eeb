//! The keys of a rule that revokes credentials.

use schemars::JsonSchema;
use serde::Deserialize;

/// `http.auth.deny[]`: exactly one of `spiffeID`, `issuer`, `authority`, `keyThumbprint`,
/// `certificateThumbprint`, `htpasswd` and `token`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Deny {
    /// A SPIFFE ID (`spiffe://td/path`), or all SPIFFE IDs below a path (`spiffe://td/path/`), in every kind
    /// of credential.
    #[serde(rename = "spiffeID")]
    pub spiffe_id: Option<String>,
    /// The issuer of tokens, exactly as in their `iss`. It needs at least one of `subject`, `jti` and
    /// `issuedBefore`. All of those given must match.
    pub issuer: Option<String>,
    /// With `issuer`: the `name` of one of the issuer's entries. Default: all of them.
    pub name: Option<String>,
    /// With `issuer`: the token's `sub`.
    pub subject: Option<String>,
    /// With `issuer`: the token's `jti`.
    pub jti: Option<String>,
    /// With `issuer` or `spiffeID`: a time such as `2026-11-27T12:00:00Z`. Only credentials that were issued
    /// before it are rejected, by a token's `iat` or the start of a certificate's validity. A token without
    /// `iat` is rejected.
    pub issued_before: Option<String>,
    /// The name of the authority that issued a certificate, as in the log's `credential.issuer`. It needs
    /// `serial`.
    pub authority: Option<String>,
    /// With `authority`: the certificate's serial number in hexadecimal, as in the log's `credential.serial`.
    pub serial: Option<String>,
    /// A key, by its SHA-256 in hexadecimal or base64url. The rule rejects tokens that the key signed,
    /// certificates with this key, and certificates of an authority with this key. For a key in a key set,
    /// use its JWK thumbprint (RFC 7638). For a certificate's key, use the digest of its public key in DER.
    pub key_thumbprint: Option<String>,
    /// A certificate, by the SHA-256 of its DER.
    pub certificate_thumbprint: Option<String>,
    /// A name in the password file.
    pub htpasswd: Option<String>,
    /// A token of this registry, by its ID (`token.id` or `token.issued` in the log). The ID of a session's
    /// first token revokes the whole session, including its refresh tokens.
    pub token: Option<String>,
}
