//! Credentials that the operator has revoked although their issuer still accepts them. Rules are compared
//! with what verification proved, before the mapping, so a mapping cannot bypass them. A rule only rejects
//! and never grants: if it matches too much, too much is rejected.
//!
//! The list is part of an authenticator. A reload makes a new authenticator with empty caches, so a new rule
//! applies to open connections and to tokens that were issued before.

use super::{Refused, Thumbprint};
use crate::clock::Timestamp;
use crate::spiffe_id::{SpiffeId, SpiffePattern};
use serde_json::{Map, Value};
use std::fmt;

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DenyRule {
    /// Revokes every credential with a matching SPIFFE ID.
    Spiffe {
        ids: SpiffePattern,
        issued_before: Option<Timestamp>,
    },
    /// Revokes tokens with this `iss` that match all the other fields given. `name` is the name of the entry
    /// that accepts them.
    Issuer {
        issuer: String,
        name: Option<String>,
        subject: Option<String>,
        id: Option<String>,
        issued_before: Option<Timestamp>,
    },
    /// Revokes the certificate with this issuer name and serial number.
    Certificate { authority: String, serial: Serial },
    /// Revokes tokens signed by this key, certificates with this key, and certificates whose chain ends at an
    /// authority with this key.
    Key(Thumbprint),
    /// Revokes one certificate.
    CertificateThumbprint(Thumbprint),
    /// Revokes a name of the password file.
    Htpasswd { user: String },
    /// Revokes one of the registry's own tokens, and the tokens of the session that began with it.
    Token { id: String },
}

/// The rules, each with its place in the configuration, such as `http.auth.deny[0]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DenyList(Vec<(String, DenyRule)>);

/// What verification proved about a credential.
#[derive(Clone, Copy, Debug)]
pub(super) enum Proved<'a> {
    /// `entry` is the name of the issuer's entry, if it has one. `key` is the fingerprint of the signing key.
    Token {
        claims: &'a Map<String, Value>,
        entry: Option<&'a str>,
        spiffe_id: Option<&'a SpiffeId>,
        key: &'a str,
    },
    /// `key` and `authority` are the fingerprints of the leaf's key and of the authority's key.
    Chain {
        claims: &'a Map<String, Value>,
        spiffe_id: Option<&'a SpiffeId>,
        key: &'a str,
        authority: &'a str,
    },
    Password {
        user: &'a str,
    },
    /// `session` is the id of the token with which the session began.
    Minted {
        id: &'a str,
        session: &'a str,
    },
}

impl DenyList {
    /// Rejects a credential that a rule revokes.
    pub(super) fn check(&self, proved: Proved<'_>) -> Result<(), Refused> {
        match self.0.iter().find(|(_, rule)| rule.matches(proved)) {
            Some((place, rule)) => Err(Refused::Revoked {
                rule: format!("{place} ({rule})"),
            }),
            None => Ok(()),
        }
    }
}

impl FromIterator<(String, DenyRule)> for DenyList {
    fn from_iter<I: IntoIterator<Item = (String, DenyRule)>>(rules: I) -> Self {
        Self(rules.into_iter().collect())
    }
}

