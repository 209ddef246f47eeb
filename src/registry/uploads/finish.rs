//! Closing an upload: the last bytes, the check of the digest, and the blob's publication.

use super::super::hashing::Hasher;
use super::super::states::blob::Own;
use super::super::states::session::SessionState;
use super::super::suspecting::{Brought, ClosedUpload, part};
use super::super::typed_store::contended;
use super::super::upload_id::UploadId;
use super::super::usage::Adds;
use super::super::{Body, Error, Registry, keys};
use super::append::{Begun, Compared, To, check_range};
use super::claims::Claim;
use super::taken::Taken;
use crate::access::{Create, Permit, Read};
use crate::oci::{Algorithm, ContentRange, Digest};
use crate::storage::{BlobFile, Failure};
use std::sync::Arc;

/// How much is read at once when bytes must be hashed again.
const READ: usize = 1024 * 1024;

/// The caller that pushes a blob.
#[derive(Debug)]
pub struct Pusher {
    pub permit: Permit<Create>,
    /// The right to read the repository, if the caller has it. Content that the caller can read is not
    /// written again.
    pub readable: Option<Permit<Read>>,
}

impl Registry {
    /// Appends the last bytes, if any, and makes the upload a blob of the repository. If the content does not
    /// match `digest`, the upload is cancelled and its bytes are removed.
    pub async fn finish(
        &self,
        pusher: &Pusher,
        id: &UploadId,
        range: Option<ContentRange>,
        digest: &Digest,
        body: Body,
    ) -> Result<Digest, Error> {
        let claimed = if body.is_empty() {
            self.claim_without_bytes(&pusher.permit, id).await?
        } else {
            self.claim(&pusher.permit, id).await?
        };
        self.finish_claimed(pusher, claimed, range, digest, body).await
    }

    async fn finish_claimed(
        &self,
        pusher: &Pusher,
        (claim, upload): (Claim, Taken),
        range: Option<ContentRange>,
        digest: &Digest,
        body: Body,
    ) -> Result<Digest, Error> {
        // Existing content is hashed, which proves that the client has it, and compared, but not written
        // again.
        let known = if upload.session.offset == 0 {
            self.known_here(pusher, digest).await?
        } else {
            None
        };
        let closing = Closing {
            registry: self.clone(),
            digest: digest.clone(),
            adds: self.adds(&upload.repository, digest).await?,
        };
        self.detached(claim, async move {
            match upload.session.state {
                SessionState::Open => {
                    let registry = closing.registry.clone();
                    let closed = closing.close(upload.clone(), known, range, body).await;
                    registry.after(upload, closed).await
                }
                SessionState::Closed => closing.resume(upload).await,
                SessionState::Aborting => Err(Error::UploadUnknown),
            }
        })
        .await
    }

    /// Receives a blob in one request. Content that the caller can already read here is hashed, which proves
    /// that the client has it, and compared. It is written only if it differs.
    pub async fn put_blob(
        &self,
        pusher: &Pusher,
        range: Option<ContentRange>,
        digest: &Digest,
        mut body: Body,
    ) -> Result<Digest, Error> {
        let permit = &pusher.permit;
        let Some(known) = self.known_here(pusher, digest).await? else {
            // The client has not sent anything yet, so it need not.
            let adds = self.adds(permit.repository(), digest).await?;
            self.usage.check(permit.repository(), adds, body.least())?;
            let upload = self.start_for(permit, digest).await?;
            let id = upload.id.clone();
            let claimed = self.claim_new(upload)?;
            let finished = self.finish_claimed(pusher, claimed, range, digest, body).await;
            return self.unless_unfinished(permit, &id, finished).await;
        };
        check_range(range, 0)?;
        let announced = range.map(ContentRange::len);
        let begun = Begun::new(Hasher::new(digest.algorithm()), &mut body).await;
        match self.compare(&*known, begun, &mut body, announced).await? {
            Compared::Same(received) => {
                received.end?;
                let found = received.hasher.digest();
                if found != *digest {
                    return Err(Error::DigestMismatch {
                        expected: digest.clone(),
                        found,
                    });
                }
                // If the blob was collected meanwhile, the client must send it again.
                self.publish(permit.repository(), digest, None)
                    .await?
                    .ok_or_else(contended)?;
                Ok(found)
            }
            Compared::Differs(begun) => {
                let upload = self.start_for(permit, digest).await?;
                let id = upload.id.clone();
                let (claim, upload) = self.claim_new(upload)?;
                let closing = Closing {
                    registry: self.clone(),
                    digest: digest.clone(),
                    adds: Adds::NOTHING,
                };
                let written = self
                    .detached(claim, async move {
                        closing.write_all(upload, known, begun, announced, body).await
                    })
                    .await;
                self.unless_unfinished(permit, &id, written).await
            }
        }
    }

    async fn start_for(&self, permit: &Permit<Create>, digest: &Digest) -> Result<Taken, Error> {
        self.start(permit, Some(digest.algorithm()), self.ids.next()?)
            .await
    }

