//! The contract for lists of records.

use super::*;

contract! {
    stores: [
        keys_are_listed_in_the_order_of_their_bytes,
        a_list_holds_its_prefix_only,
        a_list_continues_after_any_key,
        a_list_shows_what_it_is_asked_for,
        a_list_goes_past_many_hidden_records,
        a_record_may_be_hidden_and_shown_again,
    ],
    places: [],
    timed: [],
}

async fn keys_are_listed_in_the_order_of_their_bytes(store: Arc<impl RecordStore>) {
    let mut keys = [
        "b",
        "a/b",
        "a",
        "a-b",
        "aé",
        "a\u{10ffff}",
        "A",
        "a/",
        "a0",
        "\u{10ffff}",
        "",
    ];
    for key in keys {
        store.create(key, Bytes::new().into()).await.unwrap();
    }
    keys.sort_unstable();
    assert_eq!(
        list(&*store, "", "", 100).await,
        keys[1..],
        "the empty key is not after the empty key"
    );
}

async fn a_list_holds_its_prefix_only(store: Arc<impl RecordStore>) {
    for key in [
        "t/app/1",
        "t/app/2",
        "t/app-x/1",
        "t/app",
        "t/app0",
        "u",
        "t/app/\u{10ffff}",
        "t/app/\u{10ffff}z",
    ] {
        store.create(key, Bytes::new().into()).await.unwrap();
    }
    assert_eq!(
        list(&*store, "t/app/", "", 100).await,
        ["t/app/1", "t/app/2", "t/app/\u{10ffff}", "t/app/\u{10ffff}z"]
    );
    assert_eq!(
        list(&*store, "t/app", "", 2).await,
        ["t/app", "t/app-x/1"],
        "a key that equals the prefix matches"
    );
    assert_eq!(list(&*store, "t/none/", "", 100).await, [""; 0]);
    assert_eq!(list(&*store, "t/", "", 0).await, [""; 0]);
}

async fn a_list_continues_after_any_key(store: Arc<impl RecordStore>) {
    let keys: Vec<String> = (0..250).map(|i| format!("t/{i:03}")).collect();
    let create = |key: &String| Change {
        key: key.clone(),
        expected: None,
        value: Some(Bytes::new().into()),
    };
    let created = store.change_each(keys.iter().map(create).collect()).await;
    assert!(created.iter().all(Result::is_ok));
    let mut listed = Vec::new();
    let mut after = String::new();
    loop {
        let page = list(&*store, "t/", &after, 100).await;
        let Some(last) = page.last() else { break };
        after.clone_from(last);
        listed.extend(page);
    }
    assert_eq!(listed, keys);
    assert_eq!(
        list(&*store, "t/", "t/0425", 1).await,
        ["t/043"],
        "after a key that does not exist"
    );
    assert_eq!(
        list(&*store, "t/", "a", 1).await,
        ["t/000"],
        "after a key before the prefix"
    );
    assert_eq!(
        list(&*store, "t/", "u", 1).await,
        [""; 0],
        "after a key behind the prefix"
    );
    assert_eq!(list(&*store, "t/", "t/", 1).await, ["t/000"]);
}

const SHOWN: [Show; 3] = [Show::Visible, Show::Hidden, Show::All];

/// All pages of a list, each of at most `limit` keys. Checks that the list with times has the same keys.
async fn paged(store: &impl RecordStore, prefix: &str, show: Show, limit: usize) -> Vec<String> {
    let mut listed = Vec::new();
    let mut after = String::new();
    loop {
        let range = Range {
            prefix,
            after: &after,
            limit,
            show,
        };
        let page = store.list(range).await.unwrap();
        let written = store.list_written(range).await.unwrap();
        assert_eq!(
            written.iter().map(|one| &one.key).collect::<Vec<_>>(),
            page.iter().collect::<Vec<_>>()
        );
        assert!(page.len() <= limit);
        // A page is full as long as there are more keys.
        let full = page.len() == limit;
        listed.extend(page);
        let Some(last) = listed.last().filter(|_| full) else {
            return listed;
        };
        after.clone_from(last);
    }
}

