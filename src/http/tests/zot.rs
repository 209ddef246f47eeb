//! Answers that differ from zot's, as `docs/explanation/differences-from-zot.md` lists them.

use super::*;

#[tokio::test]
async fn answers_differ_from_zots_as_the_page_says() {
    let site = Site::new();
    let pushed = site.push_image("open/a", "v1", json!({})).await;
    let digest = pushed.header("docker-content-digest").to_owned();
    let config = sha256("{}");
    let unheld = sha256("never pushed");
    let manifest = image(&config).to_string();
    let needy = image(&unheld).to_string();
    let tags: Vec<_> = (0..33).map(|n| format!("tag=t{n}")).collect();
    let put = |reference: &str| ask(Method::PUT, &format!("/v2/open/a/manifests/{reference}"));
    let uploads = "/v2/open/b/blobs/uploads/";
    for (what, request, body, status, code) in [
        (
            "an unknown `last`",
            ask(Method::GET, "/v2/open/a/tags/list?last=zzz"),
            "",
            200,
            "",
        ),
        (
            "a blob in one POST of any type",
            ask(Method::POST, &format!("{uploads}?digest={config}")),
            "{}",
            201,
            "",
        ),
        (
            "`from` without `mount`",
            ask(Method::POST, &format!("{uploads}?from=open/a")),
            "",
            202,
            "",
        ),
        (
            "`from` says where the blob is",
            ask(Method::POST, &format!("{uploads}?mount={config}&from=open/a")),
            "",
            201,
            "",
        ),
        (
            "several ranges",
            ask(Method::GET, &format!("/v2/open/a/blobs/{config}")).header("range", "bytes=0-0,1-1"),
            "",
            200,
            "",
        ),
        (
            "a range outside",
            ask(Method::GET, &format!("/v2/open/a/blobs/{config}")).header("range", "bytes=5-9"),
            "",
            416,
            "SIZE_INVALID",
        ),
        ("a manifest without a type", put("v2"), &manifest, 201, ""),
        (
            "a manifest of another type",
            put("v2").header("content-type", "text/plain"),
            &manifest,
            400,
            "MANIFEST_INVALID",
        ),
        (
            "a tag outside the grammar",
            put("a:b").header("content-type", IMAGE),
            &manifest,
            400,
            "DIGEST_INVALID",
        ),
        (
            "missing content",
            put("v2").header("content-type", IMAGE),
            &needy,
            404,
            "MANIFEST_BLOB_UNKNOWN",
        ),
        (
            "33 tags",
            put(&format!("{digest}?{}", tags.join("&"))).header("content-type", IMAGE),
            &manifest,
            414,
            "MANIFEST_INVALID",
        ),
        (
            "a needed blob",
            ask(Method::DELETE, &format!("/v2/open/a/blobs/{config}")),
            "",
            405,
            "DENIED",
        ),
        (
            "an unknown repository",
            ask(Method::DELETE, "/v2/open/none/manifests/v1"),
            "",
            404,
            "NAME_UNKNOWN",
        ),
        (
            "both tags at once",
            ask(Method::DELETE, &format!("/v2/open/a/manifests/{digest}")),
            "",
            202,
            "",
        ),
        (
            "what was in the repository is gone",
            ask(Method::GET, "/v2/open/a/tags/list"),
            "",
            404,
            "NAME_UNKNOWN",
        ),
        ("who one is", ask(Method::GET, "/v2/"), "", 401, "UNAUTHORIZED"),
    ] {
        let answer = site.send(request, body.to_owned()).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        if !code.is_empty() {
            assert_eq!(answer.error(), (status, code.into()), "{what}");
        }
    }
    let blob = site.get(&format!("/v2/open/b/blobs/{config}")).await;
    assert_eq!(blob.header("content-type"), "application/octet-stream");
    assert_eq!(
        blob.header("docker-distribution-api-version"),
        "registry/2.0",
        "on every answer"
    );
}
