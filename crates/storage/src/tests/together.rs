//! The contract for several changes in one call.

use super::*;

contract! {
    stores: [
        each_change_is_for_itself,
        changes_are_done_in_their_order,
        an_empty_call_changes_nothing,
        many_changes_and_large_ones_are_done_together,
        versions_are_never_used_twice,
        changes_in_any_order_are_each_for_themselves,
    ],
    places: [],
    timed: [],
}

fn change(key: &str, expected: Option<&Version>, value: Option<Value>) -> Change {
    Change {
        key: key.to_owned(),
        expected: expected.cloned(),
        value,
    }
}

/// The result of each change: a version, none after a deletion, or a conflict.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    Written,
    Deleted,
    Conflict,
}

async fn all_of(store: &impl RecordStore, changes: Vec<Change>) -> Vec<Came> {
    let done = store.change_all(changes).await;
    let came = |one| match one {
        Ok(Some(_)) => Came::Written,
        Ok(None) => Came::Deleted,
        Err(Failure::Conflict) => Came::Conflict,
        Err(failure) => panic!("{failure}"),
    };
    done.into_iter().map(came).collect()
}

async fn each_change_is_for_itself(store: Arc<impl RecordStore>) {
    let one = store.create("1", value_of("1")).await.unwrap();
    let two = store.create("2", value_of("2")).await.unwrap();
    let old = store.create("3", value_of("3")).await.unwrap();
    store.swap("3", &old, value_of("3 again")).await.unwrap();
    let changes = vec![
        change("new", None, Some(value_of("new"))),
        change("1", None, Some(value_of("refused"))),
        change("2", Some(&one), Some(value_of("refused"))),
        change("3", Some(&old), None),
        change("none", Some(&one), Some(value_of("refused"))),
        change("none", None, None),
        change("1", Some(&one), Some(hidden("swapped"))),
        change("2", Some(&two), None),
    ];
    let came = all_of(&*store, changes).await;
    let mut expected = vec![Came::Written];
    expected.extend((0..5).map(|_| Came::Conflict));
    expected.extend([Came::Written, Came::Deleted]);
    assert_eq!(came, expected);
    for (key, now) in [
        ("new", Some("new")),
        ("1", Some("swapped")),
        ("2", None),
        ("3", Some("3 again")),
        ("none", None),
    ] {
        assert_eq!(value(&*store, key).await, now.map(text), "{key}");
    }
    assert_eq!(list(&*store, "", "", 10).await, ["3", "new"]);
}

async fn changes_are_done_in_their_order(store: Arc<impl RecordStore>) {
    use Came::{Conflict, Deleted, Written};
    let twice = vec![
        change("k", None, Some(value_of("1"))),
        change("k", None, Some(value_of("2"))),
    ];
    assert_eq!(all_of(&*store, twice).await, [Written, Conflict]);
    assert_eq!(value(&*store, "k").await, Some(text("1")));
    let version = store.get("k").await.unwrap().unwrap().version;
    let twice = vec![
        change("k", Some(&version), Some(value_of("2"))),
        change("k", Some(&version), None),
    ];
    assert_eq!(all_of(&*store, twice).await, [Written, Conflict]);
    assert_eq!(value(&*store, "k").await, Some(text("2")));
    let version = store.get("k").await.unwrap().unwrap().version;
    let anew = vec![
        change("k", None, Some(value_of("too early"))),
        change("k", Some(&version), None),
        change("k", None, Some(value_of("3"))),
        change("k", Some(&version), None),
    ];
    assert_eq!(
        all_of(&*store, anew).await,
        [Conflict, Deleted, Written, Conflict]
    );
    assert_eq!(value(&*store, "k").await, Some(text("3")));
}

async fn an_empty_call_changes_nothing(store: Arc<impl RecordStore>) {
    assert!(store.change_all(Vec::new()).await.is_empty());
}

async fn many_changes_and_large_ones_are_done_together(store: Arc<impl RecordStore>) {
    let sized = |number: usize| {
        Value::from(Bytes::from(vec![
            u8::try_from(number % 251).unwrap();
            number * 997 % 150_000
        ]))
    };
    let keys: Vec<String> = (0..150).map(|number| format!("{number:03}")).collect();
    // Every tenth exists already.
    for key in keys.iter().step_by(10) {
        store.create(key, value_of("first")).await.unwrap();
    }
    let create = |(number, key): (usize, &String)| change(key, None, Some(sized(number)));
    let done = store
        .change_all(keys.iter().enumerate().map(create).collect())
        .await;
    let mut changes = Vec::new();
    for (number, (key, done)) in keys.iter().zip(done).enumerate() {
        let there = number.is_multiple_of(10);
        assert_eq!(done.is_err(), there, "{key}");
        let record = store.get(key).await.unwrap().unwrap();
        assert!(
            record.value == if there { text("first") } else { sized(number).bytes },
            "{key}"
        );
        changes.push(change(
            key,
            Some(&record.version),
            if there { None } else { Some(sized(number + 1)) },
        ));
    }
    let done = store.change_all(changes).await;
    for (number, (key, done)) in keys.iter().zip(done).enumerate() {
        let expected = (!number.is_multiple_of(10)).then(|| sized(number + 1).bytes);
        assert_eq!(done.unwrap().is_some(), expected.is_some(), "{key}");
        assert!(value(&*store, key).await == expected, "{key}");
    }
}

