//! P7 and P10: costs that can be counted exactly. `tests/it/costs.rs` checks these bars at every change.

use super::compare::{Bar, Line};
use super::content::{KIB, MIB};
use super::image::random;
use super::load::Ask;
use super::push::{push_blob, push_blob_whole};
use super::servers::Server;
use super::sha256;
use super::site::{Site, line};
use wharfinger_testkit::{Trace, io};

/// The number of requests, which is high enough to make background work negligible.
const MANY: usize = 400;

pub(crate) fn system_calls(site: &Site) -> Vec<Line> {
    if !Trace::is_installed() {
        println!("| P7 | system calls a request: not counted, strace is not installed | | ≤ 5; ≤ 9 | | |");
        return Vec::new();
    }
    let manifest = |method| {
        Ask::get(site.ours.plain, &Site::manifest())
            .by(method)
            .token(&site.token)
    };
    let blob = Ask::get(site.ours.plain, &site.blob(10 * KIB));
    let counted = |what: &str, ask: Ask, most| {
        let mut connection = ask.idle();
        // From now on the content is in memory and the threads are running.
        (0..10).for_each(|_| connection.ask());
        let trace = Trace::begin(site.ours.program.pid(), &site.path(""));
        (0..MANY).for_each(|_| connection.ask());
        let calls = trace.end().total() as f64 / MANY as f64;
        line(
            "P7",
            format!("{what}: system calls"),
            calls,
            Bar::AtMost(most, most),
            "",
        )
    };
    vec![
        counted("manifest GET with a JWT-SVID", manifest("GET"), 5.0),
        counted("manifest HEAD with a JWT-SVID", manifest("HEAD"), 5.0),
        counted("blob GET 10 KiB plain", blob, 9.0),
    ]
}

pub(crate) fn bytes_written(site: &Site) -> Vec<Line> {
    let folder = site.passing_folder();
    let ours = Server::silent_wharfinger(folder.path(), &site.pki);
    let bytes = random(100 * MIB);
    let digest = sha256(&bytes);
    let written = |push: fn(_, &str, &str, &[u8])| {
        let before = io(ours.program.pid(), "write_bytes");
        push(ours.plain, "bench/known", &digest, &bytes);
        io(ours.program.pid(), "write_bytes") - before
    };
    let new = written(push_blob_whole);
    if new < bytes.len() as u64 {
        println!("| P10 | bytes written for a known blob: not counted on this file system | | ≤ 0 | | |");
        return Vec::new();
    }
    let whole = written(push_blob_whole) as f64;
    let in_two = written(push_blob) as f64;
    vec![
        line(
            "P10",
            "push of a known 100 MiB blob in one request: bytes written",
            whole,
            Bar::AtMost(0.0, 0.0),
            format!("{new} when it was new"),
        ),
        line(
            "",
            "the same in two requests: bytes written, all for its session",
            in_two,
            Bar::Reported,
            "",
        ),
    ]
}
