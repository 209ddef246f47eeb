//! Reads and writes a bucket by the S3 API alone.

use aws_lc_rs::{digest, hmac};
use http::Method;
use std::collections::BTreeMap;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use wharfinger_testkit::s3::Place;

pub(crate) struct Inspector {
    place: Place,
    client: reqwest::Client,
}

impl Inspector {
    pub(crate) fn new(place: Place) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { place, client }
    }

    /// The keys and sizes of all objects.
    pub(super) async fn objects(&self) -> Vec<(String, u64)> {
        let mut objects: Vec<(String, u64)> = Vec::new();
        loop {
            let mut query = BTreeMap::from([("list-type", "2".to_owned())]);
            if let Some((last, _)) = objects.last() {
                query.insert("start-after", last.clone());
            }
            let page = self.get("", &query).await;
            let sizes = texts(&page, "Size").into_iter().map(|size| size.parse().unwrap());
            objects.extend(texts(&page, "Key").into_iter().zip(sizes));
            if !page.contains("<IsTruncated>true</IsTruncated>") {
                return objects;
            }
        }
    }

    /// The keys of the multipart uploads that were neither completed nor aborted.
    pub(super) async fn uploads(&self) -> Vec<String> {
        let query = BTreeMap::from([("uploads", String::new())]);
        texts(&self.get("", &query).await, "Key")
    }

    pub(super) async fn object(&self, key: &str) -> String {
        self.get(key, &BTreeMap::new()).await
    }

    pub(super) async fn put(&self, key: &str, body: &'static str) {
        self.send(Method::PUT, key, &BTreeMap::new(), body).await;
    }

    async fn get(&self, key: &str, query: &BTreeMap<&str, String>) -> String {
        self.send(Method::GET, key, query, "").await
    }

    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html>
    async fn send(
        &self,
        method: Method,
        key: &str,
        query: &BTreeMap<&str, String>,
        body: &'static str,
    ) -> String {
        let now = OffsetDateTime::from_unix_timestamp(wharfinger_testkit::now()).unwrap();
        let date = now.format(&Rfc3339).unwrap().replace(['-', ':'], "");
        let day = &date[..8];
        let host = self.place.endpoint.trim_start_matches("http://");
        let path = format!("/{}/{}", self.place.bucket, escaped(key, true));
        let query: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{name}={}", escaped(value, false)))
            .collect();
        let query = query.join("&");
        let names = "host;x-amz-content-sha256;x-amz-date";
        let canonical = format!(
            "{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:{date}\n\n{names}\nUNSIGNED-PAYLOAD"
        );
        let scope = format!("{day}/{}/s3/aws4_request", self.place.region);
        let hashed = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let secret = format!("AWS4{}", self.place.secret_key).into_bytes();
        let key = [day, &self.place.region, "s3", "aws4_request"]
            .iter()
            .fold(secret, |key, part| mac(&key, part));
        let signature = hex(&mac(
            &key,
            &format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashed}"),
        ));
        let credential = format!("{}/{scope}", self.place.access_key);
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}");
        let answer = self
            .client
            .request(method, format!("{}{path}?{query}", self.place.endpoint))
            .body(body)
            .header("x-amz-date", date)
            .header("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
            .header("authorization", authorization)
            .send()
            .await
            .unwrap();
        let status = answer.status();
        let text = String::from_utf8_lossy(&answer.bytes().await.unwrap()).into_owned();
        assert!(status.is_success(), "{path}?{query}: {status} {text}");
        text
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn escaped(text: &str, is_path: bool) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || is_path && byte == b'/' {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// The texts of all elements with this name.
fn texts(xml: &str, name: &str) -> Vec<String> {
    let start = format!("<{name}>");
    let end = format!("</{name}>");
    let parts = xml.split(&start).skip(1);
    parts
        .map(|part| part.split(&end).next().unwrap().replace("&amp;", "&"))
        .collect()
}
