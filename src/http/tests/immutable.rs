//! Immutable tags over HTTP: who may move and delete them, what the answer says, and what a reload changes.

use super::*;
use Action::{Create, Delete, Override, Read, Update};

const REPOSITORY: &str = "app/web";

fn rules(tags: &[&str]) -> Vec<(String, PatternRules)> {
    let rules = PatternRules {
        policies: vec![Grant {
            users: vec![format!("{ISSUER}/release")],
            actions: vec![Override],
            ..Grant::default()
        }],
        default: vec![Read, Create, Update, Delete],
        anonymous: vec![Read, Create, Update, Delete],
        immutable_tags: tags.iter().map(|one| (*one).to_owned()).collect(),
    };
    vec![("app/**".to_owned(), rules)]
}

/// A caller who may do everything except override.
const DEV: &str = "dev";
/// A caller who may also override.
const RELEASE: &str = "release";

impl Site {
    /// Every caller may do everything in `app/**`, but only `release` may override.
    fn pinned() -> Self {
        Self::with(rules(&["v*", "!*-dev"]))
    }

    async fn manifest(&self, who: &str, method: Method, reference: &str, body: String) -> Answer {
        let path = format!("/v2/{REPOSITORY}/manifests/{reference}");
        let request = bearer(ask(method, &path), &self.token(who)).header("content-type", IMAGE);
        self.send(request, body).await
    }

    async fn write(&self, who: &str, reference: &str, content: &str) -> Answer {
        self.manifest(who, Method::PUT, reference, content.to_owned())
            .await
    }

    async fn remove(&self, who: &str, reference: &str) -> Answer {
        self.manifest(who, Method::DELETE, reference, String::new()).await
    }

    async fn target(&self, tag: &str) -> String {
        let found = self.manifest(DEV, Method::HEAD, tag, String::new()).await;
        found.header("docker-content-digest").to_owned()
    }

    /// Two images, and the first one is `v1`, `v1-dev` and `latest`.
    async fn with_images(&self) -> [String; 2] {
        let config = self.push_blob(REPOSITORY, "{}").await;
        let images = ["one", "two"].map(|name| {
            let mut image = image(&config);
            image["annotations"] = json!({"name": name});
            image.to_string()
        });
        for tag in ["v1", "v1-dev", "latest"] {
            assert_eq!(
                self.write(DEV, tag, &images[0]).await.status,
                StatusCode::CREATED,
                "{tag}"
            );
        }
        images
    }
}

/// The error names the rule, and the log has the request.
fn assert_refused(answer: &Answer, tag: &str) {
    assert_eq!(answer.error(), (403, "DENIED".into()), "{}", answer.text());
    let error = &answer.json()["errors"][0];
    assert_eq!(
        error["detail"],
        json!({"tag": tag, "pattern": "v*", "repositories": "app/**"})
    );
    let message = error["message"].as_str().unwrap();
    let begins = format!(
        r#"the tag {tag} is immutable, because accessControl.repositories["app/**"].immutableTags has the pattern "v*": "#
    );
    assert!(
        message.starts_with(&begins) && message.contains("`override`"),
        "{message}"
    );
}

#[tokio::test]
async fn an_immutable_tag_is_not_moved_and_a_push_of_the_same_digest_is_201() {
    let site = Site::pinned();
    let [one, two] = site.with_images().await;
    assert_eq!(site.write(DEV, "v1", &one).await.status, StatusCode::CREATED);
    assert_refused(&site.write(DEV, "v1", &two).await, "v1");
    assert_eq!(site.target("v1").await, sha256(&one));
    // Another way to set tags.
    let by_digest = format!("{}?tag=new&tag=v1", sha256(&two));
    assert_refused(&site.write(DEV, &by_digest, &two).await, "v1");
    assert_eq!(site.target("new").await, "", "one rejected tag rejects the push");
    let same = format!("{}?tag=v1", sha256(&one));
    assert_eq!(site.write(DEV, &same, &one).await.status, StatusCode::CREATED);
    for free in ["v1-dev", "latest"] {
        assert_eq!(
            site.write(DEV, free, &two).await.status,
            StatusCode::CREATED,
            "{free}"
        );
    }
    assert_eq!(site.write(RELEASE, "v1", &two).await.status, StatusCode::CREATED);
    assert_eq!(site.target("v1").await, sha256(&two));
}

#[tokio::test]
async fn an_immutable_tag_is_deleted_neither_alone_nor_with_its_manifest() {
    let site = Site::pinned();
    let [one, _] = site.with_images().await;
    assert_refused(&site.remove(DEV, "v1").await, "v1");
    assert_refused(&site.remove(DEV, &sha256(&one)).await, "v1");
    for tag in ["v1", "v1-dev", "latest"] {
        assert_eq!(site.target(tag).await, sha256(&one), "{tag}");
    }
    for free in ["v1-dev", "latest"] {
        assert_eq!(
            site.remove(DEV, free).await.status,
            StatusCode::ACCEPTED,
            "{free}"
        );
    }
    assert_eq!(
        site.remove(DEV, "v2").await.error(),
        (404, "MANIFEST_UNKNOWN".into())
    );
    assert_eq!(
        site.remove(RELEASE, &sha256(&one)).await.status,
        StatusCode::ACCEPTED
    );
    assert_eq!(site.target("v1").await, "");
    // Another caller may then create it again.
    assert_eq!(site.write(DEV, "v1", &one).await.status, StatusCode::CREATED);
    assert_eq!(site.remove(RELEASE, "v1").await.status, StatusCode::ACCEPTED);
}

