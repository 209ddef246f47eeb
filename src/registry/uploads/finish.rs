//! Closing an upload: the last bytes, the check of the digest, and the blob's publication.

use super::super::hashing::Hasher;
use super::super::states::blob::Own;
use super::super::states::session::SessionState;
use super::super::typed_store::contended;
use super::super::{Body, Error, Registry, keys};
use super::UploadId;
use super::append::{To, check_range};
use super::taken::Taken;
use crate::access::{Create, Permit, Read};
use crate::oci::{Algorithm, ContentRange, Digest};

/// How much is read at once when bytes must be hashed again.
const READ: usize = 1024 * 1024;

impl Registry {
    /// Appends the last bytes, if any, and makes the upload a blob of the repository. If the content is not what `digest` says, the
    /// upload is cancelled and its bytes are removed. What the caller can read here already (`readable`) is not written again.
    pub async fn finish(
        &self,
        permit: &Permit<Create>,
        readable: Option<&Permit<Read>>,
        id: &UploadId,
        range: Option<ContentRange>,
        digest: &Digest,
        body: Body,
    ) -> Result<Digest, Error> {
        let (claim, upload) = self.claim(permit, id).await?;
        // Content that is here already is hashed, which proves that the client has it, and not written again.
        let known = upload.session.offset == 0 && self.is_known_here(permit, readable, digest).await?;
        let closing = Closing { registry: self.clone(), digest: digest.clone(), known };
        self.detached(claim, async move {
            match upload.session.state {
                SessionState::Open => {
                    let registry = closing.registry.clone();
                    let closed = closing.close(upload.clone(), range, body).await;
                    registry.unless_lost(upload, closed).await
                }
                SessionState::Closed => closing.resume(upload).await,
                SessionState::Aborting => Err(Error::UploadUnknown),
            }
        })
        .await
    }

    /// Takes a blob that comes in one request. What the caller can read here already (`readable`) is hashed, which proves that the
    /// client has it, and nothing is written.
    pub async fn put_blob(
        &self,
        permit: &Permit<Create>,
        readable: Option<&Permit<Read>>,
        range: Option<ContentRange>,
        digest: &Digest,
        mut body: Body,
    ) -> Result<Digest, Error> {
        if !self.is_known_here(permit, readable, digest).await? {
            let upload = self.start_upload(permit, Some(digest.algorithm())).await?;
            let finished = self.finish(permit, readable, &upload.id, range, digest, body).await;
            if finished.is_err() {
                // Nobody was told its name. Another failure changes nothing: it expires.
                let _ = self.cancel(permit, &upload.id).await;
            }
            return finished;
        }
        check_range(range, 0)?;
        let received = self.receive(None, Hasher::new(digest.algorithm()), &mut body, range.map(ContentRange::len)).await?;
        received.end?;
        let found = received.hasher.digest();
        if found != *digest {
            return Err(Error::DigestMismatch { expected: digest.clone(), found });
        }
        // Collected since: the client must send it again.
        self.publish(permit.repository(), digest, None).await?.ok_or_else(contended)?;
        Ok(found)
    }

    async fn is_known_here(&self, permit: &Permit<Create>, readable: Option<&Permit<Read>>, digest: &Digest) -> Result<bool, Error> {
        match readable {
            Some(readable) if readable.repository() == permit.repository() => self.is_known(readable, digest).await,
            _ => Ok(false),
        }
    }

    /// Reads sealed bytes to hash them.
    async fn hash_sealed(&self, name: &str, size: u64, algorithm: Algorithm, body: &mut Body) -> Result<Hasher, Error> {
        let mut hasher = Hasher::new(algorithm);
        drop(body.reserved()); // or those that wait for more could wait for each other
        let _held = body.share.take(READ).await;
        let file = self.bytes.open(name).await?;
        let mut offset = 0;
        while offset < size {
            let most = usize::try_from(size - offset).map_or(READ, |left| left.min(READ));
            let bytes = file.read(offset, most).await?;
            if bytes.is_empty() {
                return Err(crate::storage::Failure::Missing.into());
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
    known: bool,
}

impl Closing {
    async fn close(self, upload: Taken, range: Option<ContentRange>, mut body: Body) -> Result<Digest, Error> {
        let registry = &self.registry;
        check_range(range, upload.session.offset)?;
        let known = self.known;
        let algorithm = self.digest.algorithm();
        let restored = upload.session.hasher();
        // A store need not be able to read bytes before they are sealed. If the hash so far is of no use, all of them are read then.
        let useful = upload.session.offset == 0 || restored.as_ref().is_some_and(|hasher| hasher.algorithm() == algorithm);
        let can_go_on = useful || restored.is_some();
        let hasher = match restored {
            Some(hasher) if hasher.algorithm() == algorithm || !useful => hasher,
            _ => Hasher::new(algorithm),
        };
        let to = (!known).then(|| To::of(&upload));
        let received = registry.receive(to, hasher, &mut body, range.map(ContentRange::len)).await?;
        if let Err(broken) = received.end {
            if !known && can_go_on {
                registry.keep(upload, &received).await?;
            }
            return Err(broken.into());
        }
        let size = upload.session.offset + received.length;
        let upload = if useful { self.checked(upload, received.hasher.digest()).await? } else { upload };
        if known {
            // Collected since: the client must send it again.
            registry.publish(&upload.repository, &self.digest, None).await?.ok_or_else(contended)?;
            registry.records.delete(&keys::upload(&upload.repository, &upload.id), &upload.base.version).await?;
            return Ok(self.digest);
        }
        if received.length == 0 {
            // Makes an empty blob, and cuts off what an earlier request wrote and did not keep.
            registry.bytes.write(upload.id.as_str(), size, &upload.session.resume, Vec::new(), Box::new(|_| ())).await?;
        }
        let sealed = registry.bytes.seal(upload.id.as_str(), size, &upload.session.resume).await;
        let (upload, ()) = registry.unless_full(upload, sealed).await?;
        let upload = if useful {
            upload
        } else {
            let hasher = registry.hash_sealed(upload.id.as_str(), size, algorithm, &mut body).await?;
            self.checked(upload, hasher.digest()).await?
        };
        self.publish_sealed(upload, size).await
    }

    /// The upload, if its bytes are those of the digest. It ends if they are not.
    async fn checked(&self, upload: Taken, found: Digest) -> Result<Taken, Error> {
        if found == self.digest {
            return Ok(upload);
        }
        self.registry.discard(upload).await?;
        Err(Error::DigestMismatch { expected: self.digest.clone(), found })
    }

    async fn publish_sealed(self, upload: Taken, size: u64) -> Result<Digest, Error> {
        let Self { registry, digest, .. } = self;
        let closed = upload.session.clone().closed(size, digest.clone());
        let upload = registry.advance(&upload, closed).await?.ok_or_else(contended)?;
        registry.publish(&upload.repository, &digest, Some(Own { name: upload.id.to_string(), size })).await?;
        registry.remove_closed(&upload, &digest).await?;
        Ok(digest)
    }

    /// The upload was closed, and the answer lost: link what was published. Its own bytes are not published a second time.
    async fn resume(self, upload: Taken) -> Result<Digest, Error> {
        let Self { registry, digest, .. } = self;
        if upload.session.digest.as_ref().is_none_or(|closed| closed.0 != digest) {
            return Err(Error::UploadUnknown);
        }
        registry.publish(&upload.repository, &digest, None).await?.ok_or(Error::UploadUnknown)?;
        registry.remove_closed(&upload, &digest).await?;
        Ok(digest)
    }
}
