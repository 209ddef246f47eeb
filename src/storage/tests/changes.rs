//! Rules of the contract about hidden records, times, several changes at once, and bytes that are kept.

use super::*;
use crate::storage::Change;

async fn shown(store: &impl RecordStore, show: Show) -> Vec<String> {
    store.list(Range { prefix: "", after: "", limit: 100, show }).await.unwrap()
}

fn hidden(value: &'static str) -> Value {
    Value { hidden: true, ..value_of(value) }
}

pub(super) async fn a_hidden_record_is_listed_only_to_who_asks(store: Arc<impl RecordStore>) {
    for key in ["a", "c", "e"] {
        store.create(key, value_of("seen")).await.unwrap();
    }
    let first = store.create("b", hidden("hidden")).await.unwrap();
    store.create("d", hidden("hidden")).await.unwrap();
    assert_eq!(shown(&*store, Show::Visible).await, ["a", "c", "e"]);
    assert_eq!(shown(&*store, Show::Hidden).await, ["b", "d"]);
    assert_eq!(shown(&*store, Show::All).await, ["a", "b", "c", "d", "e"]);
    // A page is as long as it may be, whatever lies in between.
    assert_eq!(list(&*store, "", "a", 2).await, ["c", "e"]);
    assert_eq!(store.list(Range { prefix: "", after: "b", limit: 1, show: Show::Hidden }).await.unwrap(), ["d"]);
    assert_eq!(value(&*store, "b").await.unwrap(), "hidden");
    assert!(is_conflict(store.create("b", value_of("again")).await));
    let second = store.swap("b", &first, value_of("seen")).await.unwrap();
    assert_eq!((shown(&*store, Show::Visible).await.len(), shown(&*store, Show::Hidden).await), (4, vec!["d".to_owned()]));
    let third = store.swap("b", &second, hidden("hidden")).await.unwrap();
    assert_eq!(shown(&*store, Show::Hidden).await, ["b", "d"]);
    store.delete("b", &third).await.unwrap();
    assert_eq!(shown(&*store, Show::Hidden).await, ["d"]);
}

pub(super) async fn a_record_says_when_the_store_took_it(store: Arc<impl RecordStore>) {
    let mut before = store.now();
    let mut version = None;
    for state in 0..2 {
        version = Some(match &version {
            None => store.create("k", value_of("1")).await.unwrap(),
            Some(version) => store.swap("k", version, hidden("2")).await.unwrap(),
        });
        let record = store.get("k").await.unwrap().unwrap();
        assert!(before <= record.written && record.written <= store.now(), "{state}");
        let listed = store.list_written(Range { prefix: "", after: "", limit: 10, show: Show::All }).await.unwrap();
        assert_eq!(listed.iter().map(|one| (one.key.as_str(), one.written)).collect::<Vec<_>>(), [("k", record.written)], "{state}");
        // The store's time goes on.
        while store.now() <= record.written {
            tokio::task::yield_now().await;
        }
        before = store.now();
    }
    let of = async |show| store.list_written(Range { prefix: "", after: "", limit: 10, show }).await.unwrap().len();
    assert_eq!((of(Show::Visible).await, of(Show::Hidden).await), (0, 1));
}

pub(super) async fn each_of_several_changes_stands_for_itself(store: Arc<impl RecordStore>) {
    let old = store.create("swapped", value_of("old")).await.unwrap();
    let gone = store.create("deleted", value_of("old")).await.unwrap();
    let stale = store.create("stale", value_of("old")).await.unwrap();
    store.swap("stale", &stale, value_of("newer")).await.unwrap();
    let change = |key: &str, expected: Option<&Version>, value: Option<&'static str>| Change {
        key: key.to_owned(),
        expected: expected.cloned(),
        value: value.map(value_of),
    };
    let large = Change { value: Some(Bytes::from(vec![7; 100_000]).into()), ..change("large", None, None) };
    let done = store
        .change_all(vec![
            change("made", None, Some("new")),
            change("stale", Some(&stale), Some("lost")),
            change("swapped", Some(&old), Some("new")),
            change("swapped/made", None, Some("new")),
            change("stale", None, Some("lost")),
            change("deleted", Some(&gone), None),
            large,
        ])
        .await;
    let outcomes = done.iter().map(|one| match one {
        Ok(Some(_)) => "written",
        Ok(None) => "deleted",
        Err(Failure::Conflict) => "conflict",
        Err(_) => "failed",
    });
    assert_eq!(outcomes.collect::<Vec<_>>(), ["written", "conflict", "written", "written", "conflict", "deleted", "written"]);
    assert_eq!(list(&*store, "", "", 100).await, ["large", "made", "stale", "swapped", "swapped/made"]);
    assert_eq!((value(&*store, "stale").await.unwrap(), value(&*store, "swapped").await.unwrap()), (text("newer"), text("new")));
    // The versions that are answered with are those that stand.
    let made = done[0].clone().unwrap().unwrap();
    store.delete("made", &made).await.unwrap();
    assert!(store.change_all(Vec::new()).await.is_empty());
}

pub(super) async fn what_was_kept_is_gone_on_with(store: Arc<impl BlobStore>) {
    write(&*store, NAME, 0, vec![text("kept")]).await.unwrap();
    assert!(is_missing(store.keep(NAME, 5, &NEW).await));
    let resume = store.keep(NAME, 4, &NEW).await.unwrap();
    assert_eq!(all(&*store, NAME).await, b"kept");
    // What came after that is cut off, as by a writer who took over.
    store.write(NAME, 4, &resume, vec![text(" and lost")], Box::new(|_| ())).await.unwrap();
    store.write(NAME, 4, &resume, vec![text(" on")], Box::new(|_| ())).await.unwrap();
    store.seal(NAME, 7, &resume).await.unwrap();
    assert_eq!(all(&*store, NAME).await, b"kept on");
}
