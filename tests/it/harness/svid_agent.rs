//! A Workload API on a unix socket that gives each client the same X.509-SVID, until the test changes it.

use super::Pair;
use futures_util::{Stream, stream};
use pki_types::pem::PemObject as _;
use pki_types::{CertificateDer, PrivateKeyDer};
use std::convert::Infallible;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Response, Status};

#[derive(Clone, PartialEq, prost::Message)]
struct Request {}

#[derive(Clone, PartialEq, prost::Message)]
struct X509SvidResponse {
    #[prost(message, repeated, tag = "1")]
    svids: Vec<X509Svid>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct X509Svid {
    #[prost(string, tag = "1")]
    spiffe_id: String,
    #[prost(bytes = "vec", tag = "2")]
    x509_svid: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    x509_svid_key: Vec<u8>,
}

/// Listens from the start until this is dropped.
pub(crate) struct SvidAgent {
    pub(crate) address: String,
    socket: PathBuf,
    svids: watch::Sender<X509SvidResponse>,
    serving: Option<tokio::task::JoinHandle<()>>,
    _folder: TempDir,
}

impl SvidAgent {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent.sock");
        let address = format!("unix://{}", socket.display());
        Self {
            address,
            socket,
            svids: watch::Sender::default(),
            serving: None,
            _folder: folder,
        }
    }

    /// Gives this X.509-SVID from now on.
    pub(crate) fn give(&self, id: &str, svid: &Pair) {
        let leaf = CertificateDer::from_pem_slice(svid.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(svid.key.as_bytes()).unwrap();
        let svid = X509Svid {
            spiffe_id: id.to_owned(),
            x509_svid: leaf.to_vec(),
            x509_svid_key: key.secret_der().to_vec(),
        };
        self.svids.send_replace(X509SvidResponse { svids: vec![svid] });
    }

    pub(crate) fn start(&mut self) {
        let listener = UnixListenerStream::new(tokio::net::UnixListener::bind(&self.socket).unwrap());
        let server = tonic::transport::Server::builder()
            .serve_with_incoming(Service(self.svids.subscribe()), listener);
        self.serving = Some(tokio::spawn(async { drop(server.await) }));
    }
}

impl Drop for SvidAgent {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

#[derive(Clone)]
struct Service(watch::Receiver<X509SvidResponse>);

type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Messages = Pin<Box<dyn Stream<Item = Result<X509SvidResponse, Status>> + Send>>;

impl tonic::server::ServerStreamingService<Request> for Service {
    type Response = X509SvidResponse;
    type ResponseStream = Messages;
    type Future = Answer<Result<Response<Messages>, Status>>;

    fn call(&mut self, _: tonic::Request<Request>) -> Self::Future {
        let each = |(mut svids, first): (watch::Receiver<X509SvidResponse>, bool)| async move {
            if !first {
                svids.changed().await.ok()?;
            }
            let message = svids.borrow_and_update().clone();
            Some((Ok(message), (svids, false)))
        };
        let messages: Messages = Box::pin(stream::unfold((self.0.clone(), true), each));
        Box::pin(std::future::ready(Ok(Response::new(messages))))
    }
}

impl tonic::codegen::Service<http::Request<tonic::body::Body>> for Service {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Answer<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            if request
                .headers()
                .get("workload.spiffe.io")
                .is_none_or(|value| value != "true")
            {
                return Ok(Status::invalid_argument("security header missing from request").into_http());
            }
            if request.uri().path() != "/SpiffeWorkloadAPI/FetchX509SVID" {
                return Ok(Status::unimplemented("only X.509-SVIDs").into_http());
            }
            let codec = tonic_prost::ProstCodec::<X509SvidResponse, Request>::default();
            Ok(tonic::server::Grpc::new(codec)
                .server_streaming(service, request)
                .await)
        })
    }
}
