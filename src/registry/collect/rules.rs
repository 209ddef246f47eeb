//! Which tags and manifests are given up. What nothing needs is always garbage. Tags and manifests go only if a
//! policy of `storage.retention` gives them up.

use super::super::retention::{Retention, Survey};
use crate::oci::RepositoryName;
use std::sync::Arc;
use std::time::Duration;

/// By default no tag and no manifest is given up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub retention: Arc<Retention>,
    /// Whether an operator asked for this pass. Then `maxShare` does not hold it back.
    pub by_hand: bool,
}

impl Rules {
    /// What the policy of the repository has to know before it can decide. `None` if the repository keeps
    /// everything.
    pub(super) fn survey(&self, repository: &RepositoryName, grace: Duration) -> Option<Survey<'_>> {
        let found = self.retention.policy(repository)?;
        let delay = self.retention.delay.unwrap_or(grace);
        found.1.gives_up().then(|| Survey::new(found, delay))
    }

    /// The same, if single manifests can be judged without a look at the whole repository.
    pub(super) fn survey_of_one(&self, repository: &RepositoryName, grace: Duration) -> Option<Survey<'_>> {
        let survey = self.survey(repository, grace);
        survey.filter(|survey| !self.retention.dry_run && !survey.counts_untagged())
    }

    /// Rules that give up these kinds of manifests in every repository.
    #[cfg(test)]
    pub(in crate::registry) fn giving_up(untagged: bool, referrers: bool) -> Self {
        use super::super::retention::{Keep, Policy, Share};
        let policy = Policy {
            repositories: crate::access::Repositories::parse("**").unwrap(),
            keep_tags: Vec::new(),
            keep_untagged: Keep::default(),
            delete_untagged: untagged,
            delete_referrers: referrers,
            max_share: Share::of(1.0),
        };
        let retention = Retention {
            policies: vec![policy],
            ..Retention::default()
        };
        Self {
            retention: Arc::new(retention),
            by_hand: false,
        }
    }
}
