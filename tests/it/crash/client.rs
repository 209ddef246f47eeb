//! A client that remembers what it was told.

use super::register::{self, Register};
use crate::harness::sha256;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::time::Instant;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

/// Requests to one run of the registry.
#[derive(Clone)]
pub(super) struct Http {
    client: reqwest::Client,
    base: String,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It was acknowledged.
    Done,
    /// It was refused, and nothing happened.
    Refused(StatusCode),
    /// No answer, or one that says that the registry does not know.
    Nothing,
}

impl Http {
    pub(super) fn new(address: SocketAddr) -> Self {
        let client = reqwest::Client::builder().no_proxy().timeout(crate::harness::PATIENCE).build().unwrap();
        Self { client, base: format!("http://{address}") }
    }

    async fn send(&self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> Option<reqwest::Response> {
        let url = if path.starts_with('/') { format!("{}{path}", self.base) } else { path.to_owned() };
        self.client.request(method, url).header("content-type", IMAGE).body(body).send().await.ok()
    }

    pub(super) async fn change(&self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> Told {
        match self.send(method, path, body).await {
            None => Told::Nothing,
            Some(answer) if answer.status().is_success() => Told::Done,
            Some(answer) if answer.status().is_server_error() => Told::Nothing,
            Some(answer) => Told::Refused(answer.status()),
        }
    }

    pub(super) async fn status(&self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> u16 {
        self.send(method, path, body).await.expect("an answer").status().as_u16()
    }

    /// Status and content, if the connection lasts.
    async fn get(&self, path: &str) -> Option<(StatusCode, Vec<u8>)> {
        let answer = self.send(Method::GET, path, "").await?;
        let status = answer.status();
        Some((status, answer.bytes().await.ok()?.to_vec()))
    }

    /// The content of that digest, which must be there.
    async fn must_have(&self, path: &str, digest: &str) {
        let (status, bytes) = self.get(path).await.expect("nobody kills it now");
        assert_eq!((status, sha256(&bytes).as_str()), (StatusCode::OK, digest), "{path}: {}", String::from_utf8_lossy(&bytes));
    }

    /// The digest of what is there.
    pub(super) async fn manifest(&self, repository: &str, reference: &str) -> Option<String> {
        let (status, bytes) = self.get(&format!("/v2/{repository}/manifests/{reference}")).await.expect("nobody kills it now");
        match status {
            StatusCode::OK => Some(sha256(&bytes)),
            StatusCode::NOT_FOUND => None,
            _ => panic!("{repository}:{reference}: {status}"),
        }
    }
}

pub(super) struct Client {
    repository: String,
    dice: fastrand::Rng,
    shared: Arc<Register>,
    /// What was acknowledged. A tag is on a manifest of these.
    tags: BTreeMap<String, String>,
    /// With the blobs that they need.
    manifests: BTreeMap<String, Vec<String>>,
    /// That no manifest needs.
    blobs: BTreeSet<String>,
    /// What an unanswered change may have made of a tag.
    perhaps: BTreeMap<String, BTreeMap<Option<String>, Vec<String>>>,
    /// Manifests whose deletion was not answered.
    perhaps_gone: BTreeSet<String>,
    /// In the repository that everybody writes to.
    elsewhere: BTreeMap<String, Vec<String>>,
    pub(super) acknowledged: u64,
}

impl Client {
    pub(super) fn new(number: usize, shared: Arc<Register>, dice: fastrand::Rng) -> Self {
        Self {
            repository: format!("client/{number}"),
            dice,
            shared,
            tags: BTreeMap::new(),
            manifests: BTreeMap::new(),
            blobs: BTreeSet::new(),
            perhaps: BTreeMap::new(),
            perhaps_gone: BTreeSet::new(),
            elsewhere: BTreeMap::new(),
            acknowledged: 0,
        }
    }

    /// Works until the registry does not answer, or time is up.
    pub(super) async fn work(&mut self, address: SocketAddr, stop: Instant) {
        let http = Http::new(address);
        while Instant::now() < stop {
            let told = match self.dice.u32(0..20) {
                0..8 => self.push(&http).await,
                8..12 => self.push_shared(&http).await,
                12 => self.delete_tag(&http).await,
                13 => self.delete_manifest(&http).await,
                14 => self.push_and_delete_blob(&http).await,
                15 => self.delete_shared_tag(&http).await,
                16 => self.list(&http).await,
                _ => self.pull(&http).await,
            };
            match told {
                Told::Done => self.acknowledged += 1,
                Told::Refused(_) => {}
                Told::Nothing => return,
            }
        }
    }

    fn tag(&mut self) -> String {
        format!("t{}", self.dice.u32(0..6))
    }

    /// An image's manifest with its blobs, which are pushed. Some are larger than what the table of records takes.
    async fn image(&mut self, http: &Http, repository: &str) -> Result<(String, Vec<String>), Told> {
        let mut blobs = Vec::new();
        for _ in 0..2 {
            let size = if self.dice.u32(0..10) == 0 { self.dice.usize(0..400_000) } else { self.dice.usize(0..3000) };
            let bytes: Vec<u8> = std::iter::repeat_with(|| self.dice.u8(..)).take(size).collect();
            let digest = sha256(&bytes);
            match self.upload(http, repository, &digest, bytes).await {
                Told::Done => blobs.push(digest),
                told => return Err(told),
            }
        }
        let padding = if self.dice.u32(0..10) == 0 { "x".repeat(100_000) } else { String::new() };
        let descriptor = |digest: &str| json!({"mediaType": "application/vnd.example", "digest": digest, "size": 1});
        let manifest = json!({
            "schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(&blobs[0]), "layers": [descriptor(&blobs[1])],
            "annotations": {"padding": padding, "nonce": self.dice.u64(..).to_string()},
        });
        Ok((manifest.to_string(), blobs))
    }

    /// At once or in chunks.
    async fn upload(&mut self, http: &Http, repository: &str, digest: &str, bytes: Vec<u8>) -> Told {
        if self.dice.bool() {
            return http.change(Method::POST, &format!("/v2/{repository}/blobs/uploads/?digest={digest}"), bytes).await;
        }
        let Some(begun) = http.send(Method::POST, &format!("/v2/{repository}/blobs/uploads/"), "").await else { return Told::Nothing };
        let Some(location) = begun.headers().get("location").map(|location| location.to_str().unwrap().to_owned()) else {
            return Told::Nothing;
        };
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        match http.change(Method::PATCH, &location, first.to_vec()).await {
            Told::Done => http.change(Method::PUT, &format!("{location}?digest={digest}"), rest.to_vec()).await,
            told => told,
        }
    }

    async fn push(&mut self, http: &Http) -> Told {
        let repository = self.repository.clone();
        let (manifest, blobs) = match self.image(http, &repository).await {
            Ok(image) => image,
            Err(told) => return told,
        };
        let (tag, digest) = (self.tag(), sha256(manifest.as_bytes()));
        let told = http.change(Method::PUT, &format!("/v2/{repository}/manifests/{tag}"), manifest).await;
        match &told {
            Told::Done => {
                self.tags.insert(tag, digest.clone());
                self.manifests.insert(digest, blobs);
            }
            Told::Nothing => drop(self.perhaps.entry(tag).or_default().insert(Some(digest), blobs)),
            Told::Refused(status) => panic!("a push was refused: {status}"),
        }
        told
    }

    async fn push_shared(&mut self, http: &Http) -> Told {
        let (manifest, blobs) = match self.image(http, register::REPOSITORY).await {
            Ok(image) => image,
            Err(told) => return told,
        };
        let (tag, digest) = (register::TAGS[self.dice.usize(0..register::TAGS.len())], sha256(manifest.as_bytes()));
        let event = self.shared.begin(tag, Some(digest.clone()));
        let told = http.change(Method::PUT, &format!("/v2/{}/manifests/{tag}", register::REPOSITORY), manifest).await;
        if told == Told::Done {
            self.shared.acknowledge(tag, event);
            self.elsewhere.insert(digest, blobs);
        }
        told
    }

    async fn delete_shared_tag(&mut self, http: &Http) -> Told {
        let tag = register::TAGS[self.dice.usize(0..register::TAGS.len())];
        let event = self.shared.begin(tag, None);
        let told = http.change(Method::DELETE, &format!("/v2/{}/manifests/{tag}", register::REPOSITORY), "").await;
        if told == Told::Done {
            self.shared.acknowledge(tag, event);
        }
        told
    }

    async fn delete_tag(&mut self, http: &Http) -> Told {
        let tag = self.tag();
        let told = http.change(Method::DELETE, &format!("/v2/{}/manifests/{tag}", self.repository), "").await;
        match told {
            Told::Done => assert!(self.tags.remove(&tag).is_some(), "{tag} was not there"),
            Told::Refused(_) => assert!(!self.tags.contains_key(&tag), "{tag} was there"),
            Told::Nothing => drop(self.perhaps.entry(tag).or_default().insert(None, Vec::new())),
        }
        told
    }

    async fn delete_manifest(&mut self, http: &Http) -> Told {
        let Some(digest) = self.dice.choice(self.manifests.keys()).cloned() else { return Told::Refused(StatusCode::NOT_FOUND) };
        let told = http.change(Method::DELETE, &format!("/v2/{}/manifests/{digest}", self.repository), "").await;
        match told {
            Told::Done => self.forget(&digest),
            Told::Refused(status) => panic!("{digest}, which was acknowledged, could not be deleted: {status}"),
            Told::Nothing => drop(self.perhaps_gone.insert(digest)),
        }
        told
    }

    fn forget(&mut self, digest: &str) {
        let blobs = self.manifests.remove(digest).unwrap_or_default();
        self.blobs.extend(blobs);
        self.tags.retain(|_, on| on != digest);
    }

    async fn push_and_delete_blob(&mut self, http: &Http) -> Told {
        if let Some(digest) = self.dice.choice(&self.blobs).cloned() {
            self.blobs.remove(&digest);
            let told = http.change(Method::DELETE, &format!("/v2/{}/blobs/{digest}", self.repository), "").await;
            assert!(!matches!(told, Told::Refused(_)), "{digest}: {told:?}");
            return told;
        }
        let bytes = self.dice.u64(..).to_be_bytes().to_vec();
        let (repository, digest) = (self.repository.clone(), sha256(&bytes));
        let told = self.upload(http, &repository, &digest, bytes).await;
        if told == Told::Done {
            self.blobs.insert(digest);
        }
        told
    }

    async fn list(&mut self, http: &Http) -> Told {
        let Some((status, bytes)) = http.get(&format!("/v2/{}/tags/list", self.repository)).await else { return Told::Nothing };
        if status.is_success() {
            let listed: Value = serde_json::from_slice(&bytes).unwrap();
            let listed: BTreeSet<&str> = listed["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
            let expected: BTreeSet<&str> = self.tags.keys().map(String::as_str).collect();
            assert_eq!(listed, expected, "{}", self.repository);
        }
        Told::Refused(status)
    }

    async fn pull(&mut self, http: &Http) -> Told {
        let Some((tag, digest)) = self.dice.choice(&self.tags) else { return Told::Refused(StatusCode::NOT_FOUND) };
        let Some((status, bytes)) = http.get(&format!("/v2/{}/manifests/{tag}", self.repository)).await else { return Told::Nothing };
        assert_eq!((status, &sha256(&bytes)), (StatusCode::OK, digest), "{tag}");
        for blob in &self.manifests[digest] {
            let Some((status, bytes)) = http.get(&format!("/v2/{}/blobs/{blob}", self.repository)).await else { return Told::Nothing };
            assert_eq!((status, &sha256(&bytes)), (StatusCode::OK, blob));
        }
        Told::Refused(status)
    }

    /// Compares all that is remembered with what is there, and learns what became of the changes that were not answered.
    pub(super) async fn settle(&mut self, address: SocketAddr) {
        let (http, repository) = (Http::new(address), self.repository.clone());
        for digest in std::mem::take(&mut self.perhaps_gone) {
            if http.manifest(&repository, &digest).await.is_none() {
                self.forget(&digest);
            }
        }
        for (tag, may_be) in std::mem::take(&mut self.perhaps) {
            let (found, told) = (http.manifest(&repository, &tag).await, self.tags.get(&tag).cloned());
            match may_be.get(&found) {
                _ if found == told => {}
                Some(blobs) => match found {
                    Some(digest) => {
                        self.manifests.insert(digest.clone(), blobs.clone());
                        self.tags.insert(tag, digest);
                    }
                    None => drop(self.tags.remove(&tag)),
                },
                None => panic!("{repository}:{tag} is {found:?}, expected {told:?} or one of {may_be:?}"),
            }
        }
        for (tag, digest) in &self.tags {
            assert_eq!(http.manifest(&repository, tag).await.as_ref(), Some(digest), "{repository}:{tag}");
        }
        let all = self.manifests.iter().map(|entry| (repository.as_str(), entry));
        for (repository, (digest, blobs)) in all.chain(self.elsewhere.iter().map(|entry| (register::REPOSITORY, entry))) {
            http.must_have(&format!("/v2/{repository}/manifests/{digest}"), digest).await;
            for blob in blobs {
                http.must_have(&format!("/v2/{repository}/blobs/{blob}"), blob).await;
            }
        }
        for blob in &self.blobs {
            http.must_have(&format!("/v2/{repository}/blobs/{blob}"), blob).await;
        }
        // Compared once is enough; the rest of the run is about what comes next.
        let keep = 20;
        while self.elsewhere.len() > keep {
            self.elsewhere.pop_first();
        }
    }
}