async fn versions_are_never_used_twice(store: Arc<impl RecordStore>) {
    let mut seen = HashSet::new();
    let mut versions: Vec<Option<Version>> = vec![None; 5];
    for round in 0..20 {
        let value = (round % 4 != 3).then(|| value_of("same"));
        let one = |(number, version): (usize, &Option<Version>)| {
            change(&number.to_string(), version.as_ref(), value.clone())
        };
        let done = store
            .change_all(versions.iter().enumerate().map(one).collect())
            .await;
        versions = done.into_iter().map(Result::unwrap).collect();
        assert!(
            versions
                .iter()
                .flatten()
                .all(|version| seen.insert(version.clone())),
            "in round {round}"
        );
    }
    assert_eq!(seen.len(), 75);
}

async fn changes_in_any_order_are_each_for_themselves(store: Arc<impl RecordStore>) {
    let keys: Vec<String> = (0..60).map(|number| format!("{number:02}")).collect();
    let create = |key: &String| change(key, None, Some(value_of("1")));
    let created = store.change_each(keys.iter().map(create).collect()).await;
    let created: Vec<_> = created.into_iter().map(|one| one.unwrap().unwrap()).collect();
    assert_eq!(list(&*store, "", "", 100).await, keys);
    // Every third is deleted, every third is swapped, and the others are in another state than expected.
    let next = |(number, version): (usize, &Version)| match number % 3 {
        0 => change(&keys[number], Some(version), None),
        1 => change(&keys[number], Some(version), Some(value_of("2"))),
        _ => change(&keys[number], None, Some(value_of("3"))),
    };
    let changed = store
        .change_each(created.iter().enumerate().map(next).collect())
        .await;
    for (number, changed) in changed.into_iter().enumerate() {
        let now = store.get(&keys[number]).await.unwrap();
        let now = now.map(|record| (record.version, record.value));
        match number % 3 {
            0 => assert_eq!((changed.unwrap(), now), (None, None)),
            1 => assert_eq!(now, Some((changed.unwrap().unwrap(), text("2")))),
            _ => {
                assert!(is_conflict(changed));
                assert_eq!(now, Some((created[number].clone(), text("1"))));
            }
        }
    }
    assert!(store.change_each(Vec::new()).await.is_empty());
}

/// A full store that makes several changes one by one, as the contract's own `change_all` does. The test kit's
/// store with hooks cannot stand in here: it has a `change_all` of its own, and it is built on another build of
/// this crate, whose types differ from those of its unit tests.
struct FullStore(Memory);

impl RecordStore for FullStore {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>> {
        self.0.get(key)
    }

    fn create<'a>(&'a self, _: &'a str, _: Value) -> Answer<'a, Version> {
        Box::pin(async { Err(Failure::Full) })
    }

    fn swap<'a>(&'a self, key: &'a str, expected: &'a Version, value: Value) -> Answer<'a, Version> {
        self.0.swap(key, expected, value)
    }

    fn delete<'a>(&'a self, key: &'a str, expected: &'a Version) -> Answer<'a, ()> {
        self.0.delete(key, expected)
    }

    fn list<'a>(&'a self, range: Range<'a>) -> Answer<'a, Vec<String>> {
        self.0.list(range)
    }

    fn list_written<'a>(&'a self, range: Range<'a>) -> Answer<'a, Vec<Written>> {
        self.0.list_written(range)
    }

    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

#[tokio::test]
async fn a_failure_stops_what_comes_behind_it_and_a_conflict_does_not() {
    let store = FullStore(Memory::new());
    let one = store.0.create("1", value_of("1")).await.unwrap();
    let two = store.0.create("2", value_of("2")).await.unwrap();
    let changes = vec![
        change("2", Some(&one), None),
        change("1", Some(&one), Some(value_of("swapped"))),
        change("3", None, Some(value_of("3"))),
        change("2", Some(&two), None),
    ];
    let done = store.change_all(changes).await;
    assert!(
        matches!(
            done[..],
            [
                Err(Failure::Conflict),
                Ok(Some(_)),
                Err(Failure::Full),
                Err(Failure::Full)
            ]
        ),
        "{done:?}"
    );
    assert_eq!(value(&store, "1").await, Some(text("swapped")));
    assert_eq!(value(&store, "2").await, Some(text("2")));
}
