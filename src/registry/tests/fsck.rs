//! The check of a store finds every kind of damage, and does not report the remains of a crash as damage.

mod marks;

use super::*;
use crate::access::Maintenance;
use crate::storage::Resume;

const R: &str = "team/app";

#[derive(Default)]
pub(super) struct Heard {
    pub(super) findings: Vec<Finding>,
    pub(super) marked: Vec<(String, Marking)>,
    broken: Vec<String>,
    hashed: (u64, u64),
}

impl Progress for Heard {
    fn found(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    fn marked(&mut self, key: &str, marking: Marking) {
        self.marked.push((key.to_owned(), marking));
    }

    fn must_be_pushed(&mut self, image: &BrokenImage) {
        self.broken.push(image.to_string());
    }

    fn hashed(&mut self, done: u64, of: u64) {
        self.hashed = (done, of);
    }
}

impl Bench {
    pub(super) async fn fsck(&self) -> (Heard, Checked) {
        let mut heard = Heard::default();
        let checked = self
            .restarted()
            .check(&Maintenance::by_the_stores_owner(), &mut heard)
            .await
            .unwrap();
        (heard, checked)
    }

    pub(super) async fn damages(&self) -> Vec<String> {
        let findings = self.fsck().await.0.findings.into_iter();
        findings
            .filter(|finding| finding.severity == Severity::Damage)
            .map(|finding| finding.to_string())
            .collect()
    }

    /// Changes a record without the registry.
    pub(super) async fn tamper(&self, key: &str, change: impl FnOnce(&str) -> Option<String>) {
        let record = self.store.get(key).await.unwrap().unwrap();
        match change(std::str::from_utf8(&record.value).unwrap()) {
            Some(value) => drop(
                self.store
                    .swap(key, &record.version, Bytes::from(value).into())
                    .await
                    .unwrap(),
            ),
            None => self.store.delete(key, &record.version).await.unwrap(),
        }
    }

