//! The control socket in the state directory. It speaks HTTP/1.1 with JSON, for the registry's own user and root.

use super::backup::{BACKUP, BackupRequest, MakeBackup, lines};
use super::report::Report;
use crate::owner_file;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};

/// The socket's name in the state directory.
pub const SOCKET: &str = "control.sock";

/// The functions behind the socket's requests.
pub struct Answers {
    pub trust: Box<dyn Fn() -> Report + Send + Sync>,
    pub backup: Box<MakeBackup>,
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answers")
    }
}

/// Serves the socket in `state_directory` until dropped. Fails if the path is too long for a socket or the folder
/// cannot be written. Replaces the socket of an earlier process, so the caller must be the only process that serves
/// this directory.
pub async fn serve(state_directory: &Path, answers: Answers) -> io::Result<Infallible> {
    owner_file::make_folder(state_directory)?;
    let path = state_directory.join(SOCKET);
    match fs::remove_file(&path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    if path.as_os_str().len() > PATH_BYTES {
        let why = format!(
            "{} is too long for a socket, whose path has at most {PATH_BYTES} bytes: set a shorter stateDirectory",
            path.display()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    tracing::info!(control.socket = %path.display(), "answering `wharfinger trust` and `wharfinger backup`");
    let answers = Arc::new(answers);
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
        let stream = accept(&listener).await;
        if !is_ours(&stream) {
            continue;
        }
        let answers = answers.clone();
        tokio::spawn(async move {
            converse(stream, &answers).await;
            drop(slot);
        });
    }
}

/// Serves a connection. A request and its answer have a time limit, except for a backup, which ends when the command
/// disconnects.
async fn converse(stream: UnixStream, answers: &Answers) {
    let backing_up = AtomicBool::new(false);
    let service =
        service_fn(|request| async { Ok::<_, Infallible>(answer(answers, &backing_up, request).await) });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    let mut conversation = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    if tokio::time::timeout(PATIENCE, conversation.as_mut())
        .await
        .is_err()
        && backing_up.load(Ordering::SeqCst)
    {
        drop(conversation.await);
    }
}

/// Waits for the next connection. An error usually means that no file descriptor is free, so it tries again later.
async fn accept(listener: &UnixListener) -> UnixStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(why) => {
                tracing::error!(
                    "the control socket cannot accept a connection now and will try again: {why}"
                );
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Whether the peer is the registry's own user or root. The permissions of folder and socket already ensure this,
/// unless someone changed them.
fn is_ours(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

async fn answer(
    answers: &Answers,
    backing_up: &AtomicBool,
    request: Request<Incoming>,
) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let (status, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/trust") => match serde_json::to_vec(&(answers.trust)()) {
            Ok(body) => (StatusCode::OK, whole(body)),
            Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, whole(Vec::new())),
        },
        (&Method::POST, BACKUP) => match backup_request(request).await {
            Some(request) => {
                let (news, heard) = mpsc::channel(NEWS);
                backing_up.store(true, Ordering::SeqCst);
                tokio::spawn((answers.backup)(request, news));
                (
                    StatusCode::OK,
                    StreamBody::new(lines(heard).map_ok(Frame::data)).boxed_unsync(),
                )
            }
            None => (StatusCode::BAD_REQUEST, whole(Vec::new())),
        },
        _ => (StatusCode::NOT_FOUND, whole(Vec::new())),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    response
}

async fn backup_request(request: Request<Incoming>) -> Option<BackupRequest> {
    let body = Limited::new(request.into_body(), LARGEST_REQUEST)
        .collect()
        .await
        .ok()?;
    BackupRequest::decode(&body.to_bytes())
}

fn whole(body: Vec<u8>) -> UnsyncBoxBody<Bytes, Infallible> {
    Full::new(Bytes::from(body)).boxed_unsync()
}

/// The longest path that fits into Linux's `sockaddr_un`.
const PATH_BYTES: usize = 107;
const PAUSE: Duration = Duration::from_millis(500);
/// How many requests may run at the same time.
const AT_ONCE: usize = 8;
/// How long a request and its answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many lines wait for a command that does not read.
const NEWS: usize = 16;
/// The largest request, in bytes. It contains little more than a path.
const LARGEST_REQUEST: usize = 64 << 10;
