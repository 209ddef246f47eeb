//! The order in which bytes reach the disk and answers reach the client, and the answers after a failed sync.

use super::client::{Http, Outcome};
use super::server::{Kill, Server, Shim};
use crate::harness::{eventually, sha256};
use reqwest::Method;
use rustix::io::Errno;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_comes_after_the_sync_of_the_bytes_their_folder_and_the_records() {
    let Some(shim) = Shim::build() else { return };
    let mut server = Server::new(shim);
    let address = server.start(Kill::Never).await.unwrap();
    let http = Http::new(address);
    let log = server.shim.path("log");
    let since = |mark: usize| {
        let lines: Vec<String> = std::fs::read_to_string(&log)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect();
        let end = lines.iter().rposition(|line| line.starts_with("answer")).unwrap();
        (lines[mark..=end].to_vec(), lines.len())
    };
    let position = |lines: &[String], begins: &str, holds: &str| {
        lines
            .iter()
            .position(|line| line.starts_with(begins) && line.contains(holds))
            .unwrap_or_else(|| panic!("no {begins} {holds}: {lines:#?}"))
    };
    let (_, mark) = {
        assert_eq!(
            http.change(Method::POST, "/v2/a/blobs/uploads/", "").await,
            Outcome::Done
        );
        since(0)
    };
    let digest = sha256(b"hello");
    assert_eq!(
        http.change(
            Method::POST,
            &format!("/v2/a/blobs/uploads/?digest={digest}"),
            "hello"
        )
        .await,
        Outcome::Done
    );
    let (lines, mark) = since(mark);
    let bytes = position(&lines, "fdatasync", "/store/d/");
    let folder = bytes + 1 + position(&lines[bytes + 1..], "fsync", "/store/d/");
    let parent = folder + 1 + position(&lines[folder + 1..], "fsync", "/store/d");
    let record = parent + 1 + position(&lines[parent + 1..], "f", "records.sqlite3-wal");
    let answer = record + 1 + position(&lines[record + 1..], "answer", "201");
    assert!(bytes < folder && folder < parent && parent < record && record < answer);

    // A manifest that is too large for the table is a file. It is on the disk before its record.
    let large = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [],
        "config": {"mediaType": "a/b", "digest": digest, "size": 5}, "annotations": {"k": "x".repeat(100_000)},
    });
    assert_eq!(
        http.change(Method::PUT, "/v2/a/manifests/v1", large.to_string())
            .await,
        Outcome::Done
    );
    let (lines, _) = since(mark);
    let value = position(&lines, "fdatasync", "/store/v/");
    let folder = value + 1 + position(&lines[value + 1..], "fsync", "/store/v/");
    let record = folder + 1 + position(&lines[folder + 1..], "f", "records.sqlite3-wal");
    position(&lines[record + 1..], "answer", "201");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_commit_nothing_waits_for_the_disk() {
    let Some(shim) = Shim::build() else { return };
    let mut setup = crate::harness::Setup::plain();
    setup.config["storage"]["commit"] = json!(false);
    let mut server = Server::with(shim, setup);
    let address = server.start(Kill::Never).await.unwrap();
    let before = std::fs::read_to_string(server.shim.path("log"))
        .unwrap()
        .lines()
        .count();
    let digest = sha256(b"hello");
    assert_eq!(
        Http::new(address)
            .change(
                Method::POST,
                &format!("/v2/a/blobs/uploads/?digest={digest}"),
                "hello"
            )
            .await,
        Outcome::Done
    );
    let log = std::fs::read_to_string(server.shim.path("log")).unwrap();
    let synced: Vec<&str> = log
        .lines()
        .skip(before)
        .take_while(|line| !line.starts_with("answer"))
        .filter(|line| line.contains("sync"))
        .collect();
    assert_eq!(synced, [""; 0]);
    server.stop().await;
    server.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_arrive_while_the_log_is_synced_share_the_next_sync() {
    const MANY: usize = 64;
    let Some(shim) = Shim::build() else { return };
    let mut server = Server::new(shim);
    let address = server.start(Kill::Never).await.unwrap();
    let http = Http::new(address);
    // Writes one record, except for the first in a repository.
    let begin = || {
        let http = http.clone();
        async move { http.change(Method::POST, "/v2/a/blobs/uploads/", "").await }
    };
    assert_eq!(begin().await, Outcome::Done);
    let log = server.shim.path("log");
    let count = |what: &str, of: &str| {
        let log = std::fs::read_to_string(&log).unwrap();
        log.lines()
            .filter(|line| line.contains(what) && line.ends_with(of))
            .count()
    };
    let arrived = count("request", "POST");
    let synced = count("sync", "records.sqlite3-wal");
    assert_eq!(begin().await, Outcome::Done);
    assert_eq!(
        count("sync", "records.sqlite3-wal"),
        synced + 1,
        "alone, it needs a sync for itself"
    );

    server.shim.hold("f*sync", "*/store/records.sqlite3-wal");
    let together: tokio::task::JoinSet<Outcome> = (0..MANY).map(|_| begin()).collect();
    eventually("all requests have arrived", async || {
        (count("request", "POST") > arrived + MANY).then_some(())
    })
    .await;
    server.shim.heal();
    assert_eq!(together.join_all().await, vec![Outcome::Done; MANY]);
    // Two syncs are enough, except for requests that were not yet queued when the first one ended.
    let synced = count("sync", "records.sqlite3-wal") - synced - 1;
    assert!(synced < MANY / 4, "{synced} syncs for {MANY} changes");
    server.stop().await;
}

/// After a failed sync the kernel may report success for the next one although pages are lost. So nothing is
/// acknowledged until a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_fails_the_request_and_all_later_ones_and_loses_nothing_acknowledged() {
    let Some(shim) = Shim::build() else { return };
    let mut server = Server::new(shim);
    let address = server.start(Kill::Never).await.unwrap();
    let http = Http::new(address);
    let good = sha256(b"good");
    let bad = sha256(b"bad");
    let path = |digest: &str| format!("/v2/a/blobs/uploads/?digest={digest}");
    assert_eq!(
        http.change(Method::POST, &path(&good), "good").await,
        Outcome::Done
    );
    server.shim.fail("f*sync", Errno::IO, "*");
    assert_eq!(
        http.change(Method::POST, &path(&bad), "bad").await,
        Outcome::Unknown,
        "the sync fails"
    );
    server.shim.heal();
    assert_eq!(
        http.change(Method::POST, &path(&bad), "bad").await,
        Outcome::Unknown,
        "the store would not trust a later success"
    );
    assert_eq!(
        http.change(Method::GET, &format!("/v2/a/blobs/{good}"), "").await,
        Outcome::Done,
        "content can still be read"
    );
    server.stop().await;
    server.check();

    let address = server.start(Kill::Never).await.unwrap();
    let http = Http::new(address);
    assert_eq!(
        http.change(Method::GET, &format!("/v2/a/blobs/{good}"), "").await,
        Outcome::Done
    );
    assert_eq!(
        http.change(Method::POST, &path(&bad), "bad").await,
        Outcome::Done,
        "after a restart the push succeeds"
    );
    server.stop().await;
    server.check();
}
