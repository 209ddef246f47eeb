//! The core over a store in memory. Each test has the name of the rule that it proves.

mod blobs;
mod catalog;
mod collecting;
mod collisions;
mod commits;
mod convert;
mod copying;
mod damage;
mod deleting;
mod faults;
mod fsck;
mod full;
mod immutable;
mod indexes;
mod interleaved;
mod known;
mod lately;
mod leasing;
mod manifests;
mod memory;
mod parts;
mod passes;
mod probe;
mod pulls;
mod quotas;
mod recent;
mod referrers;
mod relying;
mod retaining;
mod rounds;
mod scrub;
mod sharing;
mod suspect;
mod tags;
mod turns;
mod uploads;
mod watched;

use super::hashing::digest_of;
use super::*;
use crate::access::{Create, Delete, Permit, Read, Write};
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::identity::Principal;
use crate::oci::{Algorithm, Digest, Reference};
use crate::storage::memory::Memory;
use crate::storage::{Range, Show};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::{Value, json};

pub(super) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub(super) struct Bench {
    pub registry: Registry,
    pub store: Arc<Memory>,
    pub hand: ManualClock,
}

impl Bench {
    pub(super) fn new() -> Self {
        let (clock, hand) = Clock::manual(Timestamp::from_secs(1_800_000_000));
        let store = Arc::new(Memory::with_clock(clock));
        Self {
            registry: Registry::new(store.clone(), store.clone()).with(any_sizes()),
            store,
            hand,
        }
    }

    /// A new process on the same store.
    pub(super) fn restarted(&self) -> Registry {
        Registry::new(self.store.clone(), self.store.clone()).with(any_sizes())
    }

    pub(super) async fn keys(&self, prefix: &str) -> Vec<String> {
        self.store
            .list(Range {
                prefix,
                after: "",
                limit: 10_000,
                show: Show::All,
            })
            .await
            .unwrap()
    }

    pub(super) async fn put_tag(&self, repository: &str, name: &str, digest: &Digest) {
        self.registry
            .put_tag(&write(repository), &name.parse().unwrap(), digest)
            .await
            .unwrap();
    }

    /// The digest of the manifest that a tag points at.
    pub(super) async fn tagged(&self, repository: &str, name: &str) -> Digest {
        let found = self.registry.manifest(&read(repository), &tag(name)).await;
        found.unwrap().digest
    }

    pub(super) async fn has_bytes(&self, id: &UploadId) -> bool {
        self.store.open_unsealed(id.as_str()).await.is_ok()
    }
}

/// The sizes in the manifests of most tests are wrong.
pub(super) fn any_sizes() -> Settings {
    Settings {
        unchecked_descriptors: Repositories::parse("**").unwrap(),
        ..Settings::default()
    }
}

pub(super) fn alice() -> Principal {
    Principal::Spiffe("spiffe://example.org/alice".parse().unwrap())
}

pub(super) fn create(repository: &str) -> Permit<Create> {
    Permit::for_test(repository, alice())
}

/// A caller who may also read the repository.
pub(super) fn pusher(repository: &str) -> Pusher {
    Pusher {
        permit: create(repository),
        readable: Some(read(repository)),
    }
}

/// A caller who may push to the repository but not read it.
pub(super) fn blind(permit: Permit<Create>) -> Pusher {
    Pusher {
        permit,
        readable: None,
    }
}

pub(super) fn read(repository: &str) -> Permit<Read> {
    Permit::for_test(repository, alice())
}

pub(super) fn write(repository: &str) -> Permit<Write> {
    Permit::for_test(repository, alice())
}

pub(super) fn delete(repository: &str) -> Permit<Delete> {
    Permit::for_test(repository, alice())
}

pub(super) fn sha256(bytes: &[u8]) -> Digest {
    digest_of(Algorithm::Sha256, bytes)
}

pub(super) fn tag(name: &str) -> Reference {
    Reference::Tag(name.parse().unwrap())
}

/// A body of these frames.
pub(super) fn body(frames: &[&[u8]]) -> Body {
    let frames: Vec<_> = frames
        .iter()
        .map(|frame| Ok(Bytes::copy_from_slice(frame)))
        .collect();
    Body::unbounded(futures_util::stream::iter(frames).boxed())
}

