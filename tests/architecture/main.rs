//! The shape of the code. A module imports only from lower ranks, and modules of one rank above 0 do not know
//! each other. Files that share a folder form no circle. Every path in the sources counts, not only `use`
//! lines. Test code may look anywhere.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod circles;
mod paths;

use paths::{files, is_test, paths_of};
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
        "recent",
        "source_address",
        "telemetry",
        "descriptors",
    ],
    &["trust", "storage", "expr"],
    &["identity", "workload"],
    &["access"],
    &["registry", "exchange"],
    &["http"],
    &["server"],
    &["config", "control"],
    &["app"],
    &["cli"],
];

/// Crates that stop at one place, and the modules that may name them.
const FENCES: &[(&str, &[&str])] = &[
    ("axum", &["http", "server", "app"]),
    ("hyper", &["http", "server", "control"]),
    ("hyper_util", &["server", "control"]),
    ("rustls", &["trust", "server"]),
    ("tokio_rustls", &["server"]),
    ("cel", &["expr"]),
    ("rusqlite", &["storage"]),
    ("tonic", &["trust"]),
    ("reqwest", &["trust", "workload", "cli"]),
    ("spiffe", &["workload"]),
    ("rcgen", &["cli"]),
    ("metrics_exporter_prometheus", &["telemetry"]),
    ("jsonwebtoken", &["cli"]),
];

/// Files that may call serde_json: they read what this program wrote or signed itself, or into a map or a
/// `Value`, not into a struct.
const OWN_JSON: &[&str] = &[
    "src/object.rs",
    "src/cli/trust.rs",
    "src/control/backup.rs",
    "src/config/mod.rs", // after its schema was checked
    "src/exchange/keys.rs",
    "src/oci/annotations.rs",  // into a map, what was checked before
    "src/registry/convert.rs", // what earlier versions wrote
    "src/registry/records.rs",
    "src/trust/jwt/unverified.rs",
    "src/trust/minted.rs",
    "src/trust/refresh/last_good.rs",
    "src/workload/clients.rs",
    "src/workload/login_check/judge.rs",
    "src/workload/token.rs",
];

#[test]
fn modules_import_only_from_lower_ranks() {
    let mut wrong = Vec::new();
    for (file, module, paths) in sources() {
        let Some(own) = rank(&module) else {
            wrong.push(format!("{}: module {module} has no rank", file.display()));
            continue;
        };
        for other in paths.iter().filter_map(|path| path.strip_prefix("crate::")) {
            let other = other.split("::").next().unwrap_or_default();
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

#[test]
fn crates_stay_behind_their_fences() {
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
fn other_peoples_json_is_read_by_object_alone() {
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

#[test]
fn every_file_says_what_it_owns_and_none_is_too_long() {
    let mut wrong = Vec::new();
    for file in files(Path::new("src")) {
        let text = std::fs::read_to_string(&file).unwrap();
        if !text.starts_with("//!") {
            wrong.push(format!("{}: does not begin with //!", file.display()));
        }
        if text.lines().count() > 800 {
            wrong.push(format!("{}: has more than 800 lines", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `?value` writes Rust into the log. A value has words for people, or its own `Display`.
#[test]
fn no_field_of_the_log_is_written_as_rust_prints_it() {
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

/// How many fields of the `tracing` macros in a source, but for its tests, begin with a question mark.
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
            if !item
                .attrs
                .iter()
                .any(|attr| attr.path().is_ident("cfg") && paths::quote(&attr.meta).contains("test"))
            {
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

/// Every source file with its top module and the paths in it.
fn sources() -> Vec<(PathBuf, String, BTreeSet<String>)> {
    let mut all = Vec::new();
    for file in files(Path::new("src")) {
        let relative = file.strip_prefix("src").unwrap();
        let first = relative
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_string_lossy();
        let module = first.trim_end_matches(".rs").to_owned();
        if !is_test(relative) && module != "lib" && module != "main" {
            all.push((
                file.clone(),
                module,
                paths_of(&std::fs::read_to_string(&file).unwrap()),
            ));
        }
    }
    assert!(all.len() > 10, "the sources were not found");
    all
}

fn rank(module: &str) -> Option<usize> {
    RANKS.iter().position(|modules| modules.contains(&module))
}
