//! A Workload API on a unix socket. It gives JWT-SVIDs of one identity, for any audience.

use super::TrustDomain;
use serde_json::json;
use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tempfile::TempDir;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Response, Status};

#[derive(Clone, PartialEq, prost::Message)]
struct JwtSvidRequest {
    #[prost(string, repeated, tag = "1")]
    audience: Vec<String>,
    #[prost(string, tag = "2")]
    spiffe_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct JwtSvidResponse {
    #[prost(message, repeated, tag = "1")]
    svids: Vec<JwtSvid>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct JwtSvid {
    #[prost(string, tag = "1")]
    spiffe_id: String,
    #[prost(string, tag = "2")]
    svid: String,
}

/// Serves until this is dropped.
pub(crate) struct Agent {
    pub(crate) address: String,
    serving: tokio::task::JoinHandle<()>,
    _folder: TempDir,
}

impl Agent {
    /// An agent whose only workload is `path` of `domain`.
    pub(crate) fn start(domain: Arc<TrustDomain>, path: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent.sock");
        let listener = UnixListenerStream::new(tokio::net::UnixListener::bind(&socket).unwrap());
        let server =
            tonic::transport::Server::builder().serve_with_incoming(Service { domain, path }, listener);
        let serving = tokio::spawn(async { drop(server.await) });
        Self {
            address: format!("unix://{}", socket.display()),
            serving,
            _folder: folder,
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[derive(Clone)]
struct Service {
    domain: Arc<TrustDomain>,
    path: &'static str,
}

impl tonic::server::UnaryService<JwtSvidRequest> for Service {
    type Response = JwtSvidResponse;
    type Future = Ready<Result<Response<JwtSvidResponse>, Status>>;

    fn call(&mut self, request: tonic::Request<JwtSvidRequest>) -> Self::Future {
        let JwtSvidRequest { audience, spiffe_id } = request.into_inner();
        let id = self.domain.id(self.path);
        if !spiffe_id.is_empty() && spiffe_id != id {
            return ready(Err(Status::permission_denied("no identity issued")));
        }
        let svid = self.domain.signer.token(&json!({"sub": id, "aud": audience}));
        ready(Ok(Response::new(JwtSvidResponse {
            svids: vec![JwtSvid { spiffe_id: id, svid }],
        })))
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
        let service = self.clone();
        Box::pin(async move {
            if request
                .headers()
                .get("workload.spiffe.io")
                .is_none_or(|value| value != "true")
            {
                return Ok(Status::invalid_argument("security header missing from request").into_http());
            }
            Ok(match request.uri().path() {
                "/SpiffeWorkloadAPI/FetchJWTSVID" => {
                    let codec = tonic_prost::ProstCodec::<JwtSvidResponse, JwtSvidRequest>::default();
                    tonic::server::Grpc::new(codec).unary(service, request).await
                }
                path => Status::unimplemented(path.to_owned()).into_http(),
            })
        })
    }
}
