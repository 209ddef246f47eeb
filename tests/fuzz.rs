//! A short run of the fuzz targets with any toolchain. It feeds valid input, and input whose bytes are
//! changed, cut, doubled and mixed in an order that a seed decides. `WHARFINGER_FUZZ_ROUNDS` makes the run
//! longer, and `WHARFINGER_FUZZ_SEED` makes it different.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests"
)]

#[path = "../fuzz/targets.rs"]
mod targets;

use std::collections::BTreeSet;
use std::path::Path;
use wharfinger::exchange::GrantRequest;
use wharfinger::http::{self, TrustedProxies};
use wharfinger::oci::Algorithm;
use wharfinger::server::ProxyHeader;
use wharfinger::{identity, registry};

/// Bytes that are hard for parsers.
const TOKENS: &[&str] = &[
    "\"",
    "{",
    "}",
    "[",
    "]",
    ":",
    "/",
    "%",
    "%2f",
    "..",
    "-",
    "=",
    "&",
    ",",
    "\0",
    "\n",
    "\u{10ffff}",
    "\u{202e}",
    "18446744073709551616",
    "1e999",
    "null",
    "sha256:",
    "\\u0000",
    "*",
    "**",
    "{a,",
];

#[test]
fn no_input_breaks_a_parser() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = number("WHARFINGER_FUZZ_ROUNDS").unwrap_or(3000);
    let seed = number("WHARFINGER_FUZZ_SEED").unwrap_or(1);
    for (name, target, good) in targets::TARGETS {
        let mut inputs: Vec<Vec<u8>> = good.iter().map(|text| text.as_bytes().to_vec()).collect();
        inputs.extend(files(name));
        inputs.push(Vec::new());
        let mut dice = fastrand::Rng::with_seed(seed);
        for input in &inputs {
            target(input);
        }
        for round in 0..rounds {
            let mut input = inputs[dice.usize(0..inputs.len())].clone();
            for _ in 0..dice.usize(1..5) {
                change(&mut input, &inputs, &mut dice);
            }
            input.truncate(64 << 10);
            let tried = std::panic::catch_unwind(|| target(&input));
            assert!(
                tried.is_ok(),
                "{name}, seed {seed}, round {round}: {:?}",
                String::from_utf8_lossy(&input)
            );
        }
    }
}

#[test]
fn valid_input_is_accepted() {
    let good = |wanted: &str| {
        targets::TARGETS
            .iter()
            .find(|(name, ..)| *name == wanted)
            .unwrap()
            .2
    };
    let records: BTreeSet<_> = good("record")
        .iter()
        .flat_map(|record| registry::records_read(record.as_bytes()))
        .collect();
    let kinds = [
        "blob",
        "link",
        "manifest",
        "mark",
        "pulls",
        "pulls began",
        "session",
        "tag",
        "usage",
    ]
    .map(|kind| (kind, true));
    assert_eq!(records, BTreeSet::from(kinds));
    assert!(
        good("key")
            .iter()
            .all(|key| registry::key_rewritten(key).is_some() || *key == "h/probe")
    );
    for (state, algorithm) in good("hash_state")
        .iter()
        .zip([Algorithm::Sha256, Algorithm::Sha512])
    {
        let (length, state) = state.split_once(' ').unwrap();
        assert!(registry::hash_state_rewritten(algorithm, state, length.parse().unwrap()).is_some());
    }
    for form in good("grant") {
        let form: Vec<_> = form_urlencoded::parse(form.as_bytes()).into_owned().collect();
        GrantRequest::parse(&form).unwrap();
    }
    for headers in good("host") {
        let headers: Vec<_> = headers
            .lines()
            .map(|line| line.split_once(": ").unwrap())
            .collect();
        assert!(
            http::origin_named(&headers, &TrustedProxies::default()).is_some(),
            "{headers:?}"
        );
    }
    assert_eq!(identity::passwords_read(good("passwords")[0]).unwrap().len(), 2);
    let credentials = good("authorization")
        .iter()
        .filter_map(|header| identity::credential_read(header.as_bytes()));
    assert_eq!(
        credentials.count(),
        3,
        "three credentials, and one header without any"
    );
    assert!(
        good("proxy_header")
            .iter()
            .all(|header| matches!(ProxyHeader::parse(header.as_bytes()), Ok(Some(_))))
    );
}

#[test]
fn every_target_is_given_to_the_fuzzer() {
    let mut given: Vec<String> = std::fs::read_dir("fuzz/fuzz_targets")
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    given.sort();
    let mut targets: Vec<&str> = targets::TARGETS.iter().map(|(name, ..)| *name).collect();
    targets.sort_unstable();
    assert_eq!(given, targets);
    let manifest = std::fs::read_to_string("fuzz/Cargo.toml").unwrap();
    for target in targets {
        assert!(manifest.contains(&format!("name = \"{target}\"")), "{target}");
    }
}

/// Input from the fixtures of other tests.
fn files(target: &str) -> Vec<Vec<u8>> {
    let folders: &[&str] = match target {
        "bundle" | "certificate" => &[
            "testdata/spire/cluster-a.example",
            "testdata/spire/cluster-b.example",
            "testdata/spire/cluster-c.example",
        ],
        "jwks" => &["testdata/spire/cluster-a.example"],
        "configuration" => &["testdata/config/valid", "testdata/config/invalid", "testdata/zot"],
        _ => &[],
    };
    let entries = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(Path::new(folder)).ok())
        .flatten();
    entries
        .filter_map(|entry| std::fs::read(entry.unwrap().path()).ok())
        .filter(|bytes| bytes.len() < 64 << 10)
        .collect()
}

fn change(input: &mut Vec<u8>, others: &[Vec<u8>], dice: &mut fastrand::Rng) {
    let at = dice.usize(0..=input.len());
    match dice.u32(0..7) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << dice.u32(0..8);
            }
        }
        1 => input.truncate(at),
        2 => drop(input.splice(at..at, TOKENS[dice.usize(0..TOKENS.len())].bytes())),
        3 => {
            let end = dice.usize(at..=input.len());
            input.drain(at..end);
        }
        4 => {
            let part = input[at..].to_vec();
            input.splice(at..at, part);
        }
        5 => {
            let other = &others[dice.usize(0..others.len())];
            let from = dice.usize(0..=other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        _ => {
            let token = TOKENS[dice.usize(0..TOKENS.len())].repeat(dice.usize(1..200));
            input.splice(at..at, token.into_bytes());
        }
    }
}
