//! The contract for bytes.

use super::*;

contract! {
    stores: [
        a_blob_is_written_sealed_and_read,
        a_write_cuts_off_what_was_not_kept,
        a_write_leaves_no_gap,
        a_seal_wants_the_right_size,
        bytes_are_kept_by_their_size,
        a_write_is_looked_at_once_and_in_order,
        a_read_answers_with_at_most_what_was_asked,
        what_is_at_hand_is_what_a_read_answers_with,
        a_large_blob_comes_back_whole,
        a_blob_removed_is_missing_and_removing_again_is_fine,
        bytes_can_be_removed_without_their_resume,
        a_blob_removed_while_it_is_read_is_whole_or_missing,
        a_name_of_another_shape_is_refused,
        names_are_listed_in_order,
        cancelled_writes_do_not_disturb_later_ones,
    ],
    places: [
        another_process_continues_after_the_bytes_that_were_kept,
        an_earlier_answer_is_good_until_a_later_one_was_used,
        what_was_sealed_stays,
    ],
    timed: [],
}

/// Reads bytes that are not sealed, if the store can.
async fn assert_unsealed(store: &impl BlobStore, name: &str, expected: &[u8]) {
    if let Some(file) = store.open_unsealed(name).await.unwrap() {
        assert_eq!(all_of(&*file).await, expected);
    }
}

async fn a_blob_is_written_sealed_and_read(store: Arc<impl BlobStore>) {
    assert!(is_missing(store.open(NAME).await));
    write(&*store, NAME, 0, vec![text("Hello, "), text("world")])
        .await
        .unwrap();
    write(&*store, NAME, 12, vec![text("!")]).await.unwrap();
    store.seal(NAME, 13, &NEW).await.unwrap();
    assert_eq!(all(&*store, NAME).await, b"Hello, world!");
    write(&*store, OTHER, 0, Vec::new()).await.unwrap();
    store.seal(OTHER, 0, &NEW).await.unwrap();
    assert_eq!(all(&*store, OTHER).await, b"");
}

async fn a_write_cuts_off_what_was_not_kept(store: Arc<impl BlobStore>) {
    write(&*store, NAME, 0, vec![text("0123456789")]).await.unwrap();
    write(&*store, NAME, 0, vec![text("start")]).await.unwrap();
    assert_unsealed(&*store, NAME, b"start").await;
    let kept = store.keep(NAME, 5, &NEW).await.unwrap();
    write_on(&*store, NAME, 5, &kept, vec![text(" and much more")])
        .await
        .unwrap();
    write_on(&*store, NAME, 5, &kept, vec![text(" end")])
        .await
        .unwrap();
    assert_unsealed(&*store, NAME, b"start end").await;
    write_on(&*store, NAME, 5, &kept, Vec::new()).await.unwrap();
    assert_unsealed(&*store, NAME, b"start").await;
    store.seal(NAME, 5, &kept).await.unwrap();
    assert_eq!(all(&*store, NAME).await, b"start");
}

async fn a_write_leaves_no_gap(store: Arc<impl BlobStore>) {
    assert!(is_missing(write(&*store, NAME, 1, vec![text("x")]).await));
    write(&*store, NAME, 0, vec![text("abc")]).await.unwrap();
    assert!(is_missing(write(&*store, NAME, 4, vec![text("x")]).await));
    store.seal(NAME, 3, &NEW).await.unwrap();
    assert_eq!(all(&*store, NAME).await, b"abc");
}

async fn a_seal_wants_the_right_size(store: Arc<impl BlobStore>) {
    assert!(is_missing(store.seal(NAME, 0, &NEW).await));
    write(&*store, NAME, 0, vec![text("abc")]).await.unwrap();
    assert!(is_missing(store.seal(NAME, 2, &NEW).await));
    assert!(is_missing(store.seal(NAME, 4, &NEW).await));
    store.seal(NAME, 3, &NEW).await.unwrap();
    store.seal(NAME, 3, &NEW).await.unwrap();
}

