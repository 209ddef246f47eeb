//! Each injected fault has its effect, or has none.

use super::super::{Chaos, Conditions, Fake, Fault, Gate, Listing, On, Operation, Refusal, When};
use super::{client, read, replacing, send};
use futures_util::future::join_all;
use http::Method;
use http::header::IF_MATCH;
use object_store::aws::AmazonS3;
use object_store::list::{PaginatedListOptions, PaginatedListStore as _};
use object_store::multipart::MultipartStore as _;
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer as _};
use object_store::{Error, ObjectStore as _, ObjectStoreExt as _, PutMode};
use std::time::Duration;

/// Whether a PUT with this fault was answered well, and whether it had its effect.
async fn put_with(fault: Fault) -> (bool, bool) {
    let store = Fake::start().await;
    store.inject(On::operation(Operation::Put).key("a"), fault);
    let answer = client(store.place()).put(&Path::from("a"), "1".into()).await;
    (answer.is_ok(), store.object("a").is_some())
}

#[tokio::test]
async fn a_fault_comes_before_the_effect_or_after_it() {
    for (when, effect) in [(When::Before, false), (When::After, true)] {
        for fault in [
            Fault::Refuse(when, Refusal::INTERNAL),
            Fault::Refuse(when, Refusal::SLOW_DOWN),
            Fault::Close(when),
        ] {
            let name = format!("{fault:?}");
            assert_eq!(put_with(fault).await, (false, effect), "{name}");
        }
    }
}

