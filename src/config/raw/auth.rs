//! `http.auth`, but for what is in files of its own.

use super::deny::Deny;
use super::mapping::ClaimMapping;
use super::oidc::Bearer;
use super::token::Token;
use super::trust_domains::Spiffe;
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

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