    async fn unless_unfinished(
        &self,
        permit: &Permit<Create>,
        id: &UploadId,
        done: Result<Digest, Error>,
    ) -> Result<Digest, Error> {
        if done.is_err() {
            // The client does not know the upload, so it is cancelled. If that fails too, the upload expires.
            let _ = self.cancel(permit, id).await;
        }
        done
    }

    async fn known_here(&self, pusher: &Pusher, digest: &Digest) -> Result<Option<Arc<dyn BlobFile>>, Error> {
        match &pusher.readable {
            Some(readable) if readable.repository() == pusher.permit.repository() => {
                self.known(readable, digest).await
            }
            _ => Ok(None),
        }
    }

    /// Writes the first bytes of a body to the upload. They were compared but not written, so they are copied
    /// from `from`.
    async fn copy(&self, from: &dyn BlobFile, upload: &Taken, begun: &Begun) -> Result<(), Error> {
        let mut hasher = Hasher::new(begun.hasher.algorithm());
        let mut at = 0;
        while at < begun.length {
            let most = usize::try_from(begun.length - at).map_or(READ, |left| left.min(READ));
            // If the stored bytes are damaged by now, they cannot replace the client's.
            let bytes = part(from, at, most)
                .await
                .ok()
                .filter(|bytes| !bytes.is_empty())
                .ok_or(Error::Interrupted)?;
            let length = bytes.len() as u64;
            hasher = self
                .absorb(Some(To::of(upload).further(at)), hasher, vec![bytes])
                .await?;
            at += length;
        }
        if hasher.digest() == begun.hasher.clone().digest() {
            Ok(())
        } else {
            Err(Error::Interrupted)
        }
    }

    /// Reads sealed bytes to hash them.
    async fn hash_sealed(
        &self,
        name: &str,
        size: u64,
        algorithm: Algorithm,
        body: &mut Body,
    ) -> Result<Hasher, Error> {
        let mut hasher = Hasher::new(algorithm);
        drop(body.reserved()); // otherwise requests could wait for each other's memory
        let _held = body.share.take(READ).await;
        let file = self.bytes.open(name).await?;
        let mut offset = 0;
        while offset < size {
            let most = usize::try_from(size - offset).map_or(READ, |left| left.min(READ));
            let bytes = file.read(offset, most).await?;
            if bytes.is_empty() {
                return Err(Failure::Missing.into());
            }
            offset += bytes.len() as u64;
            hasher = self.absorb(None, hasher, vec![bytes]).await?;
        }
        Ok(hasher)
    }
}

/// An upload that is being closed, under its claim.
struct Closing {
    registry: Registry,
    digest: Digest,
    adds: Adds,
}

/// How the hash state of an upload can be used when the upload is closed.
#[derive(Clone, Copy)]
struct Worth {
    /// Whether the hash state has the digest's algorithm, or covers no bytes.
    useful: bool,
    /// Whether a later request can continue from the state.
    can_go_on: bool,
}

impl Closing {
    async fn close(
        self,
        upload: Taken,
        known: Option<Arc<dyn BlobFile>>,
        range: Option<ContentRange>,
        mut body: Body,
    ) -> Result<Digest, Error> {
        let registry = &self.registry;
        check_range(range, upload.session.offset)?;
        let algorithm = self.digest.algorithm();
        let restored = upload.session.hasher();
        // If the hash state cannot be used, all bytes are hashed after they are sealed, because a store may
        // not be able to read unsealed bytes.
        let useful = upload.session.offset == 0
            || restored
                .as_ref()
                .is_some_and(|hasher| hasher.algorithm() == algorithm);
        let worth = Worth {
            useful,
            can_go_on: useful || restored.is_some(),
        };
        let hasher = match restored {
            Some(hasher) if hasher.algorithm() == algorithm || !useful => hasher,
            _ => Hasher::new(algorithm),
        };
        let announced = range.map(ContentRange::len);
        registry.check_room(To::of(&upload).adding(self.adds), body.least())?;
        let begun = Begun::new(hasher, &mut body).await;
        let Some(known) = known else {
            return self.write(upload, worth, begun, announced, body).await;
        };
        match registry.compare(&*known, begun, &mut body, announced).await? {
            Compared::Same(received) => {
                received.end?;
                let upload = self.checked(upload, received.hasher.digest()).await?;
                // If the blob was collected meanwhile, the client must send it again.
                registry
                    .publish(&upload.repository, &self.digest, None)
                    .await?
                    .ok_or_else(contended)?;
                registry
                    .records
                    .delete(
                        &keys::upload(&upload.repository, &upload.id),
                        &upload.base.version,
                    )
                    .await?;
                registry.open.ended(&upload.id);
                Ok(self.digest)
            }
            Compared::Differs(begun) => self.write_all(upload, known, begun, announced, body).await,
        }
    }

    /// Writes a body that differs from the stored bytes. The digest then shows which of the two is wrong.
    async fn write_all(
        self,
        upload: Taken,
        known: Arc<dyn BlobFile>,
        begun: Begun,
        announced: Option<u64>,
        body: Body,
    ) -> Result<Digest, Error> {
        self.registry.copy(&*known, &upload, &begun).await?;
        self.write(
            upload,
            Worth {
                useful: true,
                can_go_on: true,
            },
            begun,
            announced,
            body,
        )
        .await
    }

