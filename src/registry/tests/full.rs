//! A store that has only its reserve left accepts changes that free space, and no others.

use super::super::suspecting::{Damage, Marking};
use super::*;
use crate::storage::{Failure, Resume};
use std::time::Duration;

const R: &str = "team/app";

#[tokio::test]
async fn a_full_store_takes_deletions_and_no_pushes() {
    let bench = Bench::new();
    let (registry, store) = bench.watched();
    let child = push_image(&registry, R, "child", &json!({})).await;
    let other = push_image(&registry, R, "other", &json!({})).await;
    let index = index(&[&child]);
    let listing = registry
        .put_manifest(&write(R), &tag("listing"), Some(INDEX), index.clone())
        .await
        .unwrap()
        .digest;
    registry
        .put_tag(&write(R), &"v1".parse().unwrap(), &other)
        .await
        .unwrap();
    registry
        .put_tag(&write(R), &"v2".parse().unwrap(), &other)
        .await
        .unwrap();
    let upload = registry.start_upload(&create(R), None).await.unwrap();
    store.has_room_for(0);

    let full = |pushed: Result<(), Error>| {
        assert!(matches!(pushed, Err(Error::Storage(Failure::Full))), "{pushed:?}")
    };
    full(registry.start_upload(&create(R), None).await.map(drop));
    full(
        registry
            .append(&create(R), &upload.id, None, None, body(&[b"abc"]))
            .await
            .map(drop),
    );
    full(registry.put_tag(&write(R), &"v3".parse().unwrap(), &other).await);
    full(
        registry
            .put_manifest(&write("team/new"), &tag("v1"), Some(INDEX), index)
            .await
            .map(drop),
    );

    let by_digest = |digest: &Digest| Reference::Digest(digest.clone());
    let listed = registry.delete_manifest(&delete(R), &by_digest(&child)).await;
    assert!(matches!(listed, Err(Error::Listed { .. })), "{listed:?}");
    let needed = registry.delete_blob(&delete(R), &sha256(b"child")).await;
    assert!(matches!(needed, Err(Error::Referenced)), "{needed:?}");
    registry.delete_manifest(&delete(R), &tag("v1")).await.unwrap();
    registry
        .delete_manifest(&delete(R), &by_digest(&listing))
        .await
        .unwrap();
    registry
        .delete_manifest(&delete(R), &by_digest(&child))
        .await
        .unwrap();
    registry
        .delete_manifest(&delete(R), &by_digest(&other))
        .await
        .unwrap();
    for blob in [&b"child"[..], b"other"] {
        registry.delete_blob(&delete(R), &sha256(blob)).await.unwrap();
    }
    let cancelled = registry.cancel(&create(R), &upload.id).await;
    assert!(
        cancelled.is_ok() || matches!(cancelled, Err(Error::UploadUnknown)),
        "{cancelled:?}"
    );
    for prefix in ["r/", "l/", "u/", "x/", "c/"] {
        assert_eq!(bench.keys(prefix).await, [""; 0]);
    }
}

#[tokio::test]
async fn a_full_store_lets_uploads_expire() {
    let bench = Bench::new();
    let (registry, store) = bench.watched();
    let upload = registry.start_upload(&create(R), None).await.unwrap();
    registry
        .append(&create(R), &upload.id, None, None, body(&[b"abc"]))
        .await
        .unwrap();
    bench.hand.advance(Duration::from_secs(25 * 60 * 60));
    store.has_room_for(0);
    assert_eq!(registry.expire_uploads().await.unwrap(), 1);
    assert!(!bench.has_bytes(&upload.id).await);
    assert_eq!(bench.keys("").await.len(), 0);
}

#[tokio::test]
async fn damaged_bytes_are_marked_on_a_full_store() {
    let bench = Bench::new();
    let (registry, store) = bench.watched();
    let digest = push_blob(&registry, R, b"layer").await;
    let key = keys::blob(&digest);
    let name = registry
        .records
        .read(&key)
        .await
        .unwrap()
        .unwrap()
        .record
        .generation;
    bench
        .store
        .write(
            &name,
            0,
            &Resume::default(),
            vec!["?????".into()],
            Box::new(|_| ()),
        )
        .await
        .unwrap();
    store.has_room_for(0);
    assert!(
        registry
            .suspect(&digest, &name, &Damage::Digest(sha256(b"?????")))
            .await
    );
    assert!(registry.records.read(&key).await.unwrap().unwrap().record.suspect);
    assert_eq!(
        registry.clear_suspicion(&digest, &name).await.unwrap(),
        Marking::Cleared
    );
}

