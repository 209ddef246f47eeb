//! The measures, P1 to P16. P7 and P10 are exact and therefore tests (`tests/it/costs.rs`).

use super::compare::{Bar, Compared, Contender, Line, compare, median, spent};
use super::load::{Ask, half_an_upload, push_images, push_new};
use super::pki::TestPki;
use super::servers::{Content, REPOSITORY, Server, pause, random, start_up};
use super::tls::Tls;
use super::{AUDIENCE, sha256};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;
use tokio::time::Instant;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// The servers, all with the same content.
pub(crate) struct Site {
    quick: bool,
    folder: TempDir,
    pki: TestPki,
    ours: Server,
    ours_tls: Server,
    nginx: Server,
    registry: Server,
    content: Content,
    anyone: Arc<Tls>,
    workload: Arc<Tls>,
    token: String,
}

type Measure = fn(&Site) -> Vec<Line>;

pub(crate) const ALL: &[(&[&str], Measure)] = &[
    (&["P1", "P2"], large_blobs),
    (&["P3"], large_blobs_over_tls),
    (&["P4"], small_blobs),
    (&["P5", "P6", "P11"], manifests),
    (&["P5", "P11"], manifests_over_tls),
    (&["P8", "P9"], large_pushes),
    (&["P8"], small_pushes),
    (&["P12"], handshakes),
    (&["P13"], manifests_beside_cold_pulls),
    (&["P14"], memory),
    (&["P15"], start),
    (&["P16"], size),
];

impl Site {
    pub(crate) fn new(quick: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let pki = TestPki::new();
        let content = Content::new(&at("files"), &[10 * KIB, MIB, 100 * MIB]);
        let nginx = Server::nginx(&at("nginx"), &content.root, &pki);
        let registry = Server::docker_registry(&at("registry"));
        let ours = Server::wharfinger(&at("ours"), &pki, false);
        let before_tls = Server::wharfinger(&at("ours-tls"), &pki, false);
        for address in [ours.plain, before_tls.plain, registry.plain] {
            content.push_to(address);
        }
        drop(before_tls);
        let ours_tls = Server::wharfinger(&at("ours-tls"), &pki, true);
        let anyone = Arc::new(Tls::new(&pki.servers.pem, None));
        let workload = Arc::new(Tls::new(&pki.servers.pem, Some(&pki.domain.x509_svid("/builder"))));
        // For an hour, however long the run takes.
        let token =
            pki.domain.signer.token(&serde_json::json!({"sub": pki.domain.id("/builder"), "aud": [AUDIENCE], "exp": super::now() + 3600}));
        Self { quick, folder, pki, ours, ours_tls, nginx, registry, content, anyone, workload, token }
    }

    fn rounds(&self) -> usize {
        if self.quick { 3 } else { 7 }
    }

    /// `many`, or a quarter of it.
    fn some(&self, many: usize) -> usize {
        if self.quick { (many / 4).max(1) } else { many }
    }

    fn blob(&self, index: usize) -> (String, usize) {
        let (digest, bytes) = &self.content.blobs[index];
        (format!("/v2/{REPOSITORY}/blobs/{digest}"), bytes.len())
    }

    fn manifest() -> String {
        format!("/v2/{REPOSITORY}/manifests/latest")
    }
}

/// CPU seconds a GiB for pulling `size` bytes `count` times.
fn pulling<'a>(server: &'a Server, ask: Ask, size: usize, count: usize, connections: usize) -> Contender<'a> {
    Box::new(move || spent(server, || ask.large(size, count, connections)) / gib(size * count))
}

/// CPU microseconds a request.
fn asking<'a>(server: &'a Server, ask: Ask, count: usize, connections: usize) -> Contender<'a> {
    Box::new(move || spent(server, || ask.many(count, connections)) / count as f64 * 1e6)
}

