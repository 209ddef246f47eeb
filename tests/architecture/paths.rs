//! The paths that Rust sources name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use syn::visit::Visit;

/// The paths that a source names, except in its tests.
pub(crate) fn paths_of(source: &str) -> BTreeSet<String> {
    let mut found = Paths::default();
    found.visit_file(&syn::parse_file(source).expect("source that compiles"));
    found.0
}

#[derive(Default)]
struct Paths(BTreeSet<String>);

impl<'ast> Visit<'ast> for Paths {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.0.insert(
            path.segments
                .iter()
                .map(|segment| segment.ident.to_string())
                .collect::<Vec<_>>()
                .join("::"),
        );
        syn::visit::visit_path(self, path);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(String::new(), &item.tree);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let for_tests = item
            .attrs
            .iter()
            .any(|attr| attr.path().is_ident("cfg") && quote(&attr.meta).contains("test"));
        if !for_tests {
            syn::visit::visit_item_mod(self, item);
        }
    }
}

impl Paths {
    fn tree(&mut self, before: String, tree: &syn::UseTree) {
        let join = |name: String| {
            if before.is_empty() {
                name
            } else {
                format!("{before}::{name}")
            }
        };
        match tree {
            syn::UseTree::Path(path) => self.tree(join(path.ident.to_string()), &path.tree),
            syn::UseTree::Name(name) => drop(self.0.insert(join(name.ident.to_string()))),
            syn::UseTree::Rename(rename) => drop(self.0.insert(join(rename.ident.to_string()))),
            syn::UseTree::Glob(_) => drop(self.0.insert(join("*".into()))),
            syn::UseTree::Group(group) => group
                .items
                .iter()
                .for_each(|item| self.tree(before.clone(), item)),
        }
    }
}

pub(crate) fn quote(meta: &syn::Meta) -> String {
    match meta {
        syn::Meta::List(list) => list.tokens.to_string(),
        _ => String::new(),
    }
}

pub(crate) fn is_test(file: &Path) -> bool {
    const NAMES: [&str; 4] = ["tests", "tests.rs", "testing", "testing.rs"];
    file.components()
        .any(|part| NAMES.iter().any(|name| part.as_os_str() == *name))
}

/// Every crate with the folder of its sources: the main one first, whose name is empty.
pub(crate) fn crates() -> Vec<(String, PathBuf)> {
    let mut all = vec![(String::new(), PathBuf::from("src"))];
    for entry in std::fs::read_dir("crates").unwrap() {
        let folder = entry.unwrap().path();
        all.push((
            folder.file_name().unwrap().to_str().unwrap().to_owned(),
            folder.join("src"),
        ));
    }
    assert!(all.len() > 1, "the crates were not found");
    all.sort();
    all
}

/// The Rust files below a folder, sorted.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}
