//! All usernames share one namespace. The part of a configured issuer is `issuer/…`, and the part of a named
//! entry is `issuer/name/…`. Other credentials must not get a username there: an access rule for one would
//! also match the other.

use super::{Authenticator, Issuer};
use crate::identity::{Identity, Mapping, Refused};

impl Authenticator {
    /// Rejects a username in another entry's part of the namespace, unless the mapping allows it. `own` is
    /// the issuer's entry that accepted the credential, if any.
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

/// The owner of the part of the namespace that a username is in.
#[derive(Clone, Copy)]
struct Owner<'a> {
    issuer: &'a str,
    /// `None` if no named entry owns it.
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

/// Returns the owner with the longest prefix, since one issuer's URL may begin with another's.
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
