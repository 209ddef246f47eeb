//! Uploads on a store that several processes share: the rules of `docs/design/protocol.md`, "Upload sessions on a
//! shared store".

use super::super::super::collect::Options;
use super::super::parts::{OfOne, Parts};
use super::*;
use crate::access::Maintenance;
use crate::storage::{BlobStore, RecordStore, Resume};

struct Replica {
    registry: Registry,
    bytes: Arc<OfOne>,
}

/// Two processes on one store.
fn replicas(bench: &Bench) -> [Replica; 2] {
    let parts = Arc::new(Parts::default());
    [(); 2].map(|()| {
        let bytes = OfOne::new(&bench.store, &parts);
        let settings = Settings {
            shared: true,
            ..any_sizes()
        };
        Replica {
            registry: Registry::new(bench.store.clone(), bytes.clone()).with(settings),
            bytes,
        }
    })
}

impl Replica {
    async fn begin(&self) -> UploadId {
        self.registry.start_upload(&create(R), None).await.unwrap().id
    }

    async fn append(&self, id: &UploadId, range: Option<ContentRange>, body: Body) -> Result<u64, Error> {
        let upload = self.registry.append(&create(R), id, range, None, body).await;
        upload.map(|upload| upload.offset)
    }

    async fn finish(&self, id: &UploadId, content: &[u8], rest: Body) -> Result<Digest, Error> {
        let digest = sha256(content);
        self.registry.finish(&pusher(R), id, None, &digest, rest).await
    }
}

/// A body that its test continues, and the end of it.
fn open_body() -> (mpsc::UnboundedSender<Result<Bytes, BodyError>>, Body) {
    let (frames, receiver) = mpsc::unbounded_channel();
    (frames, received(receiver))
}