/// CPU seconds a GiB for pushing new blobs like `bytes`.
fn pushing<'a>(server: &'a Server, bytes: &'a [u8], count: usize, connections: usize) -> Contender<'a> {
    Box::new(move || spent(server, || push_new(server.plain, bytes, count, connections)) / gib(bytes.len() * count))
}

fn gib(bytes: usize) -> f64 {
    bytes as f64 / (1 << 30) as f64
}

fn line(id: &'static str, what: impl Into<String>, found: f64, bar: Bar, absolute: impl Into<String>) -> Line {
    Line { id, what: what.into(), found, bar, absolute: absolute.into() }
}

fn cpu_gib(compared: &Compared) -> String {
    format!("{:.2} CPU s/GiB", compared.medians[0])
}

fn micros(compared: &Compared) -> String {
    format!("{:.1} µs", compared.medians[0])
}

fn large_blobs(site: &Site) -> Vec<Line> {
    let (path, size) = site.blob(2);
    let mut lines = Vec::new();
    for (connections, count) in [(1, 9), (16, 16)] {
        let count = site.some(count).max(connections);
        let pull = |server: &'_ Server| Ask::get(server.plain, &path);
        let compared = compare(
            site.rounds(),
            vec![
                pulling(&site.ours, pull(&site.ours), size, count, connections),
                pulling(&site.nginx, pull(&site.nginx), size, count, connections),
                pulling(&site.registry, pull(&site.registry), size, count, connections),
            ],
        );
        let what = |other: &str| format!("blob GET 100 MiB plain, {connections} at once: CPU to {other}");
        lines.push(line("P1", what("nginx"), compared.ratios[0], Bar::AtMost(1.7, 1.25), cpu_gib(&compared)));
        lines.push(line("P2", what("docker-registry"), compared.ratios[1], Bar::AtMost(0.6, 0.4), cpu_gib(&compared)));
    }
    lines
}

fn large_blobs_over_tls(site: &Site) -> Vec<Line> {
    let (path, size) = site.blob(2);
    let mut lines = Vec::new();
    for (connections, count) in [(1, 9), (16, 16)] {
        let count = site.some(count).max(connections);
        let pull = |server: &Server| Ask::get(server.tls.unwrap(), &path).tls(&site.anyone);
        let compared = compare(
            site.rounds(),
            vec![
                pulling(&site.ours_tls, pull(&site.ours_tls), size, count, connections),
                pulling(&site.nginx, pull(&site.nginx), size, count, connections),
            ],
        );
        let what = format!("blob GET 100 MiB over TLS 1.3, {connections} at once: CPU to nginx");
        lines.push(line("P3", what, compared.ratios[0], Bar::AtMost(0.85, 0.6), cpu_gib(&compared)));
    }
    lines
}

fn small_blobs(site: &Site) -> Vec<Line> {
    let mut lines = Vec::new();
    for (index, name, count, bar) in [(1, "1 MiB", 1000, Bar::AtMost(1.3, 1.0)), (0, "10 KiB", 30_000, Bar::AtMost(2.5, 1.6))] {
        let (path, _) = site.blob(index);
        let count = site.some(count);
        for connections in [1, 16] {
            let ask = |server: &Server| Ask::get(server.plain, &path);
            let compared = compare(
                site.rounds(),
                vec![asking(&site.ours, ask(&site.ours), count, connections), asking(&site.nginx, ask(&site.nginx), count, connections)],
            );
            let what = format!("blob GET {name}, {connections} at once: CPU to nginx");
            lines.push(line("P4", what, compared.ratios[0], bar, micros(&compared)));
        }
    }
    lines
}

