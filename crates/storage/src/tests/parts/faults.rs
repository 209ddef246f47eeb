//! What happens to an upload and a pull when the store fails.

use super::requests::{another, fake};
use super::*;
use wharfinger_testkit::s3::{Fake, Fault, On, Operation, Refusal, When};

/// The answer to a completion begins before it is done.
const LATE_FAILURE: Refusal = Refusal {
    status: 200,
    code: "InternalError",
    retry_after: None,
};

/// Uploads a blob of three parts while this fault happens.
async fn large(on: On, fault: Fault) -> (Fake, Arc<Bucket>, Result<(), Failure>) {
    let (fake, store) = fake().await;
    fake.inject(on, fault);
    let whole = content(20 * MIB);
    let mut at = 0;
    while at < whole.len() {
        let end = whole.len().min(at + 3 * MIB);
        if let Err(why) = write(&*store, NAME, at as u64, vec![whole.slice(at..end)]).await {
            return (fake, store, Err(why));
        }
        at = end;
    }
    let sealed = store.seal(NAME, whole.len() as u64, &NEW).await;
    if sealed.is_ok() {
        assert!(read(&store, NAME).await == whole);
    }
    (fake, store, sealed)
}

#[tokio::test]
async fn a_passing_failure_of_any_request_of_an_upload_is_not_noticed() {
    let operations = [
        Operation::CreateUpload,
        Operation::UploadPart,
        Operation::CompleteUpload,
    ];
    for operation in operations {
        for fault in [
            Fault::Close(When::Before),
            Fault::Close(When::After),
            Fault::Refuse(When::Before, Refusal::SLOW_DOWN),
            Fault::Refuse(When::After, Refusal::INTERNAL),
        ] {
            let (_, _, sealed) = large(On::operation(operation), fault.clone()).await;
            sealed.unwrap_or_else(|why| panic!("{operation:?} {fault:?}: {why}"));
        }
    }
    for when in [When::Before, When::After] {
        let fault = Fault::Refuse(when, LATE_FAILURE);
        let (_, _, sealed) = large(On::operation(Operation::CompleteUpload), fault).await;
        sealed.unwrap();
    }
}

#[tokio::test]
async fn a_part_that_is_refused_fails_the_upload_and_another_begins_anew() {
    let denied = Fault::Refuse(When::Before, Refusal::ACCESS_DENIED);
    let (fake, store, sealed) = large(On::operation(Operation::UploadPart).skip(1), denied).await;
    assert!(matches!(sealed, Err(Failure::Io(_))), "{sealed:?}");
    assert!(is_missing(store.open(NAME).await));
    store.remove(NAME, &NEW).await.unwrap();
    assert!(fake.uploads().is_empty());
    write(&*store, NAME, 0, vec![text("anew")]).await.unwrap();
    store.seal(NAME, 4, &NEW).await.unwrap();
    assert_eq!(all(&*store, NAME).await, b"anew");
}

#[tokio::test]
async fn a_small_blob_is_made_once_whatever_the_answer() {
    for fault in [
        Fault::Close(When::Before),
        Fault::Close(When::After),
        Fault::Refuse(When::After, Refusal::INTERNAL),
        Fault::Refuse(When::Before, Refusal::CONFLICT),
        Fault::Refuse(When::After, Refusal::PRECONDITION),
        Fault::Refuse(When::Before, Refusal::SLOW_DOWN),
    ] {
        let (fake, store) = fake().await;
        fake.inject(On::operation(Operation::Put), fault.clone());
        write(&*store, NAME, 0, vec![text("Hello, "), text("world")])
            .await
            .unwrap();
        let sealed = store.seal(NAME, 12, &NEW).await;
        sealed.unwrap_or_else(|why| panic!("{fault:?}: {why}"));
        assert_eq!(all(&*store, NAME).await, b"Hello, world");
    }
}

/// A request that lost its claim may still be at work, in this process or another.
#[tokio::test]
async fn of_two_writers_of_a_small_blob_the_first_wins() {
    let (fake, one) = fake().await;
    let two = another(&fake).await;
    write(&*one, NAME, 0, vec![text("one")]).await.unwrap();
    write(&*two, NAME, 0, vec![text("two")]).await.unwrap();
    two.seal(NAME, 3, &NEW).await.unwrap();
    assert!(is_missing(one.seal(NAME, 3, &NEW).await));
    assert_eq!(all(&*one, NAME).await, b"two");
}

#[tokio::test]
async fn a_writer_whose_part_was_replaced_publishes_nothing() {
    let (fake, one) = fake().await;
    let whole = content(20 * MIB);
    write_all(&one, &NEW, &whole, 0, 8 * MIB).await;
    let base = one.keep(NAME, 8 << 20, &NEW).await.unwrap();
    write_all(&one, &base, &whole, 8 * MIB, 16 * MIB).await;
    let kept = one.keep(NAME, 16 << 20, &base).await.unwrap();
    // Another writer replaces the second part.
    let two = another(&fake).await;
    let other = Bytes::from(vec![7; 8 * MIB]);
    write_on(&*two, NAME, 8 << 20, &base, vec![other]).await.unwrap();
    two.keep(NAME, 16 << 20, &base).await.unwrap();
    write_all(&one, &kept, &whole, 16 * MIB, 20 * MIB).await;
    assert!(is_missing(one.seal(NAME, 20 << 20, &kept).await));
    assert!(is_missing(one.open(NAME).await));
}

