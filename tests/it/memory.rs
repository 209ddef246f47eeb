//! Memory does not grow with the size of blobs, since bytes stream, nor with the size of a stranger's
//! certificate.

use crate::harness::{AUDIENCE, PATIENCE, Setup, TestPki, TrustDomain, raw};
use bytes::Bytes;
use futures_util::stream;
use rcgen::SanType;
use reqwest::{Body, Method, StatusCode};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

const PIECES: u8 = 200;
const PIECE: usize = 1 << 20;
/// In KiB.
const MOST: u64 = 64 << 10;
const CONNECTIONS: u64 = 50;
/// In KiB. The connection is one of 60, and TLS has buffers.
const MOST_EACH: u64 = 256;

#[tokio::test(flavor = "multi_thread")]
async fn a_push_and_a_pull_of_200_mib_stay_below_64_mib() {
    let pki = TestPki::new();
    let app = Setup::tls(&pki)
        .allow("**", json!({"defaultPolicy": ["read", "create"]}))
        .start()
        .await;
    let client = app.bearer(&pki.domain.jwt_svid("/builder", AUDIENCE));
    let location = client.start_upload("large/image").await;
    let pieces = stream::iter((0..PIECES).map(|index| Ok::<_, std::io::Error>(piece(index))));
    let patched = client
        .send(Method::PATCH, &location, Body::wrap_stream(pieces))
        .await;
    assert_eq!(patched.status, StatusCode::ACCEPTED, "{}", patched.text());
    let digest = hex((0..PIECES).fold(Sha256::new(), |hash, index| hash.chain_update(piece(index))));
    let sign = if location.contains('?') { '&' } else { '?' };
    let closed = client
        .put(
            &format!("{}{sign}digest={digest}", patched.header("location")),
            "",
        )
        .await;
    assert_eq!(closed.status, StatusCode::CREATED, "{}", closed.text());

    let path = format!("/v2/large/image/blobs/{digest}");
    let mut pulled = client.begin(Method::GET, &path, "").await.unwrap();
    assert_eq!(pulled.content_length(), Some(u64::from(PIECES) * PIECE as u64));
    let mut hash = Sha256::new();
    while let Some(chunk) = pulled.chunk().await.unwrap() {
        hash.update(&chunk);
    }
    assert_eq!(hex(hash), digest);
    let most = high_water_mark(app.pid());
    assert!(
        most < MOST,
        "the server had {most} KiB in memory, expected less than {MOST}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_manifests_at_once_those_beyond_the_budget_are_asked_to_retry() {
    const CLIENTS: usize = 100;
    /// An address without a credential may use as much of 16 MiB as the largest manifest needs.
    const READ: usize = 1;
    let mut setup = Setup::plain();
    setup.config["http"]["bodyMemory"] = "16MiB".into();
    let app = setup.start().await;
    let head = "PUT /v2/a/manifests/v1 HTTP/1.1\r\nHost: a\r\nContent-Length: 4194304\r\n\r\n";
    // No body is complete, so each request that is being read holds its memory until the end of the test.
    let request = Bytes::from([head.as_bytes(), &vec![b' '; 2 << 20]].concat());
    let (sender, mut answers) = mpsc::unbounded_channel();
    let address = app.address;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let sender = sender.clone();
            let request = request.clone();
            tokio::spawn(async move { sender.send(raw(address, &request).await) })
        })
        .collect();
    for _ in READ..CLIENTS {
        let answer = tokio::time::timeout(PATIENCE, answers.recv())
            .await
            .expect("more are read than there is memory for")
            .unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 503") && answer.contains("\r\nretry-after: 5\r\n"),
            "{answer}"
        );
    }
    let most = high_water_mark(app.pid());
    assert!(
        most < MOST,
        "the server had {most} KiB in memory, expected less than {MOST}"
    );
    clients.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_certificate_with_20_000_names_costs_its_connection_no_more_than_its_bytes() {
    let pki = TestPki::new();
    let app = Setup::tls(&pki)
        .allow("**", json!({"defaultPolicy": ["read"]}))
        .start()
        .await;
    let stranger = TrustDomain::new("stranger.test");
    let names = std::iter::repeat_n(SanType::DnsName("a".try_into().unwrap()), 20_000);
    let large = stranger.ca.svid_with(&pki.domain.id("/a"), |params| {
        params.subject_alt_names.extend(names)
    });
    assert_eq!(
        app.certificate(&large).get("/v2/").await.error(),
        (401, "UNAUTHORIZED".into())
    );
    let before = high_water_mark(app.pid());
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        // Keeps the connection open.
        let client = app.certificate(&large);
        for _ in 0..2 {
            assert_eq!(client.get("/v2/").await.status, StatusCode::UNAUTHORIZED);
        }
        clients.push(client);
    }
    let each = (high_water_mark(app.pid()) - before) / CONNECTIONS;
    assert!(
        each < MOST_EACH,
        "a connection took {each} KiB, expected less than {MOST_EACH}"
    );
}

/// All names are different, so that none can be shared in memory.
fn piece(index: u8) -> Bytes {
    vec![index; PIECE].into()
}

fn hex(hash: Sha256) -> String {
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// The peak memory of a process, in KiB (`proc_pid_status(5)`).
fn high_water_mark(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}
