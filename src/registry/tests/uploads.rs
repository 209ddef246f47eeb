//! Pushing blobs.

mod interrupted;
mod shared;

use super::*;
use crate::oci::ContentRange;
use futures_util::FutureExt;
use std::time::Duration;
use tokio::sync::mpsc;

const R: &str = "team/app";

impl Bench {
    /// Starts an upload.
    async fn begin(&self) -> UploadId {
        self.registry.start_upload(&create(R), None).await.unwrap().id
    }

    async fn append(&self, id: &UploadId, range: Option<ContentRange>, body: Body) -> Result<Upload, Error> {
        self.registry.append(&create(R), id, range, None, body).await
    }

    async fn finish(
        &self,
        id: &UploadId,
        range: Option<ContentRange>,
        digest: &Digest,
        body: Body,
    ) -> Result<Digest, Error> {
        self.registry.finish(&pusher(R), id, range, digest, body).await
    }

    /// How many bytes of an upload have been received.
    async fn offset(&self, id: &UploadId) -> u64 {
        let status = self.registry.upload_status(&create(R), id).await;
        status.unwrap().offset
    }
}

fn chunk(start: u64, end: u64) -> Option<ContentRange> {
    Some(ContentRange { start, end })
}

/// A body of the frames that are sent while it is read.
fn received(frames: mpsc::UnboundedReceiver<Result<Bytes, BodyError>>) -> Body {
    Body::unbounded(
        futures_util::stream::unfold(frames, |mut frames| async {
            Some((frames.recv().await?, frames))
        })
        .boxed(),
    )
}

#[tokio::test]
async fn oci_15_a_blob_is_pushed_at_once() {
    let bench = Bench::new();
    let digest = push_blob(&bench.registry, R, b"hello").await;
    assert_eq!(content(&bench.registry, R, &digest).await.unwrap(), "hello");
    assert!(matches!(
        content(&bench.registry, "other", &digest).await,
        Err(Error::BlobUnknown)
    ));
    assert_eq!(bench.keys("u/").await, Vec::<String>::new());
    let empty = push_blob(&bench.registry, R, b"").await;
    assert_eq!(content(&bench.registry, R, &empty).await.unwrap(), "");
}

#[tokio::test]
async fn oci_18_a_stream_of_any_length_is_appended() {
    let bench = Bench::new();
    let whole: Vec<u8> = (0..3_500_000_u32)
        .map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1])
        .collect();
    let frames: Vec<&[u8]> = whole.chunks(300_001).collect();
    let upload = bench.registry.start_upload(&create(R), None).await.unwrap();
    let upload = bench
        .registry
        .append(&create(R), &upload.id, None, None, body(&frames[..7]))
        .await
        .unwrap();
    assert_eq!(upload.offset, 7 * 300_001);
    bench
        .registry
        .append(&create(R), &upload.id, None, None, body(&frames[7..]))
        .await
        .unwrap();
    let digest = bench
        .registry
        .finish(&pusher(R), &upload.id, None, &sha256(&whole), body(&[]))
        .await
        .unwrap();
    assert!(content(&bench.registry, R, &digest).await.unwrap() == whole);
}

#[tokio::test]
async fn oci_18_a_chunk_begins_at_the_offset_of_the_upload() {
    let bench = Bench::new();
    let id = bench.begin().await;
    let append = |range, length, bytes: &'static [u8]| {
        let registry = bench.registry.clone();
        let id = id.clone();
        async move {
            registry
                .append(&create(R), &id, range, length, body(&[bytes]))
                .await
        }
    };
    assert!(matches!(
        append(chunk(1, 3), None, b"abc").await,
        Err(Error::RangeMismatch { offset: 0 })
    ));
    assert_eq!(append(chunk(0, 2), Some(3), b"abc").await.unwrap().offset, 3);
    assert!(matches!(
        append(chunk(0, 2), Some(3), b"abc").await,
        Err(Error::RangeMismatch { offset: 3 })
    ));
    assert!(matches!(
        append(chunk(4, 5), None, b"ef").await,
        Err(Error::RangeMismatch { offset: 3 })
    ));
    assert_eq!(append(chunk(3, 4), None, b"de").await.unwrap().offset, 5);
    assert_eq!(bench.offset(&id).await, 5);
}

