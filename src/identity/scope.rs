//! A token's scope: the repositories and actions that it includes. A scope only limits. An action is allowed
//! if policy allows it *and* the scope includes it.
//!
//! <https://distribution.github.io/distribution/spec/auth/scope/>

use crate::oci::RepositoryName;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;

/// The actions of the token protocol. A push may create and move tags; policy decides which of the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    pub pull: bool,
    pub push: bool,
    pub delete: bool,
}

impl Rights {
    pub const ALL: Self = Self {
        pull: true,
        push: true,
        delete: true,
    };

    #[must_use]
    pub const fn is_empty(self) -> bool {
        !self.pull && !self.push && !self.delete
    }

    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            pull: self.pull && other.pull,
            push: self.push && other.push,
            delete: self.delete && other.delete,
        }
    }

    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self {
            pull: self.pull || other.pull,
            push: self.push || other.push,
            delete: self.delete || other.delete,
        }
    }

    /// Unknown actions grant nothing.
    fn of<'a>(actions: impl Iterator<Item = &'a str>) -> Self {
        actions.fold(Self::default(), |rights, action| match action {
            "pull" => Self { pull: true, ..rights },
            "push" => Self { push: true, ..rights },
            "delete" => Self {
                delete: true,
                ..rights
            },
            "*" => Self::ALL,
            _ => rights,
        })
    }

    fn names(self) -> impl Iterator<Item = &'static str> {
        [("pull", self.pull), ("push", self.push), ("delete", self.delete)]
            .into_iter()
            .filter(|(_, has)| *has)
            .map(|(name, _)| name)
    }
}

/// Rights by repository, and whether the catalogue may be listed. An empty scope allows only authentication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    repositories: BTreeMap<RepositoryName, Rights>,
    catalog: bool,
}

impl Scope {
    /// Parses a requested scope: texts like `repository:app/web:pull,push` and `registry:catalog:*`. Unknown
    /// types and invalid repository names are ignored, since they could not be granted.
    #[must_use]
    pub fn asked<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut scope = Self::default();
        for text in texts
            .into_iter()
            .flat_map(str::split_ascii_whitespace)
            .take(SCOPES)
        {
            // The name may contain a colon, as in a host's port. The type ends at the first colon, and the
            // actions begin after the last.
            let parts = text
                .split_once(':')
                .and_then(|(kind, rest)| Some((kind, rest.rsplit_once(':')?)));
            if let Some((kind, (name, actions))) = parts {
                scope.add(kind, name, Rights::of(actions.split(',')));
            }
        }
        scope
    }

    /// Reads the claim `access` of a token.
    #[must_use]
    pub fn granted(access: &Value) -> Self {
        let mut scope = Self::default();
        for entry in access.as_array().into_iter().flatten() {
            let text = |member: &str| entry.get(member).and_then(Value::as_str).unwrap_or_default();
            let actions = entry
                .get("actions")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str);
            scope.add(text("type"), text("name"), Rights::of(actions));
        }
        scope
    }

    /// A scope with all rights in one repository.
    #[must_use]
    pub fn repository(name: RepositoryName) -> Self {
        Self {
            repositories: BTreeMap::from([(name, Rights::ALL)]),
            catalog: false,
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.repositories.is_empty() && !self.catalog
    }

    /// Returns the rights in a repository.
    #[must_use]
    pub fn rights(&self, repository: &RepositoryName) -> Rights {
        self.repositories.get(repository).copied().unwrap_or_default()
    }

    #[must_use]
    pub const fn catalog(&self) -> bool {
        self.catalog
    }

    /// Returns about how many bytes the scope takes, if each entry takes `each` bytes beside its name.
    pub(super) fn weight(&self, each: usize) -> usize {
        self.repositories
            .keys()
            .map(|name| each + name.as_str().len())
            .sum()
    }

    pub fn repositories(&self) -> impl Iterator<Item = (&RepositoryName, Rights)> {
        self.repositories.iter().map(|(name, rights)| (name, *rights))
    }

    /// Limits each repository's rights to those that `granted` returns, and drops the catalogue unless
    /// `catalog` is set.
    #[must_use]
    pub fn limited(&self, catalog: bool, granted: impl Fn(&RepositoryName) -> Rights) -> Self {
        let left = |(name, rights): (&RepositoryName, Rights)| (name.clone(), rights.and(granted(name)));
        let repositories = self
            .repositories()
            .map(left)
            .filter(|(_, rights)| !rights.is_empty())
            .collect();
        Self {
            repositories,
            catalog: self.catalog && catalog,
        }
    }

    /// Returns the intersection of both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.limited(other.catalog, |name| other.rights(name))
    }

    /// Returns the union of both.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        for (name, rights) in other.repositories {
            let entry = self.repositories.entry(name).or_default();
            *entry = entry.or(rights);
        }
        Self {
            catalog: self.catalog || other.catalog,
            ..self
        }
    }

    /// Returns the claim `access` of a token.
    #[must_use]
    pub fn access(&self) -> Value {
        let entry = |kind: &str, name: &str, actions: Vec<&str>| json!({"type": kind, "name": name, "actions": actions});
        let repositories = self
            .repositories()
            .map(|(name, rights)| entry("repository", name.as_str(), rights.names().collect()));
        let catalog = self.catalog.then(|| entry("registry", "catalog", vec!["*"]));
        Value::Array(repositories.chain(catalog).collect())
    }

    fn add(&mut self, kind: &str, name: &str, rights: Rights) {
        // `repository(plugin)` has a class, which is obsolete and ignored.
        let kind = kind.split_once('(').map_or(kind, |(kind, _)| kind);
        match (kind, name) {
            ("registry", "catalog") => self.catalog |= rights == Rights::ALL,
            ("repository", name) if !rights.is_empty() => {
                let Ok(name) = name.parse() else { return };
                let entry = self.repositories.entry(name).or_default();
                *entry = entry.or(rights);
            }
            _ => {}
        }
    }
}

