//! A store on a disk that loses or changes bytes. A read never returns wrong bytes silently, and a push
//! repairs them.

use super::*;
use rustix::io::Errno;
use std::fs;
use std::path::PathBuf;
use wharfinger_testkit::{Failing, When};

/// This is larger than the pieces that are received, compared and copied.
const SIZE: usize = 3 << 20;

/// The damage to a file.
#[derive(Clone, Copy, Debug)]
enum Harm {
    /// The first byte is changed.
    First,
    /// The last byte is changed.
    Last,
    Cut,
    Longer,
    Gone,
    /// The file is a symbolic link, which the registry does not follow, so it cannot be opened.
    Link,
}

/// `Link` is last, because it leaves no file to change.
const HARMS: [Harm; 6] = [
    Harm::First,
    Harm::Last,
    Harm::Cut,
    Harm::Longer,
    Harm::Gone,
    Harm::Link,
];

fn harm(file: &PathBuf, harm: Harm) {
    let mut content = fs::read(file).unwrap();
    match harm {
        Harm::First => content[0] ^= 1,
        Harm::Last => *content.last_mut().unwrap() ^= 1,
        Harm::Cut => content.truncate(content.len() / 2),
        Harm::Longer => content.push(b'x'),
        Harm::Gone => return fs::remove_file(file).unwrap(),
        Harm::Link => {
            fs::remove_file(file).unwrap();
            return std::os::unix::fs::symlink("elsewhere", file).unwrap();
        }
    }
    fs::write(file, content).unwrap();
}

/// How a client pushes.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// POST with the digest.
    AtOnce,
    /// POST, then PUT with the bytes.
    Put,
    /// POST, PATCH and PUT.
    Chunks,
}

const WAYS: [Way; 3] = [Way::AtOnce, Way::Put, Way::Chunks];

impl Site {
    /// A site whose files can be made to fail.
    fn failing() -> (Self, Arc<Failing>) {
        let mut site = Self::new();
        let store = Arc::new(Memory::with_clock(site.app.clock.clone()));
        let failing = Failing::new(store.clone());
        site.app.registry = registry(store, failing.clone());
        site.endpoint = Endpoint::new(site.app.clone());
        (site, failing)
    }

    /// Whether the whole blob is sent.
    async fn sends(&self, repository: &str, digest: &str) -> bool {
        let connection = Connection {
            peer: None,
            remote: ([127, 0, 0, 1], 1).into(),
            tls: true,
            more: More::default(),
            active: ActiveRequest::default(),
        };
        let request = ask(Method::GET, &format!("/v2/{repository}/blobs/{digest}"))
            .extension(connection)
            .body(Body::empty())
            .unwrap();
        let response = self.endpoint.clone().call(request).await.unwrap();
        response.status() == StatusCode::OK
            && response
                .into_body()
                .collect()
                .await
                .is_ok_and(|body| sha256(body.to_bytes()) == digest)
    }

    /// The files with the bytes of blobs.
    fn files(&self) -> Vec<PathBuf> {
        let list = |folder: PathBuf| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        list(self.folder.as_ref().unwrap().path().join("d"))
            .flat_map(list)
            .collect()
    }

    async fn push(&self, repository: &str, way: Way, content: &[u8], digest: &str) -> StatusCode {
        let begin = format!("/v2/{repository}/blobs/uploads/");
        if let Way::AtOnce = way {
            return self
                .send(
                    ask(Method::POST, &format!("{begin}?digest={digest}")),
                    content.to_owned(),
                )
                .await
                .status;
        }
        let upload = self
            .send(ask(Method::POST, &begin), Body::empty())
            .await
            .header("location")
            .to_owned();
        let mut rest = content;
        if let Way::Chunks = way {
            let (first, last) = content.split_at(content.len() / 3);
            assert_eq!(
                self.send(ask(Method::PATCH, &upload), first.to_owned())
                    .await
                    .status,
                StatusCode::ACCEPTED
            );
            rest = last;
        }
        self.send(
            ask(Method::PUT, &format!("{upload}?digest={digest}")),
            rest.to_owned(),
        )
        .await
        .status
    }

    async fn head(&self, repository: &str, digest: &str) -> StatusCode {
        self.send(
            ask(Method::HEAD, &format!("/v2/{repository}/blobs/{digest}")),
            Body::empty(),
        )
        .await
        .status
    }
}

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|n| n.to_le_bytes()[n % 3]).collect()
}

