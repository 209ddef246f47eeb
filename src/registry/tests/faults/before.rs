//! What is in the store at first. All of it is old.

use super::super::*;
use super::actors::{CONTENT, LISTED, REPOSITORIES, content_digest, manifest, manifest_digest};
use super::client::Client;
use super::collectors::Conduct;
use super::history::History;
use super::process::Process;
use super::setting::{client, quiet};
use super::world::World;
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub(super) enum Before {
    /// The first repository has the blob, and no manifest needs it.
    Link,
    /// The blob, and no link to it.
    Blob,
    /// The first repository has a manifest with a tag.
    Tagged,
    /// The first repository has a manifest without a tag.
    Untagged,
}

impl Before {
    pub(super) async fn prepare(self, conduct: Conduct, world: &Arc<World>, history: &Arc<History>) {
        let quiet = quiet(world);
        let repository = REPOSITORIES[0];
        push_blob(&quiet, repository, CONTENT).await;
        match self {
            Self::Link => {}
            Self::Blob => {
                let permit = delete(repository);
                quiet.delete_blob(&permit, &content_digest()).await.unwrap();
            }
            Self::Tagged => {
                let process = Process::new(world, false);
                let client = Client {
                    registry: quiet,
                    ..client(conduct, process, history)
                };
                client.push(0, LISTED, 0).await.unwrap();
            }
            Self::Untagged => {
                let reference = Reference::Digest(manifest_digest(LISTED));
                quiet
                    .put_manifest(&write(repository), &reference, None, manifest(LISTED))
                    .await
                    .unwrap();
            }
        }
        world.store.reload();
        world.hand.advance(Duration::from_secs(2 * 24 * 60 * 60));
    }
}
