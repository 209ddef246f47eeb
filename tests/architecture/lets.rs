//! A `let` binds one thing. `let (a, b) = (x, y);` is two bindings in one line, and a reader has to count to
//! see which value each name gets. A `let` may take apart what a function returned, and it may have an `else`.

use super::paths::{crates, files};
use std::path::PathBuf;
use syn::visit::Visit;
use syn::{Expr, Local, Pat};

#[test]
fn a_let_binds_one_thing() {
    let mut wrong = Vec::new();
    let others = ["tests", "benches", "fuzz"].map(PathBuf::from);
    let folders = crates().into_iter().map(|(_, folder)| folder).chain(others);
    for file in folders.flat_map(|folder| files(&folder)) {
        let source = std::fs::read_to_string(&file).unwrap();
        for line in several(&source) {
            wrong.push(format!("{}:{line}: one `let` for each name", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_check_sees_only_lists_that_are_taken_apart_at_once() {
    assert_eq!(
        several(
            "fn f() {
                let (a, b) = (1, 2);
                let (a, (b, c)): (_, _) = (1, g());
                let [a, b] = [1, 2];
                let (a, b) = g();
                let (Some(a), Some(b)) = (g(), h()) else { return };
                let h = || { let (a, b) = (1, 2); };
            }"
        ),
        [2, 3, 4, 7]
    );
}

/// The lines whose `let` takes apart a tuple or an array that it has just put together.
fn several(source: &str) -> Vec<usize> {
    let mut lets = Lets::default();
    lets.visit_file(&syn::parse_file(source).expect("source that compiles"));
    lets.0
}

#[derive(Default)]
struct Lets(Vec<usize>);

impl<'ast> Visit<'ast> for Lets {
    fn visit_local(&mut self, local: &'ast Local) {
        let init = local.init.as_ref().filter(|init| init.diverge.is_none());
        if let Some(init) = init {
            let pattern = match &local.pat {
                Pat::Type(typed) => &*typed.pat,
                pattern => pattern,
            };
            if matches!(
                (pattern, &*init.expr),
                (Pat::Tuple(_), Expr::Tuple(_)) | (Pat::Slice(_), Expr::Array(_))
            ) {
                self.0.push(local.let_token.span.start().line);
            }
        }
        syn::visit::visit_local(self, local);
    }
}