    async fn write(
        self,
        upload: Taken,
        worth: Worth,
        begun: Begun,
        announced: Option<u64>,
        mut body: Body,
    ) -> Result<Digest, Error> {
        let registry = &self.registry;
        let to = To::of(&upload).adding(self.adds);
        let received = registry.receive(to, begun, &mut body, announced).await?;
        if let Err(broken) = received.end {
            if worth.can_go_on {
                registry.keep(upload, &received).await?;
            }
            return Err(broken.into());
        }
        let size = upload.session.offset + received.length;
        let upload = if worth.useful {
            self.checked(upload, received.hasher.digest()).await?
        } else {
            upload
        };
        if received.length == 0 {
            // Creates an empty blob, and removes bytes of an earlier request that were not recorded.
            registry
                .bytes
                .write(
                    upload.id.as_str(),
                    size,
                    &upload.session.resume,
                    Vec::new(),
                    Box::new(|_| ()),
                )
                .await?;
        }
        // On a shared store the record says first that the upload is closed. Otherwise a request that has lost its
        // claim could seal the bytes again, without some of them, after they were published.
        let upload = if registry.settings.shared {
            self.closed(upload, size).await?
        } else {
            upload
        };
        let sealed = registry
            .bytes
            .seal(upload.id.as_str(), size, &upload.session.resume)
            .await;
        let upload = match (sealed, upload.session.state) {
            (Err(why), SessionState::Closed) => return self.unsealed(upload, why).await,
            (sealed, _) => registry.unless_full(upload, sealed).await?.0,
        };
        let upload = if worth.useful {
            upload
        } else {
            let hasher = registry
                .hash_sealed(upload.id.as_str(), size, self.digest.algorithm(), &mut body)
                .await?;
            self.checked(upload, hasher.digest()).await?
        };
        self.publish_sealed(upload, size).await
    }

    /// Returns the upload if its bytes have the digest. Otherwise the upload ends.
    async fn checked(&self, upload: Taken, found: Digest) -> Result<Taken, Error> {
        if found == self.digest {
            return Ok(upload);
        }
        self.registry.discard(upload).await?;
        Err(Error::DigestMismatch {
            expected: self.digest.clone(),
            found,
        })
    }

    /// Ends a closed upload whose bytes could not be sealed. No other request can continue it.
    async fn unsealed(&self, upload: Taken, why: Failure) -> Result<Digest, Error> {
        let repository = upload.repository.clone();
        if let Err(why) = self.registry.discard(upload).await {
            tracing::warn!(repo.name = %repository, "could not remove an upload that failed; it remains until it expires: {why}");
        }
        match why {
            Failure::Missing => Err(Error::UploadUnknown),
            why => Err(why.into()),
        }
    }

    /// Writes that the upload is closed. From now on only this request may publish its bytes.
    async fn closed(&self, upload: Taken, size: u64) -> Result<Taken, Error> {
        let closed = upload.session.clone().closed(size, self.digest.clone());
        self.registry.advance_claimed(&upload, closed).await
    }

    async fn publish_sealed(self, upload: Taken, size: u64) -> Result<Digest, Error> {
        let upload = match upload.session.state {
            SessionState::Closed => upload,
            // Sealed bytes cannot be truncated, so the upload ends if there is no space for the records.
            _ => match self.closed(upload.clone(), size).await {
                Err(Error::Storage(failure)) => {
                    self.registry
                        .unless_full(upload, Err::<Taken, _>(failure))
                        .await?
                        .1
                }
                closed => closed?,
            },
        };
        let Self { registry, digest, .. } = self;
        let brought = Brought::new(
            Own {
                name: upload.id.to_string(),
                size,
            },
            registry.settings.shared.then(|| ClosedUpload {
                repository: upload.repository.clone(),
                id: upload.id.clone(),
            }),
        );
        let published = registry.publish(&upload.repository, &digest, Some(brought)).await;
        match &published {
            Err(why) if !why.is_full() => {}
            Ok(Some(name)) if name == upload.id.as_str() => registry.forget_upload(&upload).await?,
            _ => registry.remove_closed(&upload, &digest).await?,
        }
        published?;
        Ok(digest)
    }

    /// Repeats the end of an upload that is already closed, for a client that did not get the answer. Links
    /// the published blob, and does not publish the bytes a second time.
    async fn resume(self, upload: Taken) -> Result<Digest, Error> {
        let Self { registry, digest, .. } = self;
        if upload
            .session
            .digest
            .as_ref()
            .is_none_or(|closed| closed.0 != digest)
        {
            return Err(Error::UploadUnknown);
        }
        let brought = Brought::published(Own {
            name: upload.id.to_string(),
            size: upload.session.offset,
        });
        registry
            .publish(&upload.repository, &digest, Some(brought))
            .await?
            .ok_or(Error::UploadUnknown)?;
        if registry.settings.shared {
            registry.end_published(upload).await?;
        } else {
            registry.remove_closed(&upload, &digest).await?;
        }
        Ok(digest)
    }
}
