//! The structure of the code. A module imports only from lower ranks, and modules of one rank above 0 do not
//! import each other. Files that share a folder form no circle. Test code may import anything.
//!
//! Every path in the sources is checked, not only `use` lines: also those in the arguments of macros and
//! attributes, and those that lead to another module by `super`. Three things are not seen. A macro may put a
//! path together from parts. A method may be called on a type of another module that is never named. A module
//! that imports `*` may use what its source imports in turn.
//!
//! A crate of `crates/` is a module of the main crate, which re-exports it under that name. `base` is several
//! modules of rank 0.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod circles;
mod lets;
mod paths;

use paths::{crates, files, is_for_tests, is_test, module_in, paths_of, resolved};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use syn::visit::Visit;

/// The modules by rank. A new module gets its line here and in `lib.rs`.
const RANKS: &[&[&str]] = &[
    &[
        "oci",
        "budget",
        "spiffe_id",
        "clock",
        "secret",
        "limits",
        "file_error",
        "shell",
        "object",
        "owner_file",
        "recent",
        "source_address",
        "telemetry",
        "tls_failure",
        "descriptors",
    ],
    &["trust", "storage", "expr", "workload"],
    &["identity", "client"],
    &["access", "login_check"],
    &["registry", "exchange"],
    &["http"],
    &["server"],
    &["config", "control"],
    &["app"],
    &["cli"],
];

/// The crates that are several modules: the main one and `base`.
const SEVERAL: &[&str] = &["", "base"];
/// The programs for the machines of clients.
const PROGRAMS: &str = "src/bin";
/// For tests. It has types of its own.
const KIT: &str = "wharfinger_testkit";

/// Crates that only some modules may name.
const FENCES: &[(&str, &[&str])] = &[
    ("axum", &["http", "server", "app"]),
    ("hyper", &["http", "server", "control"]),
    ("hyper_util", &["server", "control"]),
    ("rustls", &["trust", "server", "tls_failure"]),
    ("tokio_rustls", &["server"]),
    ("cel", &["expr"]),
    ("object_store", &["storage"]),
    ("rusqlite", &["storage"]),
    ("tonic", &["trust"]),
    ("reqwest", &["trust", "workload", "client", "control", "storage"]),
    ("spiffe", &["workload"]),
    ("rcgen", &["cli"]),
    ("metrics_exporter_prometheus", &["telemetry"]),
    ("jsonwebtoken", &["cli"]),
];

/// Files that may call serde_json. They read what this program wrote or signed itself, or they read into a
/// map or a `Value` instead of a struct.
const OWN_JSON: &[&str] = &[
    "crates/base/src/object.rs",
    "crates/storage/src/bucket/bytes/saved.rs",
    "crates/storage/src/replicas/format.rs",
    "crates/storage/src/replicas/upgrade.rs",
    "crates/workload/src/clients.rs",
    "crates/workload/src/token.rs",
    "src/client/answer.rs", // into a `Value`
    "src/control/question.rs",
    "src/config/mod.rs", // after its schema was checked
    "src/exchange/keys.rs",
    "src/oci/annotations.rs",  // into a map, what was checked before
    "src/registry/convert.rs", // what earlier versions wrote
    "src/registry/records.rs",
    "src/trust/jwt/unverified.rs",
    "src/trust/minted.rs",
    "src/trust/refresh/last_good.rs",
];

