//! The check of a store finds each kind of damage, and calls nothing damage that a crash may leave behind.

use super::*;
use crate::access::Maintenance;

const R: &str = "team/app";

#[derive(Default)]
struct Heard {
    findings: Vec<Finding>,
    hashed: (u64, u64),
}

impl Progress for Heard {
    fn found(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    fn hashed(&mut self, done: u64, of: u64) {
        self.hashed = (done, of);
    }
}

impl Bench {
    async fn fsck(&self) -> (Heard, Checked) {
        let mut heard = Heard::default();
        let checked = self.restarted().check(&Maintenance::by_the_stores_owner(), &mut heard).await.unwrap();
        (heard, checked)
    }

    async fn damages(&self) -> Vec<String> {
        let findings = self.fsck().await.0.findings.into_iter();
        findings.filter(|finding| finding.severity == Severity::Damage).map(|finding| finding.to_string()).collect()
    }

    /// Changes a record past the registry.
    async fn tamper(&self, key: &str, change: impl FnOnce(&str) -> Option<String>) {
        let record = self.store.get(key).await.unwrap().unwrap();
        match change(std::str::from_utf8(&record.value).unwrap()) {
            Some(value) => drop(self.store.swap(key, record.version, value.into()).await.unwrap()),
            None => self.store.delete(key, record.version).await.unwrap(),
        }
    }

    async fn only_key(&self, prefix: &str) -> String {
        let keys = self.keys(prefix).await;
        assert_eq!(keys.len(), 1, "{keys:?}");
        keys[0].clone()
    }
}

/// A store with one of everything.
async fn whole() -> Bench {
    let bench = Bench::new();
    let subject = sha256(b"subject");
    let digest = push_image(&bench.registry, R, "config", &json!({"subject": descriptor(IMAGE, &subject)})).await;
    bench.registry.put_tag(&write(R), &"v1".parse().unwrap(), &digest).await.unwrap();
    let upload = bench.registry.start_upload(&create(R), None).await.unwrap();
    bench.registry.append(&create(R), &upload.id, None, None, body(&[b"abc"])).await.unwrap();
    bench
}

#[tokio::test]
async fn a_whole_store_is_clean() {
    let (heard, checked) = whole().await.fsck().await;
    assert_eq!(heard.findings, []);
    assert_eq!(checked, Checked { blobs: 1, bytes: 6, links: 1, manifests: 1, tags: 1, uploads: 1 });
    assert_eq!(heard.hashed, (6, 6));
}

#[tokio::test]
async fn every_kind_of_damage_is_found() {
    const MANIFEST: &str = "r/team/app!/m/";
    for (prefix, from, to, expected) in [
        ("b/", "\"size\":6", "\"size\":7", "not 7"),
        ("b/", "\"format\":1", "\"format\":9", "cannot be read"),
        ("b/", "", "", "links a blob that does not exist"),
        ("b/", "live", "dying", "links a blob that is being removed"),
        ("l/", "", "", "needs the blob"),
        ("l/", "\"generation\":\"", "\"generation\":\"x", "names the bytes x"),
        (MANIFEST, "", "", "is on the manifest"),
        (MANIFEST, "schemaVersion\":2", "schemaVersion\":3", "its bytes have the digest"),
        (MANIFEST, "\"blobs\":[", "\"blobs\":[\"sha256:0000000000000000000000000000000000000000000000000000000000000000\",", "header"),
        ("r/team/app!/s/", "", "", "referrers"),
        ("r/team/app!/t/", "sha256:", "sha256:0", "cannot be read"),
        ("c/", "", "", "catalogue"),
        ("c/", "live", "gone", "cannot be read"),
        ("u/", "\"offset\":3", "\"offset\":4", "has 3 of 4 bytes"),
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
        assert!(damages.iter().any(|damage| damage.contains(expected)), "{key}: {damages:?}");
    }
    let bench = whole().await;
    bench.store.create("x/unknown", Bytes::new()).await.unwrap();
    assert_eq!(bench.damages().await, ["damage: x/unknown: is not the key of a record"]);
}

#[tokio::test]
async fn bytes_that_are_lost_or_changed_are_damage() {
    for content in [None, Some("cxnfig"), Some("config and more")] {
        let bench = whole().await;
        let name: Value = serde_json::from_slice(&bench.store.get(&bench.only_key("b/").await).await.unwrap().unwrap().value).unwrap();
        let name = name["generation"].as_str().unwrap();
        match content {
            None => bench.store.remove(name).await.unwrap(),
            Some(content) => bench.store.write(name, 0, vec![content.into()], Box::new(|_| ())).await.unwrap(),
        }
        let damages = bench.damages().await;
        assert!(damages.len() == 1 && damages[0].contains(name), "{content:?}: {damages:?}");
    }
}

#[tokio::test]
async fn what_a_crash_leaves_behind_is_no_damage() {
    let bench = whole().await;
    let nobodys = "0".repeat(32);
    bench.store.write(&nobodys, 0, vec!["x".into()], Box::new(|_| ())).await.unwrap();
    bench.tamper("r/team/app!/t/v1", |_| None).await;
    let key = bench.only_key("u/").await;
    bench.tamper(&key, |value| Some(value.replace("\"open\"", "\"aborting\""))).await;
    let (heard, _) = bench.fsck().await;
    let found: Vec<_> = heard.findings.iter().map(|finding| (finding.severity, finding.what.as_str())).collect();
    assert_eq!(
        found,
        [
            (Severity::Leftover, "the tag is elsewhere"),
            (Severity::Leftover, "an end that was cut short"),
            (Severity::Leftover, "nothing refers to them"),
        ]
    );
}
