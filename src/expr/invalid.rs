//! Why an expression is rejected when the configuration is loaded.

use super::limits::{DEPTH, LOOPS, SOURCE_BYTES};
use super::syntax::Syntax;
use super::{Kind, Type};
use cel::ParseErrors;

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Invalid {
    #[error(
        "the expression has {bytes} bytes, more than the limit of {SOURCE_BYTES}; move parts of it into variables"
    )]
    TooLong { bytes: usize },
    #[error("this is not valid CEL: {0}")]
    Syntax(Syntax),
    #[error("the expression nests or chains more than {DEPTH} operations; move parts of it into variables")]
    TooDeep,
    #[error(
        "more than {LOOPS} loops (map, filter, all, exists, ..) are nested, which is too slow on long lists; move parts into variables"
    )]
    NestedLoops,
    #[error("there is no variable `{name}` here; the variables are {}", .known.join(", "))]
    UnknownVariable { name: String, known: Vec<String> },
    #[error("`vars.{name}` is not defined before this expression; {}", defined(.known))]
    UnknownVar { name: String, known: Vec<String> },
    #[error("there is no function `{name}`{}", instead(*.meant))]
    UnknownFunction {
        name: String,
        meant: Option<&'static str>,
    },
    #[error("`{name}` is not called like this: write {}", macro_call(.name))]
    MacroStyle { name: String },
    #[error("`{name}` is not called like this: write {}", call(.name, *.member))]
    CallStyle { name: String, member: bool },
    #[error("`{name}` takes {least} to {most} arguments, found {found}")]
    Arguments {
        name: String,
        least: usize,
        most: usize,
        found: usize,
    },
    #[error("the pattern {pattern:?} in matches() is not a regular expression of RE2: {}", reason(.why))]
    Regex { pattern: String, why: regex::Error },
    #[error("{function}({text:?}) always fails; correct the text")]
    Literal { function: String, text: String },
    #[error(
        "`{name}{{..}}` creates a message, and there are no message types here; write a map: {{'key': value}}"
    )]
    Message { name: String },
    #[error("expected {expected}, but this always yields {found}")]
    Kind { expected: Kind, found: Type },
    #[error("the CEL parser gave up on this expression; simplify it")]
    ParserGaveUp,
    #[error(
        "the thread that compiles the expression could not be started; check the limits on threads and memory"
    )]
    NoThread,
}

impl Invalid {
    pub(super) fn syntax(errors: &ParseErrors, source: &str) -> Self {
        Syntax::of(errors, source).map_or(Self::ParserGaveUp, Self::Syntax)
    }
}

/// Takes the last line. The lines before it show the pattern as the crate got it.
pub(super) fn reason(why: &regex::Error) -> String {
    let text = why.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

fn defined(known: &[String]) -> String {
    if known.is_empty() {
        "no variable is defined yet".to_owned()
    } else {
        format!("the defined variables are {}", known.join(", "))
    }
}

fn instead(meant: Option<&str>) -> String {
    meant
        .map(|meant| format!("; write `{meant}`"))
        .unwrap_or_default()
}

fn macro_call(name: &str) -> String {
    if name == "has" {
        "has(x.field)".to_owned()
    } else {
        format!("x.{name}(v, ..), where v is a name for each value")
    }
}

fn call(name: &str, member: bool) -> String {
    if member {
        format!("x.{name}(..)")
    } else {
        format!("{name}(x)")
    }
}
