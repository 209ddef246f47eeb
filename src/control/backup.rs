//! How a command asks the running registry for a backup: a request in JSON, and as an answer a JSON object a
//! line, the last of which says how it ended. When the command goes away, the backup stops.

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

/// What is to be copied where. The path is absolute, and is the registry's: it may see other folders than the
/// command does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupRequest {
    pub to: PathBuf,
    pub hard_link: bool,
}

/// A line of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BackupNews {
    Progress(Copied),
    Done(BackedUp),
    Failed(String),
}

/// Makes a backup and says how it goes. It stops when the receiver is gone.
pub type MakeBackup = dyn Fn(BackupRequest, mpsc::Sender<BackupNews>) -> BoxFuture<'static, ()> + Send + Sync;

impl BackupRequest {
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        // A path that is not text in UTF-8 cannot be written.
        serde_json::to_vec(self).ok()
    }

    /// What the command of this version sends.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes)
            .ok()
            .filter(|request: &Self| request.to.is_absolute())
    }
}

impl BackupNews {
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

/// The lines of an answer. They are asked for only while somebody reads them.
pub(super) fn lines(mut news: mpsc::Receiver<BackupNews>) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::poll_fn(move |context| {
        news.poll_recv(context)
            .map(|one| one.and_then(|news| news.line()).map(Ok))
    })
}
