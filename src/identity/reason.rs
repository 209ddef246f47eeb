//! Why somebody was not identified, in one word out of few: for metrics, whose labels strangers must not
//! choose.

use super::{Busy, Failure};
use crate::trust::NoKeys;
use std::fmt::{self, Write};

/// As in `jwt_expired`: the names of the reason and of what it holds, as they are in the source, and nothing
/// of what was presented.
#[must_use]
pub fn reason(failure: &Failure) -> String {
    match failure {
        Failure::Undecidable {
            why: NoKeys::None { .. },
            ..
        } => "no_keys".to_owned(),
        Failure::Undecidable {
            why: NoKeys::NotFetched { .. },
            ..
        } => "keys_not_fetched".to_owned(),
        Failure::Undecidable {
            why: NoKeys::NoPlace, ..
        } => "no_place_to_wait".to_owned(),
        Failure::Busy {
            why: Busy::Everyone, ..
        } => "busy".to_owned(),
        Failure::Busy {
            why: Busy::Source { .. },
            ..
        } => "source_busy".to_owned(),
        Failure::Refused(refusal) => {
            let mut names = Names(String::new());
            // It ends with an error when there are no more names.
            let _ = write!(names, "{:?}", refusal.reason);
            names.0
        }
    }
}

/// Takes the names that a value begins with, `Outer(Inner { … })`, in snake case.
struct Names(String);

impl Write for Names {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let begins = self.0.is_empty() || self.0.ends_with('_');
            match c {
                '(' if !begins => self.0.push('_'),
                'A'..='Z' if begins => self.0.push(c.to_ascii_lowercase()),
                'A'..='Z' => self.0.extend(['_', c.to_ascii_lowercase()]),
                'a'..='z' | '0'..='9' if !begins => self.0.push(c),
                _ => {
                    let end = self.0.trim_end_matches('_').len();
                    self.0.truncate(end);
                    return Err(fmt::Error);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::identity::{Evidence, Refused};
    use crate::trust::{jwt, x509};

    #[test]
    fn a_reason_is_its_names_and_nothing_that_a_stranger_wrote() {
        let at = Timestamp::from_secs(0);
        for (reason_of, expected) in [
            (Refused::UnknownIssuer, "unknown_issuer"),
            (
                Refused::Jwt(jwt::Rejected::Expired { at, now: at }),
                "jwt_expired",
            ),
            (
                Refused::Jwt(jwt::Rejected::UnknownKey {
                    key_id: "Stranger".into(),
                    known: vec![],
                    nameless: 0,
                }),
                "jwt_unknown_key",
            ),
            (Refused::Jwt(jwt::Rejected::Signature), "jwt_signature"),
            (
                Refused::Chain(x509::Rejected::Malformed(x509::Malformed::Der)),
                "chain_malformed_der",
            ),
            (
                Refused::Chain(x509::Rejected::SeveralUriNames { found: 2 }),
                "chain_several_uri_names",
            ),
            (
                Refused::Validation {
                    message: "Only(Us)".into(),
                },
                "validation",
            ),
            (Refused::UsernameTooLong { bytes: 5000 }, "username_too_long"),
        ] {
            assert_eq!(reason(&Evidence::default().refused(reason_of)), expected);
        }
    }
}
