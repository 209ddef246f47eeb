//! Entries of one issuer. They share its keys. If they have names, as with several clusters that have the
//! default issuer, entries with the same name share keys.

use super::Interpreter;
use crate::config::settings::{IssuerConfig, IssuerKeys};

impl Interpreter<'_> {
    pub(super) fn issuer_name(&mut self, key: &str, name: Option<String>) -> Option<String> {
        let name = name?;
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > LONGEST || !name.bytes().all(good) {
            self.mistake(
                format!("{key}.name"),
                format!("is part of usernames: expected 1 to {LONGEST} letters, digits, `-`, `_` and `.`, found {name:?}"),
            );
        }
        Some(name)
    }

    pub(super) fn namesakes(&mut self, issuers: &[IssuerConfig]) {
        for (i, later) in issuers.iter().enumerate() {
            let others = || {
                issuers
                    .iter()
                    .filter(|other| other.rules.issuer == later.rules.issuer && !std::ptr::eq(*other, later))
            };
            if later.name.is_none()
                && let Some(named) = others().find(|other| other.name.is_some())
            {
                let what = format!(
                    "is missing: {} has the same issuer and a name, so each of these entries needs a name",
                    named.key
                );
                self.mistake(format!("{}.name", later.key), what);
                continue;
            }
            let same = |one: &IssuerKeys, other: &IssuerKeys| nameless(one) == nameless(other);
            let earlier = || {
                issuers
                    .iter()
                    .take(i)
                    .filter(|earlier| earlier.rules.issuer == later.rules.issuer)
            };
            if let Some(first) =
                earlier().find(|earlier| earlier.name == later.name && !same(&earlier.keys, &later.keys))
            {
                let what = match &later.name {
                    None => format!(
                        "is also the issuer of {}, but with another source of keys: entries of one issuer share its keys unless each has a `name`, for example for several clusters with the default issuer",
                        first.key
                    ),
                    Some(name) => format!(
                        "is also the issuer of {} with the name {name:?}, but with another source of keys: use another name",
                        first.key
                    ),
                };
                self.mistake(format!("{}.issuer", later.key), what);
            } else if let Some(first) =
                earlier().find(|earlier| earlier.name != later.name && same(&earlier.keys, &later.keys))
            {
                let what = format!(
                    "has the same keys as {}, so every token would belong to that entry: give both the same name, or give this one its own keys",
                    first.key
                );
                self.mistake(format!("{}.name", later.key), what);
            }
        }
    }
}

fn nameless(keys: &IssuerKeys) -> IssuerKeys {
    let mut keys = keys.clone();
    if let IssuerKeys::Fetched(settings) = &mut keys {
        settings.name = None;
    }
    keys
}

const LONGEST: usize = 63;
