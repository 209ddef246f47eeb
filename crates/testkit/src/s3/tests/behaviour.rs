//! The store in the process does what the real ones do.

use super::super::{Fake, Moto, Place, SeaweedFs};
use super::{client, read, replacing, send};
use bytes::Bytes;
use http::Method;
use http::header::IF_MATCH;
use object_store::aws::AmazonS3;
use object_store::list::{PaginatedListOptions, PaginatedListStore as _};
use object_store::multipart::MultipartStore as _;
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer as _};
use object_store::{Error, GetOptions, ObjectStore as _, ObjectStoreExt as _, PutMode};
use std::time::Duration;

#[tokio::test]
async fn the_store_in_the_process_behaves_like_s3() {
    let store = Fake::start().await;
    behaves_like_s3(store.place()).await;
}

#[tokio::test]
async fn moto_behaves_like_s3() {
    if let Some(store) = Moto::start() {
        behaves_like_s3(store.place()).await;
    }
}

#[tokio::test]
async fn seaweedfs_behaves_like_s3_and_holds_a_key_to_its_bucket() {
    if let Some(store) = SeaweedFs::start() {
        // Without rights of an administrator.
        let limited = store.limited_place();
        behaves_like_s3(&limited).await;
        let other = Place {
            bucket: "other".to_owned(),
            ..limited
        };
        let refused = client(&other).put(&Path::from("a"), "x".into()).await;
        assert!(
            matches!(refused, Err(Error::PermissionDenied { .. })),
            "{refused:?}"
        );
    }
}

async fn behaves_like_s3(place: &Place) {
    let store = client(place);
    keeps_conditions(&store).await;
    reads_parts_and_changes(&store).await;
    lists_in_order(&store).await;
    joins_parts(&store).await;
    removes_many(&store).await;
    deletes_on_condition(&store).await;
    lists_open_uploads(&store).await;
}

async fn keeps_conditions(store: &AmazonS3) {
    let key = Path::from("conditions/a key with ü+%");
    let first = store
        .put_opts(&key, "1".into(), PutMode::Create.into())
        .await
        .unwrap();
    let again = store.put_opts(&key, "2".into(), PutMode::Create.into()).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    let second = store
        .put_opts(&key, "3".into(), replacing(&first.e_tag).into())
        .await
        .unwrap();
    let stale = store
        .put_opts(&key, "4".into(), replacing(&first.e_tag).into())
        .await;
    assert!(matches!(stale, Err(Error::Precondition { .. })), "{stale:?}");
    assert_eq!(read(store, &key).await, "3");
    // Equal bytes have equal tags.
    let third = store.put(&key, "3".into()).await.unwrap();
    assert_eq!(third.e_tag, second.e_tag);
    let absent = Path::from("conditions/absent");
    let update = store
        .put_opts(&absent, "5".into(), replacing(&first.e_tag).into())
        .await;
    assert!(
        matches!(update, Err(Error::NotFound { .. } | Error::Precondition { .. })),
        "{update:?}"
    );
}

async fn reads_parts_and_changes(store: &AmazonS3) {
    let key = Path::from("reads/object");
    let tag = store.put(&key, "0123456789".into()).await.unwrap().e_tag;
    assert_eq!(store.get_range(&key, 2..5).await.unwrap(), "234");
    let clipped = store.get_range(&key, 8..50).await.unwrap();
    assert_eq!(clipped, "89");
    let head = store.head(&key).await.unwrap();
    assert_eq!((head.size, &head.e_tag), (10, &tag));
    let unchanged = GetOptions {
        if_none_match: tag,
        ..GetOptions::default()
    };
    let answer = store.get_opts(&key, unchanged.clone()).await;
    assert!(matches!(answer, Err(Error::NotModified { .. })), "{answer:?}");
    store.put(&key, "changed".into()).await.unwrap();
    let changed = store.get_opts(&key, unchanged).await.unwrap();
    assert_eq!(changed.bytes().await.unwrap(), "changed");
    store.delete(&key).await.unwrap();
    assert!(matches!(store.head(&key).await, Err(Error::NotFound { .. })));
    // What is not there can be removed.
    store.delete(&key).await.unwrap();
}

async fn lists_in_order(store: &AmazonS3) {
    let names = ["10", "9", "V2", "_x", "d/x", "d/y", "v1", "v1-a", "v1.1"];
    for name in names {
        store
            .put(&Path::from(format!("t/{name}")), "x".into())
            .await
            .unwrap();
    }
    assert_eq!(pages(store, "t/", None, None).await, [names]);
    assert_eq!(pages(store, "t/", Some("t/v1"), None).await, [["v1-a", "v1.1"]]);
    assert_eq!(pages(store, "t/v", None, None).await, [["v1", "v1-a", "v1.1"]]);
    let twos = pages(store, "t/", Some("t/_x"), Some(2)).await;
    assert_eq!(twos.concat(), names[4..]);
    assert_eq!(twos[0], ["d/x", "d/y"]);
    let rolled = store.list_with_delimiter(Some(&Path::from("t"))).await.unwrap();
    assert_eq!(rolled.common_prefixes, [Path::from("t/d")]);
    assert_eq!(rolled.objects.len(), names.len() - 2);
}

/// The names under `t/` on each page of a list.
async fn pages(store: &AmazonS3, prefix: &str, after: Option<&str>, most: Option<usize>) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut token = None;
    loop {
        let options = PaginatedListOptions {
            offset: after.map(str::to_owned),
            max_keys: most,
            page_token: token,
            ..PaginatedListOptions::default()
        };
        let page = store.list_paginated(Some(prefix), options).await.unwrap();
        let names = page.result.objects.iter();
        pages.push(
            names
                .map(|object| object.location.as_ref()[2..].to_owned())
                .collect(),
        );
        token = page.page_token;
        if token.is_none() {
            return pages;
        }
    }
}

