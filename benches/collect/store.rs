//! A store without a server, which is quick to fill.

use super::content::{Content, IMAGE};
use futures_util::{StreamExt as _, stream};
use std::path::Path;
use std::sync::Arc;
use wharfinger::access::{
    Action, Create, Delete, PatternRules, Permit, Policy, Read, Rules, Write, decide, decide_write,
};
use wharfinger::budget::{Budget, Holder};
use wharfinger::identity::Identity;
use wharfinger::oci::{Digest, Reference, RepositoryName};
use wharfinger::registry::{Body, Pusher, Registry};
use wharfinger::storage::local::{Local, Settings};

/// How many requests wait for the store at once.
const AT_ONCE: usize = 64;

pub(crate) fn open(folder: &Path) -> Registry {
    let settings = Settings {
        commit: false,
        ..Settings::default()
    };
    let store = Arc::new(Local::open_with(folder, settings).unwrap());
    Registry::new(store.clone(), store)
}

/// Waits for all of these futures, many at once.
pub(crate) async fn all<F: Future>(work: impl Iterator<Item = F>) {
    stream::iter(work)
        .buffer_unordered(AT_ONCE)
        .for_each(|_| std::future::ready(()))
        .await;
}

/// One repository of a store.
pub(crate) struct Repository {
    registry: Registry,
    read: Permit<Read>,
    write: Permit<Write>,
    delete: Permit<Delete>,
    pusher: Pusher,
    budget: Budget,
}

impl Repository {
    pub(crate) fn new(registry: &Registry, name: &str) -> Self {
        let rules = PatternRules {
            anonymous: vec![Action::Read, Action::Create, Action::Update, Action::Delete],
            ..PatternRules::default()
        };
        let policy = Policy::compile(Rules {
            repositories: vec![("**".into(), rules)],
            ..Rules::default()
        })
        .unwrap();
        let anybody = Identity::anonymous();
        let name: RepositoryName = name.parse().unwrap();
        let create: Permit<Create> = decide(&policy, &anybody, &name).unwrap();
        Self {
            registry: registry.clone(),
            read: decide(&policy, &anybody, &name).unwrap(),
            write: decide_write(&policy, &anybody, &name).unwrap(),
            delete: decide(&policy, &anybody, &name).unwrap(),
            pusher: Pusher {
                permit: create,
                readable: None,
            },
            budget: Budget::new(usize::MAX),
        }
    }

    pub(crate) async fn push_blob(&self, blob: &Content) {
        let bytes = blob.bytes.clone();
        let stream = stream::once(async move { Ok(bytes) }).boxed();
        let body = Body::new(stream, self.budget.of(Holder::Stranger(None)), None);
        self.registry
            .put_blob(&self.pusher, None, &blob.digest, body)
            .await
            .unwrap();
    }

    pub(crate) async fn mount(&self, from: &Self, blob: &Digest) {
        let mounted = self
            .registry
            .mount(&self.pusher.permit, Some(&from.read), None, blob)
            .await;
        assert!(mounted.unwrap(), "{blob} is not there to be mounted");
    }

    pub(crate) async fn push_image(&self, tag: &str, image: &Content) {
        let tag: Reference = tag.parse().unwrap();
        let pushed = self
            .registry
            .put_manifest(&self.write, &tag, Some(IMAGE), image.bytes.clone())
            .await;
        assert_eq!(pushed.unwrap().digest, image.digest);
    }

    pub(crate) async fn delete_image(&self, image: &Digest) {
        self.registry
            .delete_manifest(&self.delete, &Reference::Digest(image.clone()))
            .await
            .unwrap();
    }
}
