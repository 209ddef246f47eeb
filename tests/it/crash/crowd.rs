//! A client of a repository whose policy deletes tags, manifests and referrers all the time. Everything that
//! its tags `k…` need is kept: manifests, children, blobs and referrers. So is the newest of its tags `r…`, since
//! the policy keeps the two newest. All other tags, and content without a tag, may be gone at any moment.

use super::http::{Answer, Http};
use super::left::Left;
use crate::harness::sha256;
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tokio::time::Instant;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// How many clients there are. They mount blobs from each other.
pub(super) const CLIENTS: usize = 3;
/// The blobs that all of them push.
const BLOBS: usize = 4;
/// How often a client repeats a push whose content was collected before its manifest came.
const ATTEMPTS: usize = 10;

pub(super) struct Crowd {
    repository: String,
    dice: fastrand::Rng,
    kept: BTreeMap<String, Kept>,
    newest: Option<(String, Kept)>,
    /// A tag whose change was not answered, and what it points at if the change happened.
    unanswered: Option<(String, Option<Kept>)>,
    pub(super) acknowledged: u64,
}

/// What a tag points at.
#[derive(Clone, Debug)]
struct Kept {
    digest: String,
    manifests: Vec<Manifest>,
    before: String,
}

#[derive(Clone, Debug)]
struct Manifest {
    digest: String,
    bytes: String,
    blobs: Vec<String>,
}

impl Manifest {
    fn new(bytes: String, blobs: Vec<String>) -> Self {
        Self {
            digest: sha256(bytes.as_bytes()),
            bytes,
            blobs,
        }
    }
}

/// Whether nothing else belongs to it.
fn is_image(kept: &Kept) -> bool {
    kept.manifests.len() == 1 && !kept.manifests[0].blobs.is_empty()
}

impl Crowd {
    pub(super) fn new(number: usize, dice: fastrand::Rng) -> Self {
        Self {
            repository: format!("crowd/{number}"),
            dice,
            kept: BTreeMap::new(),
            newest: None,
            unanswered: None,
            acknowledged: 0,
        }
    }

    /// Works until time is up. Returns `false` if the registry stops answering.
    pub(super) async fn work(&mut self, address: SocketAddr, stop: Instant) -> bool {
        let http = Http::new(address).patient(true);
        while Instant::now() < stop {
            let changed = match self.dice.u32(0..14) {
                0..4 => self.push_image(&http).await,
                4..6 => self.push_index(&http).await,
                6..8 => self.push_referrer(&http).await,
                8 => self.delete(&http).await,
                9..11 => self.renew(&http).await,
                _ => self.pull(&http).await,
            };
            match changed {
                Some(changed) => self.acknowledged += u64::from(changed),
                None => return false,
            }
        }
        true
    }

    fn path(&self, what: &str) -> String {
        format!("/v2/{}/{what}", self.repository)
    }

    /// A tag that the policy keeps (`k`), keeps for a while (`r`) or deletes (`x`), or none.
    fn tag(&mut self) -> Option<String> {
        let kind = self
            .dice
            .choice(['k', 'k', 'r', 'x', '-'])
            .filter(|kind| *kind != '-')?;
        Some(format!("{kind}{}", self.dice.u32(0..6)))
    }

    async fn push_image(&mut self, http: &Http) -> Option<bool> {
        for _ in 0..ATTEMPTS {
            let image = self.image(http, None).await?;
            let tag = self.tag();
            if self.push(http, tag, vec![image]).await? {
                return Some(true);
            }
        }
        Some(false)
    }

