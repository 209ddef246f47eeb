//! P5, P6, P11: the cost of a request for a manifest. P13: its duration while pulls wait for the disk.

use super::compare::{Bar, Contender, Line, compare};
use super::load::Ask;
use super::servers::Server;
use super::site::{Over, Site, asking, line, micros};
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::time::Instant;
use wharfinger_testkit::pause;

pub(crate) fn with_a_token(site: &Site) -> Vec<Line> {
    authenticated(site, Over::Http, "a JWT-SVID", &|ask| ask.token(&site.token))
}

pub(crate) fn with_a_certificate(site: &Site) -> Vec<Line> {
    authenticated(site, Over::Tls, "an X.509-SVID", &|ask| ask.tls(&site.workload))
}

/// Our server gets the request with a credential, and the others without.
fn authenticated(site: &Site, over: Over, credential: &str, present: &dyn Fn(Ask) -> Ask) -> Vec<Line> {
    let count = site.some(24_000);
    let connections = 8;
    let [ours, nginx, registry] = site.servers(over);
    let mut lines = Vec::new();
    for method in ["GET", "HEAD"] {
        let ask = |server: &Server| site.ask(over, server, &Site::manifest()).by(method);
        let compared = compare(
            site.rounds(),
            vec![
                asking(ours, present(ask(ours)), count, connections),
                asking(nginx, ask(nginx), count, connections),
                asking(registry, ask(registry), count / 40, connections),
                asking(ours, ask(ours), count, connections),
            ],
        );
        let what = format!("manifest {method} with {credential}: CPU to nginx");
        lines.push(line(
            "P5",
            what,
            compared.ratios[0],
            Bar::AtMost(2.5, 1.6),
            micros(&compared),
        ));
        let cheaper = 1.0 / compared.ratios[1];
        lines.push(line(
            "P6",
            "the same: times cheaper than docker-registry",
            cheaper,
            Bar::AtLeast(50.0, 100.0),
            micros(&compared),
        ));
        lines.push(line(
            "P11",
            "the same: CPU to an anonymous one",
            compared.ratios[2],
            Bar::AtMost(1.15, 1.05),
            micros(&compared),
        ));
    }
    lines
}

pub(crate) fn beside_cold_pulls(site: &Site) -> Vec<Line> {
    let huge = site.huge();
    let p99 = |server: &'_ Server| -> f64 {
        server.forget(huge.size);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let pulls = huge
                .paths
                .iter()
                .map(|path| scope.spawn(|| Ask::get(server.plain, path).large(huge.size, 1, 1)));
            let pulls: Vec<_> = pulls.collect();
            let asking = scope.spawn(|| {
                let ask = Ask::get(server.plain, &Site::manifest());
                let mut times = Vec::new();
                while !done.load(Ordering::Relaxed) || times.len() < 100 {
                    let begun = Instant::now();
                    ask.many(20, 1);
                    times.push(begun.elapsed().as_secs_f64() / 20.0 * 1e6);
                    pause();
                }
                times
            });
            pulls.into_iter().for_each(|pull| pull.join().unwrap());
            done.store(true, Ordering::Relaxed);
            let mut times = asking.join().unwrap();
            times.sort_by(f64::total_cmp);
            times[times.len() * 99 / 100]
        })
    };
    let contenders: Vec<Contender<'_>> = vec![Box::new(|| p99(&site.ours)), Box::new(|| p99(&site.nginx))];
    let compared = compare(site.rounds(), contenders);
    let what = "manifest GET during two uncached pulls, p99 of batches of twenty: time to nginx";
    vec![line(
        "P13",
        what,
        compared.ratios[0],
        Bar::AtMost(1.5, 1.5),
        micros(&compared),
    )]
}
