//! A Workload API on a real socket, whose messages and failures a test controls.

use crate::trust::source::workload_api::wire::{
    ByDomain, JwtBundlesResponse, Request, X509BundlesResponse, X509Svid, X509SvidResponse,
};
use futures_util::Stream;
use std::convert::Infallible;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream, UnixListenerStream};
use tonic::{Code, Response, Status};

type Answer<T> = Result<T, Status>;

/// A Workload API on a real socket.
pub(in crate::trust::source) struct Agent {
    folder: tempfile::TempDir,
    pub(in crate::trust::source) address: String,
    x509: watch::Sender<Answer<X509BundlesResponse>>,
    jwt: watch::Sender<Answer<JwtBundlesResponse>>,
    svids: watch::Sender<Answer<X509SvidResponse>>,
    pub(in crate::trust::source) denied: Arc<AtomicUsize>,
    pub(in crate::trust::source) without_header: Arc<AtomicUsize>,
    pub(in crate::trust::source) unheard_of: Arc<AtomicUsize>,
    running: Option<tokio::runtime::Runtime>,
    frozen: Option<std::os::unix::net::UnixListener>,
}

impl Agent {
    pub(in crate::trust::source) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            address: format!("unix://{}", folder.path().join("agent.sock").display()),
            folder,
            x509: watch::Sender::new(Ok(X509BundlesResponse::default())),
            jwt: watch::Sender::new(Ok(JwtBundlesResponse::default())),
            svids: watch::Sender::new(Ok(X509SvidResponse::default())),
            denied: Arc::default(),
            without_header: Arc::default(),
            unheard_of: Arc::default(),
            running: None,
            frozen: None,
        }
    }

    pub(in crate::trust::source) fn x509(&self, bundles: &[(&str, Vec<u8>)]) {
        drop(self.x509.send_replace(Ok(X509BundlesResponse {
            bundles: by_domain(bundles),
        })));
    }

    pub(in crate::trust::source) fn jwt(&self, bundles: &[(&str, Vec<u8>)]) {
        drop(self.jwt.send_replace(Ok(JwtBundlesResponse {
            bundles: by_domain(bundles),
        })));
    }

    pub(in crate::trust::source::workload_api) fn svids(&self, svids: Vec<X509Svid>) {
        drop(self.svids.send_replace(Ok(X509SvidResponse { svids })));
    }

    pub(in crate::trust::source) fn deny_svids(&self) {
        drop(
            self.svids
                .send_replace(Err(Status::permission_denied("no identity issued"))),
        );
    }

    pub(in crate::trust::source) fn deny_jwt(&self) {
        drop(
            self.jwt
                .send_replace(Err(Status::permission_denied("no identity issued"))),
        );
    }

    /// It runs in its own runtime, so that [`Agent::stop`] cuts its connections as a kill would.
    pub(in crate::trust::source) fn start(&mut self) {
        let path = self.folder.path().join("agent.sock");
        let runtime = self.runtime();
        let listener = listen(&runtime, &path);
        let serving = tonic::transport::Server::builder()
            .serve_with_incoming(self.service(), UnixListenerStream::new(listener));
        runtime.spawn(serving);
        self.running = Some(runtime);
    }

    pub(in crate::trust::source) fn start_tcp(&mut self) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        self.address = format!("tcp://{}", listener.local_addr().unwrap());
        let runtime = self.runtime();
        let listener = {
            let _entered = runtime.enter();
            tokio::net::TcpListener::from_std(listener).unwrap()
        };
        runtime.spawn(
            tonic::transport::Server::builder()
                .serve_with_incoming(self.service(), TcpListenerStream::new(listener)),
        );
        self.running = Some(runtime);
    }

    /// Freezes the agent: the kernel still accepts connections, but there is no answer.
    pub(in crate::trust::source) fn freeze(&mut self) {
        self.stop();
        self.frozen =
            Some(std::os::unix::net::UnixListener::bind(self.folder.path().join("agent.sock")).unwrap());
    }

    /// Stops the agent.
    pub(in crate::trust::source) fn thaw(&mut self) {
        if self.frozen.take().is_some() {
            std::fs::remove_file(self.folder.path().join("agent.sock")).unwrap();
        }
    }

    pub(in crate::trust::source) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub(in crate::trust::source) fn stop(&mut self) {
        std::fs::remove_file(self.folder.path().join("agent.sock")).unwrap();
        self.running.take().unwrap().shutdown_background();
    }

    fn runtime(&self) -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    }

    fn service(&self) -> Service {
        Service {
            x509: self.x509.subscribe(),
            jwt: self.jwt.subscribe(),
            svids: self.svids.subscribe(),
            denied: self.denied.clone(),
            without_header: self.without_header.clone(),
            unheard_of: self.unheard_of.clone(),
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown_background();
        }
    }
}

