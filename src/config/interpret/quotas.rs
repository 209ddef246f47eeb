//! `storage.quotas`

use super::Interpreter;
use crate::access::Repositories;
use crate::config::raw;
use crate::config::values::TextOrNumber;
use crate::registry::{Quotas, RepositoryQuota};

impl Interpreter<'_> {
    pub(super) fn quotas(&mut self, raw: raw::Quotas) -> Quotas {
        let total = raw
            .total
            .and_then(|given| self.quota("storage.quotas.total".to_owned(), &given));
        let mut repositories = Vec::new();
        for (pattern, given) in raw.repositories {
            let key = format!("storage.quotas.repositories[{pattern:?}]");
            // zot converts keys to lower case, and repository names are lower case.
            let pattern = pattern.to_lowercase();
            if repositories
                .iter()
                .any(|one: &RepositoryQuota| one.pattern == pattern)
            {
                self.mistake(
                    key,
                    "is a duplicate, because patterns are converted to lower case: remove one",
                );
                continue;
            }
            let matched = Repositories::parse(&pattern);
            let matched = matched.map_err(|why| self.mistake(key.clone(), why.to_string()));
            if let (Ok(matched), Some(bytes)) = (matched, self.quota(key, &given)) {
                repositories.push(RepositoryQuota {
                    pattern,
                    repositories: matched,
                    bytes,
                });
            }
        }
        Quotas { total, repositories }
    }

    fn quota(&mut self, key: String, given: &TextOrNumber) -> Option<u64> {
        let bytes = given.bytes().filter(|bytes| *bytes > 0);
        if bytes.is_none() {
            self.mistake(key, "must be a number of bytes above 0, such as 500GiB or 2TiB");
        }
        bytes
    }
}