fn manifests(site: &Site) -> Vec<Line> {
    let (path, count, connections) = (Site::manifest(), site.some(30_000), 8);
    let ask = |server: &Server| Ask::get(server.plain, &path);
    let mut lines = Vec::new();
    let compared = compare(
        site.rounds(),
        vec![
            asking(&site.ours, ask(&site.ours).token(&site.token), count, connections),
            asking(&site.nginx, ask(&site.nginx), count, connections),
            asking(&site.registry, ask(&site.registry), count / 20, connections),
            asking(&site.ours, ask(&site.ours), count, connections),
        ],
    );
    lines.push(line("P5", "manifest GET with a JWT-SVID: CPU to nginx", compared.ratios[0], Bar::AtMost(2.5, 1.6), micros(&compared)));
    lines.push(line(
        "P6",
        "the same: times cheaper than docker-registry without",
        1.0 / compared.ratios[1],
        Bar::AtLeast(50.0, 100.0),
        micros(&compared),
    ));
    lines.push(line("P11", "the same: CPU to an anonymous one", compared.ratios[2], Bar::AtMost(1.15, 1.05), micros(&compared)));
    let compared = compare(
        site.rounds(),
        vec![
            asking(&site.ours, ask(&site.ours).head().token(&site.token), count, connections),
            asking(&site.nginx, ask(&site.nginx).head(), count, connections),
            asking(&site.registry, ask(&site.registry).head(), count / 20, connections),
            asking(&site.ours, ask(&site.ours), count, connections),
        ],
    );
    lines.push(line("P5", "manifest HEAD with a JWT-SVID: CPU to nginx", compared.ratios[0], Bar::AtMost(2.5, 1.6), micros(&compared)));
    lines.push(line(
        "P6",
        "the same: times cheaper than docker-registry without",
        1.0 / compared.ratios[1],
        Bar::AtLeast(50.0, 100.0),
        micros(&compared),
    ));
    lines
}

fn manifests_over_tls(site: &Site) -> Vec<Line> {
    let (path, count, connections) = (Site::manifest(), site.some(20_000), 8);
    let ask = |server: &Server| Ask::get(server.tls.unwrap(), &path);
    let compared = compare(
        site.rounds(),
        vec![
            asking(&site.ours_tls, ask(&site.ours_tls).tls(&site.workload), count, connections),
            asking(&site.nginx, ask(&site.nginx).tls(&site.anyone), count, connections),
            asking(&site.ours_tls, ask(&site.ours_tls).tls(&site.anyone), count, connections),
        ],
    );
    vec![
        line("P5", "manifest GET with an X.509-SVID: CPU to nginx with TLS", compared.ratios[0], Bar::AtMost(2.5, 1.6), micros(&compared)),
        line("P11", "the same: CPU to an anonymous one with TLS", compared.ratios[1], Bar::AtMost(1.15, 1.05), micros(&compared)),
    ]
}

fn large_pushes(site: &Site) -> Vec<Line> {
    let bytes = random(100 * MIB);
    let mut lines = Vec::new();
    for connections in [1, 4] {
        let count = if site.quick { 4 } else { 9 };
        let hashing: Contender<'_> = Box::new(|| {
            let begun = own_cpu();
            for _ in 0..2 {
                std::hint::black_box(Sha256::digest(&bytes));
            }
            (own_cpu() - begun) / gib(2 * bytes.len())
        });
        let compared = compare(
            site.rounds(),
            vec![pushing(&site.ours, &bytes, count, connections), pushing(&site.registry, &bytes, count, connections), hashing],
        );
        let what = |other: &str| format!("push of a new 100 MiB blob, durable, {connections} at once: CPU to {other}");
        lines.push(line("P8", what("docker-registry"), compared.ratios[0], Bar::AtMost(0.5, 0.42), cpu_gib(&compared)));
        lines.push(line("P9", what("SHA-256 alone"), compared.ratios[1], Bar::AtMost(3.2, 2.6), cpu_gib(&compared)));
    }
    lines
}

