//! The running sources of keys. When a configuration is applied, sources with the same settings keep running
//! with their keys, and others are opened. No source starts or stops before the configuration is in use.

mod domains;
mod files;
mod issuers;
mod opening;
mod running;
mod wanted;

use crate::clock::Clock;
use crate::config::{Mistake, Warning, WaysIn};
use crate::identity::{CertificateEntry, Domain, Htpasswd, Issuer, TokenServer};
use crate::trust::{LastGood, WaitingRoom};
use opening::Opening;
use running::Running;
use std::sync::Arc;

/// All running sources, by their settings.
#[derive(Debug)]
pub(super) struct Sources {
    clock: Clock,
    /// Absent for `verify`, which writes nothing.
    last_good: Option<Arc<LastGood>>,
    /// Absent if callers want an answer at once.
    room: Option<WaitingRoom>,
    running: Running,
}

/// The ways to log in, with the keys that verify their credentials.
#[derive(Debug, Default)]
pub(super) struct OpenWaysIn {
    pub issuers: Vec<Issuer>,
    pub domains: Vec<Domain>,
    pub certificates: Vec<CertificateEntry>,
    pub token_server: Option<TokenServer>,
    /// Where an external token server sends clients.
    pub realm: Option<String>,
    pub passwords: Option<Arc<Htpasswd>>,
}

/// The opened sources and the mistakes.
#[derive(Debug)]
pub(super) struct Opened {
    pub ways_in: OpenWaysIn,
    /// The argument of [`Sources::install`], if there are no mistakes.
    pub running: Running,
    pub mistakes: Vec<Mistake>,
    /// Unusable elements that affect nothing else.
    pub warnings: Vec<Warning>,
    /// Elements that a standard says to ignore. No action is needed.
    pub notes: Vec<Warning>,
}

impl Sources {
    /// Creates the sources. Answers of network sources are cached in `last_good`. Without it, no registry is
    /// served, and no request waits for newer keys.
    pub(super) fn new(clock: Clock, last_good: Option<Arc<LastGood>>) -> Self {
        let room = last_good.as_ref().map(|_| WaitingRoom::new(clock.clone()));
        Self {
            clock,
            last_good,
            room,
            running: Running::default(),
        }
    }

    /// Opens what these entries need. It uses no network, and neither changes nor starts a running source.
    pub(super) fn open(&self, wanted: WaysIn) -> Opened {
        let mut opening = Opening::new(self, wanted.workload_api);
        let realm = wanted
            .token_server
            .as_ref()
            .and_then(|server| server.realm.clone());
        let ways_in = OpenWaysIn {
            issuers: opening.issuers(wanted.issuers),
            domains: opening.domains(wanted.domains),
            certificates: opening.certificates(wanted.certificates),
            token_server: wanted.token_server.map(|server| opening.token_server(server)),
            realm,
            passwords: wanted.passwords.and_then(|path| opening.passwords(path)),
        };
        opening.running.passwords.clone_from(&ways_in.passwords);
        opening.check_names(&ways_in);
        let Opening {
            running,
            mistakes,
            warnings,
            notes,
            ..
        } = opening;
        Opened {
            ways_in,
            running,
            mistakes,
            warnings,
            notes,
        }
    }

    /// Starts the new sources in `running` and stops the others. It needs a tokio runtime.
    pub(super) fn install(&mut self, running: Running) {
        for (_, source) in &running.sources {
            source.start();
        }
        self.running = running;
    }

    /// Reloads all watched files now.
    pub(super) fn reload(&self) {
        for (_, source) in &self.running.sources {
            source.reload();
        }
    }
}

#[cfg(test)]
mod tests;
