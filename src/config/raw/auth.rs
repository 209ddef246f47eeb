//! `http.auth`, except the parts that have their own files.

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
    /// Client certificates that are not SVIDs, by their authorities. The first entry that trusts a
    /// certificate and whose validations accept it is used.
    #[serde(default)]
    pub x509: Vec<X509>,
    /// As in zot: how to get a username from a client certificate of `tls.cacert`. Default: the common name.
    pub mtls: Option<Mtls>,
    /// The password file.
    pub htpasswd: Option<Htpasswd>,
    /// As in zot: the delay of the answer to a wrong password, in seconds. Default 0, at most 60. A delayed
    /// attempt counts towards the limit of its address, and a client over the limit gets 429. Unlike in zot,
    /// denials by policy are not delayed.
    pub fail_delay: Option<u64>,
    /// Credentials to reject although their issuers still accept them. A change applies from the next request
    /// on, also on open connections and to tokens that were issued earlier.
    #[serde(default)]
    pub deny: Vec<Deny>,
    /// The tokens that this registry issues in exchange for a credential.
    pub token: Option<Token>,
    /// Cache the identity behind a repeated token, until the token expires or the configuration, the keys or
    /// the password file change. Default true. The identity behind a certificate is always cached for its
    /// connection.
    pub token_cache: Option<bool>,
}

/// `http.auth.x509[]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct X509 {
    /// A name for these authorities. Do not change it later, because uploads belong to it.
    pub name: String,
    /// A PEM file with the authorities' certificates. Reloaded when it changes.
    pub certificate_authority_file: PathBuf,
    /// The mapping from claims to username and groups. Default username: the common name.
    pub claim_mapping: Option<ClaimMapping>,
}

/// `http.auth.mtls`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Mtls {
    /// A list of `CommonName`, `Subject`, `Email`, `URI` and `DNSName`. The first attribute that the
    /// certificate has becomes the username. Default: the common name.
    #[serde(default)]
    pub identity_attributes: Vec<String>,
    /// A regular expression that must match the whole URI. Its first group is the username.
    pub uri_san_pattern: Option<String>,
    /// The index of the URI to use. Default 0.
    pub uri_san_index: Option<usize>,
    /// The index of the DNS name to use. Default 0.
    pub dns_san_index: Option<usize>,
    /// The index of the email address to use. Default 0.
    pub email_san_index: Option<usize>,
    /// Accept a username that begins with a configured OIDC issuer and a slash, so that it looks like a
    /// subject of that issuer. Default false: such a certificate is rejected.
    pub allow_other_issuers_usernames: Option<bool>,
}

/// `http.auth.htpasswd`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Htpasswd {
    /// The password file, with bcrypt hashes from `htpasswd -B`. Reloaded when it changes.
    pub path: PathBuf,
}
