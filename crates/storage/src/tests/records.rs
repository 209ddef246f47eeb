//! The contract for single records.

use super::*;
use crate::contract::Token;
use std::time::Duration;

contract! {
    stores: [
        a_record_is_created_only_if_it_does_not_exist,
        a_record_changes_only_from_the_state_expected,
        a_version_is_never_used_twice,
        a_version_of_another_store_is_never_current,
        of_concurrent_swaps_one_wins,
        of_concurrent_creates_one_wins,
        a_large_value_comes_back_whole,
        a_value_may_become_large_and_small_again,
        a_hidden_record_is_read_and_changed_as_any_other,
    ],
    places: [what_was_acknowledged_stays],
    timed: [a_record_has_the_time_at_which_the_store_took_it],
}

async fn a_record_is_created_only_if_it_does_not_exist(store: Arc<impl RecordStore>) {
    assert_eq!(store.get("k").await.unwrap(), None);
    let version = store.create("k", value_of("one")).await.unwrap();
    assert!(is_conflict(store.create("k", value_of("two")).await));
    let record = store.get("k").await.unwrap().unwrap();
    assert_eq!((record.version, record.value), (version, text("one")));
    store
        .create("", value_of("the empty key is a key"))
        .await
        .unwrap();
    assert_eq!(value(&*store, "").await, Some(text("the empty key is a key")));
}

async fn a_record_changes_only_from_the_state_expected(store: Arc<impl RecordStore>) {
    let first = store.create("k", value_of("1")).await.unwrap();
    let second = store.swap("k", &first, value_of("2")).await.unwrap();
    assert!(is_conflict(store.swap("k", &first, value_of("3")).await));
    assert!(is_conflict(store.delete("k", &first).await));
    assert!(is_conflict(
        store.swap("no such key", &second, value_of("3")).await
    ));
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
        assert!(is_conflict(store.swap("k", &made, value_of("too late")).await));
    }
}

/// Several records side by side, because a store may make the writers of one record wait for each other:
/// SeaweedFS lets each of them sleep for whole seconds.
async fn of_concurrent_swaps_one_wins(store: Arc<impl RecordStore + 'static>) {
    let records = (0..10).map(|number| tokio::spawn(race_for(store.clone(), format!("k{number}"))));
    for record in records.collect::<Vec<_>>() {
        record.await.unwrap();
    }
}

/// Several writers swap the same state of a record, then the state that the winner wrote.
async fn race_for(store: Arc<impl RecordStore + 'static>, key: String) {
    let mut version = store.create(&key, value_of("start")).await.unwrap();
    for _ in 0..2 {
        let one = |i: u8| {
            let store = store.clone();
            let version = version.clone();
            let key = key.clone();
            tokio::spawn(async move { (i, store.swap(&key, &version, Bytes::from(vec![i]).into()).await) })
        };
        let tasks: Vec<_> = (0..8).map(one).collect();
        let mut winners = Vec::new();
        for task in tasks {
            match task.await.unwrap() {
                (i, Ok(version)) => winners.push((i, version)),
                (_, result) => assert!(is_conflict(result)),
            }
        }
        assert_eq!(winners.len(), 1);
        version = winners[0].1.clone();
        assert_eq!(value(&*store, &key).await.unwrap(), [winners[0].0][..]);
    }
}

async fn of_concurrent_creates_one_wins(store: Arc<impl RecordStore + 'static>) {
    let one = |i: u8| {
        let store = store.clone();
        tokio::spawn(async move {
            store
                .create("k", Bytes::from(vec![i]).into())
                .await
                .is_ok()
                .then_some(i)
        })
    };
    let mut winners = Vec::new();
    for task in (0..16).map(one).collect::<Vec<_>>() {
        winners.extend(task.await.unwrap());
    }
    assert_eq!(value(&*store, "k").await.unwrap(), winners);
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
        assert_eq!(
            value(&*store, "k").await,
            Some(sized(size)),
            "a failed change leaves the value alone"
        );
    }
    version = store.swap("k", &version, sized(100_000).into()).await.unwrap();
    store.delete("k", &version).await.unwrap();
    assert_eq!(value(&*store, "k").await, None);
}

/// Two versions that no store has issued.
fn foreign() -> [Version; 2] {
    [
        Version(Token::Number(7)),
        Version(Token::Text("another store's".into())),
    ]
}

