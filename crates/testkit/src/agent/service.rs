//! What the agent answers to each call.

use super::super::TrustDomain;
use super::Answer;
use super::wire::{
    JwtBundlesResponse, JwtSvid, JwtSvidRequest, JwtSvidResponse, Request, X509BundlesResponse,
    X509SvidResponse,
};
use futures_util::Stream;
use serde_json::json;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Response, Status};

/// The one workload that gets JWT-SVIDs.
#[derive(Clone)]
pub(super) struct Workload {
    pub(super) domain: Arc<TrustDomain>,
    /// The path of its SPIFFE ID.
    pub(super) path: &'static str,
}

#[derive(Clone)]
pub(super) struct Service {
    pub(super) x509: watch::Receiver<Answer<X509BundlesResponse>>,
    pub(super) jwt: watch::Receiver<Answer<JwtBundlesResponse>>,
    pub(super) svids: watch::Receiver<Answer<X509SvidResponse>>,
    pub(super) workload: Option<Workload>,
    pub(super) denied: Arc<AtomicUsize>,
    pub(super) without_header: Arc<AtomicUsize>,
    pub(super) unheard_of: Arc<AtomicUsize>,
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
            workload,
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
                "/SpiffeWorkloadAPI/FetchJWTSVID" if workload.is_some() => {
                    let codec = tonic_prost::ProstCodec::<JwtSvidResponse, JwtSvidRequest>::default();
                    tonic::server::Grpc::new(codec)
                        .unary(JwtSvids(workload), request)
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

struct JwtSvids(Option<Workload>);

impl tonic::server::UnaryService<JwtSvidRequest> for JwtSvids {
    type Response = JwtSvidResponse;
    type Future = Ready<Answer<Response<JwtSvidResponse>>>;

    fn call(&mut self, request: tonic::Request<JwtSvidRequest>) -> Self::Future {
        let JwtSvidRequest { audience, spiffe_id } = request.into_inner();
        let found = self
            .0
            .as_ref()
            .map(|one| (one, one.domain.id(one.path)))
            .filter(|(_, id)| spiffe_id.is_empty() || spiffe_id == *id);
        let Some((workload, id)) = found else {
            return ready(Err(Status::permission_denied("no identity issued")));
        };
        let svid = workload.domain.signer.token(&json!({"sub": id, "aud": audience}));
        ready(Ok(Response::new(JwtSvidResponse {
            svids: vec![JwtSvid { spiffe_id: id, svid }],
        })))
    }
}
