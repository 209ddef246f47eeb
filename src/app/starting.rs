//! Opens the store at the start. An old folder is converted, and operations that a crash interrupted are
//! finished. Both may take minutes.

use super::store::{Store, must_be_whole};
use super::tokens;
use crate::access::Maintenance;
use crate::clock::Clock;
use crate::config::{FixedSettings, Mistake};
use crate::exchange::Tokens;
use crate::file_error::FileError;
use crate::http;
use crate::owner_file;
use crate::registry::{self, Registry};
use crate::server;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpListener;

pub(super) struct Starting<'a> {
    pub(super) fixed: &'a FixedSettings,
    pub(super) session_lifetime: Duration,
    pub(super) clock: &'a Clock,
}

/// The open store, and what was opened with it.
pub(super) struct Opened {
    pub(super) store: Store,
    pub(super) registry: Registry,
    pub(super) tokens: Tokens,
    pub(super) state_lock: Option<File>,
}

impl Starting<'_> {
    /// Opens the store. Meanwhile it answers probes on this listener: the registry is alive but not ready.
    pub(super) async fn open(
        self,
        (listener, settings): (&TcpListener, server::Settings),
    ) -> Result<Opened, Mistake> {
        let clock = self.clock.clone();
        // This uses a copy of the listener, because it is closed at the end. Clients of both wait in the same
        // queue.
        let copied = listener
            .as_fd()
            .try_clone_to_owned()
            .map(std::net::TcpListener::from)
            .and_then(TcpListener::from_std);
        let answering = async {
            match copied {
                Ok(copy) => {
                    server::run(
                        copy,
                        settings,
                        http::starting_router(),
                        clock,
                        std::future::pending(),
                    )
                    .await
                }
                Err(why) => tracing::warn!("cannot answer probes before the store is open: {why}"),
            }
            std::future::pending().await
        };
        tokio::select! {
            opened = self.prepare() => opened,
            never = answering => never,
        }
    }

    async fn prepare(self) -> Result<Opened, Mistake> {
        let Self {
            fixed,
            session_lifetime,
            clock,
        } = self;
        let store = Store::open(fixed, clock).await?;
        let whole = || async {
            let whole = must_be_whole(store.records(), &fixed.storage).await;
            whole.map_err(|why| Mistake::new("storage", why.to_string()))
        };
        let locked_and_tokens = async {
            let state_lock = lock_state(&fixed.state_directory)?;
            // The first look keeps an unfinished copy from getting another ID, the second one is sure.
            whole().await?;
            let tokens = tokens::open(fixed, &store, session_lifetime, clock).await?;
            whole().await?;
            Ok((state_lock, tokens))
        };
        let (state_lock, tokens) = match locked_and_tokens.await {
            Ok(opened) => opened,
            Err(mistake) => {
                store.leave().await;
                return Err(mistake);
            }
        };
        let settings = registry::Settings {
            sparse: fixed.sparse.clone(),
            unchecked_descriptors: fixed.unchecked_descriptors.clone(),
            open_uploads: Some(fixed.open_uploads),
            grace: Some(fixed.collecting.delay),
            repositories: fixed.max_repos,
            quotas: fixed.quotas.clone(),
            shared: fixed.storage.may_overlap(),
            ..registry::Settings::default()
        };
        let registry = store.registry(settings);
        finish_what_a_crash_left(&registry).await;
        begin_recording_pulls(&registry).await;
        load_usage(&registry).await;
        Ok(Opened {
            store,
            registry,
            tokens,
            state_lock,
        })
    }
}

/// Two registries in one state directory would take each other's control socket and half-written files. Where
/// the folder cannot be locked, as on some network file systems, the registry starts without the lock.
fn lock_state(folder: &Path) -> Result<Option<File>, Mistake> {
    match owner_file::make_folder(folder).and_then(|()| owner_file::lock_folder(folder)) {
        Ok(Some(lock)) => Ok(Some(lock)),
        Ok(None) => Err(Mistake::new(
            "stateDirectory",
            format!(
                "{} is used by another registry: stop that one, or name another folder",
                folder.display()
            ),
        )),
        Err(why) => {
            let error = FileError::new(folder, &why);
            tracing::warn!(state.directory = %folder.display(), "cannot lock the state directory: {error}");
            Ok(None)
        }
    }
}

/// This runs before the first request, so that quotas hold from the start.
async fn load_usage(registry: &Registry) {
    if let Err(why) = registry.load_usage(&Maintenance::by_the_stores_owner()).await {
        tracing::error!(
            "cannot read how much the repositories hold, so storage.quotas do not limit pushes until everything is counted: {why}"
        );
    }
}

/// This runs before the first request, so that no pull is missed.
async fn begin_recording_pulls(registry: &Registry) {
    if let Err(why) = registry.begin_recording_pulls().await {
        tracing::error!("cannot store the time at which the recording of pulls began: {why}");
    }
}

/// This runs before the first request, because a request could push or delete one of these manifests.
async fn finish_what_a_crash_left(registry: &Registry) {
    match registry.finish_what_a_crash_left().await {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "finished interrupted pushes and deletions of manifests"),
        Err(why) => tracing::error!("cannot finish interrupted pushes and deletions of manifests: {why}"),
    }
}