async fn make(store: &impl RecordStore, key: &str, hidden: bool) -> Version {
    store
        .create(
            key,
            Value {
                bytes: text("v"),
                hidden,
                frees: false,
            },
        )
        .await
        .unwrap()
}

async fn a_list_shows_what_it_is_asked_for(store: Arc<impl RecordStore>) {
    let is_hidden = |number: usize| number.is_multiple_of(3) || (20..40).contains(&number);
    let key = |number: usize| format!("t/{number:03}");
    for number in 0..61 {
        make(&*store, &key(number), is_hidden(number)).await;
    }
    // Neighbours of the prefix, of both kinds.
    for (outside, hidden) in [
        ("s", true),
        ("t", true),
        ("t0", true),
        ("t0/1", false),
        ("u", true),
    ] {
        make(&*store, outside, hidden).await;
    }
    for show in SHOWN {
        let shown = |number: &usize| match show {
            Show::Visible => !is_hidden(*number),
            Show::Hidden => is_hidden(*number),
            Show::All => true,
        };
        let expected: Vec<_> = (0..61).filter(shown).map(key).collect();
        for limit in [1, 7, 33, 34, 61, 1000] {
            assert_eq!(
                paged(&*store, "t/", show, limit).await,
                expected,
                "{show:?} by {limit}"
            );
        }
        let none = Range {
            prefix: "t/",
            after: "",
            limit: 0,
            show,
        };
        assert!(
            store.list(none).await.unwrap().is_empty() && store.list_written(none).await.unwrap().is_empty()
        );
        let behind = Range {
            prefix: "t/",
            after: &key(59),
            limit: 10,
            show,
        };
        let found = store.list(behind).await.unwrap();
        assert_eq!(
            found.first().map(String::as_str),
            (show != Show::Visible).then_some("t/060"),
            "{show:?}"
        );
    }
}

async fn a_list_goes_past_many_hidden_records(store: Arc<impl RecordStore>) {
    let keys: Vec<String> = (0..500).map(|number| format!("t/{number:03}")).collect();
    let create = |key: &String| Change {
        key: key.clone(),
        expected: None,
        value: Some(hidden("v")),
    };
    assert!(
        store
            .change_each(keys.iter().map(create).collect())
            .await
            .iter()
            .all(Result::is_ok)
    );
    for limit in [1, 10, 499, 500, 501] {
        assert_eq!(paged(&*store, "t/", Show::Visible, limit).await, [""; 0]);
    }
    for limit in [100, 499, 500, 501] {
        assert_eq!(paged(&*store, "t/", Show::Hidden, limit).await, keys);
    }
    for visible in ["t/499x", "t/499y", "t/499z", "u"] {
        make(&*store, visible, false).await;
    }
    for limit in [1, 2, 3, 10] {
        assert_eq!(
            paged(&*store, "t/", Show::Visible, limit).await,
            ["t/499x", "t/499y", "t/499z"],
            "by {limit}"
        );
    }
}

async fn a_record_may_be_hidden_and_shown_again(store: Arc<impl RecordStore>) {
    make(&*store, "a", false).await;
    make(&*store, "c", true).await;
    let mut version = make(&*store, "b", true).await;
    for now_hidden in [true, false, false, true, false] {
        version = store
            .swap(
                "b",
                &version,
                Value {
                    bytes: text("v"),
                    hidden: now_hidden,
                    frees: false,
                },
            )
            .await
            .unwrap();
        let (visible, hidden): (&[&str], &[&str]) = if now_hidden {
            (&["a"], &["b", "c"])
        } else {
            (&["a", "b"], &["c"])
        };
        for (show, expected) in [
            (Show::Visible, visible),
            (Show::Hidden, hidden),
            (Show::All, &["a", "b", "c"]),
        ] {
            assert_eq!(paged(&*store, "", show, 10).await, expected, "{show:?}");
        }
    }
    let version = store.swap("b", &version, hidden("v")).await.unwrap();
    store.delete("b", &version).await.unwrap();
    for (show, expected) in [
        (Show::Visible, &["a"][..]),
        (Show::Hidden, &["c"]),
        (Show::All, &["a", "c"]),
    ] {
        assert_eq!(paged(&*store, "", show, 10).await, expected, "{show:?}");
    }
}