#[tokio::test]
async fn an_upload_continues_on_another_replica() {
    let bench = Bench::new();
    let [one, two] = replicas(&bench);
    let id = one.begin().await;
    assert_eq!(one.append(&id, chunk(0, 2), body(&[b"abc"])).await.unwrap(), 3);
    assert_eq!(two.append(&id, chunk(3, 4), body(&[b"de"])).await.unwrap(), 5);
    assert_eq!(one.append(&id, None, body(&[b"f"])).await.unwrap(), 6);
    let digest = two.finish(&id, b"abcdefgh", body(&[b"gh"])).await.unwrap();
    assert_eq!(content(&one.registry, R, &digest).await.unwrap(), "abcdefgh");
    assert_eq!(bench.keys("u/").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_request_that_lost_its_claim_ends_with_the_present_offset() {
    let bench = Bench::new();
    let [one, two] = replicas(&bench);
    let id = one.begin().await;
    one.append(&id, chunk(0, 1), body(&[b"ab"])).await.unwrap();
    // The first request hangs in the middle of its body, and its client sends the chunk again.
    let (frames, slow) = open_body();
    frames.send(Ok("cdXX".into())).unwrap();
    let mut stalled = Box::pin(one.append(&id, chunk(2, 5), slow));
    assert!(futures_util::poll!(&mut stalled).is_pending());
    assert_eq!(two.append(&id, chunk(2, 3), body(&[b"cd"])).await.unwrap(), 4);
    drop(frames);
    let lost = stalled.await;
    assert!(
        matches!(lost, Err(Error::UploadTakenOver { offset: 4 })),
        "{lost:?}"
    );
    assert_eq!(two.append(&id, chunk(4, 5), body(&[b"ef"])).await.unwrap(), 6);
    let status = one.registry.upload_status(&create(R), &id).await.unwrap();
    assert_eq!(status.offset, 6);
}

#[tokio::test]
async fn a_part_that_a_lost_request_replaced_is_never_published() {
    let bench = Bench::new();
    let [one, two] = replicas(&bench);
    let id = one.begin().await;
    let (frames, slow) = open_body();
    frames.send(Ok("XX".into())).unwrap();
    let mut stalled = Box::pin(one.append(&id, None, slow));
    assert!(futures_util::poll!(&mut stalled).is_pending());
    two.append(&id, None, body(&[b"ab"])).await.unwrap();
    drop(frames);
    assert!(stalled.await.is_err());
    let closed = two.finish(&id, b"abcd", body(&[b"cd"])).await;
    assert!(matches!(closed, Err(Error::UploadUnknown)), "{closed:?}");
    assert!(content(&one.registry, R, &sha256(b"abcd")).await.is_err());
    // Its client starts again.
    let id = two.begin().await;
    two.finish(&id, b"abcd", body(&[b"abcd"])).await.unwrap();
}

#[tokio::test]
async fn an_upload_is_closed_before_it_is_sealed_and_only_its_closer_publishes_it() {
    let bench = Bench::new();
    let [one, two] = replicas(&bench);
    let id = one.begin().await;
    let seen = bench.store.clone();
    let other = two.registry.clone();
    let key = bench.keys("u/").await[0].clone();
    let again = id.clone();
    one.bytes.before_seal(Box::pin(async move {
        let session = seen.get(&key).await.unwrap().unwrap().value;
        let session = String::from_utf8(session.to_vec()).unwrap();
        assert!(
            session.contains("\"closed\"") && session.contains(sha256(b"abc").as_str()),
            "{session}"
        );
        // The client sends its closing request again, and the other replica gets it.
        let digest = sha256(b"abc");
        let repeated = other.finish(&pusher(R), &again, None, &digest, body(&[])).await;
        assert!(matches!(repeated, Err(Error::UploadUnknown)), "{repeated:?}");
        let appended = other.append(&create(R), &again, None, None, body(&[b"d"])).await;
        assert!(matches!(appended, Err(Error::UploadUnknown)), "{appended:?}");
    }));
    let digest = one.finish(&id, b"abc", body(&[b"abc"])).await.unwrap();
    assert_eq!(content(&two.registry, R, &digest).await.unwrap(), "abc");
}

#[tokio::test]
async fn an_upload_that_ends_while_it_is_closed_is_not_published() {
    let bench = Bench::new();
    let [one, two] = replicas(&bench);
    for stored in [false, true] {
        if stored {
            // Its bytes are lost, so an upload replaces them.
            let digest = push_blob(&two.registry, "other", b"abc").await;
            let (name, _) = two.registry.held(&read("other"), &digest).await.unwrap().unwrap();
            two.bytes.remove(&name, &Resume::default()).await.unwrap();
        }
        let id = one.begin().await;
        let other = two.registry.clone();
        let ended = id.clone();
        one.bytes.before_seal(Box::pin(async move {
            other.cancel(&create(R), &ended).await.unwrap();
        }));
        let closed = one.finish(&id, b"abc", body(&[b"abc"])).await;
        assert!(
            matches!(closed, Err(Error::UploadUnknown)),
            "{stored}: {closed:?}"
        );
        assert!(content(&one.registry, R, &sha256(b"abc")).await.is_err());
        let blob = bench.keys("b/").await;
        let blob = bench.store.get(&blob[0]).await.unwrap().unwrap().value;
        let blob = String::from_utf8(blob.to_vec()).unwrap();
        assert!(
            blob.contains(id.as_str()),
            "a collector does not find the bytes: {blob}"
        );
        // The next upload works.
        let id = two.begin().await;
        let digest = two.finish(&id, b"abc", body(&[b"abc"])).await.unwrap();
        assert_eq!(content(&one.registry, R, &digest).await.unwrap(), "abc");
        one.registry.delete_blob(&delete(R), &digest).await.unwrap();
        collect(&one.registry).await;
        assert_eq!(bench.store.list_bytes("", 10).await.unwrap(), []);
    }
}

/// Without a grace period.
async fn collect(registry: &Registry) {
    let options = Options {
        grace: Duration::ZERO,
        ..Options::default()
    };
    let owner = Maintenance::by_the_stores_owner();
    registry.collect(&owner, &options, &mut ()).await.unwrap();
}

#[tokio::test]
async fn an_upload_whose_closing_crashed_is_removed_when_it_expires() {
    let bench = Bench::new();
    let [one, two] = replicas(&bench);
    let id = one.begin().await;
    one.append(&id, None, body(&[b"ab"])).await.unwrap();
    {
        one.bytes.before_seal(Box::pin(std::future::pending()));
        let mut closing = Box::pin(one.finish(&id, b"abc", body(&[b"c"])));
        while bench.keys("u/").await.len() == 1 && futures_util::poll!(&mut closing).is_pending() {
            let session = bench
                .store
                .get(&bench.keys("u/").await[0])
                .await
                .unwrap()
                .unwrap();
            if String::from_utf8_lossy(&session.value).contains("\"closed\"") {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(two.registry.expire_uploads().await.unwrap(), 0);
    bench.hand.advance(Duration::from_secs(25 * 60 * 60));
    assert_eq!(two.registry.expire_uploads().await.unwrap(), 1);
    assert_eq!(bench.keys("u/").await, Vec::<String>::new());
    collect(&two.registry).await;
    assert_eq!(bench.keys("b/").await, Vec::<String>::new());
    assert_eq!(bench.store.list_bytes("", 10).await.unwrap(), []);
}

/// A claim begins the lifetime anew, so a request that has just begun is not expired under its hands.
#[tokio::test]
async fn an_upload_that_another_replica_has_just_claimed_does_not_expire() {
    let bench = Bench::new();
    let [one, two] = replicas(&bench);
    let id = one.begin().await;
    bench.hand.advance(Duration::from_secs(23 * 60 * 60));
    let (frames, slow) = open_body();
    frames.send(Ok("ab".into())).unwrap();
    let mut stalled = Box::pin(one.append(&id, None, slow));
    assert!(futures_util::poll!(&mut stalled).is_pending());
    bench.hand.advance(Duration::from_secs(2 * 60 * 60));
    assert_eq!(two.registry.expire_uploads().await.unwrap(), 0);
    drop(frames);
    assert_eq!(stalled.await.unwrap(), 2);
}
