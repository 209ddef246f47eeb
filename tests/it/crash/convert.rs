//! The registry is killed while it converts a store of format 1, at calls that change the disk. The next
//! start continues the conversion.

use super::http::Http;
use super::server::{Kill, Server, Shim};
use crate::harness::{PATIENCE, Setup, copy_folder};
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

/// Each run tries some of the calls, odd and even ones. Odd numbers kill the process after the call, and even
/// ones before it.
const STEP: u64 = 7;

#[tokio::test(flavor = "multi_thread")]
async fn a_conversion_that_is_killed_anywhere_loses_nothing() {
    let Some(shim) = Shim::build() else { return };
    let mut call = std::env::var("WHARFINGER_CRASH_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| fastrand::u64(1..=STEP));
    eprintln!("WHARFINGER_CRASH_SEED={call}");
    let mut setup = Setup::plain();
    setup.config["storage"]["sparse"] = json!(["library/base"]); // format 1 allowed deleting the children of an index
    let store = setup.path("store");
    let mut server = Server::with(shim, setup);
    let mut converting = 0;
    let mut completing = 0;
    loop {
        copy_folder(Path::new("tests/fixtures/format-1"), &store);
        server.start(Kill::AtCall(call)).await;
        if !server.stop().await {
            break;
        }
        match fs::read_to_string(store.join("format")).unwrap().as_str() {
            "wharfinger store 1\n" => converting += 1,
            "wharfinger store 2\n" => completing += 1,
            other => panic!("format {other:?}"),
        }
        // Kills it again, while it continues the first conversion.
        server.start(Kill::AtCall(STEP)).await;
        server.stop().await;
        let address = server
            .start(Kill::Never)
            .await
            .unwrap_or_else(|| panic!("it starts after a kill at call {call}"));
        serves_everything(&Http::new(address)).await;
        assert!(!server.stop().await, "the registry was not killed");
        server.check();
        let names: BTreeSet<_> = fs::read_dir(&store)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert!(
            !names.iter().any(|name| name.starts_with("records.conver")),
            "{names:?}"
        );
        fs::remove_dir_all(&store).unwrap();
        call += STEP;
    }
    eprintln!("{converting} kills before the store had format 2, {completing} after");
    assert!(converting > 5 && completing > 0, "{converting} {completing}");
}

/// A conversion that would take an hour. Probes are answered meanwhile, SIGTERM ends it, and the next start
/// continues it.
#[tokio::test(flavor = "multi_thread")]
async fn a_conversion_answers_probes_and_ends_at_sigterm() {
    for own_listener in [true, false] {
        stopped_while_it_converts(own_listener).await;
    }
}

async fn stopped_while_it_converts(own_listener: bool) {
    let Some(shim) = Shim::build() else { return };
    let mut setup = Setup::plain();
    setup.config["storage"]["sparse"] = json!(["library/base"]);
    let before = setup.config.clone();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    if own_listener {
        setup.config["http"]["health"] = json!({"address": "127.0.0.1", "port": port});
    } else {
        setup.config["http"]["port"] = json!(port);
    }
    copy_folder(Path::new("tests/fixtures/format-1"), &setup.path("store"));
    shim.hold("f*sync", "*/store/records.converting");
    let mut program = Command::from(shim.program());
    let mut serving = program
        .arg("serve")
        .arg(setup.file())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(serving.stderr.take().unwrap()).lines();
    let mut says = async |what: &str| {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains(what) {
                return;
            }
        }
        panic!("the log does not say: {what}");
    };
    timeout(PATIENCE, says("converting the store to format 2"))
        .await
        .expect("it begins");
    for (path, status) in [
        ("/livez", 200),
        ("/readyz", 503),
        ("/startupz", 503),
        ("/v2/", 503),
    ] {
        let answer = timeout(PATIENCE, reqwest::get(format!("http://127.0.0.1:{port}{path}")))
            .await
            .expect("it answers")
            .unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path}");
        let text = answer.text().await.unwrap();
        assert_eq!(
            text.contains("not ready: the store is being prepared"),
            status == 503,
            "{path}: {text}"
        );
    }
    let pid = Pid::from_raw(i32::try_from(serving.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    timeout(PATIENCE, says("the next start continues a conversion"))
        .await
        .expect("it reacts to the signal");
    assert!(
        timeout(PATIENCE, serving.wait())
            .await
            .expect("it ends")
            .unwrap()
            .success()
    );
    assert_eq!(
        fs::read_to_string(setup.path("store/format")).unwrap(),
        "wharfinger store 1\n"
    );
    shim.heal();
    setup.config = before;
    let mut server = Server::with(shim, setup);
    let address = server.start(Kill::Never).await.unwrap();
    serves_everything(&Http::new(address)).await;
    assert!(!server.stop().await, "the registry was not killed");
    server.check();
}

/// The images on the fixture's list.
async fn serves_everything(http: &Http) {
    let list = fs::read_to_string("tests/fixtures/format-1.txt").unwrap();
    for line in list.lines() {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["manifest", repository, digest, ..] => {
                assert_eq!(
                    http.manifest(repository, digest).await,
                    Some(Some(digest.to_owned())),
                    "{line}"
                );
            }
            ["tag", repository, tag, digest] => {
                assert_eq!(
                    http.manifest(repository, tag).await,
                    Some(Some(digest.to_owned())),
                    "{line}"
                );
            }
            ["no-manifest", repository, reference] | ["no-tag", repository, reference] => {
                assert_eq!(http.manifest(repository, reference).await, Some(None), "{line}");
            }
            ["blob", repository, digest, _] => http.must_have(repository, digest, line).await.unwrap(),
            ["referrer", repository, subject, digest] => {
                let answer = http
                    .ask(Method::GET, &format!("/v2/{repository}/referrers/{subject}"), "")
                    .await
                    .unwrap();
                assert!(
                    answer.must_be(200, line).json().to_string().contains(digest),
                    "{line}"
                );
            }
            ["upload", repository, id, offset, digest, "anonymous", "|", ..] => {
                let offset: usize = offset.parse().unwrap();
                let (_, rest) = line.split_once(" | ").unwrap();
                let path = format!("/v2/{repository}/blobs/uploads/{id}");
                let chunk = Some((offset, offset + rest.len() - 1));
                http.ask_with(Method::PATCH, &path, chunk, rest.to_owned())
                    .await
                    .unwrap()
                    .must_be(202, line);
                http.ask(Method::PUT, &format!("{path}?digest={digest}"), "")
                    .await
                    .unwrap()
                    .must_be(201, line);
                http.must_have(repository, digest, line).await.unwrap();
            }
            _ => {}
        }
    }
}
