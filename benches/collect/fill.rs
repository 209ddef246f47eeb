//! A store of many repositories with the same blobs. Each image needs ten blobs that no other image of its
//! repository needs, so there are ten links for each manifest.

use super::content::{Content, blob, image};
use super::store::{Repository, all, open};
use std::path::Path;
use wharfinger::registry::Registry;

/// The most images in one repository.
const IMAGES: usize = 1000;
pub(crate) const BLOBS: usize = 10;

/// How a number of images is spread over repositories.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) repositories: usize,
    /// The number of images in each repository.
    pub(crate) images: usize,
}

impl Spread {
    pub(crate) fn of(manifests: usize) -> Self {
        let repositories = manifests.div_ceil(IMAGES);
        Self {
            repositories,
            images: manifests / repositories,
        }
    }

    pub(crate) fn manifests(self) -> usize {
        self.repositories * self.images
    }
}

pub(crate) fn name(repository: usize) -> String {
    format!("team-{repository:03}/app")
}

pub(crate) fn tag(image: usize) -> String {
    format!("v{image}")
}

pub(crate) fn blobs_of(image: usize) -> Vec<Content> {
    (0..BLOBS)
        .map(|number| blob(&format!("{image}/{number}"), 100))
        .collect()
}

fn image_of(repository: usize, number: usize) -> Content {
    image(&format!("{repository}/{number}"), &blobs_of(number))
}

fn repositories(registry: &Registry, spread: Spread) -> Vec<Repository> {
    (0..spread.repositories)
        .map(|number| Repository::new(registry, &name(number)))
        .collect()
}

/// Fills the folder. The writes do not wait for the disk.
pub(crate) async fn fill(folder: &Path, spread: Spread) {
    let registry = open(folder);
    let repositories = repositories(&registry, spread);
    let first = &repositories[0];
    let push_image = async |number: usize, repository: &Repository, image: usize| {
        for blob in blobs_of(image) {
            if number == 0 {
                first.push_blob(&blob).await;
            } else {
                repository.mount(first, &blob.digest).await;
            }
        }
        repository.push_image(&tag(image), &image_of(number, image)).await;
    };
    for (number, repository) in repositories.iter().enumerate() {
        all((0..spread.images).map(|image| push_image(number, repository, image))).await;
    }
}

/// Deletes every tenth image of each repository, and returns how many.
pub(crate) async fn delete_a_tenth(folder: &Path, spread: Spread) -> usize {
    let registry = open(folder);
    let mut deleted = 0;
    for (number, repository) in repositories(&registry, spread).iter().enumerate() {
        let doomed: Vec<_> = (0..spread.images)
            .step_by(10)
            .map(|image| image_of(number, image).digest)
            .collect();
        deleted += doomed.len();
        all(doomed.iter().map(|digest| repository.delete_image(digest))).await;
    }
    deleted
}
