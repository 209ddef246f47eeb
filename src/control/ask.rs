//! Asks the running server a question.

use super::question::{Line, LineOf, Question, Reason, encode};
use super::socket::SOCKET;
use crate::tls_failure::explain;
use http::StatusCode;
use reqwest::{Client, Response};
use std::path::{Path, PathBuf};

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    #[error("{}: {why}", socket.display())]
    Unreachable { socket: PathBuf, why: String },
    #[error("the path is not valid UTF-8")]
    NotText,
    #[error("the registry runs another version than this command; use the registry's wharfinger binary")]
    OtherVersion,
    /// With the reason.
    #[error("the registry stopped before its answer was complete ({0})")]
    CutShort(String),
    /// The server could not do it.
    #[error(transparent)]
    Failed(Reason),
}

/// Asks the server of this state directory. Calls `on_progress` while the server works. If this future is
/// dropped, the server stops the work.
pub async fn ask<Q: Question>(
    state_directory: &Path,
    question: &Q,
    mut on_progress: impl FnMut(Q::Progress),
) -> Result<Q::Answer, AskError> {
    let mut response = request(state_directory, question).await?;
    let mut text = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(cut_short)? {
        // A line may span many chunks. Each byte is searched only once.
        let mut seen = text.len();
        text.extend_from_slice(&chunk);
        while let Some(end) = text.iter().skip(seen).position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=seen + end).collect();
            seen = 0;
            match LineOf::<Q>::decode(&line) {
                Some(Line::Progress(progress)) => on_progress(progress),
                Some(Line::Done(answer)) => return Ok(answer),
                Some(Line::Failed(why)) => return Err(AskError::Failed(why)),
                None => return Err(AskError::OtherVersion),
            }
        }
    }
    Err(AskError::CutShort("its answer ended".to_owned()))
}

async fn request<Q: Question>(state_directory: &Path, question: &Q) -> Result<Response, AskError> {
    let socket = state_directory.join(SOCKET);
    let unreachable = |why: String| AskError::Unreachable {
        socket: socket.clone(),
        why,
    };
    let failed = |why: reqwest::Error| unreachable(explain(&why.without_url()).to_string());
    if !socket.exists() {
        return Err(unreachable("there is no such socket".to_owned()));
    }
    let client = Client::builder()
        .unix_socket(socket.clone())
        .read_timeout(Q::PATIENCE)
        .no_proxy()
        .tls_certs_only([])
        .build()
        .map_err(failed)?;
    let response = client
        .post(format!("http://wharfinger/{}", Q::NAME))
        .body(encode(question).ok_or(AskError::NotText)?)
        .send()
        .await
        .map_err(failed)?;
    match response.status() {
        StatusCode::OK => Ok(response),
        // The server does not know this question, or does not understand it.
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => Err(AskError::OtherVersion),
        status => Err(unreachable(format!("the registry answered {status}"))),
    }
}

fn cut_short(why: reqwest::Error) -> AskError {
    AskError::CutShort(explain(&why.without_url()).to_string())
}