#[tokio::test]
async fn oci_18_a_chunk_has_the_length_it_announces() {
    let bench = Bench::new();
    let id = bench.begin().await;
    for (range, length, bytes) in [
        (chunk(0, 2), Some(4), b"abcd".as_slice()),
        (chunk(0, 2), None, b"abcd"),
        (chunk(0, 2), None, b"ab"),
        (None, Some(3), b"ab"),
    ] {
        let refused = bench
            .registry
            .append(&create(R), &id, range, length, body(&[bytes]))
            .await;
        assert!(
            matches!(refused, Err(Error::SizeMismatch)),
            "{range:?} {length:?}"
        );
    }
    assert_eq!(bench.offset(&id).await, 0);
    // Bytes of rejected chunks are not part of the blob.
    bench.append(&id, None, body(&[b"xyz"])).await.unwrap();
    let digest = bench.finish(&id, None, &sha256(b"xyz"), body(&[])).await.unwrap();
    assert_eq!(content(&bench.registry, R, &digest).await.unwrap(), "xyz");
}

#[tokio::test]
async fn oci_19_the_closing_chunk_begins_at_the_offset_of_the_upload() {
    let bench = Bench::new();
    let id = bench.begin().await;
    bench.append(&id, chunk(0, 2), body(&[b"abc"])).await.unwrap();
    let finish = |range, bytes: &'static [u8]| {
        let registry = bench.registry.clone();
        let id = id.clone();
        async move {
            registry
                .finish(&pusher(R), &id, range, &sha256(b"abcdef"), body(&[bytes]))
                .await
        }
    };
    assert!(matches!(
        finish(chunk(0, 2), b"def").await,
        Err(Error::RangeMismatch { offset: 3 })
    ));
    assert!(matches!(
        finish(chunk(3, 6), b"def").await,
        Err(Error::SizeMismatch)
    ));
    assert_eq!(finish(chunk(3, 5), b"def").await.unwrap(), sha256(b"abcdef"));
}

#[tokio::test]
async fn oci_16_sha512_announced_at_the_start_or_at_the_closing_put_only() {
    let bench = Bench::new();
    let expected = digest_of(Algorithm::Sha512, b"abcdef");
    for announced in [Some(Algorithm::Sha512), Some(Algorithm::Sha256), None] {
        let Upload { id, .. } = bench.registry.start_upload(&create(R), announced).await.unwrap();
        bench.append(&id, None, body(&[b"abc"])).await.unwrap();
        let digest = bench.finish(&id, None, &expected, body(&[b"def"])).await.unwrap();
        assert_eq!(digest, expected);
        assert_eq!(content(&bench.registry, R, &digest).await.unwrap(), "abcdef");
    }
}

#[tokio::test]
async fn oci_21_a_wrong_digest_cancels_the_upload() {
    let bench = Bench::new();
    let id = bench.begin().await;
    bench.append(&id, None, body(&[b"abc"])).await.unwrap();
    match bench.finish(&id, None, &sha256(b"abd"), body(&[])).await {
        Err(Error::DigestMismatch { expected, found }) => {
            assert_eq!((expected, found), (sha256(b"abd"), sha256(b"abc")))
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        bench.registry.upload_status(&create(R), &id).await,
        Err(Error::UploadUnknown)
    ));
    assert!(!bench.has_bytes(&id).await);
    assert_eq!(bench.keys("").await, Vec::<String>::new());
}

#[tokio::test]
async fn oci_22_a_cancelled_upload_is_gone_with_its_bytes() {
    let bench = Bench::new();
    let id = bench.begin().await;
    bench.append(&id, None, body(&[b"abc"])).await.unwrap();
    assert!(bench.has_bytes(&id).await);
    bench.registry.cancel(&create(R), &id).await.unwrap();
    assert!(!bench.has_bytes(&id).await);
    assert!(matches!(
        bench.registry.cancel(&create(R), &id).await,
        Err(Error::UploadUnknown)
    ));
    assert_eq!(bench.keys("").await, Vec::<String>::new());
}

