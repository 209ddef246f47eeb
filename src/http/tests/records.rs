//! Damaged records of a local store. A push repairs them, a deletion works, and nothing else fails because of
//! them.

use super::*;
use rusqlite::Connection;
use std::fs;
use std::path::PathBuf;

const R: &str = "open/a";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

impl Site {
    fn store(&self) -> PathBuf {
        self.folder.as_ref().unwrap().path().to_owned()
    }

    /// Runs `damage` on the folder and opens the store again.
    fn reopen(&mut self, damage: impl FnOnce(&PathBuf)) {
        let memory = Arc::new(Memory::with_clock(self.app.clock.clone()));
        self.app.registry = registry(memory.clone(), memory);
        self.endpoint = Endpoint::new(self.app.clone());
        damage(&self.store());
        let settings = crate::storage::local::Settings {
            commit: true,
            clock: self.app.clock.clone(),
        };
        let store = Arc::new(Local::open_with(&self.store(), settings).unwrap());
        self.app.registry = registry(store.clone(), store);
        self.endpoint = Endpoint::new(self.app.clone());
    }

    /// Damages the records whose keys match. There must be at least one.
    fn damage(&mut self, like: &str) {
        self.reopen(|store| {
            let db = Connection::open(store.join("records.sqlite3")).unwrap();
            let changed = db
                .execute(
                    "UPDATE records SET value = CAST('{\"form' AS BLOB) WHERE key LIKE ?1",
                    [like],
                )
                .unwrap();
            assert!(changed > 0, "{like}");
        });
    }

    async fn status(&self, method: Method, path: &str) -> u16 {
        self.send(ask(method, path), Body::empty()).await.status.as_u16()
    }

    async fn put_at(&self, reference: &str, manifest: &Value) -> Answer {
        let media_type = manifest["mediaType"].as_str().unwrap();
        let request =
            ask(Method::PUT, &format!("/v2/{R}/manifests/{reference}")).header("content-type", media_type);
        self.send(request, manifest.to_string()).await
    }
}

fn manifest(reference: &str) -> String {
    format!("/v2/{R}/manifests/{reference}")
}

#[tokio::test]
async fn a_push_of_an_image_repairs_all_its_records() {
    for like in [
        "r/%/m/%", "r/%/t/%", "r/%/k/%", "r/%/s/%", "b/%", "l/%", "c/%", "%",
    ] {
        let mut site = Site::on_disk();
        let subject = json!({"mediaType": IMAGE, "digest": sha256("subject"), "size": 2});
        let push = async |site: &Site| site.push_image(R, "v1", json!({"subject": subject})).await;
        let digest = push(&site).await.header("docker-content-digest").to_owned();
        site.damage(like);
        let again = push(&site).await;
        assert_eq!(again.status, StatusCode::CREATED, "{like}: {}", again.text());
        for path in [
            manifest("v1"),
            manifest(&digest),
            format!("/v2/{R}/blobs/{}", sha256("{}")),
            format!("/v2/{R}/tags/list"),
        ] {
            for method in [Method::GET, Method::HEAD] {
                assert_eq!(site.status(method, &path).await, 200, "{like} {path}");
            }
        }
        let referrers = site
            .get(&format!("/v2/{R}/referrers/{}", sha256("subject")))
            .await;
        assert_eq!(referrers.json()["manifests"][0]["digest"], digest, "{like}");
        assert_eq!(
            site.status(Method::DELETE, &manifest(&digest)).await,
            202,
            "{like}"
        );
        assert_eq!(site.status(Method::GET, &manifest("v1")).await, 404, "{like}");
    }
}

