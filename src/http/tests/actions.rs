//! The action that each request needs: every request is sent with each action alone.

use super::*;
use Action::{Create, Delete, Read, Update};

const REPOSITORY: &str = "some/app";
const ACTOR: &str = "actor";

/// A request, and the actions of which it needs one.
struct Row {
    what: &'static str,
    method: Method,
    path: String,
    body: String,
    needs: &'static [Action],
}

/// A site with an image, and an upload that the actor has started.
struct Prepared {
    site: Site,
    upload: String,
    blob: String,
    config: String,
    manifest: String,
    digest: String,
}

impl Prepared {
    async fn new() -> Self {
        let site = Site::with(vec![("**".into(), everything())]);
        let as_actor = |request: Builder| bearer(request, &site.token(ACTOR)).header("content-type", IMAGE);
        let put = async |repository: &str, content: &str| {
            let path = format!("/v2/{repository}/blobs/uploads/?digest={}", sha256(content));
            assert_eq!(
                site.send(as_actor(ask(Method::POST, &path)), content.to_owned())
                    .await
                    .status,
                StatusCode::CREATED
            );
            sha256(content)
        };
        let config = put(REPOSITORY, "{}").await;
        let blob = put(REPOSITORY, "blob").await;
        put("some/source", "elsewhere").await;
        let manifest = image(&config).to_string();
        let path = format!("/v2/{REPOSITORY}/manifests/v1");
        assert_eq!(
            site.send(as_actor(ask(Method::PUT, &path)), manifest.clone())
                .await
                .status,
            StatusCode::CREATED
        );
        let begun = site
            .send(
                as_actor(ask(Method::POST, &format!("/v2/{REPOSITORY}/blobs/uploads/"))),
                Body::empty(),
            )
            .await;
        let upload = begun.header("location").to_owned();
        let digest = sha256(&manifest);
        Self {
            site,
            upload,
            blob,
            config,
            manifest,
            digest,
        }
    }

    /// Sets what the actor may do in the repository and in the source of the mount.
    fn grant(&self, here: &[Action], source: &[Action]) {
        let rules = |actions: &[Action]| PatternRules {
            default: actions.to_vec(),
            ..PatternRules::default()
        };
        let repositories = vec![
            (REPOSITORY.to_owned(), rules(here)),
            ("some/source".into(), rules(source)),
        ];
        let live = self.site.app.live.load_full();
        let policy = Arc::new(
            Policy::compile(Rules {
                repositories,
                ..Rules::default()
            })
            .unwrap(),
        );
        self.site.app.live.store(Arc::new(Live {
            policy,
            ..(*live).clone()
        }));
    }

    async fn ask(&self, row: &Row) -> Answer {
        let request =
            bearer(ask(row.method.clone(), &row.path), &self.site.token(ACTOR)).header("content-type", IMAGE);
        self.site.send(request, row.body.clone()).await
    }