#[tokio::test]
async fn refusals_look_like_those_of_s3() {
    let store = Fake::start().await;
    let client = client(store.place());
    let key = Path::from("a");
    let create = || client.put_opts(&key, "1".into(), PutMode::Create.into());
    store.inject(On::any(), Fault::Refuse(When::After, Refusal::PRECONDITION));
    assert!(matches!(create().await, Err(Error::AlreadyExists { .. })));
    assert_eq!(read(&client, &key).await, "1");
    store.inject(On::any(), Fault::Refuse(When::Before, Refusal::CONFLICT));
    let answer = client
        .put_opts(&key, "2".into(), replacing(&Some("\"x\"".to_owned())).into())
        .await;
    assert!(
        format!("{answer:?}").contains("ConditionalRequestConflict"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn an_error_may_come_after_the_status() {
    let store = Fake::start().await;
    let client = client(store.place());
    let key = Path::from("a");
    let id = client.create_multipart(&key).await.unwrap();
    let part = client.put_part(&key, &id, 0, "part".into()).await.unwrap();
    store.inject(
        On::operation(Operation::CompleteUpload),
        Fault::Refuse(When::Before, Refusal::INTERNAL_AFTER_200),
    );
    let complete = || client.complete_multipart(&key, &id, vec![part.clone()]);
    assert!(complete().await.is_err());
    assert!(store.object("a").is_none());
    complete().await.unwrap();
    assert_eq!(store.object("a").unwrap().body, "part");
}

#[tokio::test]
async fn a_store_may_delete_without_its_condition() {
    let store = Fake::start().await;
    store.set_rules(|rules| rules.conditional_delete = false);
    store.put("a", "x");
    let options = SignedUrlOptions::new().with_signed_header(IF_MATCH, "\"y\"".parse().unwrap());
    let client = client(store.place());
    let key = Path::from("a");
    let url = client.signed_url_opts(Method::DELETE, &key, Duration::from_mins(1), &options);
    let answer = send("DELETE", &url.await.unwrap(), "If-Match: \"y\"\r\n", "").await;
    assert_eq!(answer.0, 204);
    assert!(store.object("a").is_none());
}

#[tokio::test]
async fn a_client_that_leaves_does_not_stop_its_request() {
    let store = Fake::start().await;
    let client = client(store.place());
    let gate = Gate::default();
    store.inject(On::any(), Fault::Hold(When::Before, gate.clone()));
    let key = Path::from("a");
    tokio::select! {
        answer = client.put(&key, "x".into()) => panic!("{answer:?}"),
        () = gate.arrived(1) => {}
    }
    assert!(store.object("a").is_none());
    gate.open();
    while store.object("a").is_none() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn no_answer_comes_to_a_request_in_silence() {
    let store = Fake::start().await;
    store.inject(On::any(), Fault::Silence(When::After));
    let client = client(store.place());
    let key = Path::from("a");
    let asked = client.put(&key, "1".into());
    let written = async {
        while store.object("a").is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = asked => panic!("{answer:?}"),
        () = written => {}
    }
    assert_eq!(store.requests()[0].status, None);
    assert_eq!(store.requests()[0].effect, Some(200));
}

#[tokio::test]
async fn a_late_request_has_its_effect_after_later_ones() {
    let store = Fake::start().await;
    let client = client(store.place());
    let key = Path::from("a");
    store.inject(On::any(), Fault::Late(2));
    assert!(client.put(&key, "late".into()).await.is_err());
    client.put(&key, "second".into()).await.unwrap();
    assert_eq!(store.object("a").unwrap().body, "second");
    client.put(&Path::from("b"), "third".into()).await.unwrap();
    assert_eq!(store.object("a").unwrap().body, "late");
    // Its condition is that of the time of the effect.
    store.inject(On::any(), Fault::Late(usize::MAX));
    let key = Path::from("c");
    let create = client.put_opts(&key, "late".into(), PutMode::Create.into());
    assert!(create.await.is_err());
    client.put(&key, "first".into()).await.unwrap();
    store.apply_late();
    assert_eq!(store.object("c").unwrap().body, "first");
    assert_eq!(store.requests()[3].effect, Some(412));
}

#[tokio::test]
async fn a_torn_body_is_an_error() {
    let store = Fake::start().await;
    let client = client(store.place());
    store.put("a", "0123456789");
    store.inject(On::operation(Operation::Get), Fault::Torn);
    let found = client.get(&Path::from("a")).await.unwrap();
    assert_eq!(found.meta.size, 10);
    assert!(found.bytes().await.is_err());
    assert_eq!(read(&client, &Path::from("a")).await, "0123456789");
}

#[tokio::test]
async fn a_wrong_tag_belongs_to_no_object() {
    let store = Fake::start().await;
    let client = client(store.place());
    store.inject(On::any(), Fault::WrongTag);
    let answer = client.put(&Path::from("a"), "1".into()).await.unwrap();
    assert_ne!(answer.e_tag, Some(store.object("a").unwrap().tag));
}

async fn list(client: &AmazonS3, page_token: Option<String>) -> (Vec<String>, Option<String>) {
    let options = PaginatedListOptions {
        max_keys: Some(2),
        page_token,
        ..PaginatedListOptions::default()
    };
    let page = client.list_paginated(None, options).await.unwrap();
    let keys = page
        .result
        .objects
        .into_iter()
        .map(|object| object.location.into());
    (keys.collect(), page.page_token)
}

#[tokio::test]
async fn a_later_page_is_new_unless_it_is_made_old() {
    let store = Fake::start().await;
    let client = client(store.place());
    for (old, second) in [(false, ["c", "d"]), (true, ["c", "e"])] {
        store.remove("d");
        for key in ["a", "b", "c", "e"] {
            store.put(key, "x");
        }
        let (first, token) = list(&client, None).await;
        assert_eq!(first, ["a", "b"]);
        store.put("d", "x");
        if old {
            store.inject(On::operation(Operation::List), Fault::OldPage);
        }
        assert_eq!(list(&client, token).await.0, second);
    }
}

#[tokio::test]
async fn lists_may_be_wrong_in_order_or_behind() {
    let store = Fake::start().await;
    let client = client(store.place());
    for key in ["a", "b"] {
        client.put(&Path::from(key), "x".into()).await.unwrap();
    }
    for (listing, keys) in [
        (Listing::Exact, &["a", "b"][..]),
        (Listing::Unordered, &["b", "a"]),
    ] {
        store.set_rules(|rules| rules.listing = listing);
        assert_eq!(list(&client, None).await.0, keys);
    }
    store.set_rules(|rules| rules.listing = Listing::Behind);
    client.put(&Path::from("c"), "x".into()).await.unwrap();
    assert_eq!(list(&client, None).await.0, ["a", "b"]);
    store.set_rules(|rules| rules.listing = Listing::FromTheStart);
    let after = PaginatedListOptions {
        offset: Some("b".to_owned()),
        ..PaginatedListOptions::default()
    };
    let found = client.list_paginated(None, after).await.unwrap();
    assert_eq!(found.result.objects.len(), 3);
}

/// How many of eight creates of one object at the same time succeed.
async fn winners(conditions: Conditions) -> usize {
    let store = Fake::start().await;
    store.set_rules(|rules| rules.conditions = conditions);
    let client = client(store.place());
    let key = Path::from("a");
    let creates = (0..8).map(|_| client.put_opts(&key, "x".into(), PutMode::Create.into()));
    let answers = join_all(creates).await;
    answers.iter().filter(|answer| answer.is_ok()).count()
}

#[tokio::test]
async fn conditions_may_be_ignored_or_be_checked_too_early() {
    assert_eq!(winners(Conditions::Kept).await, 1);
    assert_eq!(winners(Conditions::Ignored).await, 8);
    assert!(winners(Conditions::NotAtomic).await > 1);
    // One after the other, a check that is too early is noticed by nobody.
    let store = Fake::start().await;
    store.set_rules(|rules| rules.conditions = Conditions::NotAtomic);
    store.put("a", "x");
    let create = PutMode::Create.into();
    let again = client(store.place())
        .put_opts(&Path::from("a"), "y".into(), create)
        .await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
}

#[tokio::test]
async fn a_request_waits_at_a_gate() {
    let store = Fake::start().await;
    let client = client(store.place());
    let gate = Gate::default();
    store.inject(
        On::operation(Operation::Put).under("a/"),
        Fault::Hold(When::Before, gate.clone()),
    );
    let held = {
        let client = client.clone();
        tokio::spawn(async move { client.put(&Path::from("a/1"), "held".into()).await })
    };
    gate.arrived(1).await;
    client.put(&Path::from("a/1"), "between".into()).await.unwrap();
    assert_eq!(store.object("a/1").unwrap().body, "between");
    gate.open();
    held.await.unwrap().unwrap();
    assert_eq!(store.object("a/1").unwrap().body, "held");
}

#[tokio::test]
async fn a_seed_repeats_its_faults() {
    let run = |seed| async move {
        let store = Fake::start().await;
        store.inject_at_random(Chaos {
            seed,
            per_mille: 300,
            faults: vec![
                Fault::Close(When::Before),
                Fault::Close(When::After),
                Fault::Refuse(When::Before, Refusal::UNAVAILABLE),
            ],
        });
        let client = client(store.place());
        let keys: Vec<Path> = (0..20).map(|number| Path::from(format!("{number}"))).collect();
        // At the same time, so that the order differs from run to run.
        join_all(keys.iter().map(|key| client.put(key, "x".into()))).await;
        store.objects().into_keys().collect::<Vec<_>>()
    };
    let first = run(1).await;
    assert!((1..20).contains(&first.len()), "{first:?}");
    assert_eq!(run(1).await, first);
    assert_ne!(run(2).await, first);
}

#[tokio::test]
async fn faults_at_random_come_only_where_a_store_may_have_them() {
    let store = Fake::start().await;
    let conflict = Fault::Refuse(When::Before, Refusal::CONFLICT);
    store.inject_at_random(Chaos {
        seed: 1,
        per_mille: 1000,
        faults: vec![conflict.clone(), Fault::Torn],
    });
    let client = client(store.place());
    let key = Path::from("a");
    client.put(&key, "01".into()).await.unwrap();
    assert_eq!(store.struck(&conflict), 0);
    assert!(client.get(&key).await.unwrap().bytes().await.is_err());
    let create = client.put_opts(&key, "2".into(), PutMode::Create.into());
    assert!(create.await.is_err());
    assert_eq!((store.struck(&conflict), store.struck(&Fault::Torn)), (1, 1));
    store.heal();
    assert_eq!(read(&client, &key).await, "01");
    assert_eq!(store.struck(&conflict), 1);
}

#[tokio::test]
async fn an_unreachable_store_answers_again_later() {
    let store = Fake::start().await;
    let client = client(store.place());
    let key = Path::from("a");
    client.put(&key, "1".into()).await.unwrap();
    store.set_unreachable(true);
    assert!(client.get(&key).await.is_err());
    store.set_unreachable(false);
    assert_eq!(read(&client, &key).await, "1");
}