#[test]
fn modules_import_only_from_lower_ranks() {
    let mut wrong = Vec::new();
    for (file, module, paths) in sources() {
        let Some(own) = rank(&module) else {
            wrong.push(format!("{}: module {module} has no rank", file.display()));
            continue;
        };
        for other in paths.iter().filter_map(|path| module_of(path)) {
            let Some(theirs) = rank(other) else { continue };
            let siblings_of_rank_0 = own == 0 && theirs == 0;
            if other != module && theirs >= own && !siblings_of_rank_0 {
                wrong.push(format!(
                    "{}: {module} (rank {own}) uses {other} (rank {theirs})",
                    file.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The main crate re-exports the others, so that each of their types has one path in it.
#[test]
fn the_main_crate_names_the_others_in_one_file() {
    let others: Vec<_> = crates()
        .iter()
        .map(|(name, _)| format!("wharfinger_{name}"))
        .collect();
    let mut wrong = Vec::new();
    for folder in ["src", "tests/it", "tests/examples", "benches"] {
        for file in files(Path::new(folder)) {
            let named = paths_of(&std::fs::read_to_string(&file).unwrap());
            let first = |path: &str| path.split("::").next().unwrap_or_default().to_owned();
            let named: BTreeSet<_> = named.iter().map(|path| first(path)).collect();
            let named = named.iter().filter(|name| others.contains(name) && *name != KIT);
            let may = file == Path::new("src/lib.rs") || file.starts_with(PROGRAMS);
            wrong.extend(
                named
                    .filter(|_| !may)
                    .map(|name| format!("{}: names {name}; use its module of wharfinger", file.display())),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// They start thousands of times a day on nodes, so they are small: no database, no CEL, no HTTP server.
#[test]
fn the_programs_beside_clients_link_the_workloads_crate_alone() {
    for file in files(Path::new(PROGRAMS)) {
        let named = paths_of(&std::fs::read_to_string(&file).unwrap());
        let foreign: Vec<_> = named
            .iter()
            .filter(|path| path.contains("::"))
            .filter(|path| {
                !["std::", "wharfinger_workload::"]
                    .iter()
                    .any(|own| path.starts_with(own))
            })
            .collect();
        assert!(foreign.is_empty(), "{}: {foreign:?}", file.display());
    }
    let linked = linked("wharfinger-workload");
    assert!(
        linked.contains("reqwest") && linked.contains("wharfinger-base"),
        "{linked:?}"
    );
    for heavy in [
        "axum",
        "cel",
        "clap",
        "libsqlite3-sys",
        "metrics",
        "rcgen",
        "object_store",
        "rusqlite",
        "schemars",
        "wharfinger",
    ] {
        assert!(!linked.contains(heavy), "wharfinger-workload links {heavy}");
    }
}

/// The packages that a package links, itself included.
fn linked(package: &str) -> BTreeSet<String> {
    let tree = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--package", package, "--edges", "normal,no-proc-macro"])
        .args(["--prefix", "none", "--locked", "--offline"])
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let lines = String::from_utf8(tree.stdout).unwrap();
    let name = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    lines.lines().map(name).collect()
}

#[test]
fn only_the_listed_modules_name_a_fenced_crate() {
    let mut wrong = Vec::new();
    for (file, module, paths) in sources() {
        for path in &paths {
            let name = path.split("::").next().unwrap_or_default();
            for (fenced, allowed) in FENCES {
                if name == *fenced && path.contains("::") && !allowed.contains(&module.as_str()) {
                    wrong.push(format!("{}: {module} names {path}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn foreign_json_is_read_only_by_object() {
    let mut wrong = Vec::new();
    for (file, _, paths) in sources() {
        let known = OWN_JSON.iter().any(|own| file.ends_with(own));
        let readers: Vec<_> = paths
            .iter()
            .filter(|path| path.starts_with("serde_json::from_"))
            .collect();
        if !known && !readers.is_empty() {
            wrong.push(format!(
                "{}: {readers:?} reads a list into a struct; use crate::object",
                file.display()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The most lines of a file, tests included. A file that reaches it has more than one concept.
const MOST_LINES: usize = 600;

#[test]
fn every_file_begins_with_a_doc_comment_and_none_is_too_long() {
    let mut wrong = Vec::new();
    let tests = ["tests", "benches"].map(PathBuf::from);
    let folders = crates().into_iter().map(|(_, folder)| folder).chain(tests);
    for file in folders.flat_map(|folder| files(&folder)) {
        let text = std::fs::read_to_string(&file).unwrap();
        if !text.starts_with("//!") {
            wrong.push(format!("{}: does not begin with //!", file.display()));
        }
        let lines = text.lines().count();
        if lines > MOST_LINES {
            wrong.push(format!(
                "{}: has {lines} lines, and {MOST_LINES} is the most",
                file.display()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `?value` writes Rust's Debug form into the log. Use words for people, or the value's own `Display`.
#[test]
fn no_field_of_the_log_is_written_by_its_debug() {
    assert_eq!(
        debugged(
            "fn f() { tracing::info!(a = ?b, \"x\"); tracing::warn!(?c, \"y\"); tracing::warn!(d = %e?, \"z\"); }"
        ),
        2
    );
    let mut wrong = Vec::new();
    for (file, ..) in sources() {
        if debugged(&std::fs::read_to_string(&file).unwrap()) > 0 {
            wrong.push(format!("{}: logs a field by its Debug", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Counts the fields of `tracing` macros that begin with a question mark. Tests in the source are skipped.
fn debugged(source: &str) -> usize {
    #[derive(Default)]
    struct Macros(usize);
    impl Visit<'_> for Macros {
        fn visit_macro(&mut self, found: &syn::Macro) {
            if found
                .path
                .segments
                .first()
                .is_some_and(|first| first.ident == "tracing")
            {
                let tokens = format!(", {}", found.tokens);
                self.0 += tokens.matches("= ?").count() + tokens.matches(", ?").count();
            }
        }
        fn visit_item_mod(&mut self, item: &syn::ItemMod) {
            if !is_for_tests(&item.attrs) {
                syn::visit::visit_item_mod(self, item);
            }
        }
    }
    let mut found = Macros::default();
    found.visit_file(&syn::parse_file(source).expect("source that compiles"));
    found.0
}

#[test]
fn the_check_itself_sees_a_path_that_no_use_line_names() {
    let paths = paths_of(
        "fn f() -> crate::http::Answer { crate::server::run!(rustls::Error::X); todo() }\n#[cfg(test)] mod tests { use crate::cli; }",
    );
    assert!(paths.contains("crate::http::Answer"));
    assert!(!paths.iter().any(|path| path.contains("cli")));
    assert!(paths_of("use crate::{http::{self, Live}, oci};").contains("crate::http::Live"));
}

#[test]
fn the_check_itself_sees_paths_in_the_tokens_of_macros_and_attributes() {
    let paths = paths_of(
        r#"
        fn f() { assert!(matches!(x, crate::http::Answer { .. }), "crate::cli"); }
        routes! { "/v2/" => { GET: ::axum::get(crate::server::handle::<u8>) } }
        macro_rules! m { () => { $crate::config::Raw } }
        #[derive(Deserialize)]
        struct S {
            #[serde(deserialize_with = "crate::app::read")]
            #[arg(value_parser = crate::control::parse)]
            field: u8,
        }
        "#,
    );
    for seen in [
        "crate::http::Answer",
        "axum::get",
        "crate::server::handle",
        "crate::config::Raw",
        "crate::app::read",
        "crate::control::parse",
    ] {
        assert!(paths.contains(seen), "{seen}: {paths:?}");
    }
    assert!(!paths.contains("crate::cli"), "a message is not a path");
}

#[test]
fn the_check_itself_follows_super_out_of_a_module() {
    let module = ["registry".to_owned(), "fsck".to_owned()];
    let of = |source: &str| -> Vec<String> {
        let paths = paths_of(source);
        paths.iter().map(|path| resolved(&module, path)).collect()
    };
    assert_eq!(of("use super::super::http::Answer;"), ["crate::http::Answer"]);
    assert_eq!(of("use super::keys::Key;"), ["crate::registry::keys::Key"]);
    assert_eq!(
        of("mod inner { use super::super::super::http::Answer; }"),
        ["crate::http::Answer"]
    );
    assert_eq!(
        of("mod inner { use super::Own; }"),
        ["crate::registry::fsck::Own"]
    );
}

/// Only `#[cfg(test)]` itself makes a module a test.
#[test]
fn the_check_itself_looks_into_modules_that_are_not_for_tests() {
    for condition in [
        "not(test)",
        "any(test, unix)",
        "feature = \"latest\"",
        "target_os = \"linux\"",
    ] {
        let paths = paths_of(&format!("#[cfg({condition})] mod tests {{ use crate::cli; }}"));
        assert!(paths.contains("crate::cli"), "{condition}");
    }
}

/// Every source file with its top module and the paths in it.
fn sources() -> Vec<(PathBuf, String, BTreeSet<String>)> {
    let mut all = Vec::new();
    for (name, folder) in crates() {
        for file in files(&folder) {
            let relative = file.strip_prefix(&folder).unwrap();
            let first = relative.iter().next().unwrap().to_string_lossy();
            let first = first.trim_end_matches(".rs");
            let module = if SEVERAL.contains(&name.as_str()) {
                first
            } else {
                &name
            }
            .to_owned();
            let is_root = ["lib", "main", "bin"].contains(&first) && relative.iter().count() == 1
                || file.starts_with(PROGRAMS);
            if is_test(relative) || name == "testkit" || is_root {
                continue;
            }
            let paths = paths_of(&std::fs::read_to_string(&file).unwrap());
            let own = module_in(relative);
            // Within a crate that is one module, `crate` is that module.
            let qualified = |path: &String| {
                let path = resolved(&own, path);
                match path.strip_prefix("crate::") {
                    Some(rest) if !SEVERAL.contains(&name.as_str()) => format!("crate::{module}::{rest}"),
                    _ => path,
                }
            };
            all.push((
                file.clone(),
                module.clone(),
                paths.iter().map(qualified).collect(),
            ));
        }
    }
    assert!(all.len() > 10, "the sources were not found");
    all
}

/// The module of a path into one of our crates.
fn module_of(path: &str) -> Option<&str> {
    let mut names = path.split("::");
    let first = names.next()?;
    match first.strip_prefix("wharfinger_") {
        Some(name) if SEVERAL.contains(&name) => names.next(),
        Some(name) => Some(name),
        None if first == "crate" => names.next(),
        None => None,
    }
}

fn rank(module: &str) -> Option<usize> {
    RANKS.iter().position(|modules| modules.contains(&module))
}
