//! Usernames share one namespace. A configured issuer's part of it begins with the issuer and a slash, and
//! that of a named entry with the issuer, a slash, the name and a slash. No other credential may have a
//! username there, whatever made it: a rule for the one would then be a rule for the other.

use super::{Authenticator, Issuer};
use crate::identity::{Identity, Mapping, Refused};

impl Authenticator {
    /// Refuses a username in another entry's part of the namespace. `own` is the entry that accepted the
    /// credential, if it is one of an issuer. A mapping whose author allows it is not refused.
    pub(super) fn in_own_namespace(
        &self,
        own: Option<&Issuer>,
        mapping: Option<&Mapping>,
        identity: Identity,
    ) -> Result<Identity, Refused> {
        if mapping.is_some_and(Mapping::may_name_others) {
            return Ok(identity);
        }
        match owner(&self.issuers, &identity.username) {
            Some(owner) if !own.is_some_and(|own| owner.is(own)) => Err(Refused::UsernameIsAnIssuers {
                issuer: owner.label(),
            }),
            _ => Ok(identity),
        }
    }
}

/// Whose part of the namespace a username is in.
#[derive(Clone, Copy)]
struct Owner<'a> {
    issuer: &'a str,
    /// `None` if it is in no named entry's part.
    name: Option<&'a str>,
}

impl Owner<'_> {
    fn is(&self, entry: &Issuer) -> bool {
        entry.rules.issuer == self.issuer && self.name.is_none_or(|name| entry.name.as_deref() == Some(name))
    }

    fn label(&self) -> String {
        self.name.map_or_else(
            || self.issuer.to_owned(),
            |name| format!("{}/{name}", self.issuer),
        )
    }

    fn length(&self) -> usize {
        self.issuer.len() + self.name.map_or(0, |name| 1 + name.len())
    }
}

/// Of several, the longest: an issuer may continue another's path.
fn owner<'a>(issuers: &'a [Issuer], username: &str) -> Option<Owner<'a>> {
    let below = |text: &'_ str, prefix: &str| {
        text.strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix('/'))
            .map(str::len)
    };
    let parts = issuers.iter().flat_map(|entry| {
        let issuer = entry.rules.issuer.as_str();
        let rest = below(username, issuer).and_then(|left| username.get(username.len() - left..));
        let named = rest.and_then(|rest| entry.name.as_deref().filter(|name| below(rest, name).is_some()));
        [
            rest.map(|_| Owner { issuer, name: None }),
            named.map(|name| Owner {
                issuer,
                name: Some(name),
            }),
        ]
    });
    parts.flatten().max_by_key(Owner::length)
}
