//! The control socket: HTTP/1.1 with JSON, in the state directory, for the registry's own user and root.

use super::report::Report;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

/// The socket's name in the state directory.
pub const SOCKET: &str = "control.sock";

/// What can be asked.
pub struct Answers {
    pub trust: Box<dyn Fn() -> Report + Send + Sync>,
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answers")
    }
}

/// Answers on the socket in `state_directory` until dropped. A path that is too long for a socket, or a folder that cannot be written,
/// is an error; a socket that an earlier process left is replaced, so the caller must be the only one that serves this directory.
pub async fn serve(state_directory: &Path, answers: Answers) -> io::Result<Infallible> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(state_directory)?;
    let path = state_directory.join(SOCKET);
    match fs::remove_file(&path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    if path.as_os_str().len() > PATH_BYTES {
        let why =
            format!("{} is longer than the {PATH_BYTES} bytes that a socket's path may have: set a shorter stateDirectory", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    tracing::info!(control.socket = %path.display(), "answering `wharfinger trust`");
    let (answers, slots) = (Arc::new(answers), Arc::new(Semaphore::new(AT_ONCE)));
    loop {
        let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
        let stream = accept(&listener).await;
        if !is_ours(&stream) {
            continue;
        }
        let answers = answers.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| std::future::ready(Ok::<_, Infallible>(answer(&answers, &request))));
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
            drop(tokio::time::timeout(PATIENCE, http.serve_connection(TokioIo::new(stream), service)).await);
            drop(slot);
        });
    }
}

/// The next connection. Out of descriptors, most likely, there is none for now: others that end will free some.
async fn accept(listener: &UnixListener) -> UnixStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(why) => {
                tracing::error!("the control socket cannot accept connections at the moment, and will try again: {why}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The folder and the socket keep others out already; this holds where somebody opened them up.
fn is_ours(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

fn answer(answers: &Answers, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/trust") => match serde_json::to_vec(&(answers.trust)()) {
            Ok(body) => (StatusCode::OK, body),
            Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, Vec::new()),
        },
        _ => (StatusCode::NOT_FOUND, Vec::new()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

/// What fits into `sockaddr_un` of Linux.
const PATH_BYTES: usize = 107;
const PAUSE: Duration = Duration::from_millis(500);
/// Questions at the same time.
const AT_ONCE: usize = 8;
/// For a question and its answer.
const PATIENCE: Duration = Duration::from_secs(10);