#[tokio::test]
async fn an_upload_belongs_to_its_principal_and_its_repository() {
    let bench = Bench::new();
    let id = bench.begin().await;
    let bob = Principal::Oidc {
        issuer: "https://issuer.example".into(),
        entry: None,
        subject: "spiffe://example.org/alice".into(),
    };
    let strangers = [
        Permit::<Create>::for_test(R, bob),
        Permit::<Create>::for_test(R, Principal::Anonymous),
        Permit::<Create>::for_test("team/other", alice()),
    ];
    for stranger in strangers {
        let registry = &bench.registry;
        assert!(matches!(
            registry.upload_status(&stranger, &id).await,
            Err(Error::UploadUnknown)
        ));
        assert!(matches!(
            registry.append(&stranger, &id, None, None, body(&[b"x"])).await,
            Err(Error::UploadUnknown)
        ));
        assert!(matches!(
            registry
                .finish(&blind(stranger.clone()), &id, None, &sha256(b""), body(&[]))
                .await,
            Err(Error::UploadUnknown)
        ));
        assert!(matches!(
            registry.cancel(&stranger, &id).await,
            Err(Error::UploadUnknown)
        ));
    }
    assert_eq!(bench.offset(&id).await, 0);
    // For anonymous callers, the name of the upload is enough.
    let anonymous = Permit::<Create>::for_test(R, Principal::Anonymous);
    let Upload { id, .. } = bench.registry.start_upload(&anonymous, None).await.unwrap();
    bench
        .registry
        .append(&anonymous, &id, None, None, body(&[b"x"]))
        .await
        .unwrap();
}

#[tokio::test]
async fn one_request_at_a_time_writes_to_an_upload() {
    let bench = Bench::new();
    let id = bench.begin().await;
    let (sender, frames) = mpsc::unbounded_channel();
    let first = tokio::spawn({
        let registry = bench.registry.clone();
        let id = id.clone();
        async move {
            registry
                .append(&create(R), &id, None, None, received(frames))
                .await
        }
    });
    // The first request holds the lock once it has been polled.
    tokio::task::yield_now().await;
    let second = bench.append(&id, None, body(&[b"second"])).await;
    assert!(matches!(second, Err(Error::UploadBusy)), "{second:?}");
    assert!(matches!(
        bench.finish(&id, None, &sha256(b""), body(&[])).await,
        Err(Error::UploadBusy)
    ));
    assert!(matches!(
        bench.registry.cancel(&create(R), &id).await,
        Err(Error::UploadBusy)
    ));
    sender.send(Ok(Bytes::from_static(b"first"))).unwrap();
    drop(sender);
    assert_eq!(first.await.unwrap().unwrap().offset, 5);
    let digest = bench
        .finish(&id, None, &sha256(b"first"), body(&[]))
        .await
        .unwrap();
    assert_eq!(content(&bench.registry, R, &digest).await.unwrap(), "first");
}

#[tokio::test]
async fn uploads_expire_a_day_after_their_last_chunk() {
    let bench = Bench::new();
    let hour = Duration::from_secs(3600);
    let id = bench.begin().await;
    bench.hand.advance(hour * 23);
    bench.append(&id, None, body(&[b"abc"])).await.unwrap();
    bench.hand.advance(hour * 23);
    assert_eq!(bench.registry.expire_uploads().await.unwrap(), 0);
    bench.hand.advance(hour);
    assert!(matches!(
        bench.registry.upload_status(&create(R), &id).await,
        Err(Error::UploadUnknown)
    ));
    assert_eq!(bench.registry.expire_uploads().await.unwrap(), 1);
    assert!(!bench.has_bytes(&id).await);
    assert_eq!(bench.keys("").await, Vec::<String>::new());
}

#[tokio::test]
async fn repositories_whose_last_uploads_expire_leave_the_catalogue_and_the_others_stay() {
    let bench = Bench::new();
    for repository in ["a", "a", "b", "mixed"] {
        bench
            .registry
            .start_upload(&create(repository), None)
            .await
            .unwrap();
    }
    bench.hand.advance(Duration::from_secs(12 * 3600));
    bench.registry.start_upload(&create("mixed"), None).await.unwrap();
    bench.hand.advance(Duration::from_secs(12 * 3600));
    assert_eq!(bench.registry.expire_uploads().await.unwrap(), 4);
    assert_eq!(bench.keys("c/").await, ["c/mixed!"]);
}