const PART: usize = 5 << 20;

async fn joins_parts(store: &AmazonS3) {
    let key = Path::from("parts/object");
    let parts = [
        Bytes::from(vec![1; PART]),
        Bytes::from(vec![2; PART + 1]),
        Bytes::from("rest"),
    ];
    let id = store.create_multipart(&key).await.unwrap();
    let mut ids = Vec::new();
    // In any order. Any process may send one.
    for number in [2, 0, 1] {
        let payload = parts[number].clone().into();
        ids.push((number, store.put_part(&key, &id, number, payload).await.unwrap()));
    }
    ids.sort_by_key(|(number, _)| *number);
    let ids: Vec<_> = ids.into_iter().map(|(_, id)| id).collect();
    let mut wrong = ids.clone();
    wrong.swap(0, 1);
    assert!(store.complete_multipart(&key, &id, wrong).await.is_err());
    assert!(matches!(store.head(&key).await, Err(Error::NotFound { .. })));
    store.complete_multipart(&key, &id, ids).await.unwrap();
    let whole = read(store, &key).await;
    assert!(whole == parts.concat(), "{} bytes", whole.len());

    let small = store.create_multipart(&key).await.unwrap();
    let mut ids = Vec::new();
    for number in 0..2 {
        ids.push(
            store
                .put_part(&key, &small, number, "small".into())
                .await
                .unwrap(),
        );
    }
    assert!(store.complete_multipart(&key, &small, ids).await.is_err());
    store.abort_multipart(&key, &small).await.unwrap();
    assert!(store.put_part(&key, &small, 0, "late".into()).await.is_err());
    assert_eq!(read(store, &key).await.len(), whole.len());
}

async fn removes_many(store: &AmazonS3) {
    use futures_util::{StreamExt as _, TryStreamExt as _, stream};
    let keys = ["many/a", "many/b&<c>", "many/c"].map(Path::from);
    for key in &keys {
        store.put(key, "x".into()).await.unwrap();
    }
    let gone = store.delete_stream(stream::iter(keys[..2].to_vec()).map(Ok).boxed());
    let gone: Vec<Path> = gone.try_collect().await.unwrap();
    assert_eq!(gone, keys[..2]);
    let left = store
        .list_with_delimiter(Some(&Path::from("many")))
        .await
        .unwrap();
    assert_eq!(left.objects.len(), 1);
}

const MINUTE: Duration = Duration::from_mins(1);

/// A DELETE that has `If-Match`. The client has no such request, but it signs URLs with headers.
async fn deletes_on_condition(store: &AmazonS3) {
    let key = Path::from("conditions/deleted");
    let old = store.put(&key, "old".into()).await.unwrap().e_tag.unwrap();
    let new = store.put(&key, "new".into()).await.unwrap().e_tag.unwrap();
    for (tag, status) in [(old, 412), (new, 204)] {
        let options = SignedUrlOptions::new().with_signed_header(IF_MATCH, tag.parse().unwrap());
        let url = store
            .signed_url_opts(Method::DELETE, &key, MINUTE, &options)
            .await
            .unwrap();
        let header = format!("If-Match: {tag}\r\n");
        assert_eq!(send("DELETE", &url, &header, "").await.0, status);
    }
    assert!(matches!(store.head(&key).await, Err(Error::NotFound { .. })));
}

async fn lists_open_uploads(store: &AmazonS3) {
    let key = Path::from("open/upload");
    let id = store.create_multipart(&key).await.unwrap();
    for number in 0..3 {
        store.put_part(&key, &id, number, "part".into()).await.unwrap();
    }
    let uploads = listed(store, "", [("uploads", ""), ("prefix", "open/")]).await;
    assert_eq!(elements(&uploads, "UploadId"), [id.as_str()], "{uploads}");
    assert_eq!(elements(&uploads, "Key"), ["open/upload"]);
    assert_eq!(elements(&uploads, "IsTruncated"), ["false"]);
    assert_eq!(elements(&uploads, "Initiated").len(), 1);
    let others = listed(store, "", [("uploads", ""), ("prefix", "other/")]).await;
    assert!(elements(&others, "UploadId").is_empty());
    let parts = listed(
        store,
        key.as_ref(),
        [("uploadId", id.as_str()), ("max-parts", "2")],
    )
    .await;
    assert_eq!(elements(&parts, "PartNumber"), ["1", "2"], "{parts}");
    assert_eq!(elements(&parts, "Size"), ["4", "4"]);
    assert_eq!(elements(&parts, "IsTruncated"), ["true"]);
    assert_eq!(elements(&parts, "NextPartNumberMarker"), ["2"]);
    store.abort_multipart(&key, &id).await.unwrap();
    let uploads = listed(store, "", [("uploads", ""), ("prefix", "open/")]).await;
    assert!(elements(&uploads, "UploadId").is_empty(), "{uploads}");
}

async fn listed<const N: usize>(store: &AmazonS3, key: &str, query: [(&str, &str); N]) -> String {
    let options = SignedUrlOptions::new().with_query(query);
    let key = Path::from(key);
    let url = store
        .signed_url_opts(Method::GET, &key, MINUTE, &options)
        .await
        .unwrap();
    let answer = send("GET", &url, "", "").await;
    assert_eq!(answer.0, 200, "{}", answer.1);
    answer.1
}

/// The texts of the elements of this name.
fn elements<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let begin = format!("<{name}>");
    xml.split(&begin)
        .skip(1)
        .map(|rest| rest.split('<').next().unwrap())
        .collect()
}
