//! Every code of a rule that a source or a page cites is defined in `docs/design`, and defined once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Bars of performance are numbered without a dash: `P7`. Every other code is up to four capital letters, a
/// dash and a number, as in `X-17`.
const BARS: &str = "P";
/// Numbered by section: `T-7.2`.
const TOKENS: &str = "T";
/// Prefixes of more than one letter. Other words in the name of a function are not codes, as in
/// `http_2_is_offered`.
const LONG: [&str; 2] = ["ID", "OCI"];
/// Look like a code in text but are not one.
const NO_CODE: &str = "UTF-8";

/// The files that may cite codes.
const PLACES: [&str; 11] = [
    "src",
    "crates",
    "tests",
    "benches",
    "fuzz",
    "docs",
    "examples",
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "clippy.toml",
];

#[test]
fn every_code_that_is_cited_is_defined_once() {
    let mut defined: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (page, text) in texts("docs/design") {
        for code in text.lines().filter_map(definition) {
            if let Some(first) = defined.insert(code.clone(), page.clone()) {
                wrong.push(format!(
                    "{}: {code} is defined a second time, after {}",
                    page.display(),
                    first.display()
                ));
            }
        }
    }
    let mut in_text = BTreeSet::new();
    let mut in_names = BTreeSet::new();
    for (file, text) in PLACES.into_iter().flat_map(texts) {
        let written = codes_in(&text);
        let named = codes_of_tests(&text);
        for code in written.union(&named).filter(|code| !defined.contains_key(*code)) {
            wrong.push(format!(
                "{}: {code} is cited and not defined in docs/design",
                file.display()
            ));
        }
        in_text.extend(written);
        in_names.extend(named);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        in_text.len() > 30 && in_names.len() > 100,
        "too few: {in_text:?} {in_names:?}"
    );
}

#[test]
fn codes_are_found_in_text_and_in_the_names_of_tests() {
    let found = |codes: BTreeSet<String>| codes.into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(
        found(codes_in(
            "as X-17, B-3 and ID-4 ask (T-7.2). P-256, UTF-8, X-->>H and x-17 are no codes; P7 is one: D-18."
        )),
        "B-3 D-18 ID-4 P7 T-7.2 X-17"
    );
    for (name, expected) in [
        ("x_17_an_authority", "X-17"),
        ("b_04_to_b_06_what", "B-4 B-5 B-6"),
        ("oci_33_34_and_35_referrers", "OCI-33 OCI-34 OCI-35"),
        ("f_1_f_4_by_https_web", "F-1 F-4"),
        ("j_23_and_t_7_1_and_2_size", "J-23 T-7.1 T-7.2"),
        ("t_4_1_to_4_and_6_what", "T-4.1 T-4.2 T-4.3 T-4.4 T-4.6"),
        ("t_11_a_client", "T-11"),
        ("p_7_a_manifest_takes_5_system_calls", "P7"),
        ("http_2_is_offered", ""),
    ] {
        assert_eq!(
            found(codes_of_tests(&format!("async fn {name}() {{}}"))),
            expected,
            "{name}"
        );
    }
    for (line, expected) in [
        ("| X-17 | An authority… |", Some("X-17")),
        ("## D-18 An upload belongs to its principal", Some("D-18")),
        ("| P7 | system calls |", Some("P7")),
        ("| code | rule |", None),
        ("X-17 in a sentence", None),
        ("| X-17 and X-16 | two |", None),
    ] {
        assert_eq!(definition(line).as_deref(), expected, "{line}");
    }
}

/// What a line of `docs/design` defines: the first cell of a row of a table, or the first word of a title.
fn definition(line: &str) -> Option<String> {
    let candidate = match line.strip_prefix('|') {
        Some(row) => row.split('|').next()?.trim(),
        None => line
            .strip_prefix('#')?
            .trim_start_matches('#')
            .split_whitespace()
            .next()?,
    };
    codes_in(candidate).into_iter().find(|code| code == candidate)
}

/// The codes in a text.
fn codes_in(text: &str) -> BTreeSet<String> {
    let is_of_a_word = |letter: char| letter.is_ascii_alphanumeric() || "-_+".contains(letter);
    text.split(|letter: char| !is_of_a_word(letter) && letter != '.')
        .filter_map(|word| code(word.trim_matches('.')))
        .collect()
}

fn code(word: &str) -> Option<String> {
    let family = word
        .trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.')
        .trim_end_matches('-');
    let number = word.strip_prefix(family)?;
    let number = if family == BARS {
        number
    } else {
        number.strip_prefix('-')?
    };
    let short =
        |number: &str| (1..=2).contains(&number.len()) && number.bytes().all(|digit| digit.is_ascii_digit());
    let fits = match number.split_once('.') {
        Some((section, point)) => family == TOKENS && short(section) && short(point) && !point.contains('.'),
        None => short(number),
    };
    let capitals =
        (1..=4).contains(&family.len()) && family.bytes().all(|letter| letter.is_ascii_uppercase());
    (capitals && fits && word != NO_CODE).then(|| word.to_owned())
}

/// The codes at the beginning of names of functions, as in `fn b_04_to_b_06_…` and `fn t_7_1_and_2_…`.
fn codes_of_tests(text: &str) -> BTreeSet<String> {
    let names = text.split("fn ").skip(1).filter_map(|rest| {
        rest.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
            .next()
    });
    names.flat_map(codes_of_test).collect()
}

fn codes_of_test(name: &str) -> Vec<String> {
    let mut codes = Vec::new();
    let mut family = String::new();
    let mut section = None;
    let mut last = 0;
    let mut range = false;
    let words: Vec<&str> = name.split('_').collect();
    for (at, word) in words.iter().enumerate() {
        let number: Option<u32> = word.parse().ok();
        let next_is_number = words.get(at + 1).is_some_and(|next| next.parse::<u32>().is_ok());
        match (number, *word) {
            (None, "and") if !codes.is_empty() => {}
            (None, "to") if !codes.is_empty() => range = true,
            (None, word) => {
                let named = word.to_ascii_uppercase();
                if !next_is_number || (word.len() > 1 && !LONG.contains(&named.as_str())) {
                    break;
                }
                (family, section) = (named, None);
            }
            (Some(_), _) if family.is_empty() => break,
            (Some(number), _) if family == TOKENS && section.is_none() && next_is_number => {
                section = Some(number)
            }
            (Some(number), _) => {
                let first = if std::mem::take(&mut range) {
                    last + 1
                } else {
                    number
                };
                codes.extend((first..=number).map(|number| match (family.as_str(), section) {
                    (BARS, _) => format!("{family}{number}"),
                    (_, Some(section)) => format!("{family}-{section}.{number}"),
                    (_, None) => format!("{family}-{number}"),
                }));
                last = number;
            }
        }
    }
    codes
}

/// Every text file below a folder of the repository, with its path.
fn texts(place: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut places = vec![root.join(place)];
    while let Some(path) = places.pop() {
        if path.is_dir()
            && !["target", "corpus", "artifacts"]
                .iter()
                .any(|made| path.ends_with(made))
        {
            places.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.push((path.strip_prefix(root).unwrap().to_owned(), text));
        }
    }
    found
}
