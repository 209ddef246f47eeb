//! The contract, as tests that every implementation passes.

mod changes;
mod folder;

use super::local::Local;
use super::memory::Memory;
use super::{Answer, BlobStore, Failure, Range, RecordStore, Resume, Show, Value, Version};
use bytes::Bytes;
use changes::{
    a_hidden_record_is_listed_only_to_who_asks, a_record_says_when_the_store_took_it, each_of_several_changes_stands_for_itself,
    what_was_kept_is_gone_on_with,
};
use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

const NAME: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "01zzzzzzzzzzzzzzzzzzzzzzzzzzzzzz";

/// Makes of each `async fn rule(store: Arc<impl Store>)` a test for each implementation.
macro_rules! contract {
    ($($rule:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                super::$rule(super::Arc::new(super::Memory::new())).await;
            })*
        }
        mod local {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                let folder = tempfile::tempdir().unwrap();
                super::$rule(super::Arc::new(super::Local::open(folder.path()).unwrap())).await;
            })*
        }
    };
}

contract! {
    a_record_is_made_only_where_there_is_none,
    a_record_changes_only_from_the_state_expected,
    a_version_is_never_used_twice,
    of_concurrent_swaps_one_wins,
    of_concurrent_creates_one_wins,
    keys_are_listed_in_the_order_of_their_bytes,
    a_list_holds_its_prefix_only,
    a_list_goes_on_after_any_key,
    a_large_value_comes_back_whole,
    a_value_may_become_large_and_small_again,
    a_blob_is_written_sealed_and_read,
    a_write_cuts_off_what_lay_behind_it,
    a_write_leaves_no_gap,
    a_seal_wants_the_right_size,
    a_write_is_looked_at_once_and_in_order,
    a_read_answers_with_at_most_what_was_asked,
    what_is_at_hand_is_what_a_read_answers_with,
    a_large_blob_comes_back_whole,
    a_blob_removed_is_missing_and_removing_again_is_fine,
    an_open_blob_outlives_its_name,
    a_name_of_another_shape_is_refused,
    names_are_listed_in_order,
    writes_that_nobody_waits_for_do_not_disturb_later_ones,
    a_hidden_record_is_listed_only_to_who_asks,
    a_record_says_when_the_store_took_it,
    each_of_several_changes_stands_for_itself,
    what_was_kept_is_gone_on_with,
}

/// Nothing was kept yet.
static NEW: Resume = Resume(String::new());

fn value_of(text: &'static str) -> Value {
    Bytes::from_static(text.as_bytes()).into()
}

/// Visible keys.
async fn list(store: &impl RecordStore, prefix: &str, after: &str, limit: usize) -> Vec<String> {
    store.list(Range { prefix, after, limit, show: Show::Visible }).await.unwrap()
}

fn text(value: &'static str) -> Bytes {
    Bytes::from_static(value.as_bytes())
}

fn is_conflict<T: Debug>(result: Result<T, Failure>) -> bool {
    matches!(result, Err(Failure::Conflict))
}

fn is_missing<T>(result: Result<T, Failure>) -> bool {
    matches!(result, Err(Failure::Missing))
}

async fn value(store: &impl RecordStore, key: &str) -> Option<Bytes> {
    store.get(key).await.unwrap().map(|record| record.value)
}

/// What nobody looks at on its way.
fn write<'a>(store: &'a impl BlobStore, name: &'a str, offset: u64, chunks: Vec<Bytes>) -> Answer<'a, ()> {
    store.write(name, offset, &NEW, chunks, Box::new(|_| ()))
}

async fn all(store: &impl BlobStore, name: &str) -> Vec<u8> {
    let file = store.open(name).await.unwrap();
    let mut bytes = Vec::new();
    loop {
        let part = file.read(bytes.len() as u64, 7).await.unwrap();
        if part.is_empty() {
            assert_eq!(bytes.len() as u64, file.size());
            return bytes;
        }
        bytes.extend_from_slice(&part);
    }
}

async fn a_record_is_made_only_where_there_is_none(store: Arc<impl RecordStore>) {
    assert_eq!(store.get("k").await.unwrap(), None);
    let version = store.create("k", value_of("one")).await.unwrap();
    assert!(is_conflict(store.create("k", value_of("two")).await));
    let record = store.get("k").await.unwrap().unwrap();
    assert_eq!((record.version, record.value), (version, text("one")));
    store.create("", value_of("the empty key is a key")).await.unwrap();
    assert_eq!(value(&*store, "").await, Some(text("the empty key is a key")));
}

