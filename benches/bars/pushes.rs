//! P8 and P9: the cost of a durable push of new content. Large blobs go into separate stores that are deleted
//! afterwards, at most 17 GB at a time.

use super::compare::{Bar, Compared, Contender, Line, compare, in_turns, spent};
use super::content::MIB;
use super::push::{Beginning, push_images};
use super::servers::Server;
use super::site::{Over, Site, cpu_gib, gib, line, micros};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

pub(crate) fn large(site: &Site) -> Vec<Line> {
    let blobs = Beginning::of(100 * MIB);
    let mut lines = Vec::new();
    for (connections, count) in [(1, 9), (10, 10)] {
        let count = site.some(count).max(connections);
        let folder = site.passing_folder();
        let ours = Server::wharfinger(&folder.path().join("ours"), &site.pki, false);
        let registry = Server::docker_registry(&folder.path().join("registry"), &site.pki, false);
        let pushing = |server| -> Contender<'_> {
            let blobs = &blobs;
            Box::new(move || {
                spent(server, || blobs.push_new(server.plain, count, connections)) / gib(blobs.size() * count)
            })
        };
        let hashing: Contender<'_> = Box::new(|| {
            let begun = own_cpu();
            for _ in 0..2 {
                std::hint::black_box(Sha256::digest(blobs.bytes()));
            }
            (own_cpu() - begun) / gib(2 * blobs.bytes().len())
        });
        let compared = compare(site.rounds(), vec![pushing(&ours), pushing(&registry), hashing]);
        let what = |other: &str| {
            format!("push of a new 100 MiB blob, durable, {connections} at once: CPU to {other}")
        };
        lines.push(line(
            "P8",
            what("docker-registry"),
            compared.ratios[0],
            Bar::AtMost(0.5, 0.42),
            cpu_gib(&compared),
        ));
        lines.push(line(
            "P9",
            what("SHA-256 alone"),
            compared.ratios[1],
            Bar::AtMost(3.2, 2.6),
            cpu_gib(&compared),
        ));
    }
    lines
}

pub(crate) fn small(site: &Site) -> Vec<Line> {
    let mut lines = Vec::new();
    for (connections, count) in [(1, 40), (10, 120)] {
        let count = site.some(count);
        let [ours, _, registry] = site.servers(Over::Http);
        // Milliseconds and CPU microseconds per image.
        let pushing = |server| -> Contender<'_, (f64, f64)> {
            Box::new(move || {
                let begun = Instant::now();
                let cpu = spent(server, || push_images(server.plain, count, connections));
                (
                    begun.elapsed().as_secs_f64() / count as f64 * 1e3,
                    cpu / count as f64 * 1e6,
                )
            })
        };
        let rows = in_turns(site.rounds(), vec![pushing(ours), pushing(registry)]);
        let what = |figure: &str| {
            format!("push of a small image, durable, {connections} at once: {figure} to docker-registry")
        };
        let times = Compared::by(&rows, |(time, _)| *time);
        lines.push(line(
            "",
            what("time"),
            times.ratios[0],
            Bar::Reported,
            format!("{:.1} ms", times.medians[0]),
        ));
        let cpu = Compared::by(&rows, |(_, cpu)| *cpu);
        lines.push(line("", what("CPU"), cpu.ratios[0], Bar::Reported, micros(&cpu)));
    }
    lines
}

/// CPU seconds of this thread.
fn own_cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