    /// An index and two new images without tags.
    async fn push_index(&mut self, http: &Http) -> Option<bool> {
        for _ in 0..ATTEMPTS {
            let mut manifests = Vec::new();
            for _ in 0..2 {
                let image = self.image(http, None).await?;
                if self.push(http, None, vec![image.clone()]).await? {
                    manifests.push(image);
                }
            }
            let children: Vec<_> = manifests
                .iter()
                .map(|child| json!({"mediaType": IMAGE, "digest": child.digest, "size": 1}))
                .collect();
            let nonce = self.dice.u64(..).to_string();
            let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children, "annotations": {"nonce": nonce}});
            manifests.insert(0, Manifest::new(index.to_string(), Vec::new()));
            let tag = self.tag();
            if self.push(http, tag, manifests).await? {
                return Some(true);
            }
        }
        Some(false)
    }

    /// A referrer without a tag, of something that is kept.
    async fn push_referrer(&mut self, http: &Http) -> Option<bool> {
        let Some((tag, subject)) = self
            .dice
            .choice(&self.kept)
            .map(|(tag, kept)| (tag.clone(), kept.digest.clone()))
        else {
            return Some(false);
        };
        for _ in 0..ATTEMPTS {
            let referrer = self.image(http, Some(&subject)).await?;
            if self.push(http, None, vec![referrer.clone()]).await? {
                self.kept.get_mut(&tag).unwrap().manifests.push(referrer);
                return Some(true);
            }
        }
        Some(false)
    }

    /// An image with a blob of its own and one that others push, delete and mount too.
    async fn image(&mut self, http: &Http, subject: Option<&str>) -> Option<Manifest> {
        let size = self.dice.usize(8..2000);
        let own: Vec<u8> = std::iter::repeat_with(|| self.dice.u8(..)).take(size).collect();
        let common = self.dice.usize(0..BLOBS);
        let common = format!("blob {common} of the crowd")
            .repeat(1 + common * 50)
            .into_bytes();
        self.push_blob(http, &own).await?;
        if self.dice.bool() {
            self.push_blob(http, &common).await?;
        } else {
            self.mount(http, &common).await?;
        }
        let layers = [own, common].map(|bytes| (sha256(&bytes), bytes.len()));
        let described = layers
            .clone()
            .map(|(digest, size)| json!({"mediaType": "a/b", "digest": digest, "size": size}));
        let mut manifest =
            json!({"schemaVersion": 2, "mediaType": IMAGE, "config": described[0], "layers": described});
        if let Some(subject) = subject {
            manifest["subject"] = json!({"mediaType": IMAGE, "digest": subject, "size": 1});
        }
        Some(Manifest::new(
            manifest.to_string(),
            layers.map(|(digest, _)| digest).to_vec(),
        ))
    }

    async fn push_blob(&self, http: &Http, bytes: &[u8]) -> Option<()> {
        let path = self.path(&format!("blobs/uploads/?digest={}", sha256(bytes)));
        loop {
            let answer = http.ask(Method::POST, &path, bytes.to_vec()).await?;
            // The blob was there when the request began, and was collected meanwhile.
            if !answer.is(503, "UNKNOWN") {
                answer.must_be(201, "nothing, but any client may push a blob");
                return Some(());
            }
        }
    }

    async fn mount(&mut self, http: &Http, bytes: &[u8]) -> Option<()> {
        let from = self.dice.usize(0..CLIENTS);
        let path = self.path(&format!(
            "blobs/uploads/?mount={}&from=crowd/{from}",
            sha256(bytes)
        ));
        let answer = http.ask(Method::POST, &path, "").await?;
        if answer.status == 201 {
            return Some(());
        }
        let location = answer
            .must_be(202, "nothing, but a mount begins an upload")
            .header("location")
            .to_owned();
        http.ask(Method::DELETE, &location, "").await?;
        self.push_blob(http, bytes).await
    }

    /// Pushes the first manifest. `false` if what it needs was collected before it came.
    async fn push(&mut self, http: &Http, tag: Option<String>, manifests: Vec<Manifest>) -> Option<bool> {
        let Manifest { digest, bytes, .. } = manifests[0].clone();
        let path = self.path(&format!("manifests/{}", tag.as_deref().unwrap_or(&digest)));
        let mut kept = Kept {
            digest,
            manifests,
            before: String::new(),
        };
        if let Some(tag) = &tag {
            self.begins(tag, Some(kept.clone()));
        }
        let answer = http.ask(Method::PUT, &path, bytes).await?;
        self.unanswered = None;
        if answer.is(404, "MANIFEST_BLOB_UNKNOWN") || answer.is(404, "MANIFEST_UNKNOWN") {
            return Some(false);
        }
        kept.before = answer
            .must_be(201, "nothing, but the client just pushed what it needs")
            .to_string();
        match tag {
            Some(tag) if tag.starts_with('k') => drop(self.kept.insert(tag, kept)),
            Some(tag) if tag.starts_with('r') => self.newest = Some((tag, kept)),
            _ => {}
        }
        Some(true)
    }

    /// A change of a tag begins.
    fn begins(&mut self, tag: &str, to: Option<Kept>) {
        if tag.starts_with('r') {
            // There may be two newer ones soon.
            self.newest = None;
        }
        if tag.starts_with('k') {
            self.unanswered = Some((tag.to_owned(), to));
        }
    }

    /// Deletes a tag that is kept, or its manifest.
    async fn delete(&mut self, http: &Http) -> Option<bool> {
        let Some((tag, kept)) = self.dice.choice(&self.kept) else {
            return Some(false);
        };
        let tag = tag.clone();
        let reference = if self.dice.bool() {
            tag.clone()
        } else {
            kept.digest.clone()
        };
        self.delete_kept(http, &tag, &reference).await?;
        Some(true)
    }

    async fn delete_kept(&mut self, http: &Http, tag: &str, reference: &str) -> Option<()> {
        let path = self.path(&format!("manifests/{reference}"));
        self.begins(tag, None);
        let answer = http.ask(Method::DELETE, &path, "").await?;
        self.unanswered = None;
        let kept = self.kept.remove(tag).unwrap();
        answer.must_be(202, &kept.before);
        Some(())
    }

    /// Deletes images, and after a while pushes others that need the same blobs. In between, collectors find
    /// that no manifest needs the blobs.
    async fn renew(&mut self, http: &Http) -> Option<bool> {
        let images = self.kept.iter().filter(|(_, kept)| is_image(kept));
        let images: Vec<(String, Kept)> = images.map(|(tag, kept)| (tag.clone(), kept.clone())).collect();
        for (tag, image) in &images {
            self.delete_kept(http, tag, &image.digest).await?;
        }
        for _ in 0..self.dice.u32(0..20) {
            self.pull(http).await?;
        }
        let mut changed = false;
        for (tag, image) in images {
            let Manifest { bytes, blobs, .. } = &image.manifests[0];
            let mut renewed: Value = serde_json::from_str(bytes).unwrap();
            renewed["annotations"] = json!({"nonce": self.dice.u64(..).to_string()});
            let renewed = Manifest::new(renewed.to_string(), blobs.clone());
            changed |= self.push(http, Some(tag), vec![renewed]).await?;
        }
        Some(changed)
    }

    async fn pull(&mut self, http: &Http) -> Option<bool> {
        if self.dice.bool()
            && let Some((tag, kept)) = self.dice.choice(&self.kept)
        {
            self.must_be_whole(http, tag, kept).await?;
        } else if let Some(tag) = self.tag() {
            http.manifest(&self.repository, &tag).await?;
        }
        Some(false)
    }

    async fn must_be_whole(&self, http: &Http, tag: &str, kept: &Kept) -> Option<()> {
        let get = async |reference: &str| {
            let path = self.path(&format!("manifests/{reference}"));
            Some(http.ask(Method::GET, &path, "").await?.must_be(200, &kept.before))
        };
        get(tag).await?.must_hold(&kept.digest, &kept.before);
        for manifest in &kept.manifests {
            get(&manifest.digest)
                .await?
                .must_hold(&manifest.digest, &kept.before);
            for blob in &manifest.blobs {
                http.must_have(&self.repository, blob, &kept.before).await?;
            }
        }
        Some(())
    }

    /// Learns what became of the unanswered change, and compares everything.
    pub(super) async fn settle(&mut self, http: &Http) -> Option<()> {
        if let Some((tag, to)) = self.unanswered.take() {
            let found = http.manifest(&self.repository, &tag).await?;
            let points_at = |kept: Option<&Kept>| found.as_ref() == kept.map(|kept| &kept.digest);
            if !points_at(self.kept.get(&tag)) {
                assert!(
                    points_at(to.as_ref()),
                    "{}:{tag} points at {found:?}",
                    self.repository
                );
                match to {
                    Some(kept) => drop(self.kept.insert(tag, kept)),
                    None => drop(self.kept.remove(&tag)),
                }
            }
        }
        for (tag, kept) in self
            .kept
            .iter()
            .chain(self.newest.iter().map(|(tag, kept)| (tag, kept)))
        {
            self.must_be_whole(http, tag, kept).await?;
        }
        Some(())
    }

    /// Deletes about half of what is kept.
    pub(super) async fn delete_half(&mut self, http: &Http) -> Option<()> {
        for _ in 0..self.kept.len() / 2 {
            self.delete(http).await?;
        }
        Some(())
    }

    pub(super) async fn what_is_left(&self, http: &Http, left: &mut Left) -> Option<()> {
        let answer: Answer = http.ask(Method::GET, &self.path("tags/list"), "").await?;
        let tags = answer.json()["tags"].as_array().cloned().unwrap_or_default();
        let scrap: Vec<_> = tags
            .iter()
            .filter(|tag| tag.as_str().unwrap().starts_with('x'))
            .collect();
        assert!(scrap.is_empty(), "{answer}");
        left.follow_tags(http, &self.repository).await
    }
}