async fn a_record_changes_only_from_the_state_expected(store: Arc<impl RecordStore>) {
    let first = store.create("k", value_of("1")).await.unwrap();
    let second = store.swap("k", &first, value_of("2")).await.unwrap();
    assert!(is_conflict(store.swap("k", &first, value_of("3")).await));
    assert!(is_conflict(store.delete("k", &first).await));
    assert!(is_conflict(store.swap("no such key", &second, value_of("3")).await));
    assert!(is_conflict(store.delete("no such key", &second).await));
    assert_eq!(value(&*store, "k").await, Some(text("2")));
    store.delete("k", &second).await.unwrap();
    assert_eq!(value(&*store, "k").await, None);
    assert!(is_conflict(store.delete("k", &second).await));
    assert!(is_conflict(store.swap("k", &second, value_of("3")).await));
}

async fn a_version_is_never_used_twice(store: Arc<impl RecordStore>) {
    let mut seen = HashSet::<Version>::new();
    for _ in 0..20 {
        let made = store.create("k", value_of("same")).await.unwrap();
        let swapped = store.swap("k", &made, value_of("same")).await.unwrap();
        store.delete("k", &swapped).await.unwrap();
        assert!(seen.insert(made.clone()) && seen.insert(swapped));
        assert!(is_conflict(store.swap("k", &made, value_of("from an earlier life")).await));
    }
}

async fn of_concurrent_swaps_one_wins(store: Arc<impl RecordStore + 'static>) {
    let mut version = store.create("k", value_of("start")).await.unwrap();
    for _ in 0..20 {
        let one = |i: u8| {
            let (store, version) = (store.clone(), version.clone());
            tokio::spawn(async move { (i, store.swap("k", &version, Bytes::from(vec![i]).into()).await) })
        };
        let tasks: Vec<_> = (0..16).map(one).collect();
        let mut winners = Vec::new();
        for task in tasks {
            match task.await.unwrap() {
                (i, Ok(version)) => winners.push((i, version)),
                (_, result) => assert!(is_conflict(result)),
            }
        }
        assert_eq!(winners.len(), 1);
        version = winners[0].1.clone();
        assert_eq!(value(&*store, "k").await.unwrap(), [winners[0].0][..]);
    }
}

async fn of_concurrent_creates_one_wins(store: Arc<impl RecordStore + 'static>) {
    let one = |i: u8| {
        let store = store.clone();
        tokio::spawn(async move { store.create("k", Bytes::from(vec![i]).into()).await.is_ok().then_some(i) })
    };
    let mut winners = Vec::new();
    for task in (0..16).map(one).collect::<Vec<_>>() {
        winners.extend(task.await.unwrap());
    }
    assert_eq!(value(&*store, "k").await.unwrap(), winners);
}

async fn keys_are_listed_in_the_order_of_their_bytes(store: Arc<impl RecordStore>) {
    let mut keys = ["b", "a/b", "a", "a-b", "aé", "a\u{10ffff}", "A", "a/", "a0", "\u{10ffff}", ""];
    for key in keys {
        store.create(key, Bytes::new().into()).await.unwrap();
    }
    keys.sort_unstable();
    assert_eq!(list(&*store, "", "", 100).await, keys[1..], "the empty key is not after the empty key");
}

async fn a_list_holds_its_prefix_only(store: Arc<impl RecordStore>) {
    for key in ["t/app/1", "t/app/2", "t/app-x/1", "t/app", "t/app0", "u", "t/app/\u{10ffff}", "t/app/\u{10ffff}z"] {
        store.create(key, Bytes::new().into()).await.unwrap();
    }
    assert_eq!(list(&*store, "t/app/", "", 100).await, ["t/app/1", "t/app/2", "t/app/\u{10ffff}", "t/app/\u{10ffff}z"]);
    assert_eq!(list(&*store, "t/app", "", 2).await, ["t/app", "t/app-x/1"], "the prefix itself counts");
    assert_eq!(list(&*store, "t/none/", "", 100).await, [""; 0]);
    assert_eq!(list(&*store, "t/", "", 0).await, [""; 0]);
}