impl DenyRule {
    fn matches(&self, proved: Proved<'_>) -> bool {
        match (self, proved) {
            (
                Self::Spiffe { ids, issued_before },
                Proved::Token {
                    claims, spiffe_id, ..
                },
            ) => {
                let named = |id: &SpiffeId| ids.matches(id);
                let subject = || text(claims, "sub").parse().is_ok_and(|id| named(&id));
                spiffe_id.map_or_else(subject, named)
                    && issued_before.is_none_or(|before| is_older(claims, "iat", before))
            }
            (
                Self::Spiffe { ids, issued_before },
                Proved::Chain {
                    claims, spiffe_id, ..
                },
            ) => {
                let named = spiffe_id.is_some_and(|id| ids.matches(id))
                    || uri_names(claims).any(|id| ids.matches(&id));
                named && issued_before.is_none_or(|before| is_older(claims, "nbf", before))
            }
            (
                Self::Issuer {
                    issuer,
                    name,
                    subject,
                    id,
                    issued_before,
                },
                Proved::Token { claims, entry, .. },
            ) => {
                let is = |wanted: &Option<String>, claim| {
                    wanted.as_ref().is_none_or(|wanted| text(claims, claim) == wanted)
                };
                text(claims, "iss") == issuer
                    && name.as_ref().is_none_or(|name| entry == Some(name))
                    && is(subject, "sub")
                    && is(id, "jti")
                    && issued_before.is_none_or(|before| is_older(claims, "iat", before))
            }
            (Self::Certificate { authority, serial }, Proved::Chain { claims, .. }) => {
                member(claims, "issuer_dn") == authority
                    && member(claims, "serial")
                        .parse()
                        .is_ok_and(|found: Serial| found == *serial)
            }
            (Self::Key(thumbprint), Proved::Token { key, .. }) => thumbprint.is_of_key(key),
            (Self::Key(thumbprint), Proved::Chain { key, authority, .. }) => {
                [key, authority].into_iter().any(|one| thumbprint.is_of_key(one))
            }
            (Self::CertificateThumbprint(thumbprint), Proved::Chain { claims, .. }) => {
                thumbprint.is_hex(member(claims, "sha256"))
            }
            (Self::Htpasswd { user }, Proved::Password { user: found }) => user == found,
            (Self::Token { id }, Proved::Minted { id: found, session }) => id == found || id == session,
            _ => false,
        }
    }
}

/// Shows the rule as it is written in the configuration.
impl fmt::Display for DenyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = |f: &mut fmt::Formatter<'_>, at: &Option<Timestamp>| match at {
            Some(at) => write!(f, ", issued before {at}"),
            None => Ok(()),
        };
        match self {
            Self::Spiffe { ids, issued_before } => {
                write!(f, "{ids}")?;
                before(f, issued_before)
            }
            Self::Issuer {
                issuer,
                name,
                subject,
                id,
                issued_before,
            } => {
                write!(f, "issuer {issuer:?}")?;
                for (what, value) in [("name", name), ("subject", subject), ("jti", id)] {
                    if let Some(value) = value {
                        write!(f, ", {what} {value:?}")?;
                    }
                }
                before(f, issued_before)
            }
            Self::Certificate { authority, serial } => write!(f, "authority {authority:?}, serial {serial}"),
            Self::Key(thumbprint) => write!(f, "key {thumbprint}"),
            Self::CertificateThumbprint(thumbprint) => write!(f, "certificate {thumbprint}"),
            Self::Htpasswd { user } => write!(f, "htpasswd {user:?}"),
            Self::Token { id } => write!(f, "token {id:?}"),
        }
    }
}

/// The serial number of a certificate in hexadecimal. Case, colons and leading zeros do not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serial(String);

impl std::str::FromStr for Serial {
    type Err = InvalidSerial;

    fn from_str(text: &str) -> Result<Self, InvalidSerial> {
        let text = text.strip_prefix("0x").unwrap_or(text);
        let digits: String = text
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_ascii_lowercase())
            .collect();
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(InvalidSerial);
        }
        Ok(Self(digits.trim_start_matches('0').to_owned()))
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "0" } else { &self.0 })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a serial number in hexadecimal, as `openssl x509 -noout -serial` prints it")]
pub struct InvalidSerial;

/// Whether the credential was issued before this time. One without a date is treated as older.
fn is_older(claims: &Map<String, Value>, claim: &str, before: Timestamp) -> bool {
    claims
        .get(claim)
        .and_then(Value::as_i64)
        .is_none_or(|seconds| Timestamp::from_secs(seconds) < before)
}

fn text<'a>(claims: &'a Map<String, Value>, claim: &str) -> &'a str {
    claims.get(claim).and_then(Value::as_str).unwrap_or_default()
}