async fn a_write_is_looked_at_once_and_in_order(store: Arc<impl BlobStore>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seeing = seen.clone();
    let look = Box::new(move |bytes: &[u8]| seeing.lock().unwrap().push(bytes.to_vec()));
    store
        .write(
            NAME,
            0,
            &NEW,
            vec![text("Hello, "), Bytes::new(), text("world")],
            look,
        )
        .await
        .unwrap();
    assert_eq!(*seen.lock().unwrap(), [&b"Hello, "[..], b"", b"world"]);
    assert_eq!(Arc::strong_count(&seen), 1, "done with");
    store.seal(NAME, 12, &NEW).await.unwrap();
    assert_eq!(all(&*store, NAME).await, b"Hello, world");
}

async fn a_read_answers_with_at_most_what_was_asked(store: Arc<impl BlobStore>) {
    write(&*store, NAME, 0, vec![text("0123456789")]).await.unwrap();
    store.seal(NAME, 10, &NEW).await.unwrap();
    let file = store.open(NAME).await.unwrap();
    assert_eq!(file.size(), 10);
    assert_eq!(file.read(2, 3).await.unwrap(), text("234"));
    assert_eq!(file.read_once(2, 3).await.unwrap(), text("234"));
    assert_eq!(file.read_once(8, usize::MAX).await.unwrap(), text("89"));
    assert_eq!(file.read_once(10, 3).await.unwrap(), Bytes::new());
    assert_eq!(file.read(8, usize::MAX).await.unwrap(), text("89"));
    for end in [10, 11, u64::MAX] {
        assert_eq!(file.read(end, 1).await.unwrap(), Bytes::new());
    }
}

async fn what_is_at_hand_is_what_a_read_answers_with(store: Arc<impl BlobStore>) {
    write(&*store, NAME, 0, vec![text("0123456789")]).await.unwrap();
    store.seal(NAME, 10, &NEW).await.unwrap();
    let file = store.open(NAME).await.unwrap();
    for (offset, most, expected) in [(0, 4, "0123"), (2, 100, "23456789"), (9, usize::MAX, "9")] {
        // The store decides whether anything is available at once.
        let Some(found) = file.at_hand(offset, most) else {
            continue;
        };
        assert!(
            !found.is_empty() && text(expected).starts_with(&found),
            "{found:?} is not a part of {expected:?}"
        );
    }
    for nothing in [(10, 1), (11, 1), (u64::MAX, 1), (0, 0)] {
        assert_eq!(file.at_hand(nothing.0, nothing.1), None, "{nothing:?}");
    }
}

/// More chunks than one system call takes, and more bytes than one read returns.
async fn a_large_blob_comes_back_whole(store: Arc<impl BlobStore>) {
    let chunks: Vec<Bytes> = (0..3000_u16)
        .map(|i| i.to_be_bytes().repeat(1 + usize::from(i) % 400).into())
        .collect();
    let whole = chunks.concat();
    write(&*store, NAME, 0, chunks).await.unwrap();
    store.seal(NAME, whole.len() as u64, &NEW).await.unwrap();
    let file = store.open(NAME).await.unwrap();
    let mut by_read = Vec::new();
    let mut by_hand = Vec::new();
    while by_read.len() < whole.len() {
        by_read.extend_from_slice(&file.read(by_read.len() as u64, usize::MAX).await.unwrap());
    }
    while let Some(part) = file.at_hand(by_hand.len() as u64, usize::MAX) {
        by_hand.extend_from_slice(&part);
    }
    assert!(by_read == whole);
    assert!(whole.starts_with(&by_hand));
}

async fn a_blob_removed_is_missing_and_removing_again_is_fine(store: Arc<impl BlobStore>) {
    store.remove(NAME, &NEW).await.unwrap();
    write(&*store, NAME, 0, vec![text("abc")]).await.unwrap();
    write(&*store, OTHER, 0, vec![text("other")]).await.unwrap();
    store.remove(NAME, &NEW).await.unwrap();
    store.remove(NAME, &NEW).await.unwrap();
    assert!(is_missing(store.open(NAME).await));
    assert!(is_missing(store.seal(NAME, 3, &NEW).await));
    assert!(is_missing(write(&*store, NAME, 3, vec![text("x")]).await));
    store.seal(OTHER, 5, &NEW).await.unwrap();
    assert_eq!(all(&*store, OTHER).await, b"other");
}

