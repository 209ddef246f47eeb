//! A SPIFFE bundle map: the bundles of several trust domains in one document. Each bundle is used only for
//! its own trust domain. The bundles' refresh hints are ignored, since the map is read as a whole (SPIFFE
//! Trust Domain and Bundle 5).

use super::{Bundle, InvalidBundle, bundle};
use crate::spiffe_id::TrustDomain;
use crate::trust::json;
use crate::trust::jwks::Parsed;
use serde_json::Value;

/// Returns the bundle of one trust domain, if the map has it. A fault in another trust domain's bundle is
/// ignored.
pub fn parse_map(bytes: &[u8], trust_domain: &TrustDomain) -> Result<Option<Parsed<Bundle>>, InvalidBundle> {
    let document = json::object(bytes)?;
    let entries = match document.get("trust_domains") {
        Some(Value::Object(entries)) => entries,
        found => {
            return Err(InvalidBundle::TrustDomains {
                found: json::kind(found),
            });
        }
    };
    for name in entries.keys() {
        name.parse::<TrustDomain>()
            .map_err(|why| InvalidBundle::TrustDomain {
                name: name.clone(),
                why,
            })?;
    }
    match entries.get(trust_domain.as_str()) {
        None => Ok(None),
        Some(Value::Object(entry)) => {
            let parsed = bundle(entry)?;
            Ok(Some(Parsed {
                value: Bundle {
                    refresh_hint: None,
                    ..parsed.value
                },
                ..parsed
            }))
        }
        found => Err(InvalidBundle::Entry {
            trust_domain: trust_domain.to_string(),
            found: json::kind(found),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::InvalidJson;
    use crate::trust::source::testing::jwk_set;

    fn jwt_bundle(kid: &str) -> String {
        let keys = String::from_utf8(jwk_set(&[kid])).unwrap();
        keys.replace(r#""kty""#, r#""use":"jwt-svid","kty""#).replacen(
            '{',
            r#"{"spiffe_sequence":3,"spiffe_refresh_hint":60,"#,
            1,
        )
    }

    fn read(text: &str) -> Result<Option<Vec<String>>, InvalidBundle> {
        let found = parse_map(text.as_bytes(), &"a.example".parse().unwrap())?;
        Ok(found.map(|bundle| bundle.value.jwt.key_ids().map(str::to_owned).collect()))
    }

    #[test]
    fn b_14_trust_domains_is_required_and_may_be_empty() {
        assert_eq!(read(r#"{"trust_domains":{}}"#), Ok(None));
        for (text, found) in [
            ("{}", "nothing"),
            (r#"{"trust_domains":[]}"#, "a list"),
            (r#"{"trust_domains":null}"#, "null"),
        ] {
            assert_eq!(read(text), Err(InvalidBundle::TrustDomains { found }));
        }
        for name in ["A.example", "spiffe://a.example", ""] {
            let text = format!(
                r#"{{"trust_domains":{{"a.example":{},{name:?}:{{"keys":[]}}}}}}"#,
                jwt_bundle("k1")
            );
            assert!(
                matches!(read(&text), Err(InvalidBundle::TrustDomain { .. })),
                "{name}"
            );
        }
    }

    #[test]
    fn b_13_each_trust_domain_gets_its_own_bundle_only() {
        let text = format!(
            r#"{{"trust_domains":{{"b.example":{},"a.example":{}}}}}"#,
            jwt_bundle("k2"),
            jwt_bundle("k1")
        );
        assert_eq!(read(&text), Ok(Some(vec!["k1".to_owned()])));
        let text = format!(r#"{{"trust_domains":{{"b.example":{}}}}}"#, jwt_bundle("k2"));
        assert_eq!(read(&text), Ok(None));
    }

    #[test]
    fn b_15_a_repeated_trust_domain_is_rejected() {
        let text = format!(
            r#"{{"trust_domains":{{"a.example":{},"a.example":{}}}}}"#,
            jwt_bundle("k1"),
            jwt_bundle("k2")
        );
        assert_eq!(
            read(&text),
            Err(InvalidBundle::Json(InvalidJson::Duplicate {
                member: "a.example".into()
            }))
        );
    }

    #[test]
    fn b_16_a_bundles_refresh_hint_is_ignored_in_a_map() {
        let text = format!(r#"{{"trust_domains":{{"a.example":{}}}}}"#, jwt_bundle("k1"));
        let bundle = parse_map(text.as_bytes(), &"a.example".parse().unwrap())
            .unwrap()
            .unwrap()
            .value;
        assert_eq!((bundle.refresh_hint, bundle.sequence), (None, Some(3)));
    }

    #[test]
    fn a_faulty_bundle_does_not_affect_others() {
        for fault in ["5", "{}", r#"{"keys":null}"#] {
            let text = format!(
                r#"{{"trust_domains":{{"a.example":{},"b.example":{fault}}}}}"#,
                jwt_bundle("k1")
            );
            assert!(read(&text).unwrap().is_some(), "{fault}");
            assert!(
                parse_map(text.as_bytes(), &"b.example".parse().unwrap()).is_err(),
                "{fault}"
            );
        }
    }
}