async fn a_list_goes_on_after_any_key(store: Arc<impl RecordStore>) {
    let keys: Vec<String> = (0..250).map(|i| format!("t/{i:03}")).collect();
    for key in &keys {
        store.create(key, Bytes::new().into()).await.unwrap();
    }
    let (mut listed, mut after) = (Vec::new(), String::new());
    loop {
        let page = list(&*store, "t/", &after, 100).await;
        let Some(last) = page.last() else { break };
        after.clone_from(last);
        listed.extend(page);
    }
    assert_eq!(listed, keys);
    assert_eq!(list(&*store, "t/", "t/0425", 1).await, ["t/043"], "after a key that is not there");
    assert_eq!(list(&*store, "t/", "a", 1).await, ["t/000"], "after a key before the prefix");
    assert_eq!(list(&*store, "t/", "u", 1).await, [""; 0], "after a key behind the prefix");
    assert_eq!(list(&*store, "t/", "t/", 1).await, ["t/000"]);
}

async fn a_large_value_comes_back_whole(store: Arc<impl RecordStore>) {
    let large = Bytes::from(vec![7; (4 << 20) + 3]);
    store.create("k", large.clone().into()).await.unwrap();
    assert_eq!(value(&*store, "k").await, Some(large));
}

async fn a_value_may_become_large_and_small_again(store: Arc<impl RecordStore>) {
    let sized = |size: usize| Bytes::from(vec![u8::try_from(size % 251).unwrap(); size]);
    let mut version = store.create("k", sized(1).into()).await.unwrap();
    for size in [0, 64 << 10, (64 << 10) + 1, 1 << 20, 200_000, 3] {
        version = store.swap("k", &version, sized(size).into()).await.unwrap();
        assert_eq!(value(&*store, "k").await, Some(sized(size)));
        assert!(is_conflict(store.create("k", sized(100_000).into()).await));
        assert_eq!(value(&*store, "k").await, Some(sized(size)), "who loses leaves the value alone");
    }
    version = store.swap("k", &version, sized(100_000).into()).await.unwrap();
    store.delete("k", &version).await.unwrap();
    assert_eq!(value(&*store, "k").await, None);
}

async fn names_are_listed_in_order(store: Arc<impl BlobStore>) {
    async fn list(store: &impl BlobStore, after: &str, limit: usize) -> Vec<String> {
        store.list_bytes(after, limit).await.unwrap().into_iter().map(|found| found.key).collect()
    }
    assert_eq!(list(&*store, "", 10).await, [""; 0]);
    let mut names: Vec<String> =
        (0..50_u32).map(|number| format!("{:032x}", u128::from(number.wrapping_mul(0x9e37_79b9)) << 96 | 7)).collect();
    names.extend([NAME, OTHER].map(str::to_owned));
    for name in &names {
        write(&*store, name, 0, vec![text("a")]).await.unwrap();
    }
    names.sort_unstable();
    assert_eq!(list(&*store, "", 100).await, names);
    let (mut listed, mut after) = (Vec::new(), String::new());
    loop {
        let page = list(&*store, &after, 7).await;
        let Some(last) = page.last() else { break };
        after.clone_from(last);
        listed.extend(page);
    }
    assert_eq!(listed, names);
    assert_eq!(list(&*store, "zz", 10).await, [""; 0]);
    assert_eq!(list(&*store, "", 0).await, [""; 0]);
    let now = crate::clock::Clock::system().now();
    assert!(store.list_bytes("", 100).await.unwrap().iter().all(|found| found.written <= now && now.since(found.written).as_secs() < 3600));
}

async fn a_blob_is_written_sealed_and_read(store: Arc<impl BlobStore>) {
    assert!(is_missing(store.open(NAME).await));
    write(&*store, NAME, 0, vec![text("Hello, "), text("world")]).await.unwrap();
    write(&*store, NAME, 12, vec![text("!")]).await.unwrap();
    store.seal(NAME, 13, &NEW).await.unwrap();
    assert_eq!(all(&*store, NAME).await, b"Hello, world!");
    write(&*store, OTHER, 0, Vec::new()).await.unwrap();
    store.seal(OTHER, 0, &NEW).await.unwrap();
    assert_eq!(all(&*store, OTHER).await, b"");
}

async fn a_write_cuts_off_what_lay_behind_it(store: Arc<impl BlobStore>) {
    write(&*store, NAME, 0, vec![text("0123456789")]).await.unwrap();
    write(&*store, NAME, 5, vec![text("ab")]).await.unwrap();
    assert_eq!(all(&*store, NAME).await, b"01234ab");
    write(&*store, NAME, 3, Vec::new()).await.unwrap();
    assert_eq!(all(&*store, NAME).await, b"012");
    write(&*store, NAME, 0, vec![text("new")]).await.unwrap();
    assert_eq!(all(&*store, NAME).await, b"new");
}

