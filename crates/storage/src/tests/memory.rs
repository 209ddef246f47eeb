//! What a store in memory guarantees beyond the contract: it detects callers that break it.

use super::*;
use std::time::Duration;

#[tokio::test]
async fn an_upload_continues_only_with_the_resume_that_was_returned() {
    let store = Memory::new();
    write(&store, NAME, 0, vec![text("start ")]).await.unwrap();
    let first = store.keep(NAME, 6, &NEW).await.unwrap();
    write_on(&store, NAME, 6, &first, vec![text("middle ")])
        .await
        .unwrap();
    let second = store.keep(NAME, 13, &first).await.unwrap();
    let foreign = Resume("what another store told".to_owned());
    for resume in [&NEW, &foreign] {
        for (offset, size) in [(6, 6), (13, 13)] {
            assert!(
                is_missing(write_on(&store, NAME, offset, resume, vec![text("x")]).await),
                "{resume:?} {offset}"
            );
            assert!(
                is_missing(store.keep(NAME, size, resume).await),
                "{resume:?} {size}"
            );
            assert!(
                is_missing(store.seal(NAME, size, resume).await),
                "{resume:?} {size}"
            );
        }
    }
    assert!(
        is_missing(write_on(&store, NAME, 13, &first, vec![text("x")]).await),
        "the resume names six bytes"
    );
    assert!(is_missing(store.seal(NAME, 13, &first).await));
    write_on(&store, NAME, 13, &second, vec![text("end")])
        .await
        .unwrap();
    store.seal(NAME, 16, &second).await.unwrap();
    assert_eq!(all(&store, NAME).await, b"start middle end");
}

#[tokio::test]
async fn a_later_resume_is_invalid_once_an_earlier_one_was_used() {
    let store = Memory::new();
    write(&store, NAME, 0, vec![text("start ")]).await.unwrap();
    let first = store.keep(NAME, 6, &NEW).await.unwrap();
    write_on(&store, NAME, 6, &first, vec![text("more")])
        .await
        .unwrap();
    let dropped = store.keep(NAME, 10, &first).await.unwrap();
    write_on(&store, NAME, 6, &first, vec![text("much more")])
        .await
        .unwrap();
    assert!(is_missing(
        write_on(&store, NAME, 10, &dropped, vec![text("x")]).await
    ));
}

#[tokio::test]
async fn bytes_are_written_where_they_end_or_were_kept_and_nowhere_else() {
    let store = Memory::new();
    write(&store, NAME, 0, vec![text("0123456789")]).await.unwrap();
    for offset in [1, 5, 9, 11] {
        assert!(
            is_missing(write(&store, NAME, offset, vec![text("x")]).await),
            "{offset}"
        );
    }
    write(&store, NAME, 10, vec![text("x")]).await.unwrap();
    store.seal(NAME, 11, &NEW).await.unwrap();
    assert_eq!(all(&store, NAME).await, b"0123456789x");
}

#[tokio::test]
async fn an_open_blob_outlives_its_name() {
    let store = Memory::new();
    write(&store, NAME, 0, vec![text("abc")]).await.unwrap();
    store.seal(NAME, 3, &NEW).await.unwrap();
    let file = store.open(NAME).await.unwrap();
    store.remove(NAME, &NEW).await.unwrap();
    assert_eq!(file.read(0, 10).await.unwrap(), text("abc"));
}

#[tokio::test]
async fn bytes_have_the_time_of_their_last_write() {
    let (clock, hand) = clock();
    let store = Memory::with_clock(clock);
    write(&store, NAME, 0, vec![text("start ")]).await.unwrap();
    hand.advance(Duration::from_secs(5));
    write(&store, NAME, 6, vec![text("end")]).await.unwrap();
    assert_eq!(store.list_bytes("", 10).await.unwrap()[0].written, store.now());
}