#[tokio::test]
async fn a_large_manifest_whose_value_is_lost_or_changed_is_pushed_again() {
    for harm in ["lost", "changed", "a link"] {
        let mut site = Site::on_disk();
        let large = json!({"annotations": {"large": "x".repeat(100_000)}});
        let digest = site
            .push_image(R, "v1", large.clone())
            .await
            .header("docker-content-digest")
            .to_owned();
        site.reopen(|store| {
            let list = |folder: PathBuf| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            let values: Vec<PathBuf> = list(store.join("v")).flat_map(list).collect();
            assert_eq!(values.len(), 1);
            let mut value = fs::read(&values[0]).unwrap();
            fs::remove_file(&values[0]).unwrap();
            match harm {
                "changed" => {
                    *value.last_mut().unwrap() = b' ';
                    fs::write(&values[0], value).unwrap();
                }
                "a link" => std::os::unix::fs::symlink("elsewhere", &values[0]).unwrap(),
                _ => {}
            }
        });
        let damaged = site.get(&manifest("v1")).await;
        assert_eq!(damaged.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(
            damaged.text().contains(&format!("the record r/{R}!/m/sha256/")),
            "{}",
            damaged.text()
        );
        assert_eq!(
            site.status(Method::HEAD, &manifest("v1")).await,
            404,
            "a caller that may push should push it again"
        );
        assert_eq!(site.push_image(R, "v1", large).await.status, StatusCode::CREATED);
        let whole = site.get(&manifest("v1")).await;
        assert_eq!((whole.status, sha256(&whole.body)), (StatusCode::OK, digest));
    }
}

#[tokio::test]
async fn a_refused_push_of_a_damaged_manifest_keeps_its_tags() {
    let mut site = Site::on_disk();
    let digest = site
        .push_image(R, "v1", json!({}))
        .await
        .header("docker-content-digest")
        .to_owned();
    site.reopen(|store| {
        let db = Connection::open(store.join("records.sqlite3")).unwrap();
        db.execute(
            "UPDATE records SET value = CAST('{' AS BLOB) WHERE key LIKE 'r/%/m/%'",
            [],
        )
        .unwrap();
        db.execute("DELETE FROM records WHERE key LIKE 'l/%'", [])
            .unwrap();
    });
    let image = image(&sha256("{}"));
    assert_eq!(
        site.put_at(&digest, &image).await.error(),
        (404, "MANIFEST_BLOB_UNKNOWN".into())
    );
    site.push_blob(R, "{}").await;
    assert_eq!(site.put_at(&digest, &image).await.status, StatusCode::CREATED);
    assert_eq!(site.status(Method::GET, &manifest("v1")).await, 200);
}

/// No manifest needs the blob, but the unreadable one might.
#[tokio::test]
async fn an_unreadable_manifest_stops_only_the_deletion_of_blobs() {
    let mut site = Site::on_disk();
    let bad = site
        .push_image(R, "bad", json!({"n": 1}))
        .await
        .header("docker-content-digest")
        .to_owned();
    site.push_image(R, "good", json!({"n": 2})).await;
    let blob = format!("/v2/{R}/blobs/{}", site.push_blob(R, "layer").await);
    site.damage(&format!(
        "r/{R}!/m/sha256/{}",
        bad.strip_prefix("sha256:").unwrap()
    ));
    let refused = site.send(ask(Method::DELETE, &blob), Body::empty()).await;
    assert_eq!(refused.error(), (405, "DENIED".into()));
    assert_eq!(
        (refused.header("allow"), &refused.json()["errors"][0]["detail"]),
        ("GET, HEAD", &json!({"manifest": bad}))
    );
    let message = refused.json()["errors"][0]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        message.contains(&bad) && message.contains("push that manifest again, or delete it"),
        "{message}"
    );
    for (method, path, status) in [
        (Method::GET, blob.clone(), 200),
        (Method::GET, manifest("good"), 200),
        (Method::GET, format!("/v2/{R}/tags/list"), 200),
        (Method::DELETE, manifest("good"), 202),
        (Method::GET, manifest("bad"), 500),
        (Method::DELETE, manifest(&bad), 202),
        (Method::GET, manifest("bad"), 404),
        (Method::DELETE, blob, 202),
    ] {
        assert_eq!(
            site.status(method.clone(), &path).await,
            status,
            "{method} {path}"
        );
    }
    assert_eq!(
        site.push_image(R, "new", json!({})).await.status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn an_unreadable_referrer_is_left_out_with_a_warning() {
    let mut site = Site::on_disk();
    let subject = json!({"mediaType": IMAGE, "digest": sha256("subject"), "size": 2});
    let mut referrers = Vec::new();
    for n in 0..3 {
        let pushed = site
            .push_image(R, &format!("v{n}"), json!({"n": n, "subject": subject}))
            .await;
        referrers.push(pushed.header("docker-content-digest").to_owned());
    }
    let bad = referrers.remove(1);
    site.damage(&format!(
        "r/{R}!/m/sha256/{}",
        bad.strip_prefix("sha256:").unwrap()
    ));
    let answer = site
        .get(&format!("/v2/{R}/referrers/{}", sha256("subject")))
        .await;
    let mut found: Vec<String> = answer.json()["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["digest"].as_str().unwrap().to_owned())
        .collect();
    found.sort();
    referrers.sort();
    assert_eq!((answer.status, found), (StatusCode::OK, referrers));
    assert!(
        answer.header("warning").contains("1 referrers cannot be read"),
        "{:?}",
        answer.headers
    );
}

#[tokio::test]
async fn damaged_tags_and_links_can_be_deleted() {
    let mut site = Site::on_disk();
    site.push_image(R, "v1", json!({})).await;
    let blob = format!("/v2/{R}/blobs/{}", site.push_blob(R, "layer").await);
    site.damage("r/%/t/%");
    site.damage("l/%");
    let damaged = site.get(&manifest("v1")).await;
    assert!(
        damaged.status.as_u16() == 500 && damaged.text().contains(&format!("the record r/{R}!/t/v1")),
        "{}",
        damaged.text()
    );
    assert_eq!(site.status(Method::GET, &blob).await, 500);
    assert_eq!(
        site.status(Method::HEAD, &blob).await,
        404,
        "a caller that may push should push it again"
    );
    for path in [manifest("v1"), blob] {
        assert_eq!(site.status(Method::DELETE, &path).await, 202, "{path}");
        assert_eq!(site.status(Method::GET, &path).await, 404, "{path}");
    }
}

/// A later version may know more than this one.
#[tokio::test]
async fn a_record_of_a_later_version_is_not_replaced() {
    let mut site = Site::on_disk();
    let digest = site
        .push_image(R, "v1", json!({}))
        .await
        .header("docker-content-digest")
        .to_owned();
    site.reopen(|store| {
        let db = Connection::open(store.join("records.sqlite3")).unwrap();
        let later = "{\"format\":2,\"nonce\":\"1\",\"critical\":[\"later\"]}\n{}";
        db.execute(
            "UPDATE records SET value = CAST(?1 AS BLOB) WHERE key LIKE 'r/%/m/%'",
            [later],
        )
        .unwrap();
    });
    for refused in [
        site.put_at("v1", &image(&sha256("{}"))).await,
        site.send(ask(Method::DELETE, &manifest(&digest)), Body::empty())
            .await,
    ] {
        assert_eq!(refused.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(
            refused.text().contains("serve this store with that version"),
            "{}",
            refused.text()
        );
    }
}

#[tokio::test]
async fn an_unreadable_upload_is_unknown() {
    let mut site = Site::on_disk();
    let begun = site
        .send(
            ask(Method::POST, &format!("/v2/{R}/blobs/uploads/")),
            Body::empty(),
        )
        .await;
    site.damage("u/%");
    let answer = site
        .send(ask(Method::PATCH, begun.header("location")), "bytes")
        .await;
    assert_eq!(answer.error(), (404, "BLOB_UPLOAD_UNKNOWN".into()));
}

#[tokio::test]
async fn an_unreadable_index_keeps_the_manifests_that_it_may_list() {
    let mut site = Site::on_disk();
    let child = site
        .push_image(R, "child", json!({}))
        .await
        .header("docker-content-digest")
        .to_owned();
    let index =
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [site.described(R, &child).await]});
    let bad = site
        .put_at("bad", &index)
        .await
        .header("docker-content-digest")
        .to_owned();
    let delete = || ask(Method::DELETE, &manifest(&child));
    let listed = site.send(delete(), Body::empty()).await;
    assert_eq!(
        (listed.error().0, &listed.json()["errors"][0]["detail"]),
        (405, &json!({"index": bad}))
    );
    site.damage(&format!(
        "r/{R}!/m/sha256/{}",
        bad.strip_prefix("sha256:").unwrap()
    ));
    let refused = site.send(delete(), Body::empty()).await;
    assert_eq!(refused.error(), (405, "DENIED".into()));
    assert_eq!(
        (refused.header("allow"), &refused.json()["errors"][0]["detail"]),
        ("GET, HEAD, PUT", &json!({"index": bad}))
    );
    let message = refused.json()["errors"][0]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        message.contains(&format!(
            "the index {bad} of this repository cannot be read, so it may list this manifest"
        )),
        "{message}"
    );
    assert_eq!(site.status(Method::DELETE, &manifest(&bad)).await, 202);
    assert_eq!(site.status(Method::DELETE, &manifest(&child)).await, 202);
}