    fn rows(&self) -> Vec<Row> {
        let Self {
            upload,
            blob,
            config,
            manifest,
            digest,
            ..
        } = self;
        let mut changed: Value = serde_json::from_str(manifest).unwrap();
        changed["annotations"] = json!({"changed": "yes"});
        let changed = changed.to_string();
        let row = |what, method, path: &str, body: &str, needs| {
            let path = if path.starts_with('/') {
                path.to_owned()
            } else {
                format!("/v2/{REPOSITORY}/{path}")
            };
            Row {
                what,
                method,
                path,
                body: body.to_owned(),
                needs,
            }
        };
        vec![
            row("a manifest by tag", Method::GET, "manifests/v1", "", &[Read]),
            row("its headers", Method::HEAD, "manifests/v1", "", &[Read]),
            row(
                "a manifest by digest",
                Method::GET,
                &format!("manifests/{digest}"),
                "",
                &[Read],
            ),
            row("a blob", Method::GET, &format!("blobs/{blob}"), "", &[Read]),
            row("its headers", Method::HEAD, &format!("blobs/{blob}"), "", &[Read]),
            row("tags", Method::GET, "tags/list", "", &[Read]),
            row(
                "referrers",
                Method::GET,
                &format!("referrers/{digest}"),
                "",
                &[Read],
            ),
            row("an upload begun", Method::POST, "blobs/uploads/", "", &[Create]),
            row(
                "a blob at once",
                Method::POST,
                &format!("blobs/uploads/?digest={}", sha256("x")),
                "x",
                &[Create],
            ),
            row(
                "a mount",
                Method::POST,
                &format!("blobs/uploads/?mount={}&from=some/source", sha256("elsewhere")),
                "",
                &[Create],
            ),
            row("an upload's status", Method::GET, upload, "", &[Create]),
            row("a chunk", Method::PATCH, upload, "x", &[Create]),
            row(
                "an upload closed",
                Method::PUT,
                &format!("{upload}?digest={}", sha256("x")),
                "x",
                &[Create],
            ),
            row("an upload cancelled", Method::DELETE, upload, "", &[Create]),
            row("a new tag", Method::PUT, "manifests/v2", manifest, &[Create]),
            row(
                "a new manifest by digest",
                Method::PUT,
                &format!("manifests/{}", sha256(&changed)),
                &changed,
                &[Create],
            ),
            row("a tag moved", Method::PUT, "manifests/v1", &changed, &[Update]),
            row(
                "a tag pushed again as it is",
                Method::PUT,
                "manifests/v1",
                manifest,
                &[Create, Update],
            ),
            row("a tag deleted", Method::DELETE, "manifests/v1", "", &[Delete]),
            row(
                "a manifest deleted",
                Method::DELETE,
                &format!("manifests/{digest}"),
                "",
                &[Delete],
            ),
            row(
                "a blob deleted",
                Method::DELETE,
                &format!("blobs/{blob}"),
                "",
                &[Delete],
            ),
            row(
                "a blob deleted that is needed",
                Method::DELETE,
                &format!("blobs/{config}"),
                "",
                &[Delete],
            ),
        ]
    }
}

fn everything() -> PatternRules {
    PatternRules {
        default: ALL.to_vec(),
        ..PatternRules::default()
    }
}

#[tokio::test]
async fn each_request_needs_exactly_its_action() {
    let rows = Prepared::new().await.rows().len();
    for granted in ALL {
        for index in 0..rows {
            let prepared = Prepared::new().await;
            prepared.grant(&[granted], &[Read]);
            let row = prepared.rows().remove(index);
            let answer = prepared.ask(&row).await;
            let denied = answer.status == StatusCode::FORBIDDEN;
            assert_eq!(
                denied,
                !row.needs.contains(&granted),
                "{} with {granted:?} alone: {} {}",
                row.what,
                answer.status,
                answer.text()
            );
            let expected = if row.what.ends_with("that is needed") {
                405
            } else {
                200
            };
            assert!(
                denied || answer.status.is_success() || answer.status == expected,
                "{} with {granted:?}: {}",
                row.what,
                answer.status
            );
        }
    }
}

/// A mount needs the right to create at its target, and the right to read at its source.
#[tokio::test]
async fn a_mount_is_checked_at_both_ends() {
    let mount = format!(
        "/v2/{REPOSITORY}/blobs/uploads/?mount={}&from=some/source",
        sha256("elsewhere")
    );
    for (target, source, status) in [
        (&[Create][..], &[Read][..], 201),
        (&[Create], &[Create, Update, Delete], 202),
        (&[Create], &[], 202),
        (&[Read, Update, Delete], &[Read], 403),
    ] {
        let prepared = Prepared::new().await;
        prepared.grant(target, source);
        let request = bearer(ask(Method::POST, &mount), &prepared.site.token(ACTOR));
        assert_eq!(
            prepared.site.send(request, Body::empty()).await.status.as_u16(),
            status,
            "{target:?} {source:?}"
        );
    }
}
