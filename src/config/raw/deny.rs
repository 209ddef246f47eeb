//! The keys of a rule that revokes credentials.

use schemars::JsonSchema;
use serde::Deserialize;

/// `http.auth.deny[]`: exactly one of `spiffeID`, `issuer`, `authority`, `keyThumbprint`,
/// `certificateThumbprint`, `htpasswd` and `token`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Deny {
    /// A SPIFFE ID (`spiffe://td/path`), or all below a path (`spiffe://td/path/`), whatever proves it.
    #[serde(rename = "spiffeID")]
    pub spiffe_id: Option<String>,
    /// The issuer of tokens, exactly as it stands in their `iss`, with at least one of `subject`, `jti` and
    /// `issuedBefore`, all of which must fit.
    pub issuer: Option<String>,
    /// Beside `issuer`: the `name` of one of the issuer's entries. Default: all of them.
    pub name: Option<String>,
    /// Beside `issuer`: the token's `sub`.
    pub subject: Option<String>,
    /// Beside `issuer`: the token's `jti`.
    pub jti: Option<String>,
    /// Beside `issuer` or `spiffeID`: a time as `2026-11-27T12:00:00Z`. Only what was issued before it is
    /// refused: tokens by their `iat`, certificates by the begin of their validity. A token without `iat` is
    /// refused.
    pub issued_before: Option<String>,
    /// The name of the authority that issued a certificate, as `credential.issuer` in the log, with `serial`.
    pub authority: Option<String>,
    /// Beside `authority`: the certificate's serial number in hexadecimal, as `credential.serial` in the log.
    pub serial: Option<String>,
    /// A key, by its SHA-256 in hexadecimal or base64url. Tokens that it signed are refused, certificates of
    /// it, and certificates of an authority with it. Of a key in a key set this is its JWK thumbprint (RFC
    /// 7638), of a certificate's key the digest of its public key in DER.
    pub key_thumbprint: Option<String>,
    /// A certificate, by the SHA-256 of its DER.
    pub certificate_thumbprint: Option<String>,
    /// A name of the password file.
    pub htpasswd: Option<String>,
    /// A token of this registry, by its id (`token.id` or `token.issued` in the log). The id of the token
    /// that began a session revokes the whole session, its refresh tokens included.
    pub token: Option<String>,
}
