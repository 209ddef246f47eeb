//! The requests in `docs/reference/sizing.md` are those of `docs/reference/requests.md`.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// What users do, and the operations that it takes, each as often as said.
const USES: [(&str, &[(usize, &str)]); 4] = [
    (
        "pulls of an image with a config and one layer, by its tag",
        &[(1, "GET of a manifest by tag"), (2, "GET of a blob")],
    ),
    (
        "checks of a tag, by clients that may only read",
        &[(1, "HEAD of a manifest by tag")],
    ),
    (
        "pushes of a new image with a config and one layer",
        &[
            (2, "POST of an upload"),
            (2, "PUT without a body, of a new blob"),
            (1, "PUT of a new image with a new tag"),
        ],
    ),
    ("pages of tags", &[(1, "Page of tags")]),
];

const HEAD: &str = "| a million | requests to the bucket |\n|---|---|\n";

#[test]
fn the_requests_of_a_million_uses_are_those_of_the_operations() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference");
    let operations = fs::read_to_string(root.join("requests.md")).unwrap();
    let in_all: HashMap<&str, usize> = operations.lines().filter_map(row).collect();
    let rows = USES.map(|(what, parts)| {
        let sum: usize = parts.iter().map(|(times, name)| times * in_all[name]).sum();
        format!("| {what} | {sum} million |\n")
    });
    let page = fs::read_to_string(root.join("sizing.md")).unwrap();
    let (before, rest) = page.split_once(HEAD).unwrap();
    let (_, after) = rest.split_once("\n\n").unwrap();
    super::check(
        "docs/reference/sizing.md",
        &format!("{before}{HEAD}{}\n{after}", rows.concat()),
    );
}

/// An operation with the number of all its requests.
fn row(line: &str) -> Option<(&str, usize)> {
    let mut cells = line.split('|').map(str::trim).skip(1);
    let name = cells.next()?;
    Some((name, cells.nth(1)?.parse().ok()?))
}
