//! zot's way to derive a username from a client certificate: the first configured attribute that the
//! certificate has. URI patterns must match the whole URI; zot's patterns may match a part.

use serde_json::Value;

/// A part of a certificate that can become the username.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    CommonName,
    /// RFC 4514.
    Subject,
    Email,
    Uri,
    Dns,
}

impl Attribute {
    /// Finds an attribute by zot's name for it, in upper or lower case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "commonname" | "cn" => Self::CommonName,
            "subject" | "dn" => Self::Subject,
            "email" | "rfc822name" => Self::Email,
            "uri" | "url" => Self::Uri,
            "dnsname" | "dns" => Self::Dns,
            _ => return None,
        })
    }
}

/// Attributes in the order in which they are tried.
#[derive(Clone, Debug)]
pub struct Attributes {
    pub order: Vec<Attribute>,
    /// Its first group becomes the username.
    pub uri_pattern: Option<UriPattern>,
    /// Which name to use if the certificate has several of a kind.
    pub uri_index: usize,
    pub dns_index: usize,
    pub email_index: usize,
}

impl Attributes {
    /// The common name alone, which is zot's default.
    #[must_use]
    pub fn common_name() -> Self {
        Self {
            order: vec![Attribute::CommonName],
            uri_pattern: None,
            uri_index: 0,
            dns_index: 0,
            email_index: 0,
        }
    }

    pub(super) fn names_uris(&self) -> bool {
        self.order.contains(&Attribute::Uri)
    }

    /// Returns the first attribute that the claim `x509` has.
    pub(super) fn name(&self, x509: Option<&Value>) -> Option<(Attribute, String)> {
        let at = |pointer: &str| {
            x509?
                .pointer(pointer)?
                .as_str()
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let name = |attribute: &Attribute| match attribute {
            Attribute::CommonName => at("/subject/cn"),
            Attribute::Subject => at("/subject/dn"),
            Attribute::Email => at(&format!("/san/email/{}", self.email_index)),
            Attribute::Dns => at(&format!("/san/dns/{}", self.dns_index)),
            Attribute::Uri => {
                let uri = at(&format!("/san/uri/{}", self.uri_index))?;
                self.uri_pattern
                    .as_ref()
                    .map_or_else(|| Some(uri.clone()), |pattern| pattern.pick(&uri))
            }
        };
        self.order
            .iter()
            .find_map(|attribute| Some((*attribute, name(attribute)?)))
    }
}

/// A regular expression over a whole URI.
#[derive(Clone, Debug)]
pub struct UriPattern(regex::Regex);

impl UriPattern {
    pub fn parse(text: &str) -> Result<Self, InvalidUriPattern> {
        let pattern = regex::Regex::new(&format!("^(?:{text})$"))
            .map_err(|why| InvalidUriPattern::Syntax { why: why.to_string() })?;
        if pattern.captures_len() > 1 {
            Ok(Self(pattern))
        } else {
            Err(InvalidUriPattern::NoGroup)
        }
    }

    fn pick(&self, uri: &str) -> Option<String> {
        Some(self.0.captures(uri)?.get(1)?.as_str().to_owned()).filter(|name| !name.is_empty())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUriPattern {
    #[error("is not a regular expression: {why}")]
    Syntax { why: String },
    #[error("has no group: put parentheses around the part that is the username")]
    NoGroup,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names(order: &[Attribute]) -> Attributes {
        Attributes {
            order: order.to_vec(),
            ..Attributes::common_name()
        }
    }

    #[test]
    fn the_first_present_attribute_becomes_the_username() {
        let x509 = json!({
            "subject": {"cn": "ann", "dn": "CN=ann,O=org"},
            "san": {"email": ["a@example.org", "b@example.org"], "dns": [], "uri": ["spiffe://example.org/workload/app"]},
        });
        use Attribute::{CommonName, Dns, Email, Subject, Uri};
        for (order, expected) in [
            (&[CommonName][..], Some("ann")),
            (&[Subject], Some("CN=ann,O=org")),
            (&[Dns, Email, CommonName], Some("a@example.org")),
            (&[Uri], Some("spiffe://example.org/workload/app")),
            (&[Dns], None),
        ] {
            assert_eq!(
                names(order).name(Some(&x509)).map(|(_, name)| name).as_deref(),
                expected,
                "{order:?}"
            );
        }
        assert_eq!(
            Attributes {
                email_index: 1,
                ..names(&[Email])
            }
            .name(Some(&x509)),
            Some((Email, "b@example.org".to_owned()))
        );
        assert_eq!(
            Attributes {
                email_index: 2,
                ..names(&[Email])
            }
            .name(Some(&x509)),
            None
        );
        assert_eq!(names(&[CommonName]).name(None), None);
    }

    #[test]
    fn a_pattern_must_match_the_whole_uri() {
        let pick = |pattern: &str, uri: &str| UriPattern::parse(pattern).unwrap().pick(uri);
        let pattern = "spiffe://example.org/workload/(.*)";
        assert_eq!(
            pick(pattern, "spiffe://example.org/workload/app").as_deref(),
            Some("app")
        );
        assert_eq!(
            pick(pattern, "https://evil.example/?spiffe://example.org/workload/app"),
            None
        );
        assert_eq!(
            pick("spiffe://example.org/(a|b)", "spiffe://example.org/a/x"),
            None
        );
        assert_eq!(pick(pattern, "spiffe://example.org/workload/"), None, "no name");
        assert_eq!(
            UriPattern::parse("spiffe://.*").map(|_| ()),
            Err(InvalidUriPattern::NoGroup)
        );
        assert!(matches!(
            UriPattern::parse("("),
            Err(InvalidUriPattern::Syntax { .. })
        ));
    }

    #[test]
    fn attributes_have_zots_names() {
        for (name, attribute) in [
            ("CommonName", Attribute::CommonName),
            ("URL", Attribute::Uri),
            ("rfc822Name", Attribute::Email),
        ] {
            assert_eq!(Attribute::named(name), Some(attribute));
        }
        assert_eq!(Attribute::named("serial"), None);
    }
}
