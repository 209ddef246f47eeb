//! Copies of a folder into a bucket, which is an S3 in the process.

use super::*;
use crate::access::Maintenance;
use crate::secret::Secret;
use crate::storage::bucket::{Bucket, Credentials, Parts, Provider, Requests, Tls};
use crate::storage::local::Local;
use crate::storage::{self, Progress, Resume, STORE_ID, UNFINISHED, bucket};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;
use wharfinger_testkit::s3::{Chaos, Fake, Fault, Gate, On, Operation, Place, Refusal, When};

const ID: &str = "00112233445566778899aabbccddeeff";
/// More than one part.
const LARGE: usize = 18 << 20;

/// A folder's store, and an empty bucket.
struct Move {
    folder: TempDir,
    from: Registry,
    fake: Fake,
    /// How long the bucket may be silent.
    patience: Duration,
}

impl Move {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let local = Arc::new(Local::open(folder.path()).unwrap());
        Self {
            from: Registry::new(local.clone(), local).with(any_sizes()),
            folder,
            fake: Fake::start().await,
            patience: Requests::default().answer,
        }
    }

    /// With an image, a referrer of it, an index, a large blob, a pull, a hidden record and an upload.
    async fn with_content() -> Self {
        let this = Self::new().await;
        let from = &this.from;
        for number in 0..20 {
            push_image(from, "team/app", &format!("config {number}"), &json!({})).await;
        }
        let image = push_image(from, "team/app", "config", &json!({})).await;
        let name = "v1".parse().unwrap();
        from.put_tag(&write("team/app"), &name, &image).await.unwrap();
        let subject = json!({"subject": descriptor(IMAGE, &image)});
        push_image(from, "team/app", "signature", &subject).await;
        let listed = index(&[&image]);
        let reference = Reference::Digest(sha256(&listed));
        from.put_manifest(&write("team/app"), &reference, Some(INDEX), listed)
            .await
            .unwrap();
        push_blob(from, "team/app", &vec![7; LARGE]).await;
        push_blob(from, "team/app", b"").await;
        from.begin_recording_pulls().await.unwrap();
        from.note_pull(&read("team/app"), &image);
        let owner = Maintenance::by_the_stores_owner();
        from.write_pulls(&owner, || std::future::ready(())).await.unwrap();
        let upload = from.start_upload(&create("team/app"), None).await.unwrap();
        from.append(&create("team/app"), &upload.id, None, None, body(&[b"half"]))
            .await
            .unwrap();
        let announced = keys::manifest(&"team/app".parse().unwrap(), &sha256(b"announced"));
        let hidden = storage::Value {
            bytes: Bytes::from_static(b"{\"format\":2,\"nonce\":\"1\"}\nhidden"),
            hidden: true,
            frees: false,
        };
        let raw = from.records.raw();
        raw.create(&format!("{announced}0"), hidden).await.unwrap();
        this
    }

    async fn to(&self) -> Registry {
        let store = Arc::new(bucket(self.fake.place(), self.patience).await);
        Registry::new(store.clone(), store).with(any_sizes())
    }

    async fn copy(&self) -> (Result<CopiedStore, NotCopied>, Vec<String>) {
        self.copy_into(&self.to().await, ID).await
    }

    /// Also returns what was reported as damaged.
    async fn copy_into(&self, to: &Registry, id: &str) -> (Result<CopiedStore, NotCopied>, Vec<String>) {
        let (damages, mut found) = mpsc::channel(100);
        let options = Copy {
            id: id.to_owned(),
            progress: Arc::new(Progress::default()),
            damages,
        };
        let owner = Maintenance::by_the_stores_owner();
        let done = self.from.copy_to(&owner, to, options).await;
        let mut lines = Vec::new();
        while let Ok(line) = found.try_recv() {
            lines.push(line);
        }
        (done, lines)
    }

    /// The file with the blob's bytes.
    async fn file(&self, digest: &Digest) -> PathBuf {
        let found = self
            .from
            .records
            .read(&keys::blob(digest))
            .await
            .unwrap()
            .unwrap();
        let name = found.record.generation;
        self.folder.path().join("d").join(&name[..2]).join(name)
    }

    /// The target has every record of the source with its exact bytes, and all bytes of blobs.
    async fn must_be_complete(&self) {
        let to = self.to().await;
        let mut expected = all_records(&self.from).await;
        expected.retain(|(key, _), _| !key.starts_with("u/") && key != "h/pulls");
        let mut found = all_records(&to).await;
        assert_eq!(
            found.remove(&(STORE_ID.to_owned(), false)),
            Some(Bytes::from_static(ID.as_bytes()))
        );
        let began = found.remove(&("h/pulls".to_owned(), false));
        assert_eq!(
            began.is_some(),
            self.from.records.raw().get("h/pulls").await.unwrap().is_some()
        );
        assert!(
            found.keys().eq(expected.keys()),
            "{:?}\n{:?}",
            found.keys(),
            expected.keys()
        );
        assert!(found == expected, "a record differs");
        for (key, _) in found.keys().filter(|(key, _)| key.starts_with("b/")) {
            let Some(keys::Entry::Blob(digest)) = keys::Entry::parse(key) else {
                panic!("{key}")
            };
            let bytes = content(&to, "team/app", &digest).await.unwrap();
            assert_eq!(sha256(&bytes), digest);
        }
    }

    /// How often the bytes of a blob were published.
    fn published(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for seen in self.fake.requests() {
            let publishes = matches!(seen.operation, Operation::Put | Operation::CompleteUpload);
            if publishes && seen.key.starts_with("registry/d/") && seen.effect == Some(200) {
                *counts.entry(seen.key).or_default() += 1;
            }
        }
        counts
    }
}