async fn a_write_leaves_no_gap(store: Arc<impl BlobStore>) {
    assert!(is_missing(write(&*store, NAME, 1, vec![text("x")]).await));
    write(&*store, NAME, 0, vec![text("abc")]).await.unwrap();
    assert!(is_missing(write(&*store, NAME, 4, vec![text("x")]).await));
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

async fn a_read_answers_with_at_most_what_was_asked(store: Arc<impl BlobStore>) {
    write(&*store, NAME, 0, vec![text("0123456789")]).await.unwrap();
    let file = store.open(NAME).await.unwrap();
    assert_eq!(file.size(), 10);
    assert_eq!(file.read(2, 3).await.unwrap(), text("234"));
    assert_eq!(file.read(8, usize::MAX).await.unwrap(), text("89"));
    for end in [10, 11, u64::MAX] {
        assert_eq!(file.read(end, 1).await.unwrap(), Bytes::new());
    }
}

async fn a_write_is_looked_at_once_and_in_order(store: Arc<impl BlobStore>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seeing = seen.clone();
    let look = Box::new(move |bytes: &[u8]| seeing.lock().unwrap().push(bytes.to_vec()));
    store.write(NAME, 0, &NEW, vec![text("Hello, "), Bytes::new(), text("world")], look).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [&b"Hello, "[..], b"", b"world"]);
    assert_eq!(Arc::strong_count(&seen), 1, "done with");
    assert_eq!(all(&*store, NAME).await, b"Hello, world");
}

async fn what_is_at_hand_is_what_a_read_answers_with(store: Arc<impl BlobStore>) {
    write(&*store, NAME, 0, vec![text("0123456789")]).await.unwrap();
    let file = store.open(NAME).await.unwrap();
    for (offset, most, expected) in [(0, 4, "0123"), (2, 100, "23456789"), (9, usize::MAX, "9")] {
        // Whether anything is at hand is the store's own affair.
        let Some(found) = file.at_hand(offset, most) else { continue };
        assert!(!found.is_empty() && text(expected).starts_with(&found), "{found:?} is no part of {expected:?}");
    }
    for nothing in [(10, 1), (11, 1), (u64::MAX, 1), (0, 0)] {
        assert_eq!(file.at_hand(nothing.0, nothing.1), None, "{nothing:?}");
    }
}

/// In more pieces than one call of the system takes, and larger than what one read answers with.
async fn a_large_blob_comes_back_whole(store: Arc<impl BlobStore>) {
    let chunks: Vec<Bytes> = (0..3000_u16).map(|i| i.to_be_bytes().repeat(1 + usize::from(i) % 400).into()).collect();
    let whole = chunks.concat();
    write(&*store, NAME, 0, chunks).await.unwrap();
    let file = store.open(NAME).await.unwrap();
    let (mut by_read, mut by_hand) = (Vec::new(), Vec::new());
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
    assert_eq!(all(&*store, OTHER).await, b"other");
}

async fn an_open_blob_outlives_its_name(store: Arc<impl BlobStore>) {
    write(&*store, NAME, 0, vec![text("abc")]).await.unwrap();
    let file = store.open(NAME).await.unwrap();
    store.remove(NAME, &NEW).await.unwrap();
    assert_eq!(file.read(0, 10).await.unwrap(), text("abc"));
}

async fn a_name_of_another_shape_is_refused(store: Arc<impl BlobStore>) {
    for name in ["", "short", "../../../../etc/passwd__________", "0123456789ABCDEF0123456789ABCDEF", "0123456789abcdef0123456789abcdef0"] {
        assert!(matches!(write(&*store, name, 0, Vec::new()).await, Err(Failure::Io(_))), "{name}");
        assert!(matches!(store.seal(name, 0, &NEW).await, Err(Failure::Io(_))), "{name}");
        assert!(matches!(store.open(name).await, Err(Failure::Io(_))), "{name}");
        assert!(matches!(store.remove(name, &NEW).await, Err(Failure::Io(_))), "{name}");
    }
}

/// A request may go away in the middle of a write, and its successor resumes at the offset that it finds.
async fn writes_that_nobody_waits_for_do_not_disturb_later_ones(store: Arc<impl BlobStore>) {
    write(&*store, NAME, 0, vec![text("start ")]).await.unwrap();
    for _ in 0..50 {
        let abandoned = write(&*store, NAME, 6, vec![Bytes::from(vec![b'x'; 100_000])]);
        drop(futures_util::FutureExt::now_or_never(abandoned)); // polled once, so that it is under way
        write(&*store, NAME, 6, vec![text("end")]).await.unwrap();
        assert_eq!(all(&*store, NAME).await, b"start end");
    }
}
