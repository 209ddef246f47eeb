//! Pushes one image with the X.509-SVID and pulls it with the JWT-SVID, over TLS.

use super::folder::Folder;
use super::image::{Image, digest};
use crate::client::{Authorization, ClientError, Connection, InvalidConnection, Registry};
use crate::file_error::FileError;
use crate::oci::{InvalidDigest, ManifestType, Reference, RepositoryName};
use crate::secret::Secret;
use crate::trust::tls::Authorities;
use http::StatusCode;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What happened.
pub(super) struct Done {
    pub digest: String,
    pub pushed: StatusCode,
    pub pulled: StatusCode,
    /// The status of the reader's attempt to push.
    pub refused: StatusCode,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum RoundTripError {
    #[error("{}: {why}", path.display())]
    File { path: PathBuf, why: FileError },
    #[error("the image has no valid name: {0}")]
    Name(String),
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
    #[error(transparent)]
    Connection(#[from] InvalidConnection),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the reader could push, although it may only read")]
    NotRefused,
    #[error("the pulled image differs from the pushed one")]
    Different,
}

pub(super) const REPOSITORY: &str = "hello/world";
pub(super) const TAG: &str = "v1";

pub(super) async fn round_trip(folder: &Folder, address: SocketAddr) -> Result<Done, RoundTripError> {
    let authority = read(&folder.authority())?;
    let (certificate, key) = folder.svid();
    let pair = [read(&certificate)?, read(&key)?].concat();
    let token = Secret::new(String::from_utf8_lossy(&read(&folder.jwt_svid())?));
    let authorities = Authorities {
        pem: Some(&authority),
        named: "the authority of `wharfinger dev`",
        fix: "remove the folder to start again",
    };
    let connect = |certificate| {
        let base = format!("https://{address}");
        Connection::new(&base, &authorities, certificate, PATIENCE)
    };
    let pusher = Registry::new(connect(Some(&pair))?, None);
    let reader = Registry::new(connect(None)?, Some(Authorization::Bearer(token)));
    let invalid = |why: &dyn std::fmt::Display| RoundTripError::Name(why.to_string());
    let repository: RepositoryName = REPOSITORY.parse().map_err(|why| invalid(&why))?;
    let tag: Reference = TAG.parse().map_err(|why| invalid(&why))?;

    let Image {
        layer,
        config,
        manifest,
    } = Image::hello();
    for blob in [&config, &layer] {
        pusher
            .push_blob(&repository, &digest(blob).parse()?, blob.clone())
            .await?;
    }
    let media_type = ManifestType::OciManifest.as_str();
    let push = |client: Registry| {
        let repository = &repository;
        let tag = &tag;
        let manifest = manifest.clone();
        async move { client.push_manifest(repository, tag, media_type, manifest).await }
    };
    let pushed = push(pusher).await?;
    let pulled = reader.manifest(&repository, &tag).await?;
    let blob = reader
        .blob(&repository, &digest(&layer).parse()?, layer.len())
        .await?;
    if pulled.body != manifest || blob.body != layer {
        return Err(RoundTripError::Different);
    }
    let refused = match push(reader).await {
        Err(ClientError::Status {
            status: status @ StatusCode::FORBIDDEN,
            ..
        }) => status,
        Err(why) => return Err(why.into()),
        Ok(_) => return Err(RoundTripError::NotRefused),
    };
    Ok(Done {
        digest: digest(&manifest),
        pushed: pushed.status,
        pulled: pulled.status,
        refused,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, RoundTripError> {
    std::fs::read(path).map_err(|why| RoundTripError::File {
        path: path.to_owned(),
        why: FileError::new(path, &why),
    })
}

/// How long the registry may take for one of these small requests.
const PATIENCE: Duration = Duration::from_secs(60);
