//! An HTTP client that checks the headers of every answer, and a raw connection for malformed requests.

use super::{PATIENCE, Pair, TestApp};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Body, Certificate, Identity, Method, StatusCode};
use serde_json::Value;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    headers: HeaderMap,
}

impl Client {
    pub(super) fn new(app: &TestApp, pair: Option<&Pair>) -> Self {
        Self::trusting(app, app.authority(), pair)
    }

    pub(super) fn trusting(app: &TestApp, authority: Option<&str>, pair: Option<&Pair>) -> Self {
        let roots = authority.map(|pem| Certificate::from_pem(pem.as_bytes()).unwrap());
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .tls_certs_only(roots);
        if let Some(Pair { certificate, key }) = pair {
            builder = builder.identity(Identity::from_pem(format!("{certificate}{key}").as_bytes()).unwrap());
        }
        Self {
            http: builder.build().unwrap(),
            base: app.url(""),
            headers: HeaderMap::new(),
        }
    }

    /// A header for every request, in addition to others of its name.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        );
        self
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "").await
    }

    /// `None` if the connection fails.
    pub(crate) async fn get_or_none(&self, path: &str) -> Option<Answer> {
        let response = self.begin(Method::GET, path, "").await.ok()?;
        let status = response.status();
        let headers = response.headers().clone();
        Some(Answer {
            status,
            headers,
            body: response.bytes().await.ok()?.to_vec(),
        })
    }

    pub(crate) async fn post(&self, path: &str) -> Answer {
        self.send(Method::POST, path, "").await
    }

    pub(crate) async fn put(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.send(Method::PUT, path, body).await
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: impl Into<Body>) -> Answer {
        let response = self.begin(method, path, body).await.unwrap();
        let status = response.status();
        let headers = response.headers().clone();
        Answer {
            status,
            headers,
            body: response.bytes().await.unwrap().to_vec(),
        }
    }

    /// A response whose body has not been read.
    pub(crate) async fn begin(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Body>,
    ) -> reqwest::Result<reqwest::Response> {
        let url = if path.starts_with('/') {
            format!("{}{path}", self.base)
        } else {
            path.to_owned()
        };
        self.http
            .request(method, url)
            .headers(self.headers.clone())
            .body(body)
            .send()
            .await
    }

    /// Pushes a blob in one request and returns its digest.
    pub(crate) async fn push_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = super::sha256(bytes);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let answer = self.send(Method::POST, &path, bytes.to_vec()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        digest
    }

    /// Starts an upload and returns its location.
    pub(crate) async fn start_upload(&self, repository: &str) -> String {
        let answer = self.post(&format!("/v2/{repository}/blobs/uploads/")).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        answer.header("location").to_owned()
    }
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{}: no JSON: {}", self.status, self.text()))
    }

    /// The status and the code of the first error.
    pub(crate) fn error(&self) -> (u16, String) {
        (
            self.status.as_u16(),
            self.json()["errors"][0]["code"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    }
}

/// Sends bytes over plain HTTP and reads until the server closes the connection. The request should ask for
/// that.
pub(crate) async fn raw(address: SocketAddr, request: &[u8]) -> String {
    let talk = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        // The server may reject the request and close the connection while this still writes.
        let write = async {
            drop(writer.write_all(request).await);
        };
        let mut answer = Vec::new();
        let read = async {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut piece).await {
                answer.extend_from_slice(&piece[..count]);
            }
        };
        tokio::join!(write, read);
        String::from_utf8_lossy(&answer).into_owned()
    };
    tokio::time::timeout(PATIENCE, talk)
        .await
        .expect("the connection does not end")
}
