//! What a client reads, and compares with what it remembers.

use super::collected::SCRAP;
use super::*;
use serde_json::Value;

impl Client {
    pub(super) async fn list(&mut self, http: &Http) -> Option<bool> {
        let answer = http.ask(Method::GET, &self.path("tags/list"), "").await?;
        if self.manifests.is_empty() && answer.is(404, "NAME_UNKNOWN") {
            return Some(false);
        }
        let answer = answer.must_be(
            200,
            &format!(
                "{:?}",
                self.manifests.values().next().map(|manifest| &manifest.before)
            ),
        );
        let listed = answer.json();
        let listed: Vec<&str> = listed["tags"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let checked: Vec<&str> = listed.into_iter().filter(|tag| !tag.starts_with(SCRAP)).collect();
        let expected: Vec<&String> = self.tags.keys().collect();
        assert_eq!(
            checked, expected,
            "{answer}\nacknowledged before: {:?}",
            self.tags
        );
        Some(false)
    }

    /// Lists the referrers of every subject. They are exactly those that were acknowledged.
    pub(super) async fn referrers(&mut self, http: &Http) -> Option<bool> {
        let mut expected: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
        for digest in self.manifests.keys() {
            expected.entry(digest).or_default();
        }
        for (digest, manifest) in &self.manifests {
            let Some(subject) = &manifest.subject else {
                continue;
            };
            expected
                .entry(subject)
                .or_default()
                .insert(digest, &manifest.before);
        }
        for (subject, referrers) in expected {
            let answer = http
                .ask(Method::GET, &self.path(&format!("referrers/{subject}")), "")
                .await?;
            let answer = answer.must_be(200, "nothing, but there are always referrers, perhaps none");
            let index = answer.json();
            let found: BTreeSet<&str> = index["manifests"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(|entry| entry["digest"].as_str())
                .collect();
            let acknowledged: BTreeSet<&str> = referrers.keys().copied().collect();
            assert_eq!(
                found, acknowledged,
                "{answer}\nacknowledged before: {referrers:?}"
            );
        }
        Some(false)
    }

    pub(super) async fn pull(&mut self, http: &Http) -> Option<bool> {
        let Some((tag, (digest, before))) = self.dice.choice(&self.tags) else {
            return Some(false);
        };
        let answer = http
            .ask(Method::GET, &self.path(&format!("manifests/{tag}")), "")
            .await?;
        answer.must_be(200, before).must_hold(digest, before);
        for blob in &self.manifests[digest].blobs {
            http.must_have(&self.repository, blob, before).await?;
        }
        Some(false)
    }
}
