//! Which manifests are given up. What no manifest needs is always garbage; a manifest itself is garbage only
//! if these rules say so.

use crate::access::Repositories;
use crate::oci::RepositoryName;

/// By default no manifest is given up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Repositories that give up manifests that have no tag, no subject, and no index that lists them.
    pub untagged: Repositories,
    /// Repositories that give up referrers without a tag whose subject is gone.
    pub referrers: Repositories,
}

/// What decides whether a manifest is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// It is not a referrer.
    None,
    /// The repository has the manifest that it refers to.
    There,
    Gone,
}

impl Rules {
    /// Whether a manifest that no tag and no index leads to is given up. This is a pure function, and the
    /// collector asks again after it has condemned the manifest.
    pub(super) fn give_up(&self, repository: &RepositoryName, subject: Subject) -> bool {
        match subject {
            Subject::None => self.untagged.contain(repository),
            Subject::There => false,
            Subject::Gone => self.referrers.contain(repository),
        }
    }

    /// Whether any manifest of the repository may be given up.
    pub(super) fn apply_to(&self, repository: &RepositoryName) -> bool {
        self.untagged.contain(repository) || self.referrers.contain(repository)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_holds_for_its_repositories_and_its_manifests() {
        let rules = Rules {
            untagged: Repositories::parse("a/**").unwrap(),
            referrers: Repositories::parse("b/**").unwrap(),
        };
        for (repository, none, there, gone, any) in [
            ("a/x", true, false, false, true),
            ("b/x", false, false, true, true),
            ("c/x", false, false, false, false),
        ] {
            let repository = repository.parse().unwrap();
            let found = [Subject::None, Subject::There, Subject::Gone]
                .map(|subject| rules.give_up(&repository, subject));
            assert_eq!((found, rules.apply_to(&repository)), ([none, there, gone], any));
            assert!(!Rules::default().apply_to(&repository));
        }
    }
}
