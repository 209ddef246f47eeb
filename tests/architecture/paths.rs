//! The paths that Rust sources name.

use proc_macro2::{TokenStream, TokenTree};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use syn::visit::Visit;

/// The paths that a source names, except in its tests.
pub(crate) fn paths_of(source: &str) -> BTreeSet<String> {
    let mut found = Paths::default();
    found.visit_file(&syn::parse_file(source).expect("source that compiles"));
    found.found
}

#[derive(Default)]
struct Paths {
    found: BTreeSet<String>,
    /// The modules in the source around the present place.
    inside: Vec<String>,
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path.segments.iter().map(|segment| segment.ident.to_string());
        self.add(names.collect());
        syn::visit::visit_path(self, path);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&[], &item.tree);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_for_tests(&item.attrs) {
            self.inside.push(item.ident.to_string());
            syn::visit::visit_item_mod(self, item);
            self.inside.pop();
        }
    }

    fn visit_macro(&mut self, found: &'ast syn::Macro) {
        self.tokens(found.tokens.clone(), false);
        syn::visit::visit_macro(self, found);
    }

    fn visit_meta(&mut self, meta: &'ast syn::Meta) {
        match meta {
            syn::Meta::List(list) => self.tokens(list.tokens.clone(), true),
            // A comment is not a path.
            syn::Meta::NameValue(_) | syn::Meta::Path(_) => {}
        }
        syn::visit::visit_meta(self, meta);
    }
}

impl Paths {
    /// Adds a path. One that begins with `self` or `super` is from the file's module on, not from a module
    /// inside the file.
    fn add(&mut self, mut names: Vec<String>) {
        let mut inside = self.inside.clone();
        if names.first().is_some_and(|first| first == "self") && !inside.is_empty() {
            names.remove(0);
        }
        let beyond = names.iter().take_while(|name| *name == "super").count();
        if beyond > 0 && !inside.is_empty() {
            let left = beyond.min(inside.len());
            inside.truncate(inside.len() - left);
            names.drain(..left);
            if left == beyond {
                names.splice(0..0, std::iter::once("self".to_owned()).chain(inside));
            }
        }
        self.found.insert(names.join("::"));
    }

    fn tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let join = |name: String| [before, &[name]].concat();
        match tree {
            syn::UseTree::Path(path) => self.tree(&join(path.ident.to_string()), &path.tree),
            syn::UseTree::Name(name) => self.add(join(name.ident.to_string())),
            syn::UseTree::Rename(rename) => self.add(join(rename.ident.to_string())),
            syn::UseTree::Glob(_) => self.add(join("*".into())),
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.tree(before, item)),
        }
    }

    /// Adds each `name::name` in tokens that have no syntax of their own. In an attribute, a string may be a
    /// path as well.
    fn tokens(&mut self, tokens: TokenStream, of_attribute: bool) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.end(&mut path);
                    }
                    path.push(name.to_string());
                    colons = 0;
                    continue;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Group(group) => self.tokens(group.stream(), of_attribute),
                TokenTree::Literal(literal) if of_attribute => {
                    let text = literal.to_string();
                    let names = text.trim_matches('"').split("::").map(str::to_owned);
                    self.end(&mut names.collect());
                }
                TokenTree::Literal(_) | TokenTree::Punct(_) => {}
            }
            self.end(&mut path);
            colons = 0;
        }
        self.end(&mut path);
    }

    fn end(&mut self, path: &mut Vec<String>) {
        let names = std::mem::take(path);
        if names.len() > 1 {
            self.add(names);
        }
    }
}

/// A path from the root of the crate if it begins with `self` or `super`.
pub(crate) fn resolved(module: &[String], path: &str) -> String {
    let mut at = module.to_vec();
    let mut names = path.split("::").peekable();
    if !names
        .peek()
        .is_some_and(|first| ["self", "super"].contains(first))
    {
        return path.to_owned();
    }
    while let Some(name) = names.next_if(|name| ["self", "super"].contains(name)) {
        if name == "super" {
            at.pop();
        }
    }
    let rest = names.map(str::to_owned);
    let names: Vec<_> = std::iter::once("crate".to_owned())
        .chain(at)
        .chain(rest)
        .collect();
    names.join("::")
}

/// The module of a file, from the root of its crate.
pub(crate) fn module_in(relative: &Path) -> Vec<String> {
    let mut module: Vec<_> = relative
        .iter()
        .map(|part| part.to_string_lossy().trim_end_matches(".rs").to_owned())
        .collect();
    module.pop_if(|last| ["mod", "lib", "main"].contains(&last.as_str()));
    module
}

/// Whether an item is built for tests only.
pub(crate) fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    let is_test = |attribute: &syn::Attribute| match &attribute.meta {
        syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        _ => false,
    };
    attributes.iter().any(is_test)
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