fn small_pushes(site: &Site) -> Vec<Line> {
    let mut lines = Vec::new();
    for (connections, count) in [(1, 100), (10, 300)] {
        let count = site.some(count);
        let wall = |server: &Server| -> Contender<'static> {
            let address = server.plain;
            Box::new(move || {
                let begun = Instant::now();
                push_images(address, count, connections);
                begun.elapsed().as_secs_f64() / count as f64 * 1e3
            })
        };
        let compared = compare(site.rounds(), vec![wall(&site.ours), wall(&site.registry)]);
        let what = format!("push of a small image, durable, {connections} at once: time to docker-registry");
        lines.push(line("", what, compared.ratios[0], Bar::Told, format!("{:.1} ms", compared.medians[0])));
        let compared = compare(
            site.rounds(),
            vec![
                Box::new(|| spent(&site.ours, || push_images(site.ours.plain, count, connections)) / count as f64 * 1e6),
                Box::new(|| spent(&site.registry, || push_images(site.registry.plain, count, connections)) / count as f64 * 1e6),
            ],
        );
        let what = format!("push of a small image, durable, {connections} at once: CPU to docker-registry");
        lines.push(line("", what, compared.ratios[0], Bar::Told, micros(&compared)));
    }
    lines
}

fn handshakes(site: &Site) -> Vec<Line> {
    let folder = site.folder.path().join("bare");
    fs::create_dir_all(&folder).unwrap();
    let pair = site.pki.servers.server();
    for (name, text) in [("server.crt", pair.certificate), ("server.key", pair.key), ("clients.crt", site.pki.domain.ca.pem.clone())] {
        fs::write(folder.join(name), text).unwrap();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("--bare").arg(&folder);
    let bare = Server::other(command, &folder);
    let count = site.some(2000);
    let ask = |server: &Server| Ask::get(server.tls.unwrap(), "/v2/").tls(&site.workload);
    let (ours, theirs) = (ask(&site.ours_tls), ask(&bare));
    let compared = compare(
        site.rounds(),
        vec![
            Box::new(|| spent(&site.ours_tls, || ours.handshakes(count)) / count as f64 * 1e6),
            Box::new(|| spent(&bare, || theirs.handshakes(count)) / count as f64 * 1e6),
        ],
    );
    vec![line(
        "P12",
        "full mTLS handshake and one answer: CPU to bare rustls",
        compared.ratios[0],
        Bar::AtMost(1.3, 1.3),
        micros(&compared),
    )]
}

/// Blobs that are larger than what a machine like this keeps in its caches for nothing.
fn huge(site: &Site) -> (Vec<String>, usize) {
    let size = if site.quick { 256 * MIB } else { 1 << 30 };
    let mut paths = Vec::new();
    for _ in 0..2 {
        let bytes = random(size);
        let digest = sha256(&bytes);
        super::load::push_blob(site.ours.plain, REPOSITORY, &digest, &bytes);
        fs::write(site.content.root.join("v2").join(REPOSITORY).join("blobs").join(&digest), &bytes).unwrap();
        paths.push(format!("/v2/{REPOSITORY}/blobs/{digest}"));
    }
    (paths, size)
}

/// Has the kernel forget the large files below `folder`.
fn make_cold(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            make_cold(&path);
        } else if entry.metadata().unwrap().len() > 200 * MIB as u64 {
            let file = fs::File::open(&path).unwrap();
            file.sync_all().unwrap();
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        }
    }
}

