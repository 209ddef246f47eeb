//! P12: the cost of a handshake. P14: the memory of connections.

use super::compare::{Bar, Line, compare, spent};
use super::content::{KIB, MIB};
use super::image::random;
use super::load::Ask;
use super::push::half_an_upload;
use super::servers::Server;
use super::site::{Over, Site, line, micros};
use std::any::Any;
use std::fs;
use std::process::Command;
use wharfinger_testkit::pause;

pub(crate) fn handshakes(site: &Site) -> Vec<Line> {
    let folder = site.path("bare");
    fs::create_dir_all(&folder).unwrap();
    let pair = site.pki.servers.server();
    for (name, text) in [
        ("server.crt", pair.certificate),
        ("server.key", pair.key),
        ("clients.crt", site.pki.domain.ca.pem.clone()),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("--bare").arg(&folder);
    let bare = Server::other(command, &folder);
    let count = site.some(1000);
    let ask = |server: &Server| Ask::get(server.tls.unwrap(), "/v2/").tls(&site.workload);
    let ours = ask(&site.ours_tls);
    let theirs = ask(&bare);
    let compared = compare(
        site.rounds(),
        vec![
            Box::new(|| spent(&site.ours_tls, || ours.handshakes(count)) / count as f64 * 1e6),
            Box::new(|| spent(&bare, || theirs.handshakes(count)) / count as f64 * 1e6),
        ],
    );
    let what = "full mTLS handshake and one answer: CPU to rustls alone";
    vec![line(
        "P12",
        what,
        compared.ratios[0],
        Bar::AtMost(1.3, 1.3),
        micros(&compared),
    )]
}

pub(crate) fn memory(site: &Site) -> Vec<Line> {
    let paths = &site.huge().paths;
    let grown = |server: &Server, count: usize, hold: &dyn Fn(usize) -> Box<dyn Any>| {
        let first: Vec<_> = (0..4).map(hold).collect();
        let before = settled(server);
        let held: Vec<_> = (0..count).map(hold).collect();
        let after = settled(server);
        drop((first, held));
        (after - before) / count as f64
    };
    let plain = site.ask(Over::Http, &site.ours, &Site::manifest());
    let tls = site.ask(Over::Tls, &site.ours_tls, &Site::manifest());
    let of_plain = grown(&site.ours, 1000, &|_| Box::new(plain.idle()));
    let of_tls = grown(&site.ours_tls, 1000, &|_| Box::new(tls.idle()));
    let of_pulls = grown(&site.ours, 64, &|index| {
        Box::new(Ask::get(site.ours.plain, &paths[index % 2]).begun())
    }) / KIB as f64;
    let half = random(48 * MIB);
    let of_pushes = grown(&site.ours, 8, &|_| {
        Box::new(half_an_upload(site.ours.plain, "bench/half", &half))
    }) / KIB as f64;
    vec![
        line(
            "P14",
            "an idle connection, plain: KiB",
            of_plain,
            Bar::AtMost(22.0, 22.0),
            "",
        ),
        line(
            "P14",
            "an idle connection, TLS: KiB",
            of_tls,
            Bar::AtMost(32.0, 32.0),
            "",
        ),
        line(
            "P14",
            "each of 64 pulls of 1 GiB that are stalled: MiB",
            of_pulls,
            Bar::AtMost(0.6, 0.6),
            "",
        ),
        line(
            "P14",
            "a push in progress: MiB",
            of_pushes,
            Bar::AtMost(3.0, 3.0),
            "",
        ),
    ]
}

/// The resident memory in KiB, once it no longer changes.
pub(crate) fn settled(server: &Server) -> f64 {
    let mut last = f64::NAN;
    loop {
        for _ in 0..200 {
            pause();
        }
        let resident = server.resident();
        if (resident - last).abs() < 64.0 {
            return resident;
        }
        last = resident;
    }
}
