//! A minimal client. It pushes one image with the X.509-SVID and pulls it with the JWT-SVID, over TLS.

use super::folder::Folder;
use super::image::{Image, MANIFEST, digest};
use crate::file_error::FileError;
use crate::tls_failure::explain;
use reqwest::{Certificate, Client, Identity, Response, StatusCode};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What happened.
pub(super) struct Done {
    pub digest: String,
    pub pushed: StatusCode,
    pub pulled: StatusCode,
    /// The status of the reader's attempt to push.
    pub refused: StatusCode,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("{}: {why}", path.display())]
    File { path: PathBuf, why: FileError },
    #[error("cannot reach the registry: {}", explain(.0))]
    Http(#[from] reqwest::Error),
    #[error("{step}: the registry answered {status}: {body}")]
    Status {
        step: &'static str,
        status: StatusCode,
        body: String,
    },
    #[error("the registry's answer has no Location header for the upload")]
    NoLocation,
    #[error("the pulled image differs from the pushed one")]
    Different,
}

pub(super) const REPOSITORY: &str = "hello/world";
pub(super) const TAG: &str = "v1";

pub(super) async fn round_trip(folder: &Folder, address: SocketAddr) -> Result<Done, ClientError> {
    let base = format!("https://{address}");
    let roots = Certificate::from_pem(&read(&folder.authority())?)?;
    let builder = || Client::builder().tls_certs_only([roots.clone()]).no_proxy();
    let (certificate, key) = folder.svid();
    let pair = [read(&certificate)?, read(&key)?].concat();
    let pusher = builder().identity(Identity::from_pem(&pair)?).build()?;
    let reader = builder().build()?;
    let token = String::from_utf8_lossy(&read(&folder.jwt_svid())?).into_owned();

    let Image {
        layer,
        config,
        manifest,
    } = Image::hello();
    for blob in [&config, &layer] {
        push_blob(&pusher, &base, blob).await?;
    }
    let tag = format!("{base}/v2/{REPOSITORY}/manifests/{TAG}");
    let put = |client: &Client| {
        client
            .put(&tag)
            .header("content-type", MANIFEST)
            .body(manifest.clone())
    };
    let pushed = expect(
        "push the manifest",
        put(&pusher).send().await?,
        StatusCode::CREATED,
    )
    .await?
    .status();

    let pull = expect(
        "pull the manifest",
        reader.get(&tag).bearer_auth(&token).send().await?,
        StatusCode::OK,
    )
    .await?;
    let pulled = pull.status();
    let body = pull.bytes().await?;
    let blob = format!("{base}/v2/{REPOSITORY}/blobs/{}", digest(&layer));
    let pull = expect(
        "pull the layer",
        reader.get(&blob).bearer_auth(&token).send().await?,
        StatusCode::OK,
    )
    .await?;
    if body != manifest || pull.bytes().await? != layer {
        return Err(ClientError::Different);
    }
    let refused = expect(
        "push as the reader",
        put(&reader).bearer_auth(&token).send().await?,
        StatusCode::FORBIDDEN,
    )
    .await?
    .status();
    Ok(Done {
        digest: digest(&manifest),
        pushed,
        pulled,
        refused,
    })
}

async fn push_blob(client: &Client, base: &str, bytes: &[u8]) -> Result<(), ClientError> {
    let start = client
        .post(format!("{base}/v2/{REPOSITORY}/blobs/uploads/"))
        .send()
        .await?;
    let start = expect("start an upload", start, StatusCode::ACCEPTED).await?;
    let location = start
        .headers()
        .get("location")
        .and_then(|value| value.to_str().ok())
        .ok_or(ClientError::NoLocation)?;
    let base = if location.starts_with('/') { base } else { "" };
    let sign = if location.contains('?') { '&' } else { '?' };
    let close = client
        .put(format!("{base}{location}{sign}digest={}", digest(bytes)))
        .body(bytes.to_vec())
        .send()
        .await?;
    expect("push a blob", close, StatusCode::CREATED).await.map(drop)
}

async fn expect(step: &'static str, response: Response, wanted: StatusCode) -> Result<Response, ClientError> {
    let status = response.status();
    if status == wanted {
        Ok(response)
    } else {
        Err(ClientError::Status {
            step,
            status,
            body: response.text().await.unwrap_or_default(),
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ClientError> {
    std::fs::read(path).map_err(|why| ClientError::File {
        path: path.to_owned(),
        why: FileError::new(path, &why),
    })
}
