//! `testdata/config/`: valid files load, and each invalid file is rejected for exactly the mistakes that the
//! file beside it lists.

use crate::harness::{files, parse};
use std::fs;

#[test]
fn valid_files_load() {
    for file in files("testdata/config/valid", &["yaml", "json"]) {
        let loaded = parse(&fs::read_to_string(&file).unwrap());
        assert!(loaded.is_ok(), "{}: {:?}", file.display(), loaded.map(|_| ()));
    }
}

/// Each line of the `.txt` file is the beginning of a printed mistake.
#[test]
fn invalid_files_are_refused_for_every_mistake_they_have() {
    for file in files("testdata/config/invalid", &["yaml", "json"]) {
        let mistakes = parse(&fs::read_to_string(&file).unwrap())
            .map(|_| ())
            .unwrap_err();
        let mut found: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        found.sort();
        let expected = fs::read_to_string(file.with_extension("txt")).unwrap();
        let mut expected: Vec<_> = expected.lines().collect();
        expected.sort_unstable();
        assert_eq!(found.len(), expected.len(), "{}: {found:#?}", file.display());
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                found.starts_with(expected),
                "{}: expected {expected:?}, found {found:?}",
                file.display()
            );
        }
    }
}
