//! A blob with damaged bytes.

use super::*;

/// Marks the blob's bytes as damaged, as a check of the store does. Returns the name of the bytes.
async fn suspect(store: &Memory, digest: &str) -> String {
    let key = digest.replacen("sha256:", &format!("b/sha256/{}/", &digest[7..9]), 1);
    let record = store.get(&key).await.unwrap().unwrap();
    let text = String::from_utf8(record.value.to_vec()).unwrap();
    let (head, said) = text.split_once('\n').unwrap();
    let mut said: Value = serde_json::from_str(said).unwrap();
    said["suspect"] = json!(true);
    store
        .swap(
            &key,
            &record.version,
            Bytes::from(format!("{head}\n{said}")).into(),
        )
        .await
        .unwrap();
    said["generation"].as_str().unwrap().to_owned()
}

async fn blob(store: &Memory, digest: &str) -> Value {
    let key = digest.replacen("sha256:", &format!("b/sha256/{}/", &digest[7..9]), 1);
    let value = store.get(&key).await.unwrap().unwrap().value;
    serde_json::from_slice(value.splitn(2, |byte| *byte == b'\n').nth(1).unwrap()).unwrap()
}

/// Other bytes of the same length.
async fn damage(store: &Memory, name: &str) {
    store
        .write(
            name,
            0,
            &Resume::default(),
            vec![Bytes::from_static(b"?????")],
            Box::new(|_| ()),
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn a_damaged_blob_is_missing_for_callers_that_may_push_and_their_push_replaces_it() {
    let mut site = Site::new();
    let store = Arc::new(Memory::with_clock(site.app.clock.clone()));
    site.app.registry = registry(store.clone(), store.clone());
    site.endpoint = Endpoint::new(site.app.clone());
    let digest = site.push_blob("open/a", "layer").await;
    let here = format!("/v2/open/a/blobs/{digest}");
    let head = |path: String| {
        let site = &site;
        async move { site.send(ask(Method::HEAD, &path), Body::empty()).await.status }
    };
    let mount = |from: &'static str, to: &'static str| {
        let site = &site;
        let digest = &digest;
        async move {
            site.send(
                ask(
                    Method::POST,
                    &format!("/v2/{to}/blobs/uploads/?mount={digest}&from={from}"),
                ),
                Body::empty(),
            )
            .await
        }
    };
    assert_eq!(head(here.clone()).await, StatusCode::OK);
    assert_eq!(mount("open/a", "open/b").await.status, StatusCode::CREATED);

    let old = suspect(&store, &digest).await;
    assert_eq!(head(here.clone()).await, StatusCode::NOT_FOUND);
    for (from, to) in [("open/a", "open/b"), ("open/a", "open/c"), ("open/a", "open/a")] {
        let answer = mount(from, to).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{to}");
        assert!(
            answer
                .header("location")
                .starts_with(&format!("/v2/{to}/blobs/uploads/")),
            "{to}"
        );
    }
    damage(&store, &old).await;
    let answer = site.get(&here).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    let text = answer.text();
    assert!(
        text.contains(&digest) && text.contains("push the blob again"),
        "{text}"
    );

    site.push_blob("open/a", "layer").await;
    let replaced = blob(&store, &digest).await;
    assert_eq!(
        (&replaced["trash"], &replaced["suspect"]),
        (&json!([old]), &Value::Null)
    );
    assert_eq!(head(here.clone()).await, StatusCode::OK);
    assert_eq!(mount("open/a", "open/c").await.status, StatusCode::CREATED);
    // The other link names the old bytes until its next push, but its readers get the new ones.
    let there = format!("/v2/open/b/blobs/{digest}");
    assert_eq!(site.get(&there).await.text(), "layer");
    assert_eq!(head(there.clone()).await, StatusCode::NOT_FOUND);
    site.push_blob("open/b", "layer").await;
    assert_eq!(head(there).await, StatusCode::OK);
    assert_eq!(blob(&store, &digest).await, replaced);

    suspect(&store, &digest).await;
    assert_eq!(
        site.send(ask(Method::DELETE, &here), Body::empty()).await.status,
        StatusCode::ACCEPTED
    );
    assert_eq!(site.get(&here).await.status, StatusCode::NOT_FOUND);
}

/// A caller that only reads is served, because the bytes are hashed again before they are treated as damaged.
#[tokio::test]
async fn good_bytes_that_are_marked_are_served_and_then_found_by_pushers_again() {
    let mut site = Site::new();
    let store = Arc::new(Memory::with_clock(site.app.clock.clone()));
    site.app.registry = registry(store.clone(), store.clone());
    site.endpoint = Endpoint::new(site.app.clone());
    let digest = sha256("layer");
    let push = ask(
        Method::POST,
        &format!("/v2/public/a/blobs/uploads/?digest={digest}"),
    );
    assert_eq!(
        site.send(bearer(push, &site.token("pusher")), "layer")
            .await
            .status,
        StatusCode::CREATED
    );
    suspect(&store, &digest).await;
    let path = format!("/v2/public/a/blobs/{digest}");
    for (token, status) in [
        (Some(site.token("pusher")), StatusCode::NOT_FOUND),
        (None, StatusCode::OK),
        (Some(site.token("pusher")), StatusCode::OK),
    ] {
        let request = ask(Method::HEAD, &path);
        let request = token
            .iter()
            .fold(request, |request, token| bearer(request, token));
        assert_eq!(site.send(request, Body::empty()).await.status, status);
    }
    assert_eq!(site.get(&path).await.text(), "layer");
}