#[tokio::test]
async fn remains_of_a_crash_are_removed_on_a_full_store() {
    let bench = Bench::new();
    let (registry, store) = bench.watched();
    let digest = push_image(&registry, R, "config", &json!({})).await;
    registry
        .put_tag(&write(R), &"v1".parse().unwrap(), &digest)
        .await
        .unwrap();
    store.refuses_changes_of("r/team/app!/t/", Failure::Stopped);
    registry
        .delete_manifest(&delete(R), &Reference::Digest(digest))
        .await
        .unwrap_err();
    store.refuses(None);
    store.has_room_for(0);
    assert_eq!(bench.keys("x/").await.len(), 1);
    let restarted = bench.watched_by(&store);
    assert_eq!(restarted.finish_what_a_crash_left().await.unwrap(), 1);
    assert_eq!(
        (bench.keys("r/").await, bench.keys("x/").await),
        (Vec::new(), Vec::new())
    );
}

#[tokio::test]
async fn a_push_that_meets_the_reserve_half_way_leaves_nothing() {
    let bench = Bench::new();
    let (registry, store) = bench.watched();
    let child = push_image(&registry, R, "child", &json!({})).await;
    let index = index(&[&child]);
    let before = bench.keys("").await;
    let reference = Reference::Digest(sha256(&index));
    for room in 0.. {
        store.has_room_for(room);
        let pushed = registry
            .put_manifest(&write(R), &reference, Some(INDEX), index.clone())
            .await;
        if pushed.is_ok() {
            assert!(room > 2, "announced, listed, committed: {room}");
            break;
        }
        assert!(matches!(pushed, Err(Error::Storage(Failure::Full))), "{pushed:?}");
        assert_eq!(bench.keys("").await, before, "with room for {room} changes");
    }
}

/// A push is acknowledged with its tag or not at all. A rejected push leaves a manifest without a tag, and
/// the next push of the manifest uses it.
#[tokio::test]
async fn a_push_by_tag_that_finds_no_room_for_its_tag_is_refused() {
    let bench = Bench::new();
    let (registry, store) = bench.watched();
    let old = push_image(&registry, R, "old", &json!({})).await;
    let child = push_image(&registry, R, "child", &json!({})).await;
    let index = index(&[&child]);
    registry
        .put_tag(&write(R), &"v1".parse().unwrap(), &old)
        .await
        .unwrap();
    let reference = tag("v1");
    let led_to = async || registry.manifest(&read(R), &reference).await.unwrap().digest;
    let push = async || {
        registry
            .put_manifest(&write(R), &reference, Some(INDEX), index.clone())
            .await
    };
    let mut untagged = 0;
    for room in 0.. {
        store.has_room_for(room);
        let pushed = push().await;
        let is_there = registry
            .manifest(&read(R), &Reference::Digest(sha256(&index)))
            .await
            .is_ok();
        if pushed.is_ok() {
            assert!(is_there);
            break;
        }
        assert!(matches!(pushed, Err(Error::Storage(Failure::Full))), "{pushed:?}");
        assert_eq!(led_to().await, old, "with room for {room} changes");
        untagged += usize::from(is_there);
    }
    assert_eq!(led_to().await, sha256(&index));
    assert!(untagged > 0, "the manifest is there before its tag");
}

#[tokio::test]
async fn an_upload_that_meets_the_reserve_gives_its_bytes_back() {
    for (kept, closing) in [(false, false), (false, true), (true, false), (true, true)] {
        for room in 0.. {
            let bench = Bench::new();
            let (registry, store) = bench.watched();
            let upload = registry.start_upload(&create(R), None).await.unwrap();
            let first: &[u8] = if kept { b"abc" } else { b"" };
            if kept {
                registry
                    .append(&create(R), &upload.id, None, None, body(&[first]))
                    .await
                    .unwrap();
            }
            store.has_room_for(room);
            let digest = sha256(&[first, b"def"].concat());
            let done = if closing {
                registry
                    .finish(&blind(create(R)), &upload.id, None, &digest, body(&[b"def"]))
                    .await
                    .map(drop)
            } else {
                registry
                    .append(&create(R), &upload.id, None, None, body(&[b"def"]))
                    .await
                    .map(drop)
            };
            if done.is_ok() {
                assert!(room >= if closing { 4 } else { 1 }, "{room}");
                break;
            }
            assert!(matches!(done, Err(Error::Storage(Failure::Full))), "{done:?}");
            let left = bench.store.open_unsealed(upload.id.as_str()).await;
            let bytes = left.map_or(0, |file| file.map_or(0, |file| file.size()));
            let case = format!("room for {room}, kept {kept}, closing {closing}");
            if bench.keys("u/").await.is_empty() {
                // The bytes stay if the blob has them and only its link found no room.
                assert!(bytes == 0 || bench.keys("b/").await.len() == 1, "{case}");
            } else {
                assert_eq!(bytes, first.len() as u64, "{case}");
                store.has_room_for(usize::MAX);
                assert_eq!(
                    registry
                        .upload_status(&create(R), &upload.id)
                        .await
                        .unwrap()
                        .offset,
                    bytes,
                    "{case}"
                );
                registry
                    .finish(&blind(create(R)), &upload.id, None, &digest, body(&[b"def"]))
                    .await
                    .unwrap();
            }
        }
    }
}