fn by_domain(bundles: &[(&str, Vec<u8>)]) -> ByDomain {
    bundles
        .iter()
        .map(|(name, bundle)| (format!("spiffe://{name}"), bundle.clone()))
        .collect()
}

fn listen(runtime: &tokio::runtime::Runtime, path: &Path) -> tokio::net::UnixListener {
    let _entered = runtime.enter();
    tokio::net::UnixListener::bind(path).unwrap()
}

#[derive(Clone)]
struct Service {
    x509: watch::Receiver<Answer<X509BundlesResponse>>,
    jwt: watch::Receiver<Answer<JwtBundlesResponse>>,
    svids: watch::Receiver<Answer<X509SvidResponse>>,
    denied: Arc<AtomicUsize>,
    without_header: Arc<AtomicUsize>,
    unheard_of: Arc<AtomicUsize>,
}

type Messages<T> = Pin<Box<dyn Stream<Item = Answer<T>> + Send>>;

/// Sends the current state and each later one, until it is an error.
struct Streams<T> {
    states: watch::Receiver<Answer<T>>,
    denied: Arc<AtomicUsize>,
}

impl<T: prost::Message + Default + Clone + 'static> tonic::server::ServerStreamingService<Request>
    for Streams<T>
{
    type Response = T;
    type ResponseStream = Messages<T>;
    type Future = Pin<Box<dyn Future<Output = Answer<Response<Messages<T>>>> + Send>>;

    fn call(&mut self, _: tonic::Request<Request>) -> Self::Future {
        let mut states = self.states.clone();
        let denied = self.denied.clone();
        Box::pin(async move {
            let first = states.borrow_and_update().clone();
            if let Err(status) = &first
                && status.code() == Code::PermissionDenied
            {
                denied.fetch_add(1, Ordering::SeqCst);
            }
            let (send, messages) = mpsc::channel(4);
            let mut next = Ok(first?);
            tokio::spawn(async move {
                loop {
                    let ended = next.is_err();
                    if send.send(next).await.is_err() || ended || states.changed().await.is_err() {
                        return;
                    }
                    next = states.borrow_and_update().clone();
                }
            });
            Ok(Response::new(
                Box::pin(ReceiverStream::new(messages)) as Messages<T>
            ))
        })
    }
}

impl tonic::codegen::Service<http::Request<tonic::body::Body>> for Service {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let Self {
            x509,
            jwt,
            svids,
            denied,
            without_header,
            unheard_of,
        } = self.clone();
        Box::pin(async move {
            if request
                .headers()
                .get("workload.spiffe.io")
                .is_none_or(|value| value != "true")
            {
                without_header.fetch_add(1, Ordering::SeqCst);
                return Ok(Status::invalid_argument("security header missing from request").into_http());
            }
            Ok(match request.uri().path() {
                "/SpiffeWorkloadAPI/FetchX509Bundles" => {
                    let codec = tonic_prost::ProstCodec::<X509BundlesResponse, Request>::default();
                    tonic::server::Grpc::new(codec)
                        .server_streaming(Streams { states: x509, denied }, request)
                        .await
                }
                "/SpiffeWorkloadAPI/FetchJWTBundles" => {
                    let codec = tonic_prost::ProstCodec::<JwtBundlesResponse, Request>::default();
                    tonic::server::Grpc::new(codec)
                        .server_streaming(Streams { states: jwt, denied }, request)
                        .await
                }
                "/SpiffeWorkloadAPI/FetchX509SVID" => {
                    let codec = tonic_prost::ProstCodec::<X509SvidResponse, Request>::default();
                    tonic::server::Grpc::new(codec)
                        .server_streaming(
                            Streams {
                                states: svids,
                                denied,
                            },
                            request,
                        )
                        .await
                }
                path => {
                    unheard_of.fetch_add(1, Ordering::SeqCst);
                    Status::unimplemented(path.to_owned()).into_http()
                }
            })
        })
    }
}