/// A body that breaks off after these bytes.
pub(super) fn broken(bytes: &[u8]) -> Body {
    Body::unbounded(
        futures_util::stream::iter([Ok(Bytes::copy_from_slice(bytes)), Err(BodyError::Interrupted)]).boxed(),
    )
}

pub(super) async fn push_blob(registry: &Registry, repository: &str, bytes: &[u8]) -> Digest {
    try_push_blob(registry, repository, bytes).await.unwrap()
}

pub(super) async fn try_push_blob(
    registry: &Registry,
    repository: &str,
    bytes: &[u8],
) -> Result<Digest, Error> {
    let upload = registry.start_upload(&create(repository), None).await?;
    let digest = sha256(bytes);
    registry
        .finish(&pusher(repository), &upload.id, None, &digest, body(&[bytes]))
        .await
}

pub(super) async fn content(registry: &Registry, repository: &str, digest: &Digest) -> Result<Bytes, Error> {
    let blob = registry.blob(&read(repository), digest).await?;
    let mut bytes = Vec::new();
    loop {
        let part = blob.file.read(bytes.len() as u64, 1024 * 1024).await?;
        if part.is_empty() {
            break;
        }
        bytes.extend_from_slice(&part);
    }
    assert_eq!(bytes.len() as u64, blob.size);
    Ok(bytes.into())
}

pub(super) fn descriptor(media_type: &str, digest: &Digest) -> Value {
    json!({"mediaType": media_type, "digest": digest.as_str(), "size": 1})
}

/// An image with this blob as its config and no layers; `extra` members go beside it.
pub(super) fn image(config: &Digest, extra: &Value) -> Bytes {
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": IMAGE,
        "config": descriptor("application/vnd.example.config", config), "layers": [],
    });
    for (key, value) in extra.as_object().into_iter().flatten() {
        manifest[key] = value.clone();
    }
    manifest.to_string().into()
}

/// An index of these images.
pub(super) fn index(children: &[&Digest]) -> Bytes {
    let manifests: Vec<Value> = children.iter().map(|child| descriptor(IMAGE, child)).collect();
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})
        .to_string()
        .into()
}

/// An image with its blob, pushed by digest.
pub(super) async fn push_image(registry: &Registry, repository: &str, name: &str, extra: &Value) -> Digest {
    let config = push_blob(registry, repository, name.as_bytes()).await;
    let bytes = image(&config, extra);
    let reference = Reference::Digest(sha256(&bytes));
    registry
        .put_manifest(&write(repository), &reference, Some(IMAGE), bytes)
        .await
        .unwrap()
        .digest
}

/// A server runs every request on any free thread.
#[test]
fn every_operation_may_move_between_threads() {
    fn is_send<T: Send>(_: T) {}
    let bench = Bench::new();
    let digest = sha256(b"");
    let registry = &bench.registry;
    let name = "v1".parse().unwrap();
    let id = "0".repeat(32).parse().unwrap();
    let policy = crate::access::Policy::everything_to_authenticated();
    let identity = crate::identity::Identity::anonymous();
    let reader = crate::access::Reader::new(&policy, &identity);
    is_send(registry.manifest(&read("a"), &tag("v1")));
    is_send(registry.put_manifest(&write("a"), &tag("v1"), None, Bytes::new()));
    is_send(registry.put_tag(&write("a"), &name, &digest));
    is_send(registry.delete_manifest(&delete("a"), &tag("v1")));
    is_send(registry.blob(&read("a"), &digest));
    is_send(registry.delete_blob(&delete("a"), &digest));
    is_send(registry.mount(&create("a"), None, Some(&reader), &digest));
    is_send(registry.start_upload(&create("a"), None));
    is_send(registry.append(&create("a"), &id, None, None, body(&[])));
    is_send(registry.finish(&pusher("a"), &id, None, &digest, body(&[])));
    is_send(registry.cancel(&create("a"), &id));
    is_send(registry.expire_uploads());
    is_send(registry.tags(&read("a"), "", 1));
    is_send(registry.catalog(&reader, "", 1));
    is_send(registry.referrers(&read("a"), &digest, None, None));
}
