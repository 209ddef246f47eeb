//! Why an expression is refused when the configuration is loaded.

use super::limits::{DEPTH, LOOPS, SOURCE_BYTES};
use super::syntax::Syntax;
use super::{Kind, Type};
use cel::ParseErrors;

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Invalid {
    #[error(
        "the expression has {bytes} bytes, at most {SOURCE_BYTES} are taken; move parts of it into variables"
    )]
    TooLong { bytes: usize },
    #[error("this is no CEL: {0}")]
    Syntax(Syntax),
    #[error("the expression nests or chains more than {DEPTH} operations; move parts of it into variables")]
    TooDeep,
    #[error(
        "more than {LOOPS} loops (map, filter, all, exists, ..) stand within each other, which costs too much on long lists"
    )]
    NestedLoops,
    #[error("there is no variable `{name}` here; there is {}", .known.join(", "))]
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
    #[error("the pattern {pattern:?} in matches() is no regular expression of RE2's kind: {}", reason(.why))]
    Regex { pattern: String, why: regex::Error },
    #[error("{function}({text:?}) can never work; check the text")]
    Literal { function: String, text: String },
    #[error("`{name}{{..}}` makes a message, and there are none here; write a map: {{'key': value}}")]
    Message { name: String },
    #[error("expected {expected}, but this always yields {found}")]
    Kind { expected: Kind, found: Type },
    #[error("the CEL parser gave up on this expression; simplify it")]
    ParserGaveUp,
    #[error("no thread could be started to compile the expression; check the limits on threads and memory")]
    NoThread,
}

impl Invalid {
    pub(super) fn syntax(errors: &ParseErrors, source: &str) -> Self {
        Syntax::of(errors, source).map_or(Self::ParserGaveUp, Self::Syntax)
    }
}

/// The last line says it; those before draw the pattern, as it was given to the crate.
fn reason(why: &regex::Error) -> String {
    let text = why.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

fn defined(known: &[String]) -> String {
    if known.is_empty() {
        "nothing is".to_owned()
    } else {
        format!("defined are {}", known.join(", "))
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
