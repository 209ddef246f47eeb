//! The page of records lists every key that the registry has, and no other.

use regex::Regex;
use std::collections::BTreeSet;
use std::fs;
use wharfinger::storage::replicas::{FORMAT_KEY, REPLICAS};
use wharfinger::storage::{STORE_ID, UNFINISHED};

const PAGE: &str = "docs/design/records.md";
const KEYS: &str = "src/registry/keys.rs";

/// The first column of a table with a header `key`, in comments or on a page. The code spells some parts out.
fn table(text: &str) -> BTreeSet<String> {
    let lines = text.lines().map(|line| line.trim_start_matches("//! "));
    let rows = lines
        .skip_while(|line| !line.starts_with("| key |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        row.split('|')
            .nth(1)
            .unwrap()
            .trim()
            .replace("[`STORE_ID`]", STORE_ID)
            .replace("[`UNFINISHED`]", UNFINISHED)
            .replace("<algorithm>", "<a>")
            .replace("<2 hex>", "<hh>")
            .replace("<16 hex>", "<seq>")
            .replace('`', "")
    })
    .collect()
}

/// The prefixes of keys in the source of the keys: its constants, and the kinds of records of a repository.
fn prefixes(source: &str) -> BTreeSet<String> {
    let code = source.split("#[cfg(test)]").next().unwrap();
    let constants = Regex::new(r#"const [A-Z_]+: &str = "([^"]+)";"#).unwrap();
    let kinds = Regex::new(r#"of_repository\(repository, (?:format_args!\()?"([a-z]+/)"#).unwrap();
    let constants = constants.captures_iter(code).map(|found| found[1].to_owned());
    let kinds = kinds.captures_iter(code);
    let kinds = kinds.map(|found| format!("r/<repository>!/{}", &found[1]));
    constants
        .chain(kinds)
        .chain([STORE_ID, UNFINISHED, FORMAT_KEY, REPLICAS].map(str::to_owned))
        .collect()
}

#[test]
fn the_page_of_records_lists_the_keys_of_the_sources() {
    let source = fs::read_to_string(KEYS).unwrap();
    let page = table(&fs::read_to_string(PAGE).unwrap());
    let comment = table(&source);
    assert_eq!(page, comment, "{PAGE} and the comment of {KEYS} list other keys");
    let prefixes = prefixes(&source);
    assert!(
        prefixes.contains("g/scrub") && prefixes.contains("r/<repository>!/h/"),
        "{prefixes:?}"
    );
    for prefix in &prefixes {
        assert!(
            page.iter().any(|key| key.starts_with(prefix)),
            "{PAGE} has no row for the keys {prefix} of {KEYS}"
        );
    }
    for key in &page {
        assert!(
            prefixes
                .iter()
                .any(|prefix| prefix != "r/" && key.starts_with(prefix)),
            "{PAGE} has a row for {key}, and {KEYS} has no such key"
        );
    }
}
