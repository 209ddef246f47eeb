//! The function `matches`, with patterns compiled once. Rust's regular expressions take linear time, as RE2's
//! do. [`re2`] translates the syntax.

use super::fuel::{self, READ};
use super::invalid::reason;
use super::re2;
use cel::ExecutionError;
use cel::common::types::{CelBool, CelString};
use regex::{Regex, RegexBuilder};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock, Weak};

/// The largest size of a compiled pattern, in bytes.
const LARGEST: usize = 1024 * 1024;
/// The limits that are tried in turn, to measure a pattern.
const COMPILED_BYTES: [usize; 5] = [4096, 16 * 1024, 64 * 1024, 256 * 1024, LARGEST];
/// The longest pattern that may come from claims, in bytes.
const MADE_UP_BYTES: usize = 128;
/// The price of compiling such a pattern, and of each of its bytes: `(?i)\pL` takes a millisecond.
const COMPILE: i64 = 160_000;
const COMPILE_BYTE: i64 = 16_000;

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) regex: Regex,
    /// The price of each byte of the text: in the worst case it advances every state of the pattern.
    byte: i64,
}

/// The patterns in the sources of compiled programs. Patterns from claims are not added, so the size of this
/// map does not depend on callers.
static KEPT: LazyLock<RwLock<HashMap<String, Weak<Pattern>>>> = LazyLock::new(RwLock::default);

/// Compiles a pattern in the source of an expression. `matches` finds it for as long as the expression holds
/// it.
pub(super) fn keep(pattern: &str) -> Result<Arc<Pattern>, regex::Error> {
    if let Some(kept) = find(pattern) {
        return Ok(kept);
    }
    let compiled = Arc::new(build(pattern)?);
    let mut kept = KEPT.write().unwrap_or_else(PoisonError::into_inner);
    kept.retain(|_, pattern| pattern.strong_count() > 0);
    kept.insert(pattern.to_owned(), Arc::downgrade(&compiled));
    Ok(compiled)
}

pub(super) fn matches(text: &CelString<'_>, pattern: &CelString<'_>) -> Result<CelBool, ExecutionError> {
    fuel::spend_text(pattern.len(), READ)?;
    if let Some(kept) = find(pattern.inner()) {
        return is_match(&kept, text);
    }
    let fail = |why| ExecutionError::function_error("matches", why);
    if pattern.len() > MADE_UP_BYTES {
        return Err(fail("the pattern is too long"));
    }
    fuel::spend(COMPILE)?;
    fuel::spend_each(pattern.len(), COMPILE_BYTE)?;
    // The pattern is compiled only once, with the largest limit, so its text is charged as for the largest
    // pattern.
    let compiled = build_within(pattern.inner(), &[LARGEST]).map_err(|_| fail("not a regular expression"))?;
    is_match(&compiled, text)
}

fn is_match(pattern: &Pattern, text: &CelString<'_>) -> Result<CelBool, ExecutionError> {
    fuel::spend_each(text.len(), pattern.byte)?;
    Ok(pattern.regex.is_match(text.inner()).into())
}

fn find(pattern: &str) -> Option<Arc<Pattern>> {
    KEPT.read()
        .unwrap_or_else(PoisonError::into_inner)
        .get(pattern)?
        .upgrade()
}

/// Compiles an administrator's pattern of RE2, the syntax of zot. It matches anywhere in a text unless it is
/// anchored.
pub fn regex(pattern: &str) -> Result<Regex, InvalidRegex> {
    build_within(pattern, &[LARGEST])
        .map(|built| built.regex)
        .map_err(InvalidRegex)
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("is not a regular expression of RE2: {}", reason(.0))]
pub struct InvalidRegex(regex::Error);

pub(super) fn build(pattern: &str) -> Result<Pattern, regex::Error> {
    build_within(pattern, &COMPILED_BYTES)
}

fn build_within(pattern: &str, sizes: &[usize]) -> Result<Pattern, regex::Error> {
    let translated = re2::translate(pattern)?;
    let mut last = Err(regex::Error::CompiledTooBig(0));
    for &bytes in sizes {
        match RegexBuilder::new(&translated).size_limit(bytes).build() {
            Ok(regex) => {
                let byte = i64::try_from(bytes / 4096).unwrap_or(i64::MAX);
                return Ok(Pattern { regex, byte });
            }
            Err(regex::Error::CompiledTooBig(limit)) => last = Err(regex::Error::CompiledTooBig(limit)),
            Err(why) => return Err(why),
        }
    }
    last
}