/// `repository:app/web:pull,push registry:catalog:*`
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |(name, rights): (&RepositoryName, Rights)| {
            format!(
                "repository:{name}:{}",
                rights.names().collect::<Vec<_>>().join(",")
            )
        };
        let catalog = self.catalog.then(|| "registry:catalog:*".to_owned());
        f.write_str(
            &self
                .repositories()
                .map(one)
                .chain(catalog)
                .collect::<Vec<_>>()
                .join(" "),
        )
    }
}

/// The most scopes of one request. Further ones are ignored.
const SCOPES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(texts: &[&str]) -> String {
        Scope::asked(texts.iter().copied()).to_string()
    }

    #[test]
    fn scopes_are_read_as_the_token_protocol_writes_them() {
        for (texts, expected) in [
            (&["repository:a/b:pull"][..], "repository:a/b:pull"),
            (&["repository:a/b:push,pull"], "repository:a/b:pull,push"),
            (
                &["repository:b:pull repository:a:*"],
                "repository:a:pull,push,delete repository:b:pull",
            ),
            (
                &["repository:a:pull", "repository:a:push"],
                "repository:a:pull,push",
            ),
            (&["repository(plugin):a:pull"], "repository:a:pull"),
            (&["registry:catalog:*"], "registry:catalog:*"),
            (&["registry:catalog:pull"], ""),
            (&["repository:a:metadata_read,pull"], "repository:a:pull"),
            (&["repository:host:5000/a:pull"], ""),
            (
                &[
                    "repository:A:pull",
                    "repository:../a:pull",
                    "repository:a:",
                    "repository:a",
                    "x:a:pull",
                    "",
                    " ",
                    ":::",
                ],
                "",
            ),
        ] {
            assert_eq!(asked(texts), expected, "{texts:?}");
        }
    }

    #[test]
    fn a_scope_survives_a_token() {
        let scope = Scope::asked(["repository:a/b:pull,push registry:catalog:* repository:c:delete"]);
        assert_eq!(Scope::granted(&scope.access()), scope);
        assert_eq!(Scope::granted(&Scope::default().access()), Scope::default());
        for odd in [
            json!(null),
            json!({}),
            json!([1, {"type": "repository"}, {"type": "repository", "name": "a", "actions": "pull"}]),
        ] {
            assert!(Scope::granted(&odd).is_empty(), "{odd}");
        }
    }

    #[test]
    fn scopes_only_narrow_each_other() {
        let one = Scope::asked(["repository:a:pull,push repository:b:pull registry:catalog:*"]);
        let other = Scope::asked(["repository:a:pull,delete"]);
        assert_eq!(one.and(&other).to_string(), "repository:a:pull");
        assert_eq!(other.and(&one), one.and(&other));
        assert_eq!(one.and(&Scope::default()), Scope::default());
        assert_eq!(one.limited(true, |_| Rights::ALL), one);
        assert_eq!(
            one.or(other).to_string(),
            "repository:a:pull,push,delete repository:b:pull registry:catalog:*"
        );
    }

    #[test]
    fn only_a_bounded_number_of_scopes_is_read() {
        let many = (0..1000)
            .map(|n| format!("repository:r{n}:pull "))
            .collect::<String>();
        assert_eq!(Scope::asked([many.as_str()]).repositories().count(), SCOPES);
    }
}
