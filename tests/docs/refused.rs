//! `docs/how-to/refused.md` lists every reason for a rejection with the exact text of the sources, and no
//! other.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use wharfinger::access::{Action, Denied, DeniedBy};

const PAGE: &str = "docs/how-to/refused.md";

/// The first column of every row, each with a cause and a fix.
fn rows() -> BTreeSet<String> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE)).unwrap();
    let mut rows = BTreeSet::new();
    for line in page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| the log says"))
    {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        assert!(
            cells.len() == 3 && cells.iter().all(|cell| !cell.is_empty()),
            "a row needs a message, a cause and a fix: {line}"
        );
        assert!(
            rows.insert(cells[0].to_owned()),
            "the page has this row twice: {}",
            cells[0]
        );
    }
    rows
}

/// The message of every variant of an enum, with `…` for inserted values. A variant that only passes on another
/// error's message has none.
fn messages(file: &str, name: &str) -> BTreeSet<String> {
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let items = syn::parse_file(&source).unwrap().items;
    let found = items.into_iter().find_map(|item| match item {
        syn::Item::Enum(item) if item.ident == name => Some(item.variants),
        _ => None,
    });
    let variants = found.unwrap_or_else(|| panic!("{file} has no enum {name}"));
    variants.iter().filter_map(message).collect()
}

fn message(variant: &syn::Variant) -> Option<String> {
    let error = variant
        .attrs
        .iter()
        .find(|attribute| attribute.path().is_ident("error"));
    let syn::Meta::List(list) = &error
        .unwrap_or_else(|| panic!("{} has no message", variant.ident))
        .meta
    else {
        panic!()
    };
    let first = list.tokens.clone().into_iter().next()?;
    let text: syn::LitStr = syn::parse_str(&first.to_string()).ok()?;
    let text = filled(&text.value());
    (text != "…").then_some(text)
}

fn filled(format: &str) -> String {
    let mut text = String::new();
    for (n, part) in format.split('{').enumerate() {
        match part.split_once('}') {
            Some((_, rest)) if n > 0 => text = text + "…" + rest,
            _ => text += part,
        }
    }
    text
}

#[test]
fn every_reason_is_explained_and_no_other() {
    let mut expected = BTreeSet::new();
    for (file, name) in [
        ("src/identity/refusal.rs", "Refused"),
        ("src/trust/jwt/rejected.rs", "Rejected"),
        ("src/trust/x509/rejected.rs", "Rejected"),
    ] {
        let found = messages(file, name);
        assert!(found.len() > 10, "{file}: {found:?}");
        expected.extend(found);
    }
    // A validation's message is its author's.
    expected.insert("your own validation's message".to_owned());
    expected.extend(denials());
    expected.extend(messages("src/trust/authorities.rs", "NoKeys"));
    expected.extend(messages("src/identity/refusal.rs", "Busy"));
    let rows = rows();
    let missing: Vec<_> = expected.difference(&rows).collect();
    let unknown: Vec<_> = rows.difference(&expected).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "{PAGE} lacks {missing:#?} and has {unknown:#?}, which nothing says"
    );
}

/// The message for each kind of denial, without the caller's name.
fn denials() -> impl Iterator<Item = String> {
    let kinds = [
        (DeniedBy::Policy, true),
        (DeniedBy::Policy, false),
        (DeniedBy::Cap, true),
        (DeniedBy::Scope, true),
    ];
    kinds.into_iter().map(|(by, matched)| {
        let pattern = matched.then(|| "PATTERN".to_owned());
        let denied = Denied {
            action: Action::Read,
            repository: "a".parse().unwrap(),
            anonymous: false,
            pattern,
            by,
        };
        let text = denied.to_string();
        let (_, reason) = text.split_once(": ").unwrap();
        reason.replace("PATTERN", "…").replace("`read`", "`…`")
    })
}

#[test]
fn the_message_for_missing_keys_is_the_one_on_the_page() {
    use wharfinger::clock::Timestamp;
    use wharfinger::trust::{Authorities, Slot, jwks::KeySet};
    let authorities = Authorities::<KeySet>::new(vec![Slot::new("a")]);
    let why = authorities
        .view(Timestamp::from_secs(0))
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(why.starts_with("no usable keys: "), "{why}");
}
