//! One client at one replica of each kind. The registries take turns, and the first round is a warm-up.

use super::image::{image, layer, random};
use super::load::{Ask, answer};
use super::push::{Beginning, connect, in_parallel, push_blob, push_images, push_manifest, push_manifest_on};
use super::registry::{Kind, Registry};
use super::spent::{Begun, print, print_head};
use super::{Size, sha256};
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// How many clients fill a registry before it is measured.
const FILLERS: usize = 12;
/// The images that are pulled.
const PULLED: usize = 20;
/// Entries on a page.
const PAGE: usize = 100;

pub(crate) fn compare(registries: &[Registry; 2], size: &Size) {
    println!("### One client, one replica: Wharfinger / docker-registry (ratio)\n");
    print_head();
    let in_turns = |what: &str, operations: usize, work: &dyn Fn(usize, SocketAddr)| {
        let mut rounds = Vec::new();
        for round in 0..=size.rounds {
            let sample = |index: usize| {
                let registry = &registries[index];
                let begun = Begun::on(registry);
                work(index, registry.address);
                begun.end(operations as f64)
            };
            let pair = if round % 2 == 0 {
                let ours = sample(0);
                [ours, sample(1)]
            } else {
                let other = sample(1);
                [sample(0), other]
            };
            if round > 0 {
                rounds.push(pair);
            }
        }
        print(what, &rounds);
    };
    in_turns("push of a small image", size.images, &|_, address| {
        push_images(address, size.images, 1);
    });
    let images = registries
        .each_ref()
        .map(|registry| images(registry.address, PULLED));
    let pulls = size.images * 4;
    in_turns("pull of a small image", pulls, &|index, address| {
        pull(address, &images[index], pulls);
    });
    let mib = size.large >> 20;
    let blobs = Beginning::of(size.large);
    in_turns(&format!("push of a blob of {mib} MiB"), 1, &|_, address| {
        blobs.push_new(address, 1, 1);
    });
    let digest = sha256(blobs.bytes());
    for registry in registries {
        push_blob(registry.address, "bench/large", &digest, blobs.bytes());
    }
    in_turns(&format!("pull of a blob of {mib} MiB"), 1, &|_, address| {
        Ask::get(address, &format!("/v2/bench/large/blobs/{digest}")).large(blobs.bytes().len(), 1, 1);
    });
    for registry in registries {
        fill_tags(registry.address, size.tags);
        fill_repositories(registry.address, size.repositories);
    }
    let lists = 4;
    for (what, path) in [
        ("tags", format!("/v2/bench/tags/tags/list?n={PAGE}")),
        ("repositories", format!("/v2/_catalog?n={PAGE}")),
    ] {
        let what = format!("page of {what}, with {} tags in a repository", size.tags);
        in_turns(&what, lists, &|_, address| {
            Ask::get(address, &path).large(PAGE, lists, 1);
        });
    }
    let begun = registries.each_ref().map(Begun::on);
    wait(size.idle);
    let idle = begun.map(|begun| begun.end(size.idle.as_secs_f64() / 60.0));
    print("a minute without clients", &[idle]);
    println!();
    for (kind, registry) in Kind::BOTH.iter().zip(registries) {
        println!("{}: at most {:.0} MiB of memory.", kind.name(), registry.peak());
    }
}

fn wait(time: Duration) {
    let (_keep, never) = mpsc::channel::<()>();
    let _ = never.recv_timeout(time);
}

/// The paths of an image's parts.
pub(crate) type Paths = [String; 3];

/// Pushes images of a few KiB.
pub(crate) fn images(address: SocketAddr, count: usize) -> Vec<Paths> {
    let repository = "bench/pulled";
    let image = |number: usize| {
        let blobs = [random(600), random(4000)].map(|bytes| (sha256(&bytes), bytes));
        for (digest, bytes) in &blobs {
            push_blob(address, repository, digest, bytes);
        }
        let [(config, config_bytes), (of_layer, layer_bytes)] = &blobs;
        let manifest = image(config, config_bytes.len(), &[layer(of_layer, layer_bytes.len())]);
        push_manifest(address, repository, &format!("t{number}"), &manifest);
        [
            format!("manifests/t{number}"),
            format!("blobs/{config}"),
            format!("blobs/{of_layer}"),
        ]
        .map(|path| format!("/v2/{repository}/{path}"))
    };
    (0..count).map(image).collect()
}

/// Pulls this many images on one connection.
pub(crate) fn pull(address: SocketAddr, images: &[Paths], count: usize) {
    let mut stream = connect(address);
    for number in 0..count {
        for path in &images[number % images.len()] {
            get(&mut stream, path);
        }
    }
}

fn get(stream: &mut TcpStream, path: &str) {
    let accept = "application/vnd.oci.image.manifest.v1+json";
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let (head, _) = answer(stream, false);
    assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
}

/// Gives one manifest this many tags.
fn fill_tags(address: SocketAddr, count: usize) {
    let repository = "bench/tags";
    let manifest = pushed(address, repository);
    let number = AtomicUsize::new(0);
    in_parallel(count, FILLERS, || {
        let mut stream = connect(address);
        let number = &number;
        let manifest = &manifest;
        move || {
            let tag = format!("tag-{:06}", number.fetch_add(1, Ordering::Relaxed));
            push_manifest_on(&mut stream, repository, &tag, manifest);
        }
    });
}

fn fill_repositories(address: SocketAddr, count: usize) {
    let number = AtomicUsize::new(0);
    in_parallel(count, FILLERS, || {
        || {
            let number = number.fetch_add(1, Ordering::Relaxed);
            pushed(address, &format!("bench/repository-{number:04}"));
        }
    });
}

/// Pushes an image of one blob, and returns its manifest.
fn pushed(address: SocketAddr, repository: &str) -> String {
    let config = random(600);
    let digest = sha256(&config);
    push_blob(address, repository, &digest, &config);
    let manifest = image(&digest, config.len(), &[]);
    push_manifest(address, repository, "latest", &manifest);
    manifest
}
