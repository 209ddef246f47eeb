//! Uploads: the bytes that they have received, and the bytes that they will remove.

use super::super::hashing::Hasher;
use super::super::keys::Entry;
use super::super::states::session::{Session, SessionState};
use super::super::upload_id::UploadId;
use super::super::{Error, keys};
use super::Check;
use crate::oci::RepositoryName;
use crate::storage::Show;

impl Check<'_> {
    pub(super) async fn uploads(&mut self) -> Result<(), Error> {
        let mut keys = self.registry.records.keys(keys::all_uploads(), Show::All);
        while let Some(key) = keys.next().await? {
            let Some(Entry::Upload(repository, id)) = Entry::parse(key.as_str()) else {
                continue;
            };
            let Some(session) = self.read(&key).await else {
                continue;
            };
            let key = key.as_str();
            self.checked.uploads += 1;
            self.in_use.push(&format!("{repository}!"))?;
            self.names(id.as_str(), key)?;
            match session.state {
                SessionState::Open => self.open_upload(key, &repository, &id, &session).await?,
                SessionState::Closed | SessionState::Aborting => {
                    self.leftover(key, "remains of an upload that has ended")
                }
            }
        }
        Ok(())
    }

    async fn open_upload(
        &mut self,
        key: &str,
        repository: &RepositoryName,
        id: &UploadId,
        session: &Session,
    ) -> Result<(), Error> {
        if self.look(&keys::in_catalog(repository.as_str())).await.is_none() {
            // A client writes to an upload only after its start was acknowledged.
            if session.offset > 0 {
                self.damage(key, "its repository is not in the catalogue");
            } else {
                self.leftover(key, "remains of an upload that did not begin");
            }
        }
        let mut found = Hasher::new(session.algorithm.0);
        if session.offset > 0 {
            let file = match self.registry.bytes.open_unsealed(id.as_str()).await {
                Ok(None) => return Ok(()), // a store that cannot read what is not sealed
                // Further bytes are from an interrupted request, and the next request removes them.
                Ok(Some(file)) if file.size() >= session.offset => file,
                Ok(Some(file)) => {
                    self.damage(key, format!("has {} of {} bytes", file.size(), session.offset));
                    return Ok(());
                }
                Err(why) => {
                    self.damage(key, format!("its bytes cannot be opened: {why}"));
                    return Ok(());
                }
            };
            let registry = self.registry;
            let hashed = registry
                .hash_file(&*file, session.offset, session.algorithm.0, self)
                .await?;
            found = match hashed {
                Ok(hasher) => hasher,
                Err(damage) => {
                    self.damage(key, format!("its bytes {id} {damage}"));
                    return Ok(());
                }
            };
        }
        // A state that cannot be restored is also damage.
        if session.hasher().map(Hasher::digest) != Some(found.digest()) {
            self.damage(
                key,
                format!("its hash state does not match its first {} bytes", session.offset),
            );
        }
        Ok(())
    }
}
