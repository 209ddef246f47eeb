//! The documentation says what is true: references are made from the sources, links lead somewhere, and snippets load.
//! `UPDATE_DOCS=1 cargo test --test docs` writes what is made.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr, reason = "a test")]

use std::fs;
use std::path::Path;

fn check(path: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{} is out of date: run `UPDATE_DOCS=1 cargo test --test docs`", path.display());
}

#[test]
fn the_configuration_reference_is_made_from_the_types() {
    check("docs/reference/configuration.md", &wharfinger::config::reference());
}
