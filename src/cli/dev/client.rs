//! A client as small as can be: pushes one image with the X.509-SVID and pulls it with the JWT-SVID, over real TLS.

use super::folder::Folder;
use reqwest::{Certificate, Client, Identity, Response, StatusCode};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What happened.
pub(super) struct Done {
    pub digest: String,
    pub pushed: StatusCode,
    pub pulled: StatusCode,
    /// What the reader got for trying to push.
    pub refused: StatusCode,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("{}: {why}", path.display())]
    File { path: PathBuf, why: std::io::Error },
    #[error("the registry could not be reached: {0:?}")]
    Http(#[from] reqwest::Error),
    #[error("{step}: the registry answered {status}: {body}")]
    Status { step: &'static str, status: StatusCode, body: String },
    #[error("the upload's Location is missing")]
    NoLocation,
    #[error("what was pulled is not what was pushed")]
    Different,
}

pub(super) const REPOSITORY: &str = "hello/world";
pub(super) const TAG: &str = "v1";

pub(super) async fn round_trip(folder: &Folder, address: SocketAddr) -> Result<Done, ClientError> {
    let base = format!("https://127.0.0.1:{}", address.port());
    let roots = Certificate::from_pem(&read(&folder.authority())?)?;
    let builder = || Client::builder().tls_certs_only([roots.clone()]).no_proxy();
    let (certificate, key) = folder.svid();
    let pair = [read(&certificate)?, read(&key)?].concat();
    let pusher = builder().identity(Identity::from_pem(&pair)?).build()?;
    let reader = builder().build()?;
    let token = String::from_utf8_lossy(&read(&folder.jwt_svid())?).into_owned();

    let (config, layer) = (b"{}".as_slice(), b"Hello from Wharfinger.\n".as_slice());
    for blob in [config, layer] {
        push_blob(&pusher, &base, blob).await?;
    }
    let manifest = manifest(config, layer);
    let tag = format!("{base}/v2/{REPOSITORY}/manifests/{TAG}");
    let put = |client: &Client| client.put(&tag).header("content-type", MANIFEST).body(manifest.clone());
    let pushed = expect("push the manifest", put(&pusher).send().await?, StatusCode::CREATED).await?.status();

    let pull = expect("pull the manifest", reader.get(&tag).bearer_auth(&token).send().await?, StatusCode::OK).await?;
    let (pulled, body) = (pull.status(), pull.bytes().await?);
    let blob = format!("{base}/v2/{REPOSITORY}/blobs/{}", digest(layer));
    let pull = expect("pull the layer", reader.get(&blob).bearer_auth(&token).send().await?, StatusCode::OK).await?;
    if body != manifest || pull.bytes().await? != layer {
        return Err(ClientError::Different);
    }
    let refused = expect("push as the reader", put(&reader).bearer_auth(&token).send().await?, StatusCode::FORBIDDEN).await?.status();
    Ok(Done { digest: digest(manifest.as_bytes()), pushed, pulled, refused })
}

async fn push_blob(client: &Client, base: &str, bytes: &'static [u8]) -> Result<(), ClientError> {
    let start = client.post(format!("{base}/v2/{REPOSITORY}/blobs/uploads/")).send().await?;
    let start = expect("start an upload", start, StatusCode::ACCEPTED).await?;
    let location = start.headers().get("location").and_then(|value| value.to_str().ok()).ok_or(ClientError::NoLocation)?;
    let (base, sign) = (if location.starts_with('/') { base } else { "" }, if location.contains('?') { '&' } else { '?' });
    let close = client.put(format!("{base}{location}{sign}digest={}", digest(bytes))).body(bytes).send().await?;
    expect("push a blob", close, StatusCode::CREATED).await.map(drop)
}

async fn expect(step: &'static str, response: Response, wanted: StatusCode) -> Result<Response, ClientError> {
    let status = response.status();
    if status == wanted { Ok(response) } else { Err(ClientError::Status { step, status, body: response.text().await.unwrap_or_default() }) }
}

fn manifest(config: &[u8], layer: &[u8]) -> String {
    let descriptor = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()});
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": "application/vnd.wharfinger.hello",
        "config": descriptor("application/vnd.oci.empty.v1+json", config),
        "layers": [descriptor("text/plain", layer)],
    })
    .to_string()
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn read(path: &Path) -> Result<Vec<u8>, ClientError> {
    std::fs::read(path).map_err(|why| ClientError::File { path: path.to_owned(), why })
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
