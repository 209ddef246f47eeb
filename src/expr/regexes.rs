//! `matches` with patterns compiled once. Rust's regular expressions take linear time, as RE2 does; [`re2`]
//! sees to the syntax.

use super::{fuel, re2};
use cel::ExecutionError;
use cel::common::types::{CelBool, CelString};
use regex::{Regex, RegexBuilder};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock, Weak};

/// The largest compiled pattern, in bytes.
const COMPILED_BYTES: usize = 1024 * 1024;
/// A pattern that claims made up takes up to 20 ms to compile.
const COMPILE_FUEL: i64 = 5_000;

/// The patterns that some living program spells. Those of claims never get here, so strangers cannot fill it.
static KEPT: LazyLock<RwLock<HashMap<String, Weak<Regex>>>> = LazyLock::new(RwLock::default);

/// Compiles a pattern that an expression spells; it is found ready for as long as the expression keeps it.
pub(super) fn keep(pattern: &str) -> Result<Arc<Regex>, regex::Error> {
    if let Some(regex) = find(pattern) {
        return Ok(regex);
    }
    let regex = Arc::new(build(pattern)?);
    let mut kept = KEPT.write().unwrap_or_else(PoisonError::into_inner);
    kept.retain(|_, regex| regex.strong_count() > 0);
    kept.insert(pattern.to_owned(), Arc::downgrade(&regex));
    Ok(regex)
}

pub(super) fn matches(text: &CelString<'_>, pattern: &CelString<'_>) -> Result<CelBool, ExecutionError> {
    if let Some(regex) = find(pattern.inner()) {
        return Ok(regex.is_match(text.inner()).into());
    }
    fuel::spend(COMPILE_FUEL)?;
    let regex = build(pattern.inner())
        .map_err(|_| ExecutionError::function_error("matches", "no regular expression"))?;
    Ok(regex.is_match(text.inner()).into())
}

fn find(pattern: &str) -> Option<Arc<Regex>> {
    KEPT.read()
        .unwrap_or_else(PoisonError::into_inner)
        .get(pattern)?
        .upgrade()
}

pub(super) fn build(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&re2::translate(pattern))
        .size_limit(COMPILED_BYTES)
        .build()
}