async fn a_version_of_another_store_is_never_current(store: Arc<impl RecordStore>) {
    store.create("k", value_of("1")).await.unwrap();
    for foreign in foreign() {
        for key in ["k", "no such key"] {
            assert!(is_conflict(store.swap(key, &foreign, value_of("2")).await));
            assert!(is_conflict(store.delete(key, &foreign).await));
        }
    }
    assert_eq!(value(&*store, "k").await, Some(text("1")));
}

async fn a_hidden_record_is_read_and_changed_as_any_other(store: Arc<impl RecordStore>) {
    let first = store.create("k", hidden("1")).await.unwrap();
    assert!(
        is_conflict(store.create("k", value_of("another")).await),
        "the record exists"
    );
    let record = store.get("k").await.unwrap().unwrap();
    assert_eq!((&record.version, record.value), (&first, text("1")));
    let second = store.swap("k", &first, hidden("2")).await.unwrap();
    assert!(is_conflict(store.swap("k", &first, hidden("3")).await));
    assert!(is_conflict(store.delete("k", &first).await));
    assert_eq!(value(&*store, "k").await, Some(text("2")));
    store.delete("k", &second).await.unwrap();
    assert_eq!(value(&*store, "k").await, None);
    store.create("k", value_of("once more")).await.unwrap();
    // A large record, too.
    let large = Value {
        bytes: Bytes::from(vec![7; 100_000]),
        hidden: true,
        frees: false,
    };
    let version = store.create("l", large.clone()).await.unwrap();
    assert_eq!(value(&*store, "l").await, Some(large.bytes));
    assert_eq!(list(&*store, "", "", 10).await, ["k"]);
    store.delete("l", &version).await.unwrap();
}

async fn a_record_has_the_time_at_which_the_store_took_it(place: impl Timed) {
    async fn written(store: &impl RecordStore) -> Timestamp {
        let record = store.get("k").await.unwrap().unwrap();
        let listed = store
            .list_written(Range {
                prefix: "k",
                after: "",
                limit: 1,
                show: Show::All,
            })
            .await
            .unwrap();
        assert_eq!((listed[0].key.as_str(), listed[0].written), ("k", record.written));
        record.written
    }
    let store = place.open().await;
    let begin = store.now();
    let version = store.create("k", value_of("same")).await.unwrap();
    assert_eq!(written(&*store).await, begin);
    place.hand().advance(Duration::from_millis(1001));
    assert_eq!(
        (written(&*store).await, store.now()),
        (begin, begin.plus(Duration::from_millis(1001))),
        "nothing was written"
    );
    let version = store.swap("k", &version, value_of("same")).await.unwrap();
    assert_eq!(
        written(&*store).await,
        store.now(),
        "the same bytes, written again"
    );
    place.hand().advance(Duration::from_secs(1));
    let change = Change {
        key: "k".to_owned(),
        expected: Some(version),
        value: Some(hidden("same")),
    };
    assert!(store.change_all(vec![change]).await[0].is_ok());
    let end = store.now();
    assert_eq!(written(&*store).await, end, "also in a call with several changes");
    place.hand().advance(Duration::from_secs(1));
    assert!(is_conflict(store.create("k", value_of("refused")).await));
    assert_eq!(written(&*store).await, end, "a rejected change writes nothing");
    drop(store);
    let store = place.open().await;
    assert_eq!(
        (written(&*store).await, store.now()),
        (end, end.plus(Duration::from_secs(1)))
    );
}

async fn what_was_acknowledged_stays(place: impl Place) {
    let store = place.open().await;
    let first = store.create("k", value_of("1")).await.unwrap();
    let second = store.swap("k", &first, value_of("2")).await.unwrap();
    store.create("hidden", hidden("3")).await.unwrap();
    let gone = store.create("gone", value_of("4")).await.unwrap();
    store.delete("gone", &gone).await.unwrap();
    drop(store);
    let store = place.open().await;
    let record = store.get("k").await.unwrap().unwrap();
    assert_eq!((&record.version, record.value), (&second, text("2")));
    assert!(is_conflict(store.swap("k", &first, value_of("3")).await));
    store.swap("k", &second, value_of("3")).await.unwrap();
    assert!(is_conflict(store.delete("gone", &gone).await));
    assert_eq!(list(&*store, "", "", 10).await, ["k"]);
    assert_eq!(value(&*store, "hidden").await, Some(text("3")));
}
