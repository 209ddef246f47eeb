//! A row of the table without its path and its handler, and everything that is derived from it.

use crate::access;
use crate::http::call::Call;
use crate::identity::Rights;
use crate::oci::RepositoryName;
use http::Method;

/// A row of the table, for the path of one request.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Row<'a> {
    /// As the `Allow` header lists them.
    pub(in crate::http) methods: &'static str,
    /// The route's name in the metrics.
    pub(in crate::http) class: &'static str,
    pub(super) needs: Needs,
    #[cfg(test)]
    pub(in crate::http) name: &'static str,
    /// The repository in the path.
    pub(in crate::http) repository: Option<&'a RepositoryName>,
}

/// What policy must grant for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    /// A right to the catalog.
    Catalog,
    /// A right to the metrics.
    Metrics,
    /// A right to the repository in the path.
    Repository,
    /// A right to push to the repository in the path, even for reading: only a caller that may push can see
    /// uploads.
    Push,
}

impl Row<'_> {
    pub(in crate::http) fn allows(self, method: &Method) -> bool {
        self.methods.split(", ").any(|allowed| allowed == method.as_str())
    }

    /// The scope of the token that this request needs, as in `repository:app/web:pull`. `None` if no scope
    /// helps.
    pub(in crate::http) fn scope(self, method: &Method) -> Option<String> {
        let actions = match self.needs {
            Needs::Nothing | Needs::Metrics => return None,
            Needs::Catalog => return Some("registry:catalog:*".to_owned()),
            Needs::Push => "pull,push",
            Needs::Repository => match *method {
                Method::GET | Method::HEAD => "pull",
                Method::DELETE if self.allows(method) => "delete",
                _ => "pull,push",
            },
        };
        self.repository.map(|name| format!("repository:{name}:{actions}"))
    }

    /// Whether the answer or the request's body can hold files or much memory for as long as the client
    /// likes. A rejection holds neither, and a client that is about to log in is rejected first.
    pub(in crate::http) fn holds(self, call: &Call) -> bool {
        match self.needs {
            Needs::Nothing => false,
            Needs::Catalog => call.catalog_reader().is_ok(),
            Needs::Metrics => access::may_read_metrics(&call.live.policy, &call.identity),
            Needs::Repository | Needs::Push => self.repository.is_some_and(|repository| {
                access::rights(&call.live.policy, &call.identity, repository) != Rights::default()
            }),
        }
    }
}