/// `cosign` adds signatures to the image of such a tag, and clients keep a list of referrers there.
#[tokio::test]
async fn tags_of_signatures_and_referrers_are_never_immutable() {
    let site = Site::with(rules(&["*"]));
    let [one, two] = {
        let config = site.push_blob(REPOSITORY, "{}").await;
        ["one", "two"].map(|name| {
            let mut image = image(&config);
            image["annotations"] = json!({"name": name});
            image.to_string()
        })
    };
    let digest = sha256(&one).replace(':', "-");
    for tag in [digest.clone(), format!("{digest}.sig"), format!("{digest}.att")] {
        for content in [&one, &two] {
            assert_eq!(
                site.write(DEV, &tag, content).await.status,
                StatusCode::CREATED,
                "{tag}"
            );
        }
        assert_eq!(site.target(&tag).await, sha256(&two));
        assert_eq!(site.remove(DEV, &tag).await.status, StatusCode::ACCEPTED, "{tag}");
    }
    assert_eq!(
        site.write(DEV, "sha256-mine", &one).await.status,
        StatusCode::CREATED
    );
    assert_eq!(
        site.write(DEV, "sha256-mine", &two).await.error(),
        (403, "DENIED".into())
    );
}

#[tokio::test]
async fn override_alone_neither_moves_nor_deletes() {
    let site = Site::with(vec![(
        "app/**".to_owned(),
        PatternRules {
            anonymous: vec![Read, Create],
            default: vec![Read, Create, Override],
            immutable_tags: vec!["v*".to_owned()],
            ..PatternRules::default()
        },
    )]);
    let config = site.push_blob(REPOSITORY, "{}").await;
    let mut content = image(&config);
    assert_eq!(
        site.write(DEV, "v1", &content.to_string()).await.status,
        StatusCode::CREATED
    );
    content["annotations"] = json!({"name": "two"});
    let refused = site.write(DEV, "v1", &content.to_string()).await;
    assert_eq!(refused.error(), (403, "DENIED".into()));
    assert!(refused.text().contains("`update`"), "{}", refused.text());
    assert_eq!(site.remove(DEV, "v1").await.error(), (403, "DENIED".into()));
}

#[tokio::test]
async fn a_stranger_is_asked_to_log_in() {
    let site = Site::pinned();
    let [_, two] = site.with_images().await;
    let path = format!("/v2/{REPOSITORY}/manifests/v1");
    let request = ask(Method::PUT, &path).header("content-type", IMAGE);
    assert_eq!(
        site.send(request, two).await.error(),
        (401, "UNAUTHORIZED".into())
    );
}

#[tokio::test]
async fn a_new_policy_applies_from_the_next_request() {
    let site = Site::pinned();
    let [one, two] = site.with_images().await;
    let reload = |tags: &[&str]| {
        let policy = Policy::compile(Rules {
            repositories: rules(tags),
            ..Rules::default()
        });
        let live = Live {
            policy: Arc::new(policy.unwrap()),
            ..Live::clone(&site.app.live.load())
        };
        site.app.live.store(Arc::new(live));
    };
    assert_refused(&site.write(DEV, "v1", &two).await, "v1");
    reload(&[]);
    assert_eq!(site.write(DEV, "v1", &two).await.status, StatusCode::CREATED);
    reload(&["latest"]);
    assert_eq!(site.write(DEV, "v1", &one).await.status, StatusCode::CREATED);
    assert_eq!(
        site.write(DEV, "latest", &two).await.error(),
        (403, "DENIED".into())
    );
}

#[tokio::test]
async fn of_many_clients_that_create_a_tag_at_once_one_wins() {
    let site = Site::pinned();
    let config = site.push_blob(REPOSITORY, "{}").await;
    let site = Arc::new(site);
    let pushes = (0..16).map(|n| {
        let mut content = image(&config);
        content["annotations"] = json!({"n": n.to_string()});
        let site = site.clone();
        tokio::spawn(async move {
            (
                sha256(content.to_string()),
                site.write(DEV, "v1", &content.to_string()).await,
            )
        })
    });
    let mut won = Vec::new();
    for push in pushes.collect::<Vec<_>>() {
        let (digest, answer) = push.await.unwrap();
        if answer.status == StatusCode::CREATED {
            won.push(digest);
        } else {
            assert_refused(&answer, "v1");
        }
    }
    assert_eq!(won, [site.target("v1").await]);
}

#[tokio::test]
async fn whoami_says_who_may_override() {
    let site = Site::pinned();
    let path = format!("/v2/_wharfinger/whoami?repository={REPOSITORY}");
    for (who, allowed) in [(DEV, false), (RELEASE, true)] {
        let identity = site.get_as(who, &path).await.json();
        assert_eq!(
            identity["access"]["actions"]["override"]["allowed"],
            json!(allowed),
            "{who}"
        );
    }
    let site = Site::new();
    let identity = site.get_as(DEV, &path).await.json();
    assert_eq!(
        identity["access"]["actions"].get("override"),
        None,
        "no tag is immutable"
    );
}
