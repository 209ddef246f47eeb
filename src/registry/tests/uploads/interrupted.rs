//! Uploads whose request breaks off, or whose registry restarts.

use super::*;
use crate::storage::Resume;

#[tokio::test]
async fn a_cancelled_request_keeps_the_lock_until_its_body_ends() {
    let bench = Bench::new();
    let id = bench.begin().await;
    let (sender, frames) = mpsc::unbounded_channel();
    let permit = create(R);
    let mut given_up = Box::pin(bench.registry.append(&permit, &id, None, None, received(frames)));
    assert!((&mut given_up).now_or_never().is_none());
    drop(given_up);
    assert!(matches!(
        bench.append(&id, None, body(&[b"x"])).await,
        Err(Error::UploadBusy)
    ));
    sender.send(Ok(Bytes::from_static(b"kept"))).unwrap();
    sender.send(Err(BodyError::Interrupted)).unwrap();
    while matches!(bench.append(&id, None, body(&[])).await, Err(Error::UploadBusy)) {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.offset(&id).await, 4);
}

#[tokio::test]
async fn bytes_of_an_interrupted_body_are_kept_and_the_upload_resumes() {
    let bench = Bench::new();
    let id = bench.begin().await;
    assert!(matches!(
        bench.append(&id, None, broken(b"abc")).await,
        Err(Error::Interrupted)
    ));
    assert_eq!(bench.offset(&id).await, 3);
    assert!(matches!(
        bench.finish(&id, None, &sha256(b"abcdef"), broken(b"d")).await,
        Err(Error::Interrupted)
    ));
    assert_eq!(bench.offset(&id).await, 4);
    let digest = bench
        .finish(&id, chunk(4, 5), &sha256(b"abcdef"), body(&[b"ef"]))
        .await
        .unwrap();
    assert_eq!(content(&bench.registry, R, &digest).await.unwrap(), "abcdef");
}

#[tokio::test]
async fn an_upload_resumes_after_a_restart() {
    let bench = Bench::new();
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let Upload { id, .. } = bench
            .registry
            .start_upload(&create(R), Some(algorithm))
            .await
            .unwrap();
        bench.append(&id, chunk(0, 2), body(&[b"abc"])).await.unwrap();
        let restarted = bench.restarted();
        assert_eq!(restarted.upload_status(&create(R), &id).await.unwrap().offset, 3);
        restarted
            .append(&create(R), &id, chunk(3, 4), None, body(&[b"de"]))
            .await
            .unwrap();
        let expected = digest_of(algorithm, b"abcdef");
        assert_eq!(
            bench
                .restarted()
                .finish(&pusher(R), &id, None, &expected, body(&[b"f"]))
                .await
                .unwrap(),
            expected
        );
        assert_eq!(content(&bench.registry, R, &expected).await.unwrap(), "abcdef");
    }
}

#[tokio::test]
async fn an_upload_that_lost_its_bytes_ends_and_its_client_starts_again() {
    for closing in [false, true] {
        let bench = Bench::new();
        let id = bench.begin().await;
        bench.append(&id, None, body(&[b"abc"])).await.unwrap();
        bench.store.remove(id.as_str(), &Resume::default()).await.unwrap();
        let digest = digest_of(Algorithm::Sha256, b"abcdef");
        let outcome = match closing {
            false => bench.append(&id, None, body(&[b"def"])).await.map(drop),
            true => bench.finish(&id, None, &digest, body(&[b"def"])).await.map(drop),
        };
        assert!(matches!(outcome, Err(Error::UploadUnknown)), "{outcome:?}");
        assert_eq!(bench.keys("").await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn bytes_that_were_not_recorded_are_not_part_of_the_blob() {
    let bench = Bench::new();
    let id = bench.begin().await;
    bench.append(&id, None, body(&[b"abc"])).await.unwrap();
    let refused = bench.append(&id, chunk(3, 9), body(&[b"short"])).await;
    assert!(matches!(refused, Err(Error::SizeMismatch)));
    let digest = bench.finish(&id, None, &sha256(b"abc"), body(&[])).await.unwrap();
    assert_eq!(content(&bench.registry, R, &digest).await.unwrap(), "abc");
}

#[tokio::test]
async fn a_local_folder_keeps_uploads_and_blobs_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let store = Arc::new(crate::storage::local::Local::open(folder.path()).unwrap());
        Registry::new(store.clone(), store).with(any_sizes())
    };
    let whole = vec![7; 2_500_000];
    let registry = open();
    let empty = push_blob(&registry, R, b"").await;
    let Upload { id, .. } = registry.start_upload(&create(R), None).await.unwrap();
    registry
        .append(&create(R), &id, None, None, broken(&whole[..1_500_000]))
        .await
        .unwrap_err();
    drop(registry);
    let registry = open();
    assert_eq!(
        registry.upload_status(&create(R), &id).await.unwrap().offset,
        1_500_000
    );
    let refused = registry
        .append(
            &create(R),
            &id,
            chunk(1_500_000, 1_500_001),
            None,
            body(&[b"xyz"]),
        )
        .await;
    assert!(matches!(refused, Err(Error::SizeMismatch)));
    let expected = digest_of(Algorithm::Sha512, &whole);
    registry
        .append(&create(R), &id, None, None, body(&[&whole[1_500_000..]]))
        .await
        .unwrap();
    registry
        .finish(&pusher(R), &id, None, &expected, body(&[]))
        .await
        .unwrap();
    drop(registry);
    let registry = open();
    assert!(content(&registry, R, &expected).await.unwrap() == whole);
    assert_eq!(content(&registry, R, &empty).await.unwrap(), "");
}