    async fn only_key(&self, prefix: &str) -> String {
        let keys = self.keys(prefix).await;
        assert_eq!(keys.len(), 1, "{keys:?}");
        keys[0].clone()
    }
}

/// A store with one record of every kind.
async fn whole() -> Bench {
    let bench = Bench::new();
    let subject = sha256(b"subject");
    let digest = push_image(
        &bench.registry,
        R,
        "config",
        &json!({"subject": descriptor(IMAGE, &subject)}),
    )
    .await;
    bench.put_tag(R, "v1", &digest).await;
    let upload = bench.registry.start_upload(&create(R), None).await.unwrap();
    bench
        .registry
        .append(&create(R), &upload.id, None, None, body(&[b"abc"]))
        .await
        .unwrap();
    bench
}

#[tokio::test]
async fn a_whole_store_is_clean() {
    let (heard, checked) = whole().await.fsck().await;
    assert_eq!(heard.findings, []);
    assert_eq!(
        checked,
        Checked {
            blobs: 1,
            bytes: 6,
            links: 1,
            manifests: 1,
            tags: 1,
            uploads: 1
        }
    );
    assert_eq!(heard.hashed, (9, 9), "the upload's as well");
}

#[tokio::test]
async fn every_kind_of_damage_is_found() {
    const MANIFEST: &str = "r/team/app!/m/";
    for (prefix, from, to, expected) in [
        ("b/", "\"size\":6", "\"size\":7", "not 7"),
        ("b/", "\"format\":2", "\"format\":9", "cannot be read"),
        ("b/", "", "", "links a blob that does not exist"),
        ("b/", "live", "dying", "links a blob that is being removed"),
        ("l/", "", "", "needs the blob"),
        (
            "l/",
            "\"size\":6",
            "\"size\":7",
            "says that the blob has 7 bytes, but the blob's record says 6",
        ),
        ("l/", "\"generation\"", "\"other\"", "is live but names no bytes"),
        (
            "l/",
            "\"generation\":\"",
            "\"generation\":\"x",
            "names the bytes x",
        ),
        (MANIFEST, "", "", "points to the manifest"),
        (
            MANIFEST,
            "schemaVersion\":2",
            "schemaVersion\":3",
            "its bytes have the digest",
        ),
        (
            MANIFEST,
            "\"blobs\":[",
            "\"blobs\":[\"sha256:0000000000000000000000000000000000000000000000000000000000000000\",",
            "header",
        ),
        ("r/team/app!/s/", "", "", "referrers"),
        ("r/team/app!/t/", "sha256:", "sha256:0", "cannot be read"),
        ("c/", "", "", "catalogue"),
        ("c/", "live", "gone", "cannot be read"),
        ("u/", "\"offset\":3", "\"offset\":4", "has 3 of 4 bytes"),
        (
            "u/",
            "\"offset\":3",
            "\"offset\":2",
            "its hash state does not match its first 2 bytes",
        ),
        (
            "u/",
            "\"offset\":3",
            "\"offset\":0",
            "its hash state does not match its first 0 bytes",
        ),
        (
            "u/",
            "\"hash\":\"Z+YJ",
            "\"hash\":\"Y+YJ",
            "its hash state does not match its first 3 bytes",
        ),
        (
            "u/",
            "\"hash\":\"",
            "\"hash\":\"!",
            "its hash state does not match its first 3 bytes",
        ),
        (
            "u/",
            "sha256",
            "sha512",
            "its hash state does not match its first 3 bytes",
        ),
    ] {
        let bench = whole().await;
        let key = bench.only_key(prefix).await;
        bench
            .tamper(&key, |value| {
                assert!(value.contains(from), "{value}");
                (!to.is_empty()).then(|| value.replacen(from, to, 1))
            })
            .await;
        let damages = bench.damages().await;
        assert!(
            damages.iter().any(|damage| damage.contains(expected)),
            "{key}: {damages:?}"
        );
    }
    // The upload's own line, since its manifest has one as well.
    let bench = whole().await;
    bench.tamper(&bench.only_key("c/").await, |_| None).await;
    let expected = format!(
        "damage: {}: its repository is not in the catalogue",
        bench.only_key("u/").await
    );
    assert!(bench.damages().await.contains(&expected));
    let bench = whole().await;
    bench
        .store
        .create("x/unknown", Bytes::new().into())
        .await
        .unwrap();
    bench
        .store
        .create("u/unknown", Bytes::new().into())
        .await
        .unwrap();
    let damages = bench.damages().await;
    assert_eq!(
        damages,
        [
            "damage: u/unknown: is not the key of a record",
            "damage: x/unknown: is not the key of a record"
        ]
    );
}

#[tokio::test]
async fn a_record_of_any_kind_that_cannot_be_read_is_damage() {
    let hex = "0".repeat(64);
    let digest = format!("sha256/{hex}");
    let name = format!("sha256-{hex}");
    for key in [
        format!("b/sha256/00/{hex}"),
        format!("l/sha256/00/{hex}/{R}!"),
        format!("c/{R}/other!"),
        format!("u/{R}!/{}", "0".repeat(32)),
        format!("x/{R}!/{digest}"),
        format!("q/{R}!"),
        format!("r/{R}!/m/{digest}"),
        format!("r/{R}!/t/other"),
        format!("r/{R}!/h/v1/0000000000000001"),
        format!("r/{R}!/k/{digest}/v1"),
        format!("r/{R}!/s/{digest}/{name}"),
        format!("r/{R}!/i/{digest}/{name}"),
        format!("r/{R}!/p/{digest}"),
        "g/pass".to_owned(),
        "g/scrub".to_owned(),
        "h/pulls".to_owned(),
        "h/probe".to_owned(),
    ] {
        let bench = whole().await;
        let damaged = Bytes::from_static(b"{");
        bench.store.create(&key, damaged.into()).await.unwrap();
        let damages = bench.damages().await;
        let expected = format!("damage: {key}: cannot be read");
        assert!(
            damages.iter().any(|damage| damage.starts_with(&expected)),
            "{key}: {damages:?}"
        );
    }
}

#[tokio::test]
async fn bytes_that_are_lost_or_changed_are_damage() {
    for content in [None, Some("cxnfig"), Some("config and more")] {
        let bench = whole().await;
        let blob = bench.value(&bench.only_key("b/").await).await;
        let name = blob["generation"].as_str().unwrap();
        bench.replace_bytes(name, content).await;
        let damages = bench.damages().await;
        assert!(
            damages.len() == 1 && damages[0].contains(name),
            "{content:?}: {damages:?}"
        );
    }
}

#[tokio::test]
async fn an_upload_whose_bytes_have_changed_is_damage_and_one_with_more_is_not() {
    for (bytes, expected) in [
        ("abd", Some("its hash state does not match its first 3 bytes")),
        ("abcdef", None),
    ] {
        let bench = whole().await;
        let key = bench.only_key("u/").await;
        bench
            .replace_bytes(key.rsplit_once('/').unwrap().1, Some(bytes))
            .await;
        let expected: Vec<_> = expected
            .map(|what| format!("damage: {key}: {what}"))
            .into_iter()
            .collect();
        assert_eq!(bench.damages().await, expected, "{bytes}");
    }
}

impl Bench {
    /// A record without its first line.
    async fn value(&self, key: &str) -> Value {
        let value = self.store.get(key).await.unwrap().unwrap().value;
        serde_json::from_slice(value.splitn(2, |byte| *byte == b'\n').nth(1).unwrap()).unwrap()
    }

