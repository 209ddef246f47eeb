//! Opens what a configuration asks for: keeps the sources that run with the same settings, and makes the
//! others.

use super::Sources;
use super::running::Running;
use super::wanted::Wanted;
use crate::config::{Mistake, Warning};
use crate::trust::source::{self, Source, SourceError, WorkloadApi};
use std::sync::Arc;
use std::time::Duration;

pub(super) struct Opening<'a> {
    pub(super) sources: &'a Sources,
    pub(super) workload_api: Option<String>,
    pub(super) running: Running,
    pub(super) mistakes: Vec<Mistake>,
    pub(super) warnings: Vec<Warning>,
    pub(super) notes: Vec<Warning>,
}

impl<'a> Opening<'a> {
    pub(super) fn new(sources: &'a Sources, workload_api: Option<String>) -> Self {
        Self {
            sources,
            workload_api,
            running: Running::default(),
            mistakes: Vec::new(),
            warnings: Vec::new(),
            notes: Vec::new(),
        }
    }
}

impl Opening<'_> {
    /// Returns the running source with these settings, or a new one.
    pub(super) fn source(&mut self, key: &str, wanted: Wanted) -> Option<Arc<Source>> {
        let known = |running: &Running| {
            running
                .sources
                .iter()
                .find(|(settings, _)| *settings == wanted)
                .map(|(_, source)| source.clone())
        };
        if let Some(shared) = known(&self.running) {
            self.report_skipped(key, &shared);
            return Some(shared);
        }
        let kept = known(&self.sources.running);
        let source = match kept.map_or_else(|| self.create(&wanted).map(Arc::new), Ok) {
            Ok(source) => source,
            Err(why) => {
                let key = if let Wanted::WorkloadApi(..) = wanted {
                    "http.auth.spiffe.workloadAPI"
                } else {
                    key
                };
                let mistake = Mistake::new(key, why.to_string());
                // Several trust domains may use the same Workload API.
                if !self.mistakes.contains(&mistake) {
                    self.mistakes.push(mistake);
                }
                return None;
            }
        };
        if let Wanted::WorkloadApi(address, _) = &wanted {
            self.keep_workload_api(address);
        }
        self.report_skipped(key, &source);
        self.running.sources.push((wanted, source.clone()));
        Some(source)
    }

    /// Adds the notes and warnings at each place that names the source.
    fn report_skipped(&mut self, key: &str, source: &Source) {
        for skipped in source.skipped() {
            if skipped.ignored {
                self.notes.push(Warning::new(
                    key,
                    format!("{skipped}; ignored, as the standard requires"),
                ));
            } else {
                self.warnings.push(Warning::new(
                    key,
                    format!("{skipped}; skipped, the other keys are used"),
                ));
            }
        }
    }

    fn create(&mut self, wanted: &Wanted) -> Result<Source, SourceError> {
        let clock = &self.sources.clock;
        let last_good = self.sources.last_good.as_ref();
        match wanted {
            Wanted::Oidc(settings) => Ok(source::oidc(settings.clone(), clock.clone(), last_good)),
            Wanted::OidcOfDomain(settings) => Ok(source::oidc_of_trust_domain(
                settings.clone(),
                clock.clone(),
                last_good,
            )),
            Wanted::Federation(settings) => {
                Ok(source::federation(settings.clone(), clock.clone(), last_good))
            }
            Wanted::File(path, format) => source::file(path, format.clone(), clock.clone(), WATCH_EVERY),
            Wanted::Inline { name, text, format } => {
                source::inline(name, text.as_bytes(), format, clock.now())
            }
            Wanted::WorkloadApi(address, following) => {
                self.keep_workload_api(address);
                let found = self.running.workload_api(address);
                let api = match found {
                    Some(api) => api,
                    None => {
                        let api =
                            WorkloadApi::new(address, &self.sources.clock, self.sources.last_good.as_ref())?;
                        self.running.workload_apis.push((address.clone(), api.clone()));
                        api
                    }
                };
                Ok(api.source(following))
            }
        }
    }

    /// Reuses the running source.
    fn keep_workload_api(&mut self, address: &str) {
        if self.running.workload_api(address).is_none()
            && let Some(api) = self.sources.running.workload_api(address)
        {
            self.running.workload_apis.push((address.to_owned(), api));
        }
    }
}

/// How often key files are checked for changes.
const WATCH_EVERY: Duration = Duration::from_secs(2);
