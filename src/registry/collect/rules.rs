//! Which tags and manifests are deleted. Tags and manifests are deleted only by a policy of
//! `storage.retention`. Everything else is garbage as soon as nothing needs it.

use super::super::retention::{Retention, Share, Survey};
use crate::access::Policy;
use crate::oci::{RepositoryName, Tag};
use std::sync::Arc;
use std::time::Duration;

/// By default no tag and no manifest is deleted.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub retention: Arc<Retention>,
    /// Says which tags are immutable.
    pub access: Option<Arc<Policy>>,
    /// Whether an operator started this pass. Then `maxShare` does not apply.
    pub by_hand: bool,
}

impl Rules {
    /// The same rules without `storage.retention.dryRun`, if that is set and there is a policy.
    #[must_use]
    pub fn applied(&self) -> Option<Self> {
        let only_reports = self.retention.dry_run && !self.retention.policies.is_empty();
        only_reports.then(|| Self {
            retention: Arc::new(Retention {
                dry_run: false,
                ..self.retention.as_ref().clone()
            }),
            ..self.clone()
        })
    }

    /// The facts that the repository's policy needs before it can decide. `None` if the repository keeps
    /// everything.
    pub(super) fn survey(&self, repository: &RepositoryName, grace: Duration) -> Option<Survey<'_>> {
        let found = self.retention.policy(repository)?;
        let delay = self.retention.delay.unwrap_or(grace);
        found.1.gives_up().then(|| Survey::new(found, delay))
    }

    /// The largest share of the repository that a scheduled pass deletes.
    pub(super) fn max_share(&self, repository: &RepositoryName) -> Share {
        let found = self.retention.policy(repository);
        found.map_or_else(Share::default, |(_, policy)| self.retention.max_share(policy))
    }

    pub(super) fn is_immutable(&self, repository: &RepositoryName, tag: &Tag) -> bool {
        let immutable = self.access.as_ref();
        let immutable = immutable.and_then(|policy| policy.immutable_tags(repository));
        immutable.is_some_and(|tags| tags.rule(tag).is_some())
    }

    /// The same survey, if a single manifest can be checked without a look at the whole repository.
    pub(super) fn survey_of_one(&self, repository: &RepositoryName, grace: Duration) -> Option<Survey<'_>> {
        let survey = self.survey(repository, grace);
        survey.filter(|survey| !self.retention.dry_run && !survey.counts_untagged())
    }

    /// Rules that delete these kinds of manifests in every repository.
    #[cfg(test)]
    pub(in crate::registry) fn giving_up(untagged: bool, referrers: bool) -> Self {
        use super::super::retention::{self, Keep};
        let policy = retention::Policy {
            repositories: crate::access::Repositories::parse("**").unwrap(),
            keep_tags: Vec::new(),
            keep_immutable: false,
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
            ..Self::default()
        }
    }
}