fn manifests_beside_cold_pulls(site: &Site) -> Vec<Line> {
    let (paths, size) = huge(site);
    let p99 = |server: &'static str| -> Contender<'_> {
        let (address, files) = match server {
            "ours" => (site.ours.plain, site.folder.path().join("ours/store/d")),
            _ => (site.nginx.plain, site.content.root.clone()),
        };
        let paths = &paths;
        Box::new(move || {
            make_cold(&files);
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let pulls: Vec<_> = paths.iter().map(|path| scope.spawn(move || Ask::get(address, path).large(size, 1, 1))).collect();
                let asking = scope.spawn(|| {
                    let ask = Ask::get(address, &Site::manifest());
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
        })
    };
    let compared = compare(site.rounds(), vec![p99("ours"), p99("nginx")]);
    vec![line(
        "P13",
        "manifest GET beside two cold pulls, p99 of twenties: time to nginx",
        compared.ratios[0],
        Bar::AtMost(1.5, 1.5),
        micros(&compared),
    )]
}

fn memory(site: &Site) -> Vec<Line> {
    let (paths, _) = huge(site);
    let grown = |server: &Server, count: usize, hold: &dyn Fn(usize) -> Box<dyn std::any::Any>| {
        let first: Vec<_> = (0..4).map(hold).collect();
        let before = settled(server);
        let held: Vec<_> = (0..count).map(hold).collect();
        let after = settled(server);
        drop((first, held));
        (after - before) / count as f64
    };
    let idle = |address, tls: Option<&Arc<Tls>>| {
        let ask = Ask::get(address, "/v2/");
        tls.map_or(ask.clone(), |tls| ask.tls(tls))
    };
    let (plain, tls) = (idle(site.ours.plain, None), idle(site.ours_tls.plain, Some(&site.anyone)));
    let of_plain = grown(&site.ours, 1000, &|_| Box::new(plain.idle()));
    let of_tls = grown(&site.ours_tls, 1000, &|_| Box::new(tls.idle()));
    let of_pulls = grown(&site.ours, 64, &|index| Box::new(Ask::get(site.ours.plain, &paths[index % 2]).begun())) / KIB as f64;
    let half = random(48 * MIB);
    let of_pushes = grown(&site.ours, 8, &|_| Box::new(half_an_upload(site.ours.plain, "bench/half", &half))) / KIB as f64;
    vec![
        line("P14", "an idle connection, plain: KiB", of_plain, Bar::AtMost(22.0, 22.0), ""),
        line("P14", "an idle connection, TLS: KiB", of_tls, Bar::AtMost(32.0, 32.0), ""),
        line("P14", "each of 64 pulls of 1 GiB that stand still: MiB", of_pulls, Bar::AtMost(0.6, 0.6), ""),
        line("P14", "a push under way: MiB", of_pushes, Bar::AtMost(3.0, 3.0), ""),
    ]
}

/// What is resident once it no longer changes.
fn settled(server: &Server) -> f64 {
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

fn start(site: &Site) -> Vec<Line> {
    let fresh = || site.folder.path().join(format!("start-{}", fastrand::u64(..)));
    let (ours, theirs) = (fresh(), fresh());
    drop((Server::wharfinger(&ours, &site.pki, false), Server::docker_registry(&theirs)));
    let compared = compare(
        3 * site.rounds(),
        vec![
            Box::new(|| start_up(&Server::wharfinger(&ours, &site.pki, false), "/livez") * 1e3),
            Box::new(|| start_up(&Server::docker_registry(&theirs), "/") * 1e3),
            Box::new(|| start_up(&Server::wharfinger(&fresh(), &site.pki, false), "/livez") * 1e3),
        ],
    );
    let times = format!("{:.1} ms; {:.1} ms where the store must be made first", compared.medians[0], compared.medians[2]);
    let resident: Vec<f64> = (0..3).map(|_| settled(&Server::wharfinger(&fresh(), &site.pki, false)) / KIB as f64).collect();
    let resident = median(resident);
    vec![
        line("P15", "start to first answer: time to docker-registry", compared.ratios[0], Bar::AtMost(0.6, 0.35), times),
        line("P15", "resident when idle: MiB", resident, Bar::AtMost(20.0, 20.0), ""),
    ]
}

/// Of the published binary, whichever is measured otherwise.
fn size(_: &Site) -> Vec<Line> {
    let profiles = Path::new(env!("CARGO_BIN_EXE_wharfinger")).ancestors().nth(2);
    let Some(found) = profiles.and_then(|profiles| fs::metadata(profiles.join("dist/wharfinger")).ok()) else {
        println!("| P16 | stripped binary: not built, see `cargo build --profile dist` | | ≤ 20 / 14 | | |");
        return Vec::new();
    };
    vec![line("P16", "stripped binary: MB", found.len() as f64 / 1e6, Bar::AtMost(20.0, 14.0), "")]
}

/// CPU seconds of this thread.
fn own_cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