#[tokio::test]
async fn a_torn_answer_is_asked_for_again_and_never_short() {
    let (fake, store) = fake().await;
    let whole = content(3 * MIB);
    write(&*store, NAME, 0, vec![whole.clone()]).await.unwrap();
    store.seal(NAME, whole.len() as u64, &NEW).await.unwrap();
    fake.inject(On::operation(Operation::Get).times(2), Fault::Torn);
    assert!(read(&store, NAME).await == whole);
    fake.inject(On::operation(Operation::Get).always(), Fault::Torn);
    let file = store.open(NAME).await.unwrap();
    let mut at = 0;
    // Each answer has half of what is left, and the last byte never comes.
    let why = loop {
        match file.read(at, MIB).await {
            Ok(bytes) => at += bytes.len() as u64,
            Err(why) => break why,
        }
        assert!(at < whole.len() as u64);
    };
    assert!(matches!(why, Failure::Io(_)), "{why}");
    fake.heal();
    let rest = whole.slice(usize::try_from(at).unwrap()..);
    assert!(rest.starts_with(&file.read(at, 1).await.unwrap()));
    fake.remove(fake.objects().keys().next().unwrap());
    assert!(is_missing(store.open(NAME).await));
    assert!(is_missing(file.read(0, 1).await));
}

#[tokio::test]
async fn a_name_that_is_removed_leaves_nothing() {
    let (fake, store) = fake().await;
    let whole = content(20 * MIB);
    // A process ends before it keeps anything, and another one after it kept a part and rests.
    write_all(&store, &NEW, &whole, 0, whole.len()).await;
    let second = another(&fake).await;
    write_all(&second, &NEW, &whole, 0, 9 * MIB).await;
    let kept = second.keep(NAME, 9 << 20, &NEW).await.unwrap();
    write_all(&second, &kept, &whole, 9 * MIB, 10 * MIB).await;
    second.keep(NAME, 10 << 20, &kept).await.unwrap();
    write(&*second, OTHER, 0, vec![text("other")]).await.unwrap();
    let others = second.keep(OTHER, 5, &NEW).await.unwrap();
    assert_eq!((fake.uploads().len(), fake.objects().len()), (2, 3));
    another(&fake).await.remove(NAME, &NEW).await.unwrap();
    assert!(fake.uploads().is_empty());
    assert_eq!(fake.objects().len(), 1, "the rest of another blob");
    let listed = store.list_bytes("", 10).await.unwrap();
    assert!(matches!(&*listed, [one] if one.key == OTHER));
    write_on(&*second, OTHER, 5, &others, Vec::new()).await.unwrap();
    second.seal(OTHER, 5, &others).await.unwrap();
    assert_eq!(all(&*second, OTHER).await, b"other");
}

#[tokio::test]
async fn removing_works_where_uploads_cannot_be_listed() {
    let (fake, store) = fake().await;
    let whole = content(9 * MIB);
    write_all(&store, &NEW, &whole, 0, whole.len()).await;
    let kept = store.keep(NAME, whole.len() as u64, &NEW).await.unwrap();
    let refused = Fault::Refuse(When::Before, Refusal::INVALID_ARGUMENT);
    fake.inject(On::operation(Operation::ListUploads).always(), refused);
    store.remove(NAME, &kept).await.unwrap();
    assert!(fake.uploads().is_empty() && fake.objects().is_empty());
}

/// So a collector finds what a process left that crashed, and removes it by its name.
#[tokio::test]
async fn names_that_have_only_rests_or_parts_are_listed() {
    let (fake, store) = fake().await;
    fake.set_rules(|rules| rules.page = 3);
    let part = content(9 * MIB);
    let names: Vec<String> = (0..12).map(|number| format!("{number:032}")).collect();
    for (number, name) in names.iter().enumerate() {
        match number % 4 {
            0 => write(&*store, name, 0, vec![text("sealed")]).await.unwrap(),
            1 => write(&*store, name, 0, vec![text("a rest")]).await.unwrap(),
            _ => write(&*store, name, 0, vec![part.clone()]).await.unwrap(),
        }
        match number % 4 {
            0 => store.seal(name, 6, &NEW).await.unwrap(),
            1 => drop(store.keep(name, 6, &NEW).await.unwrap()),
            2 => drop(store.keep(name, part.len() as u64, &NEW).await.unwrap()),
            _ => {} // only an upload
        }
    }
    let other = another(&fake).await;
    for limit in [1, 2, 5, 12, 100] {
        let mut listed: Vec<String> = Vec::new();
        loop {
            let after = listed.last().cloned().unwrap_or_default();
            let page = other.list_bytes(&after, limit).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            listed.extend(page.into_iter().map(|found| found.key));
        }
        assert_eq!(listed, names, "{limit}");
    }
    for name in &names {
        other.remove(name, &NEW).await.unwrap();
    }
    assert!(fake.uploads().is_empty() && fake.objects().is_empty());
}
