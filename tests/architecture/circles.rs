//! Files of one folder form no circle. If two files need each other, neither can be read, moved or replaced
//! alone. A third file with what both need usually opens the circle.

use super::paths::{crates, files, is_for_tests, is_test, module_in, paths_of};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The path of a module, from the root of its crate.
type Module = Vec<String>;

#[derive(Default)]
struct Tree {
    /// The paths that each module names.
    named: BTreeMap<Module, BTreeSet<String>>,
    /// The child that a name of a module comes from: `mod.rs` says `use child::Name`.
    from: BTreeMap<Module, BTreeMap<String, String>>,
}

#[test]
fn no_files_of_a_folder_form_a_circle() {
    let benches = std::fs::read_dir("benches")
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let roots = crates().into_iter().map(|(_, folder)| folder).chain(benches);
    let wrong: Vec<_> = roots.flat_map(|root| Tree::read(&root).circles()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_check_sees_circles_by_any_kind_of_path() {
    let module = |path: &str| {
        path.split("::")
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect::<Module>()
    };
    let tree = |sources: &[(&str, &str)]| {
        let mut tree = Tree::default();
        sources
            .iter()
            .for_each(|(path, source)| tree.add(module(path), source));
        tree.circles()
    };
    let circle = vec!["a and b name each other: a -> b -> a".to_owned()];
    assert_eq!(
        tree(&[("a", "use super::b::X;"), ("b", "fn f() { crate::a::g() }")]),
        circle
    );
    assert_eq!(
        tree(&[
            ("", "mod a; mod b; use b::X;"),
            ("a", "use super::X;"),
            ("b", "use crate::a;")
        ]),
        circle
    );
    assert_eq!(
        tree(&[
            ("a", "use super::b::inner::X;"),
            ("b", ""),
            ("b::inner", "use super::super::a;")
        ]),
        circle
    );
    let three = [
        ("m", ""),
        ("m::a", "use super::b;"),
        ("m::b", "use super::c;"),
        ("m::c", "use super::a;"),
    ];
    assert_eq!(
        tree(&three),
        ["m::a, m::b and m::c name each other: m::a -> m::b -> m::c -> m::a"]
    );
    let straight = [
        ("a", "use super::b;"),
        ("b", "#[cfg(test)] mod tests { use crate::a; }"),
    ];
    assert_eq!(tree(&straight), Vec::<String>::new());
}

impl Tree {
    fn read(root: &Path) -> Self {
        let mut tree = Self::default();
        for file in files(root) {
            let relative = file.strip_prefix(root).unwrap();
            if is_test(relative) {
                continue;
            }
            tree.add(module_in(relative), &std::fs::read_to_string(&file).unwrap());
        }
        tree
    }

    fn add(&mut self, module: Module, source: &str) {
        for item in syn::parse_file(source).expect("source that compiles").items {
            let syn::Item::Use(item) = item else { continue };
            if !is_for_tests(&item.attrs) {
                self.imported(&module, None, &item.tree);
            }
        }
        self.named.entry(module).or_default().extend(paths_of(source));
    }

    fn imported(&mut self, module: &Module, child: Option<&str>, tree: &syn::UseTree) {
        let mut take = |name: String| {
            if let Some(child) = child {
                self.from
                    .entry(module.clone())
                    .or_default()
                    .insert(name, child.to_owned());
            }
        };
        match tree {
            syn::UseTree::Path(path) if path.ident == "self" => self.imported(module, child, &path.tree),
            syn::UseTree::Path(path) => {
                self.imported(module, Some(child.unwrap_or(&path.ident.to_string())), &path.tree)
            }
            syn::UseTree::Name(name) => take(name.ident.to_string()),
            syn::UseTree::Rename(rename) => take(rename.rename.to_string()),
            syn::UseTree::Group(group) => group
                .items
                .iter()
                .for_each(|tree| self.imported(module, child, tree)),
            syn::UseTree::Glob(_) => {}
        }
    }

    /// The module whose content a path of `module` names, if it is one of this crate's.
    fn resolve(&self, module: &Module, path: &str) -> Option<Module> {
        let mut at = module.clone();
        let mut names = path.split("::").peekable();
        if names.next_if_eq(&"crate").is_some() {
            at.clear();
        } else {
            while let Some(name) = names.next_if(|name| ["self", "super"].contains(name)) {
                if name == "super" {
                    at.pop()?;
                }
            }
        }
        for name in names {
            let child = [&at[..], &[name.to_owned()]].concat();
            if self.named.contains_key(&child) {
                at = child;
                continue;
            }
            let Some(source) = self.from.get(&at).and_then(|from| from.get(name)) else {
                break;
            };
            let source = [&at[..], std::slice::from_ref(source)].concat();
            if self.named.contains_key(&source) {
                at = source;
            }
            break;
        }
        Some(at)
    }

    fn circles(&self) -> Vec<String> {
        let mut edges: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
        for (module, paths) in &self.named {
            for target in paths.iter().filter_map(|path| self.resolve(module, path)) {
                let shared = module
                    .iter()
                    .zip(&target)
                    .take_while(|(one, other)| one == other)
                    .count();
                if let (Some(own), Some(other)) = (module.get(..=shared), target.get(..=shared)) {
                    edges.entry(own.to_vec()).or_default().insert(other.to_vec());
                }
            }
        }
        let mut reported = BTreeSet::new();
        edges
            .keys()
            .filter_map(|from| round(from, &edges))
            .filter(|circle| reported.insert(sorted(circle)))
            .map(|circle| described(&circle))
            .collect()
    }
}

/// The shortest way from a module back to itself.
fn round(from: &Module, edges: &BTreeMap<Module, BTreeSet<Module>>) -> Option<Vec<Module>> {
    let mut ways = std::collections::VecDeque::from([vec![from.clone()]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for next in edges.get(way.last()?).into_iter().flatten() {
            if next == from {
                return Some(way);
            }
            if seen.insert(next.clone()) {
                ways.push_back([&way[..], std::slice::from_ref(next)].concat());
            }
        }
    }
    None
}

fn sorted(circle: &[Module]) -> Vec<Module> {
    let mut modules = circle.to_vec();
    modules.sort();
    modules
}

fn described(circle: &[Module]) -> String {
    let names: Vec<_> = circle.iter().map(|module| module.join("::")).collect();
    let (last, others) = names.split_last().expect("a circle has modules");
    let first = names.first().expect("a circle has modules");
    format!(
        "{} and {last} name each other: {} -> {first}",
        others.join(", "),
        names.join(" -> ")
    )
}