async fn a_blob_removed_while_it_is_read_is_whole_or_missing(store: Arc<impl BlobStore>) {
    write(&*store, NAME, 0, vec![text("abc")]).await.unwrap();
    store.seal(NAME, 3, &NEW).await.unwrap();
    let file = store.open(NAME).await.unwrap();
    store.remove(NAME, &NEW).await.unwrap();
    match file.read(0, 10).await {
        Err(Failure::Missing) => {}
        read => assert_eq!(read.unwrap(), text("abc")),
    }
}

async fn a_name_of_another_shape_is_refused(store: Arc<impl BlobStore>) {
    for name in [
        "",
        "short",
        "../../../../etc/passwd__________",
        "0123456789ABCDEF0123456789ABCDEF",
        "0123456789abcdef0123456789abcdef0",
    ] {
        assert!(
            matches!(write(&*store, name, 0, Vec::new()).await, Err(Failure::Io(_))),
            "{name}"
        );
        assert!(
            matches!(store.seal(name, 0, &NEW).await, Err(Failure::Io(_))),
            "{name}"
        );
        assert!(matches!(store.open(name).await, Err(Failure::Io(_))), "{name}");
        assert!(
            matches!(store.remove(name, &NEW).await, Err(Failure::Io(_))),
            "{name}"
        );
    }
}

async fn names_are_listed_in_order(store: Arc<impl BlobStore>) {
    async fn list(store: &impl BlobStore, after: &str, limit: usize) -> Vec<String> {
        store
            .list_bytes(after, limit)
            .await
            .unwrap()
            .into_iter()
            .map(|found| found.key)
            .collect()
    }
    assert_eq!(list(&*store, "", 10).await, [""; 0]);
    let mut names: Vec<String> = (0..50_u32)
        .map(|number| format!("{:032x}", u128::from(number.wrapping_mul(0x9e37_79b9)) << 96 | 7))
        .collect();
    names.extend([NAME, OTHER].map(str::to_owned));
    for name in &names {
        write(&*store, name, 0, vec![text("a")]).await.unwrap();
        store.seal(name, 1, &NEW).await.unwrap();
    }
    names.sort_unstable();
    assert_eq!(list(&*store, "", 100).await, names);
    let mut listed = Vec::new();
    let mut after = String::new();
    loop {
        let page = list(&*store, &after, 7).await;
        let Some(last) = page.last() else { break };
        after.clone_from(last);
        listed.extend(page);
    }
    assert_eq!(listed, names);
    assert_eq!(list(&*store, "zz", 10).await, [""; 0]);
    assert_eq!(list(&*store, "", 0).await, [""; 0]);
}

/// A request may be cancelled during a write. The next one continues from what was kept.
async fn cancelled_writes_do_not_disturb_later_ones(store: Arc<impl BlobStore>) {
    write(&*store, NAME, 0, vec![text("start ")]).await.unwrap();
    let kept = store.keep(NAME, 6, &NEW).await.unwrap();
    for _ in 0..50 {
        let abandoned = write_on(&*store, NAME, 6, &kept, vec![Bytes::from(vec![b'x'; 100_000])]);
        drop(futures_util::FutureExt::now_or_never(abandoned)); // polled once, so that it is under way
        write_on(&*store, NAME, 6, &kept, vec![text("end")])
            .await
            .unwrap();
        assert_unsealed(&*store, NAME, b"start end").await;
    }
    store.seal(NAME, 9, &kept).await.unwrap();
    assert_eq!(all(&*store, NAME).await, b"start end");
}

async fn bytes_are_kept_by_their_size(store: Arc<impl BlobStore>) {
    assert!(is_missing(store.keep(NAME, 0, &NEW).await), "there are none");
    write(&*store, NAME, 0, vec![text("abc")]).await.unwrap();
    assert!(is_missing(store.keep(NAME, 2, &NEW).await));
    assert!(is_missing(store.keep(NAME, 4, &NEW).await));
    let first = store.keep(NAME, 3, &NEW).await.unwrap();
    assert_unsealed(&*store, NAME, b"abc").await;
    write_on(&*store, NAME, 3, &first, vec![text("de")])
        .await
        .unwrap();
    write_on(&*store, NAME, 5, &first, vec![text("f")]).await.unwrap();
    let second = store.keep(NAME, 6, &first).await.unwrap();
    // Nothing was written since.
    let third = store.keep(NAME, 6, &second).await.unwrap();
    assert!(is_missing(store.seal(NAME, 3, &third).await));
    store.seal(NAME, 6, &third).await.unwrap();
    store.seal(NAME, 6, &third).await.unwrap();
    assert_eq!(all(&*store, NAME).await, b"abcdef");
}

