//! What the stores of this module do, seen by the client that the registry uses.

mod access;
mod behaviour;
mod engines;
mod faults;
mod requests;

use super::Place;
use bytes::Bytes;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutMode, RetryConfig, UpdateVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn client(place: &Place) -> AmazonS3 {
    builder(place).build().unwrap()
}

/// Repeats nothing.
fn builder(place: &Place) -> AmazonS3Builder {
    AmazonS3Builder::new()
        .with_endpoint(&place.endpoint)
        .with_bucket_name(&place.bucket)
        .with_region(&place.region)
        .with_access_key_id(&place.access_key)
        .with_secret_access_key(&place.secret_key)
        .with_allow_http(true)
        .with_retry(RetryConfig {
            max_retries: 0,
            ..RetryConfig::default()
        })
}

/// The mode of a write that replaces what has this entity tag.
fn replacing(tag: &Option<String>) -> PutMode {
    PutMode::Update(UpdateVersion {
        e_tag: tag.clone(),
        version: None,
    })
}

async fn read(store: &AmazonS3, key: &Path) -> Bytes {
    store.get(key).await.unwrap().bytes().await.unwrap()
}

/// Sends a request on a connection of its own. Returns the status and the body.
async fn send(method: &str, url: &impl ToString, headers: &str, body: &str) -> (u16, String) {
    let url: http::Uri = url.to_string().parse().unwrap();
    let address = url.authority().unwrap().as_str();
    let target = url.path_and_query().unwrap();
    let length = body.len();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}
