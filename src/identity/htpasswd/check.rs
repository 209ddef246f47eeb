//! Checks a password once, even if several requests present it at the same time.

use super::turns::Name;
use super::{Checking, Digest, Htpasswd, NoMatch};
use crate::identity::SourceAddress;
use crate::limits::PASSWORD_REQUESTS;
use crate::secret::Secret;
use futures_util::FutureExt as _;
use futures_util::future::{Shared, WeakShared};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// One password, and the hash to compare it with.
pub(super) struct Check {
    pub(super) name: Name,
    pub(super) password: Secret,
    pub(super) hash: String,
    /// Whether the file has the name. If not, the hash is a dummy.
    pub(super) exists: bool,
    pub(super) digest: Digest,
    pub(super) source: SourceAddress,
    pub(super) fail_delay: Duration,
}

impl Htpasswd {
    /// Returns the running check of this password, or starts one.
    pub(super) fn checking(self: &Arc<Self>, check: Check) -> Result<Shared<Checking>, NoMatch> {
        let key = (check.source, check.digest);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = running.get(&key).and_then(WeakShared::upgrade) {
            // Dropping a check takes this lock.
            drop(running);
            let waiting = same.strong_count().unwrap_or_default();
            return if waiting <= PASSWORD_REQUESTS {
                Ok(same)
            } else {
                Err(NoMatch::SourceBusy)
            };
        }
        let entry = Running {
            passwords: self.clone(),
            key,
        };
        let passwords = self.clone();
        let new = async move {
            let _entry = entry;
            passwords.run(check).await
        };
        let new = new.boxed().shared();
        if let Some(new) = new.downgrade() {
            running.insert(key, new);
        }
        Ok(new)
    }

    async fn run(self: Arc<Self>, check: Check) -> Result<(), NoMatch> {
        let Check {
            name,
            password,
            hash,
            exists,
            digest,
            source,
            fail_delay,
        } = check;
        let place = self.turns.place(source, name).ok_or(NoMatch::SourceBusy)?;
        let coming = place.turn().ok_or(NoMatch::Busy)?;
        // A separate task takes the turn even if the connection makes no progress. The task ends with the
        // set, and so with this request.
        let mut waiting = JoinSet::new();
        waiting.spawn(async move {
            let turn = coming.await.map_err(|_| NoMatch::Busy)?;
            // From here on the check continues even if the client disconnects.
            let checked = tokio::spawn(async move {
                let fits = tokio::task::spawn_blocking(move || {
                    let fits = bcrypt::verify(password.expose(), &hash).unwrap_or(false);
                    drop(turn);
                    fits
                });
                let fits = fits.await.unwrap_or(false) && exists;
                if fits {
                    self.good().put(digest, (), 1);
                } else {
                    tokio::time::sleep(fail_delay).await;
                }
                drop(place);
                if fits { Ok(()) } else { Err(NoMatch::Wrong) }
            });
            checked.await.unwrap_or(Err(NoMatch::Busy))
        });
        waiting
            .join_next()
            .await
            .and_then(Result::ok)
            .unwrap_or(Err(NoMatch::Busy))
    }
}

/// Removes a check from the list of running checks when it has ended or no request waits for it.
struct Running {
    passwords: Arc<Htpasswd>,
    key: (SourceAddress, Digest),
}

impl Drop for Running {
    fn drop(&mut self) {
        self.passwords
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.key);
    }
}