async fn bytes_can_be_removed_without_their_resume(store: Arc<impl BlobStore>) {
    write(&*store, OTHER, 0, vec![text("abc")]).await.unwrap();
    let others = store.keep(OTHER, 3, &NEW).await.unwrap();
    for sealed in [false, true] {
        for name in ["a", "b", "c"].map(|name| name.repeat(32)) {
            write(&*store, &name, 0, vec![text("start")]).await.unwrap();
            let first = store.keep(&name, 5, &NEW).await.unwrap();
            write_on(&*store, &name, 5, &first, vec![text(" end")])
                .await
                .unwrap();
            let last = store.keep(&name, 9, &first).await.unwrap();
            if sealed {
                store.seal(&name, 9, &last).await.unwrap();
            }
            let resume = match &name[..1] {
                "a" => &NEW,
                "b" => &first,
                _ => &others,
            };
            store.remove(&name, resume).await.unwrap();
            assert!(is_missing(store.open(&name).await), "{name}");
            store.remove(&name, &last).await.unwrap();
        }
    }
    write_on(&*store, OTHER, 3, &others, vec![text("d")])
        .await
        .unwrap();
    store.seal(OTHER, 4, &others).await.unwrap();
    assert_eq!(all(&*store, OTHER).await, b"abcd");
}

async fn another_process_continues_after_the_bytes_that_were_kept(place: impl Place<Store: BlobStore>) {
    let store = place.open().await;
    write(&*store, NAME, 0, vec![text("start ")]).await.unwrap();
    let kept = store.keep(NAME, 6, &NEW).await.unwrap();
    write_on(&*store, NAME, 6, &kept, vec![text("lost with the process")])
        .await
        .unwrap();
    drop(store);
    let store = place.open().await;
    write_on(&*store, NAME, 6, &kept, vec![text("and go on")])
        .await
        .unwrap();
    let kept = store.keep(NAME, 15, &kept).await.unwrap();
    drop(store);
    // Seal without another byte.
    let store = place.open().await;
    write_on(&*store, NAME, 15, &kept, Vec::new()).await.unwrap();
    store.seal(NAME, 15, &kept).await.unwrap();
    assert_eq!(all(&*store, NAME).await, b"start and go on");
    // An upload that was never kept starts again.
    write(&*store, OTHER, 0, vec![text("lost with the process")])
        .await
        .unwrap();
    drop(store);
    let store = place.open().await;
    write(&*store, OTHER, 0, vec![text("new")]).await.unwrap();
    store.seal(OTHER, 3, &NEW).await.unwrap();
    assert_eq!(all(&*store, OTHER).await, b"new");
}

/// A writer that missed the answer of [`BlobStore::keep`] continues with the [`Resume`] it had before.
async fn an_earlier_answer_is_good_until_a_later_one_was_used(place: impl Place<Store: BlobStore>) {
    let store = place.open().await;
    write(&*store, NAME, 0, vec![text("start ")]).await.unwrap();
    let first = store.keep(NAME, 6, &NEW).await.unwrap();
    write_on(&*store, NAME, 6, &first, vec![text("more")])
        .await
        .unwrap();
    store.keep(NAME, 10, &first).await.unwrap();
    write_on(&*store, NAME, 6, &first, vec![text("and other")])
        .await
        .unwrap();
    store.keep(NAME, 15, &first).await.unwrap();
    drop(store);
    let store = place.open().await;
    write_on(&*store, NAME, 6, &first, vec![text("end")])
        .await
        .unwrap();
    let last = store.keep(NAME, 9, &first).await.unwrap();
    store.seal(NAME, 9, &last).await.unwrap();
    assert_eq!(all(&*store, NAME).await, b"start end");
}

async fn what_was_sealed_stays(place: impl Place<Store: BlobStore>) {
    let store = place.open().await;
    write(&*store, NAME, 0, vec![text("sealed")]).await.unwrap();
    store.seal(NAME, 6, &NEW).await.unwrap();
    drop(store);
    let store = place.open().await;
    assert_eq!(all(&*store, NAME).await, b"sealed");
    store.seal(NAME, 6, &NEW).await.unwrap();
}