/// Returns a text of the claim `x509`.
fn member<'a>(claims: &'a Map<String, Value>, name: &str) -> &'a str {
    claims
        .get("x509")
        .and_then(|x509| x509.get(name))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn uri_names(claims: &Map<String, Value>) -> impl Iterator<Item = SpiffeId> {
    let names = claims
        .get("x509")
        .and_then(|x509| x509.pointer("/san/uri"))
        .and_then(Value::as_array);
    names
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .filter_map(|name| name.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::fingerprint;
    use serde_json::json;

    const ISSUER: &str = "https://issuer.example";
    const AT: i64 = 1_795_500_000;

    fn claims(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn ids(pattern: &str) -> DenyRule {
        DenyRule::Spiffe {
            ids: pattern.parse().unwrap(),
            issued_before: None,
        }
    }

    fn ids_before(pattern: &str, seconds: i64) -> DenyRule {
        DenyRule::Spiffe {
            ids: pattern.parse().unwrap(),
            issued_before: Some(Timestamp::from_secs(seconds)),
        }
    }

    fn issuer(subject: Option<&str>, id: Option<&str>, before: Option<i64>) -> DenyRule {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        DenyRule::Issuer {
            issuer: ISSUER.into(),
            name: None,
            subject: owned(subject),
            id: owned(id),
            issued_before: before.map(Timestamp::from_secs),
        }
    }

    fn certificate(authority: &str, serial: &str) -> DenyRule {
        DenyRule::Certificate {
            authority: authority.into(),
            serial: serial.parse().unwrap(),
        }
    }

    fn digest(bytes: &[u8]) -> Thumbprint {
        let hex = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        hex.as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
            .parse()
            .unwrap()
    }

    #[test]
    fn each_rule_revokes_what_it_names_and_nothing_else() {
        let id = "spiffe://td/ns/ci/sa/a".parse::<SpiffeId>().unwrap();
        let elsewhere = "spiffe://td/ns/other".parse::<SpiffeId>().unwrap();
        let oidc = claims(json!({"iss": ISSUER, "sub": "ann", "jti": "j-1", "iat": AT}));
        let dateless = claims(json!({"iss": ISSUER, "sub": "ann"}));
        let named_by_oidc = claims(json!({"iss": ISSUER, "sub": id.as_str(), "iat": AT}));
        let svid = claims(json!({"sub": id.as_str(), "iat": AT}));
        let x509 = json!({"serial": "0a1b", "issuer_dn": "CN=ca", "sha256": digest(b"leaf").to_string(), "san": {"uri": [id.as_str()]}});
        let x509 = claims(json!({"nbf": AT, "x509": x509}));
        let key = fingerprint(b"leaf key");
        let root = fingerprint(b"root key");
        let signer = fingerprint(b"signing key");
        let oidc_token = token(&oidc, &signer);
        let dateless_token = token(&dateless, &signer);
        let oidc_workload = token(&named_by_oidc, &signer);
        let jwt_svid = Proved::Token {
            claims: &svid,
            entry: None,
            spiffe_id: Some(&id),
            key: &signer,
        };
        let other_svid = Proved::Token {
            claims: &oidc,
            entry: None,
            spiffe_id: Some(&elsewhere),
            key: &key,
        };
        let x509_svid = Proved::Chain {
            claims: &x509,
            spiffe_id: Some(&id),
            key: &key,
            authority: &root,
        };
        let plain = Proved::Chain {
            claims: &x509,
            spiffe_id: None,
            key: &key,
            authority: &root,
        };
        let password = Proved::Password { user: "ann" };
        let minted = Proved::Minted {
            id: "m-2",
            session: "m-1",
        };
        let all = [
            ("an OIDC token", oidc_token),
            ("an OIDC token without dates", dateless_token),
            ("an OIDC token of a workload", oidc_workload),
            ("a JWT-SVID", jwt_svid),
            ("another JWT-SVID", other_svid),
            ("an X.509-SVID", x509_svid),
            ("a plain certificate", plain),
            ("a password", password),
            ("a minted token", minted),
        ];
        let workload = [
            "an OIDC token of a workload",
            "a JWT-SVID",
            "an X.509-SVID",
            "a plain certificate",
        ];
        let certificates = ["an X.509-SVID", "a plain certificate"];
        let table: [(DenyRule, &[&str]); 24] = [
            (ids("spiffe://td/ns/ci/sa/a"), &workload),
            (ids("spiffe://td/ns/ci/"), &workload),
            (ids("spiffe://td/ns/ci/sa/"), &workload),
            (ids("spiffe://td/ns/c/"), &[]),
            (ids("spiffe://td/ns/ci/sa/a/"), &[]),
            (ids("spiffe://td.evil/"), &[]),
            (ids_before("spiffe://td/ns/ci/", AT), &[]),
            (ids_before("spiffe://td/ns/ci/", AT + 1), &workload),
            (
                issuer(Some("ann"), None, None),
                &["an OIDC token", "an OIDC token without dates", "another JWT-SVID"],
            ),
            (issuer(Some("Ann"), None, None), &[]),
            (
                issuer(None, Some("j-1"), None),
                &["an OIDC token", "another JWT-SVID"],
            ),
            (issuer(Some("bob"), Some("j-1"), None), &[]),
            (issuer(None, None, Some(AT)), &["an OIDC token without dates"]),
            (
                issuer(Some("ann"), None, Some(AT + 1)),
                &["an OIDC token", "an OIDC token without dates", "another JWT-SVID"],
            ),
            (certificate("CN=ca", "0A:1B"), &certificates),
            (certificate("CN=ca", "0x000a1b"), &certificates),
            (certificate("CN=other", "0a1b"), &[]),
            (certificate("CN=ca", "0a1b00"), &[]),
            (
                DenyRule::Key(digest(b"signing key")),
                &[
                    "an OIDC token",
                    "an OIDC token without dates",
                    "an OIDC token of a workload",
                    "a JWT-SVID",
                ],
            ),
            (
                DenyRule::Key(digest(b"leaf key")),
                &["another JWT-SVID", "an X.509-SVID", "a plain certificate"],
            ),
            (DenyRule::Key(digest(b"root key")), &certificates),
            (DenyRule::CertificateThumbprint(digest(b"leaf")), &certificates),
            (DenyRule::Htpasswd { user: "ann".into() }, &["a password"]),
            (DenyRule::Token { id: "m-1".into() }, &["a minted token"]),
        ];
        for (rule, expected) in table {
            let matched: Vec<_> = all
                .iter()
                .filter(|(_, proved)| rule.matches(*proved))
                .map(|(name, _)| *name)
                .collect();
            assert_eq!(matched, expected, "{rule}");
        }
        for (id, matches) in [("m-1", true), ("m-2", true), ("m-3", false), ("", false)] {
            assert_eq!(DenyRule::Token { id: id.into() }.matches(minted), matches, "{id}");
        }
    }

    fn token<'a>(claims: &'a Map<String, Value>, key: &'a str) -> Proved<'a> {
        Proved::Token {
            claims,
            entry: None,
            spiffe_id: None,
            key,
        }
    }

    #[test]
    fn a_name_limits_a_rule_to_one_of_the_entries_of_an_issuer() {
        let claims = claims(json!({"iss": ISSUER, "sub": "ann"}));
        for (name, entry, matches) in [
            (None, None, true),
            (None, Some("east"), true),
            (Some("east"), Some("east"), true),
            (Some("east"), Some("west"), false),
            (Some("east"), None, false),
        ] {
            let subject = Some("ann".to_owned());
            let rule = DenyRule::Issuer {
                issuer: ISSUER.into(),
                name: name.map(str::to_owned),
                subject,
                id: None,
                issued_before: None,
            };
            assert_eq!(
                rule.matches(Proved::Token {
                    claims: &claims,
                    entry,
                    spiffe_id: None,
                    key: ""
                }),
                matches,
                "{name:?} {entry:?}"
            );
        }
    }

    #[test]
    fn a_rejection_names_the_rule_and_its_place() {
        let rules = [
            (
                "http.auth.deny[0]".into(),
                DenyRule::Htpasswd { user: "bob".into() },
            ),
            ("http.auth.deny[1]".into(), issuer(Some("ann"), None, Some(AT))),
        ];
        let list: DenyList = rules.into_iter().collect();
        assert_eq!(list.check(Proved::Password { user: "ann" }), Ok(()));
        let rejection = |proved| list.check(proved).unwrap_err().to_string();
        assert!(rejection(Proved::Password { user: "bob" }).contains("http.auth.deny[0] (htpasswd \"bob\")"));
        let old = claims(json!({"iss": ISSUER, "sub": "ann", "iat": AT - 1}));
        let rule = format!(
            "http.auth.deny[1] (issuer \"{ISSUER}\", subject \"ann\", issued before {})",
            Timestamp::from_secs(AT)
        );
        assert!(rejection(token(&old, "")).contains(&rule));
    }

    #[test]
    fn an_invalid_serial_number_is_rejected() {
        for bad in ["", "0x", "g", "0a 1b", ":"] {
            assert_eq!(bad.parse::<Serial>(), Err(InvalidSerial), "{bad:?}");
        }
        assert_eq!("00".parse::<Serial>().unwrap().to_string(), "0");
    }
}
