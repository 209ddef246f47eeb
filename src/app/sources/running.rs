//! The sources of one configuration.

use super::wanted::Wanted;
use crate::identity::Htpasswd;
use crate::trust::source::{Source, WorkloadApi};
use std::sync::Arc;

/// The sources of one configuration.
#[derive(Debug, Default)]
pub(in crate::app) struct Running {
    pub(super) sources: Vec<(Wanted, Arc<Source>)>,
    pub(super) passwords: Option<Arc<Htpasswd>>,
    /// The Workload API connections, by address.
    pub(super) workload_apis: Vec<(String, WorkloadApi)>,
}

impl Running {
    pub(super) fn workload_api(&self, address: &str) -> Option<WorkloadApi> {
        self.workload_apis
            .iter()
            .find(|(known, _)| known == address)
            .map(|(_, api)| api.clone())
    }
}
