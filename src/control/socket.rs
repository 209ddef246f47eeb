//! The control socket in the state directory. It speaks HTTP/1.1 with JSON, for the registry's own user and root.

use super::answers::Answers;
use crate::owner_file;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Collected, Empty, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

/// The socket's name in the state directory.
pub const SOCKET: &str = "control.sock";

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
    tracing::info!(control.socket = %path.display(), "answering {}", answers.commands());
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

/// Serves a connection. Each request has a time limit. An answer ends at the latest when the command
/// disconnects.
async fn converse(stream: UnixStream, answers: &Answers) {
    let answering = AtomicBool::new(false);
    let service =
        service_fn(|request| async { Ok::<_, Infallible>(answer(answers, &answering, request).await) });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    let mut conversation = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    if tokio::time::timeout(PATIENCE, conversation.as_mut())
        .await
        .is_err()
        && answering.load(Ordering::SeqCst)
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
    answering: &AtomicBool,
    request: Request<Incoming>,
) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let begin = answers.at(request.uri().path());
    let (status, body) = match (request.method(), begin) {
        (&Method::POST, Some(begin)) => match body(request).await.and_then(|body| begin(&body)) {
            Some(mut lines) => {
                answering.store(true, Ordering::SeqCst);
                // Lines are taken only as fast as the command reads them.
                let lines = stream::poll_fn(move |context| lines.poll_recv(context));
                let frames = lines.map(|line| Ok(Frame::data(line)));
                (StatusCode::OK, StreamBody::new(frames).boxed_unsync())
            }
            None => (StatusCode::BAD_REQUEST, empty()),
        },
        _ => (StatusCode::NOT_FOUND, empty()),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    response
}

async fn body(request: Request<Incoming>) -> Option<Bytes> {
    let body = Limited::new(request.into_body(), LARGEST_REQUEST).collect().await;
    body.ok().map(Collected::to_bytes)
}

fn empty() -> UnsyncBoxBody<Bytes, Infallible> {
    Empty::new().boxed_unsync()
}

/// The longest path that fits into Linux's `sockaddr_un`.
const PATH_BYTES: usize = 107;
const PAUSE: Duration = Duration::from_millis(500);
/// How many requests may run at the same time.
const AT_ONCE: usize = 8;
/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest request, in bytes. It contains little more than a path.
const LARGEST_REQUEST: usize = 64 << 10;
