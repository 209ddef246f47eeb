//! How a command asks the running registry for a backup. The request is JSON. The answer has one JSON object per
//! line, and the last line has the result. When the command disconnects, the backup stops.

use crate::storage::local::{BackedUp, Copied};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, Stream};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::path::PathBuf;
use tokio::sync::mpsc;

/// The path of the request, which is a POST.
pub const BACKUP: &str = "/backup";

/// A request for a backup. The path is absolute, and the registry resolves it: a command in another container may
/// see other folders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupRequest {
    pub to: PathBuf,
    pub hard_link: bool,
}

/// A line of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BackupMessage {
    Progress(Copied),
    Done(BackedUp),
    Failed(String),
}

/// Makes a backup and sends its progress. It stops when the receiver is dropped.
pub type MakeBackup =
    dyn Fn(BackupRequest, mpsc::Sender<BackupMessage>) -> BoxFuture<'static, ()> + Send + Sync;

impl BackupRequest {
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        // This fails for a path that is not UTF-8.
        serde_json::to_vec(self).ok()
    }

    /// Parses a request of this version's command. The path must be absolute.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes)
            .ok()
            .filter(|request: &Self| request.to.is_absolute())
    }
}

impl BackupMessage {
    #[must_use]
    pub fn decode(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    fn line(&self) -> Option<Bytes> {
        let mut line = serde_json::to_vec(self).ok()?;
        line.push(b'\n');
        Some(line.into())
    }
}

/// The lines of an answer. They are produced only as fast as the client reads them.
pub(super) fn lines(
    mut news: mpsc::Receiver<BackupMessage>,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::poll_fn(move |context| {
        news.poll_recv(context)
            .map(|one| one.and_then(|news| news.line()).map(Ok))
    })
}
