//! P1 to P4: the cost of a pull of blobs that are in memory.
//!
//! A pull of 100 MiB uses a new connection, as with real clients, so TCP starts slowly each time. Smaller
//! pulls follow one another on open connections. Before each sample, and outside the measurement, the
//! server's file is read once, because every server must serve from the page cache. A kernel that reclaims
//! early (DAMON) or a push in between may have dropped parts of the file.

use super::compare::{Bar, Contender, Line, compare, spent};
use super::content::{KIB, MIB};
use super::load::Ask;
use super::servers::Server;
use super::site::{Over, Site, cpu_gib, gib, line, micros};

/// With 7 rounds, at least 0.8 GiB per sample.
pub(crate) fn large(site: &Site, over: Over) -> Vec<Line> {
    let size = 100 * MIB;
    let path = site.blob(size);
    let (ours, nginx, registry) = match over {
        Over::Http => (
            "plain",
            ("P1", Bar::AtMost(1.7, 1.25)),
            ("P2", Bar::AtMost(0.6, 0.4)),
        ),
        Over::Tls => (
            "over TLS 1.3",
            ("P3", Bar::AtMost(0.85, 0.6)),
            ("", Bar::Reported),
        ),
    };
    let mut lines = Vec::new();
    for (connections, count) in [(1, 9), (16, 16)] {
        let count = site.some(count).max(connections);
        let pulling = |server| -> Contender<'_> {
            let ask = site.ask(over, server, &path);
            Box::new(move || {
                server.with_cached(size, || spent(server, || ask.large(size, count, connections)))
                    / gib(size * count)
            })
        };
        let compared = compare(site.rounds(), site.servers(over).map(pulling).into());
        for (index, other, (id, bar)) in [(0, "nginx", nginx), (1, "docker-registry", registry)] {
            let what = format!("blob GET 100 MiB {ours}, {connections} at once: CPU to {other}");
            lines.push(line(id, what, compared.ratios[index], bar, cpu_gib(&compared)));
        }
    }
    lines
}

pub(crate) fn small(site: &Site, over: Over) -> Vec<Line> {
    let how = if over == Over::Http {
        "plain"
    } else {
        "over TLS 1.3"
    };
    let mut lines = Vec::new();
    for (name, size, count, of_registry, bar) in [
        ("1 MiB", MIB, 1000, 100, Bar::AtMost(1.3, 1.0)),
        ("10 KiB", 10 * KIB, 16_000, 400, Bar::AtMost(2.5, 1.6)),
    ] {
        let path = site.blob(size);
        for connections in [1, 16] {
            let [ours, nginx, registry] = site.servers(over);
            let pulling = |server, count| {
                from_memory(
                    server,
                    site.ask(over, server, &path),
                    size,
                    site.some(count),
                    connections,
                )
            };
            let contenders = vec![
                pulling(ours, count),
                pulling(nginx, count),
                pulling(registry, of_registry),
            ];
            let compared = compare(site.rounds(), contenders);
            let what = |other: &str| format!("blob GET {name} {how}, {connections} at once: CPU to {other}");
            lines.push(line(
                "P4",
                what("nginx"),
                compared.ratios[0],
                bar,
                micros(&compared),
            ));
            lines.push(line(
                "",
                what("docker-registry"),
                compared.ratios[1],
                Bar::Reported,
                micros(&compared),
            ));
        }
    }
    lines
}

/// CPU microseconds per request for a blob of `size` bytes.
fn from_memory(server: &Server, ask: Ask, size: usize, count: usize, connections: usize) -> Contender<'_> {
    Box::new(move || {
        server.with_cached(size, || spent(server, || ask.many(count, connections))) / count as f64 * 1e6
    })
}
