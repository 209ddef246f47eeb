//! The servers that run all the time with the same content, and the measurements that are made repeatedly.

use super::compare::{Bar, Compared, Contender, Line, spent};
use super::content::{Content, KIB, MIB, REPOSITORY};
use super::image::random;
use super::load::Ask;
use super::push::push_blob;
use super::servers::Server;
use super::sha256;
use super::tls::Tls;
use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use wharfinger_testkit::AUDIENCE;
use wharfinger_testkit::TestPki;

pub(crate) struct Site {
    pub(crate) quick: bool,
    pub(crate) pki: TestPki,
    pub(crate) ours: Server,
    pub(crate) ours_tls: Server,
    pub(crate) nginx: Server,
    registry: Server,
    registry_tls: Server,
    content: Content,
    huge: OnceCell<Huge>,
    /// A client that trusts the servers and has no certificate.
    pub(crate) anyone: Arc<Tls>,
    /// A client with an X.509-SVID.
    pub(crate) workload: Arc<Tls>,
    /// A JWT-SVID.
    pub(crate) token: String,
    // This field is dropped last.
    folder: TempDir,
}

/// Two blobs that are larger than the free memory of a machine.
pub(crate) struct Huge {
    pub(crate) paths: Vec<String>,
    pub(crate) size: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Http,
    Tls,
}

impl Site {
    pub(crate) fn new(quick: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let pki = TestPki::new();
        let content = Content::new(&at("files"), &[10 * KIB, MIB, 100 * MIB]);
        let nginx = Server::nginx(&at("nginx"), &content.root, &pki);
        let plain_and_tls = |start: fn(&Path, &TestPki, bool) -> Server, name: &str| {
            let plain = at(name);
            let tls = at(&format!("{name}-tls"));
            content.push_to(start(&tls, &pki, false).plain);
            let plain = start(&plain, &pki, false);
            content.push_to(plain.plain);
            (plain, start(&tls, &pki, true))
        };
        let (ours, ours_tls) = plain_and_tls(Server::wharfinger, "ours");
        let (registry, registry_tls) = plain_and_tls(Server::docker_registry, "registry");
        let anyone = Arc::new(Tls::new(&pki.servers.pem, None));
        let workload = Arc::new(Tls::new(
            &pki.servers.pem,
            Some(&pki.domain.x509_svid("/builder")),
        ));
        // Valid for an hour, which is longer than a run.
        let token =
            pki.domain.signer.token(&serde_json::json!({"sub": pki.domain.id("/builder"), "aud": [AUDIENCE], "exp": wharfinger_testkit::now() + 3600}));
        let huge = OnceCell::new();
        Self {
            quick,
            pki,
            ours,
            ours_tls,
            nginx,
            registry,
            registry_tls,
            content,
            huge,
            anyone,
            workload,
            token,
            folder,
        }
    }

    pub(crate) fn rounds(&self) -> usize {
        if self.quick { 3 } else { 7 }
    }

    /// `many`, or a quarter of it.
    pub(crate) fn some(&self, many: usize) -> usize {
        if self.quick { (many / 4).max(1) } else { many }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A folder that is deleted with its content.
    pub(crate) fn passing_folder(&self) -> TempDir {
        tempfile::tempdir_in(self.folder.path()).unwrap()
    }

    /// The path of the blob of this size, on all servers.
    pub(crate) fn blob(&self, size: usize) -> String {
        let (digest, _) = self
            .content
            .blobs
            .iter()
            .find(|(_, bytes)| bytes.len() == size)
            .unwrap();
        format!("/v2/{REPOSITORY}/blobs/{digest}")
    }

    pub(crate) fn manifest() -> String {
        format!("/v2/{REPOSITORY}/manifests/latest")
    }

    /// Puts the content on our server and on nginx.
    pub(crate) fn huge(&self) -> &Huge {
        self.huge.get_or_init(|| {
            let size = if self.quick { 256 * MIB } else { 1 << 30 };
            let paths = (0..2).map(|_| {
                let bytes = random(size);
                let digest = sha256(&bytes);
                push_blob(self.ours.plain, REPOSITORY, &digest, &bytes);
                let path = format!("/v2/{REPOSITORY}/blobs/{digest}");
                fs::write(self.content.root.join(path.trim_start_matches('/')), &bytes).unwrap();
                path
            });
            Huge {
                paths: paths.collect(),
                size,
            }
        })
    }

    /// Our server, nginx and docker-registry.
    pub(crate) fn servers(&self, over: Over) -> [&Server; 3] {
        match over {
            Over::Http => [&self.ours, &self.nginx, &self.registry],
            Over::Tls => [&self.ours_tls, &self.nginx, &self.registry_tls],
        }
    }

    /// An anonymous request.
    pub(crate) fn ask(&self, over: Over, server: &Server, path: &str) -> Ask {
        match over {
            Over::Http => Ask::get(server.plain, path),
            Over::Tls => Ask::get(server.tls.unwrap(), path).tls(&self.anyone),
        }
    }
}

/// CPU microseconds per request.
pub(crate) fn asking<'a>(server: &'a Server, ask: Ask, count: usize, connections: usize) -> Contender<'a> {
    Box::new(move || spent(server, || ask.many(count, connections)) / count as f64 * 1e6)
}

pub(crate) fn gib(bytes: usize) -> f64 {
    bytes as f64 / (1 << 30) as f64
}

pub(crate) fn line(
    id: &'static str,
    what: impl Into<String>,
    found: f64,
    bar: Bar,
    absolute: impl Into<String>,
) -> Line {
    Line {
        id,
        what: what.into(),
        found,
        bar,
        absolute: absolute.into(),
    }
}

pub(crate) fn cpu_gib(compared: &Compared) -> String {
    format!("{:.2} CPU s/GiB", compared.medians[0])
}

pub(crate) fn micros(compared: &Compared) -> String {
    format!("{:.1} µs", compared.medians[0])
}