#[tokio::test]
async fn a_push_of_the_same_digest_repairs_damaged_bytes() {
    for size in [SIZE, 1] {
        let content = content(size);
        let digest = sha256(&content);
        for way in WAYS {
            // Push to the repository that has the blob, and to another one.
            for repository in ["open/a", "open/b"] {
                let site = Site::on_disk();
                for what in HARMS {
                    assert_eq!(
                        site.push("open/a", Way::AtOnce, &content, &digest).await,
                        StatusCode::CREATED
                    );
                    let before = site.files();
                    before.iter().for_each(|file| harm(file, what));
                    assert_eq!(
                        site.push(repository, way, &content, &digest).await,
                        StatusCode::CREATED,
                        "{what:?} {way:?}"
                    );
                    for there in ["open/a", repository] {
                        let read = site.get(&format!("/v2/{there}/blobs/{digest}")).await;
                        assert_eq!(
                            (read.status, read.body == content),
                            (StatusCode::OK, true),
                            "{there} {what:?} {way:?}"
                        );
                    }
                    assert_eq!(site.head(repository, &digest).await, StatusCode::OK);
                    assert_ne!(site.files(), before, "the damaged bytes are not overwritten");
                    // The next round damages the new bytes, and the old ones, which the collector will
                    // remove.
                    assert_eq!(
                        site.push("open/a", Way::AtOnce, &content, &digest).await,
                        StatusCode::CREATED
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn a_push_of_an_intact_blob_leaves_no_new_files() {
    let site = Site::on_disk();
    let content = content(SIZE);
    let digest = sha256(&content);
    assert_eq!(
        site.push("open/a", Way::AtOnce, &content, &digest).await,
        StatusCode::CREATED
    );
    let files = site.files();
    for repository in ["open/a", "open/b"] {
        for way in WAYS {
            assert_eq!(
                site.push(repository, way, &content, &digest).await,
                StatusCode::CREATED
            );
            assert_eq!(site.files(), files, "{repository} {way:?}");
        }
    }
}

/// A caller that may push must not be able to make good bytes suspect.
#[tokio::test]
async fn a_push_with_other_bytes_does_not_mark_good_bytes_as_damaged() {
    let site = Site::on_disk();
    let content = content(SIZE);
    let digest = sha256(&content);
    assert_eq!(
        site.push("open/a", Way::AtOnce, &content, &digest).await,
        StatusCode::CREATED
    );
    let files = site.files();
    for size in [0, 1, SIZE - 1, SIZE, SIZE + 1] {
        let mut wrong = content.clone();
        wrong.resize(size, 0);
        if let Some(last) = wrong.last_mut() {
            *last ^= 1;
        }
        for way in WAYS {
            for repository in ["open/a", "open/b"] {
                assert_eq!(
                    site.push(repository, way, &wrong, &digest).await,
                    StatusCode::BAD_REQUEST,
                    "{size} {way:?} {repository}"
                );
                assert_eq!(
                    site.head("open/a", &digest).await,
                    StatusCode::OK,
                    "{size} {way:?} {repository}"
                );
                assert_eq!(site.files(), files, "{size} {way:?} {repository}");
            }
        }
    }
}

/// A client that only reads gets an error that says so. For one that pushes the blob does not exist.
#[tokio::test]
async fn incomplete_bytes_are_not_served_and_not_reported_as_present() {
    for what in [Harm::Cut, Harm::Longer, Harm::Gone, Harm::Link] {
        for range in [None, Some("bytes=0-9")] {
            let site = Site::on_disk();
            let content = "layer ".repeat(100);
            let digest = sha256(&content);
            let pusher = site.token("pusher");
            let push = ask(
                Method::POST,
                &format!("/v2/public/a/blobs/uploads/?digest={digest}"),
            );
            assert_eq!(
                site.send(bearer(push, &pusher), content).await.status,
                StatusCode::CREATED
            );
            site.files().iter().for_each(|file| harm(file, what));
            let path = format!("/v2/public/a/blobs/{digest}");
            let get = range.iter().fold(ask(Method::GET, &path), |request, range| {
                request.header("range", *range)
            });
            let answer = site.send(get, Body::empty()).await;
            assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{what:?}");
            let message = answer.json()["errors"][0]["message"].as_str().unwrap().to_owned();
            assert!(
                message.contains(&digest) && message.contains("push the blob again"),
                "{message}"
            );
            assert_eq!(
                site.send(ask(Method::HEAD, &path), Body::empty()).await.status,
                StatusCode::INTERNAL_SERVER_ERROR
            );
            let head = site
                .send(bearer(ask(Method::HEAD, &path), &pusher), Body::empty())
                .await;
            assert_eq!(head.status, StatusCode::NOT_FOUND, "{what:?}");
        }
    }
}

/// The read marks the blob, so later requests do not depend on the disk.
#[tokio::test]
async fn damage_found_by_a_read_or_a_mount_is_remembered() {
    for by_mount in [false, true] {
        let site = Site::on_disk();
        let digest = site.push_blob("open/a", "layer").await;
        let file = &site.files()[0];
        fs::write(file, "lay").unwrap();
        let mount = ask(
            Method::POST,
            &format!("/v2/open/b/blobs/uploads/?mount={digest}&from=open/a"),
        );
        if by_mount {
            assert_eq!(site.send(mount, Body::empty()).await.status, StatusCode::ACCEPTED);
        } else {
            assert_eq!(
                site.get(&format!("/v2/open/a/blobs/{digest}")).await.status,
                StatusCode::INTERNAL_SERVER_ERROR
            );
        }
        fs::write(file, "layer").unwrap();
        assert_eq!(site.head("open/a", &digest).await, StatusCode::NOT_FOUND);
        site.push_blob("open/a", "layer").await;
        assert_eq!(site.head("open/a", &digest).await, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_blob_is_deleted_without_its_bytes() {
    let site = Site::on_disk();
    let digest = site.push_blob("open/a", "layer").await;
    harm(&site.files()[0], Harm::Gone);
    let path = format!("/v2/open/a/blobs/{digest}");
    assert_eq!(
        site.send(ask(Method::DELETE, &path), Body::empty()).await.status,
        StatusCode::ACCEPTED
    );
    assert_eq!(site.get(&path).await.status, StatusCode::NOT_FOUND);
}

/// The disk fails before the answer or in the middle of it.
#[tokio::test]
async fn unreadable_bytes_are_not_reported_as_present_and_are_repaired_by_a_push() {
    for (when, why) in [
        (When::Read, Errno::IO),
        (When::Opened, Errno::IO),
        (When::Opened, Errno::UCLEAN),
    ] {
        for repository in ["open/a", "open/b"] {
            for is_read_first in [true, false] {
                let (site, failing) = Site::failing();
                let digest = site.push_blob("open/a", "layer").await;
                failing.fail(when, why).await;
                let what = format!("{when:?} {why} {repository} {is_read_first}");
                if is_read_first {
                    assert!(!site.sends("open/a", &digest).await, "{what}");
                    assert_eq!(
                        site.head("open/a", &digest).await,
                        StatusCode::NOT_FOUND,
                        "{what}"
                    );
                }
                site.push_blob(repository, "layer").await;
                assert!(
                    site.sends("open/a", &digest).await && site.sends(repository, &digest).await,
                    "{what}"
                );
                assert_eq!(site.head(repository, &digest).await, StatusCode::OK, "{what}");
            }
        }
    }
}

/// A push that meets such a failure is rejected, since the registry cannot tell whether it has the blob.
#[tokio::test]
async fn temporary_failures_mark_no_blob() {
    for (times, when, why) in [
        (usize::MAX, When::Opened, Errno::MFILE),
        (usize::MAX, When::Opened, Errno::ACCESS),
        (usize::MAX, When::Read, Errno::NOMEM),
        (usize::MAX, When::Read, Errno::STALE),
        (1, When::Opened, Errno::IO),
        (1, When::Read, Errno::IO),
    ] {
        let (site, failing) = Site::failing();
        let digest = site.push_blob("open/a", "layer").await;
        failing.fail_times(times, when, why).await;
        assert!(!site.sends("open/a", &digest).await, "{when:?} {why}");
        failing.work_again();
        assert_eq!(
            site.head("open/a", &digest).await,
            StatusCode::OK,
            "{when:?} {why}"
        );
        assert!(site.sends("open/a", &digest).await, "{when:?} {why}");
    }
    let (site, failing) = Site::failing();
    let digest = site.push_blob("open/a", "layer").await;
    failing.drop_out(Errno::IO).await;
    assert!(site.head("open/a", &digest).await.is_server_error());
    failing.work_again();
    assert_eq!(site.head("open/a", &digest).await, StatusCode::OK);
}