    async fn replace_bytes(&self, name: &str, content: Option<&'static str>) {
        self.store.remove(name, &Resume::default()).await.unwrap();
        if let Some(content) = content {
            self.store
                .write(
                    name,
                    0,
                    &Resume::default(),
                    vec![content.into()],
                    Box::new(|_| ()),
                )
                .await
                .unwrap();
        }
    }
}

/// Two blobs share these bytes; deleting one destroys both.
#[tokio::test]
async fn bytes_belong_to_one_blob() {
    for member in ["generation", "trash"] {
        let bench = whole().await;
        let other = push_blob(&bench.registry, "other", b"layer").await;
        let first = keys::blob(&sha256(b"config")).to_string();
        let second = keys::blob(&other).to_string();
        let name = bench.value(&first).await["generation"].clone();
        let mut changed = bench.value(&second).await;
        changed[member] = if member == "trash" {
            json!([name])
        } else {
            name.clone()
        };
        bench
            .tamper(&second, |value| {
                Some(format!("{}\n{changed}", value.lines().next().unwrap()))
            })
            .await;
        let expected = format!(
            "damage: {}: its bytes {} are also those of another blob, and deleting one destroys both",
            first.max(second),
            name.as_str().unwrap()
        );
        let damages = bench.damages().await;
        assert!(damages.contains(&expected), "{member}: {damages:?}");
    }
}

/// A closed upload may share its bytes with the blob that it names. The bytes of any other upload are removed
/// when it ends.
#[tokio::test]
async fn an_upload_does_not_share_bytes_with_a_blob() {
    for (state, content, is_damage) in [
        ("open", None, true),
        ("aborting", None, true),
        ("closed", None, true),
        ("closed", Some("config"), false),
        ("closed", Some("other"), true),
    ] {
        let bench = whole().await;
        let mut session = bench.value(&bench.only_key("u/").await).await;
        session["state"] = state.into();
        if let Some(content) = content {
            session["digest"] = sha256(content.as_bytes()).as_str().into();
        }
        let name = bench.value(&bench.only_key("b/").await).await["generation"].clone();
        let key = format!("u/{R}!/{}", name.as_str().unwrap());
        let value = format!("{{\"format\":2,\"nonce\":\"0\"}}\n{session}");
        bench.store.create(&key, Bytes::from(value).into()).await.unwrap();
        let damages = bench.damages().await;
        let expected =
            format!("damage: {key}: its bytes belong to a blob, which loses them when the upload ends");
        assert_eq!(
            damages.contains(&expected),
            is_damage,
            "{state} {content:?}: {damages:?}"
        );
    }
}

#[tokio::test]
async fn an_empty_repository_in_the_catalogue_is_a_leftover() {
    let bench = whole().await;
    push_blob(&bench.registry, "linked", b"layer").await;
    bench.registry.start_upload(&create("begun"), None).await.unwrap();
    assert_eq!(bench.fsck().await.0.findings, []);
    for repository in ["begun", "empty", "linked"] {
        bench
            .registry
            .records
            .mark(&keys::in_catalog(repository))
            .await
            .unwrap();
    }
    let findings: Vec<_> = bench
        .fsck()
        .await
        .0
        .findings
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(findings, ["leftover: c/empty!: the repository is empty"]);
    // A process may stop between the two writes that start an upload, before the client gets its name.
    bench.tamper("c/begun!", |_| None).await;
    let findings = bench.fsck().await.0.findings;
    assert!(
        findings.iter().any(|found| found.severity == Severity::Leftover
            && found.what == "remains of an upload that did not begin"),
        "{findings:?}"
    );
    assert!(
        findings.iter().all(|found| found.severity == Severity::Leftover),
        "{findings:?}"
    );
}

#[tokio::test]
async fn pulls_of_a_manifest_that_is_gone_are_a_leftover() {
    let bench = whole().await;
    bench.registry.begin_recording_pulls().await.unwrap();
    let digest = push_image(&bench.registry, R, "pulled", &json!({})).await;
    bench.registry.note_pull(&read(R), &digest);
    let owner = Maintenance::by_the_stores_owner();
    let write = bench.registry.write_pulls(&owner, || std::future::ready(()));
    assert_eq!(write.await.unwrap(), 1);
    assert_eq!(bench.fsck().await.0.findings, []);
    let key = bench.only_key("r/team/app!/p/").await;
    let gone = key.replace(digest.hex(), &"0".repeat(64));
    let record = bench.store.get(&key).await.unwrap().unwrap();
    bench.store.create(&gone, record.value.into()).await.unwrap();
    let findings = bench.fsck().await.0.findings;
    let found: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(found, [format!("leftover: {gone}: the manifest does not exist")]);
}

#[tokio::test]
async fn remains_of_a_crash_are_not_damage() {
    let bench = whole().await;
    let nobodys = "0".repeat(32);
    bench.replace_bytes(&nobodys, Some("x")).await;
    bench.tamper("r/team/app!/t/v1", |_| None).await;
    let key = bench.only_key("u/").await;
    bench
        .tamper(&key, |value| Some(value.replace("\"open\"", "\"aborting\"")))
        .await;
    let (heard, _) = bench.fsck().await;
    let found: Vec<_> = heard
        .findings
        .iter()
        .map(|finding| (finding.severity, finding.what.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            (Severity::Leftover, "the tag does not point to this manifest"),
            (Severity::Leftover, "remains of an upload that has ended"),
            (
                Severity::Leftover,
                "no record names them; the collector removes them when they are old"
            ),
        ]
    );
}

/// A failure that proves nothing about the bytes, or may be temporary, is reported but not recorded.
#[tokio::test]
async fn the_images_that_need_damaged_content_are_named() {
    let bench = Bench::new();
    let good = push_image(&bench.registry, R, "good", &json!({})).await;
    let child = push_image(&bench.registry, R, "child", &json!({})).await;
    let listing = index(&[&child]);
    bench
        .registry
        .put_manifest(&write(R), &tag("v1"), Some(INDEX), listing)
        .await
        .unwrap();
    bench.put_tag(R, "good", &good).await;
    bench.put_tag(R, "v2", &child).await;
    let other = push_image(&bench.registry, "team/web", "child", &json!({})).await;
    assert_eq!(bench.fsck().await.0.broken, Vec::<String>::new());
    let blob = keys::blob(&sha256(b"child"));
    let name = bench.registry.records.read(&blob).await.unwrap().unwrap();
    let name = name.record.generation;
    bench.store.remove(&name, &Resume::default()).await.unwrap();
    let expected = [
        format!("push again: team/app@{child}, tagged v1, v2"),
        format!("push again: team/web@{other}"),
    ];
    assert_eq!(bench.fsck().await.0.broken, expected);
}
