//! A Workload API on a real socket, whose messages and failures a test controls.

mod service;
mod wire;

pub use wire::X509Svid;

use super::{Pair, TrustDomain};
use pki_types::pem::PemObject as _;
use pki_types::{CertificateDer, PrivateKeyDer};
use service::{Service, Workload};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use tokio::sync::watch;
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::Status;
use wire::{JwtBundlesResponse, X509BundlesResponse, X509SvidResponse};

type Answer<T> = Result<T, Status>;

/// A Workload API on a real socket.
pub struct Agent {
    folder: tempfile::TempDir,
    pub address: String,
    x509: watch::Sender<Answer<X509BundlesResponse>>,
    jwt: watch::Sender<Answer<JwtBundlesResponse>>,
    svids: watch::Sender<Answer<X509SvidResponse>>,
    workload: Option<Workload>,
    pub denied: Arc<AtomicUsize>,
    pub without_header: Arc<AtomicUsize>,
    pub unheard_of: Arc<AtomicUsize>,
    running: Option<tokio::runtime::Runtime>,
    frozen: Option<std::os::unix::net::UnixListener>,
}

impl Agent {
    /// Starts an agent whose only workload is `path` of `domain`. The workload gets a JWT-SVID for every
    /// audience that it requests.
    pub fn of_workload(domain: Arc<TrustDomain>, path: &'static str) -> Self {
        let mut agent = Self::new();
        agent.workload = Some(Workload { domain, path });
        agent.start();
        agent
    }

    /// Makes an agent that does not listen yet.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            address: format!("unix://{}", folder.path().join("agent.sock").display()),
            folder,
            x509: watch::Sender::new(Ok(X509BundlesResponse::default())),
            jwt: watch::Sender::new(Ok(JwtBundlesResponse::default())),
            svids: watch::Sender::new(Ok(X509SvidResponse::default())),
            workload: None,
            denied: Arc::default(),
            without_header: Arc::default(),
            unheard_of: Arc::default(),
            running: None,
            frozen: None,
        }
    }

    pub fn x509(&self, bundles: &[(&str, Vec<u8>)]) {
        drop(self.x509.send_replace(Ok(X509BundlesResponse {
            bundles: by_domain(bundles),
        })));
    }

    pub fn jwt(&self, bundles: &[(&str, Vec<u8>)]) {
        drop(self.jwt.send_replace(Ok(JwtBundlesResponse {
            bundles: by_domain(bundles),
        })));
    }

    pub fn svids(&self, svids: Vec<X509Svid>) {
        drop(self.svids.send_replace(Ok(X509SvidResponse { svids })));
    }

    /// Gives this X.509-SVID from now on.
    pub fn give(&self, id: &str, svid: &Pair) {
        let leaf = CertificateDer::from_pem_slice(svid.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(svid.key.as_bytes()).unwrap();
        self.svids(vec![X509Svid {
            spiffe_id: id.to_owned(),
            x509_svid: leaf.to_vec(),
            x509_svid_key: key.secret_der().to_vec(),
        }]);
    }

    pub fn deny_svids(&self) {
        drop(
            self.svids
                .send_replace(Err(Status::permission_denied("no identity issued"))),
        );
    }

    pub fn deny_jwt(&self) {
        drop(
            self.jwt
                .send_replace(Err(Status::permission_denied("no identity issued"))),
        );
    }

    /// It runs in its own runtime, so that [`Agent::stop`] cuts its connections as a kill would.
    pub fn start(&mut self) {
        let path = self.folder.path().join("agent.sock");
        let runtime = self.runtime();
        let listener = listen(&runtime, &path);
        let serving = tonic::transport::Server::builder()
            .serve_with_incoming(self.service(), UnixListenerStream::new(listener));
        runtime.spawn(serving);
        self.running = Some(runtime);
    }

    pub fn start_tcp(&mut self) {
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
    pub fn freeze(&mut self) {
        self.stop();
        self.frozen =
            Some(std::os::unix::net::UnixListener::bind(self.folder.path().join("agent.sock")).unwrap());
    }

    /// Stops the agent.
    pub fn thaw(&mut self) {
        if self.frozen.take().is_some() {
            std::fs::remove_file(self.folder.path().join("agent.sock")).unwrap();
        }
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub fn stop(&mut self) {
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
            workload: self.workload.clone(),
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

fn by_domain(bundles: &[(&str, Vec<u8>)]) -> BTreeMap<String, Vec<u8>> {
    bundles
        .iter()
        .map(|(name, bundle)| (format!("spiffe://{name}"), bundle.clone()))
        .collect()
}

fn listen(runtime: &tokio::runtime::Runtime, path: &Path) -> tokio::net::UnixListener {
    let _entered = runtime.enter();
    tokio::net::UnixListener::bind(path).unwrap()
}