async fn all_records(registry: &Registry) -> BTreeMap<(String, bool), Bytes> {
    let mut found = BTreeMap::new();
    for show in [Show::Visible, Show::Hidden] {
        let mut keys = registry
            .records
            .keys(keys::Prefix::<()>::new(String::new()), show);
        while let Some(key) = keys.next().await.unwrap() {
            let record = registry.records.raw().get(key.as_str()).await.unwrap().unwrap();
            found.insert((key.to_string(), show == Show::Hidden), record.value);
        }
    }
    found
}

async fn bucket(place: &Place, patience: Duration) -> Bucket {
    let settings = bucket::Settings {
        provider: Provider::S3,
        bucket: place.bucket.clone(),
        root: "registry".to_owned(),
        region: Some(place.region.clone()),
        endpoint: Some(place.endpoint.clone()),
        path_style: true,
        tls: Tls {
            plain: true,
            ..Tls::default()
        },
        parts: Parts::default(),
        credentials: Credentials::Given {
            access_key: place.access_key.clone(),
            secret_key: Secret::new(place.secret_key.clone()),
            session_token: None,
        },
    };
    let requests = Requests {
        answer: patience,
        ..Requests::default()
    };
    Bucket::open_with(settings, &requests).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_has_every_record_and_byte_but_no_uploads() {
    let moved = Move::with_content().await;
    let (done, damages) = moved.copy().await;
    let done = done.unwrap();
    assert!(damages.is_empty(), "{damages:?}");
    assert_eq!(
        (done.kept, done.kept_records, done.removed, done.damages),
        (0, 0, 0, 0)
    );
    assert_eq!((done.blobs, done.copied_bytes), (24, done.bytes));
    moved.must_be_complete().await;
    let to = moved.to().await;
    let began = to.records.read(&keys::pulls_began()).await.unwrap().unwrap();
    let before = moved
        .from
        .records
        .read(&keys::pulls_began())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        began.record.since,
        Some(before.written.as_millis()),
        "a bucket cannot keep the time"
    );
    assert!(
        moved
            .fake
            .objects()
            .keys()
            .all(|key| key.starts_with("registry/"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_copy_continues_and_copies_nothing_twice() {
    let moved = Move::with_content().await;
    // More and more requests of the first runs succeed. Then none has an answer any more.
    for skipped in [1, 3, 30, 70] {
        let to = moved.to().await;
        moved.fake.inject(
            On::any().under("registry/").skip(skipped).always(),
            Fault::Refuse(When::Before, Refusal::ACCESS_DENIED),
        );
        let (interrupted, _) = moved.copy_into(&to, ID).await;
        assert!(interrupted.is_err(), "{skipped}: {interrupted:?}");
        moved.fake.heal();
        let again = moved.to().await.records.raw().get(UNFINISHED).await.unwrap();
        assert!(again.is_some() || skipped < 10, "{skipped}");
    }
    let before = moved.published();
    let (done, _) = moved.copy().await;
    let done = done.unwrap();
    assert!(done.kept > 0 && done.kept_records > 0, "{done:?}");
    moved.must_be_complete().await;
    let after = moved.published();
    assert_eq!(after.len(), 24);
    for (key, count) in &after {
        let requests = moved.fake.requests();
        let requests: Vec<_> = requests.iter().filter(|seen| seen.key == *key).collect();
        assert_eq!(*count, 1, "{before:?}\n{requests:#?}");
    }
    assert!(
        moved.fake.uploads().is_empty(),
        "no part of an interrupted run stays"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_in_the_source_between_two_runs_is_brought_up_to_date() {
    let moved = Move::with_content().await;
    // The removal of the mark is the last change of a record.
    let mark = "registry/records/i._copy";
    moved.fake.inject(
        On::operation(Operation::Put).key(mark).skip(1).always(),
        Fault::Refuse(When::Before, Refusal::ACCESS_DENIED),
    );
    assert!(moved.copy().await.0.is_err());
    moved.fake.heal();
    let from = &moved.from;
    let old = from.manifest(&read("team/app"), &tag("v1")).await.unwrap().digest;
    let new = push_image(from, "team/app", "new", &json!({})).await;
    let name = "v1".parse().unwrap();
    from.put_tag(&write("team/app"), &name, &new).await.unwrap();
    let name = "v2".parse().unwrap();
    from.put_tag(&write("team/app"), &name, &old).await.unwrap();
    let gone = push_image(from, "team/app", "config 3", &json!({})).await;
    from.delete_manifest(&delete("team/app"), &Reference::Digest(gone))
        .await
        .unwrap();
    let (done, _) = moved.copy().await;
    let done = done.unwrap();
    assert!(done.removed > 0, "{done:?}");
    assert_eq!(done.kept, 24);
    moved.must_be_complete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_blob_is_named_and_marked_and_its_next_push_replaces_it() {
    let moved = Move::with_content().await;
    let wrong = push_blob(&moved.from, "team/web", b"the right bytes").await;
    let large = push_blob(&moved.from, "team/web", &vec![9; LARGE]).await;
    let gone = push_blob(&moved.from, "team/web", b"bytes").await;
    let short = push_blob(&moved.from, "team/web", b"more bytes").await;
    std::fs::write(moved.file(&wrong).await, b"the wrong bytes").unwrap();
    std::fs::write(moved.file(&large).await, vec![8; LARGE]).unwrap();
    std::fs::remove_file(moved.file(&gone).await).unwrap();
    std::fs::write(moved.file(&short).await, b"more").unwrap();
    let (done, damages) = moved.copy().await;
    assert_eq!(done.unwrap().damages, 4);
    assert_eq!(damages.len(), 4);
    for (digest, what) in [
        (&wrong, "have the digest sha256:"),
        (&large, "have the digest sha256:"),
        (&gone, "are missing"),
        (&short, "are 4 long, not 10"),
    ] {
        let start = format!("the blob {digest} in team/web: its bytes, ");
        let named = |line: &&String| line.starts_with(&start) && line.contains(what);
        assert!(damages.iter().any(|line| named(&line)), "{damages:?}");
    }
    let to = moved.to().await;
    for (digest, bytes) in [
        (&wrong, b"the right bytes".to_vec()),
        (&large, vec![9; LARGE]),
        (&gone, b"bytes".to_vec()),
        (&short, b"more bytes".to_vec()),
    ] {
        let blob = to.records.read(&keys::blob(digest)).await.unwrap().unwrap();
        assert!(blob.record.suspect);
        assert!(content(&to, "team/web", digest).await.is_err());
        assert_eq!(push_blob(&to, "team/web", &bytes).await, *digest);
        assert_eq!(content(&to, "team/web", digest).await.unwrap(), bytes);
    }
    assert!(moved.fake.uploads().is_empty(), "no part of a damaged blob stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_through_passing_faults() {
    for seed in 0..2 {
        let mut moved = Move::with_content().await;
        moved.patience = Duration::from_secs(2);
        moved.fake.inject_at_random(Chaos {
            seed,
            per_mille: 60,
            faults: vec![
                Fault::Refuse(When::Before, Refusal::INTERNAL),
                Fault::Refuse(When::After, Refusal::INTERNAL),
                Fault::Refuse(When::Before, Refusal::SLOW_DOWN),
                Fault::Close(When::Before),
                Fault::Close(When::After),
                Fault::Torn,
                Fault::Late(3),
            ],
        });
        // A request that has no answer takes its time.
        moved.fake.inject(
            On::operation(Operation::Put).under("registry/d/").skip(5),
            Fault::Silence(When::After),
        );
        moved.fake.inject(
            On::operation(Operation::Put).under("registry/records/l").skip(5),
            Fault::Silence(When::Before),
        );
        let (done, damages) = moved.copy().await;
        assert_eq!((done.unwrap().damages, damages.len()), (0, 0), "{seed}");
        moved.fake.apply_late();
        moved.fake.heal();
        let target = moved.to().await;
        assert_eq!(target.records.raw().get(UNFINISHED).await.unwrap(), None);
        moved.must_be_complete().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_not_empty_is_refused_and_not_changed() {
    let moved = Move::with_content().await;
    let to = moved.to().await;
    let raw = to.records.raw();
    let other = || Bytes::from_static(b"another").into();
    let unchanged = async |expected: fn(&NotCopied) -> bool| {
        let before = moved.fake.objects().len();
        let refused = moved.copy().await.0.unwrap_err();
        assert!(expected(&refused), "{refused}");
        assert_eq!(moved.fake.objects().len(), before, "{refused}");
    };
    let version = raw.create(STORE_ID, other()).await.unwrap();
    unchanged(|why| matches!(why, NotCopied::OtherStore { .. })).await;
    raw.delete(STORE_ID, &version).await.unwrap();

    let version = raw.create(UNFINISHED, other()).await.unwrap();
    unchanged(|why| matches!(why, NotCopied::OtherCopy { .. })).await;
    raw.delete(UNFINISHED, &version).await.unwrap();

    let version = raw.create("h/probe", other()).await.unwrap();
    unchanged(|why| matches!(why, NotCopied::NotEmpty { what: "records" })).await;
    raw.delete("h/probe", &version).await.unwrap();

    let name = "0".repeat(32);
    moved.fake.put(&format!("registry/d/00/{name}"), "bytes");
    unchanged(|why| matches!(why, NotCopied::NotEmpty { what: "blobs" })).await;
    to.bytes.remove(&name, &Resume::default()).await.unwrap();

    moved.copy().await.0.unwrap();
    unchanged(|why| matches!(why, NotCopied::Complete)).await;
    assert!(matches!(
        moved.copy_into(&to, "other").await.0,
        Err(NotCopied::OtherStore { .. })
    ));
}

/// Both begin on an empty bucket. The registry reads or writes the store's ID, then looks for the mark.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_copy_and_a_registry_that_begin_at_once_the_copy_gives_way() {
    let moved = Move::with_content().await;
    let gate = Gate::default();
    moved.fake.inject(
        On::operation(Operation::Put).key("registry/records/i._copy"),
        Fault::Hold(When::Before, gate.clone()),
    );
    let registry = moved.to().await;
    let serve = async {
        gate.arrived(1).await;
        let raw = registry.records.raw();
        raw.create(STORE_ID, Bytes::from_static(b"registry").into())
            .await
            .unwrap();
        assert_eq!(raw.get(UNFINISHED).await.unwrap(), None, "it serves");
        gate.open();
    };
    let ((refused, _), ()) = tokio::join!(moved.copy(), serve);
    assert!(matches!(refused, Err(NotCopied::Taken)));
    let raw = registry.records.raw();
    assert_eq!(
        raw.get(UNFINISHED).await.unwrap(),
        None,
        "the registry may start again"
    );
    assert!(all_records(&registry).await.len() == 1);
}
