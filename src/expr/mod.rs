//! CEL (<https://github.com/google/cel-spec>): the administrator's expressions over a stranger's claims.
//!
//! Everything that can be known to be wrong is refused by [`compile`]; whatever remains unknown until there
//! are claims is enforced at run time, and fails. The language is what zot's users write: the standard
//! library and macros, strings, sets, encoders and optional values. Integers in claims are CEL `int`.
//! Evaluation is synchronous and takes microseconds. Its time and its memory are bounded by fuel, whatever
//! the claims hold: what an expression reads, builds and keeps is paid for by its size.

mod check;
mod env;
mod failed;
mod fuel;
mod infer;
mod invalid;
mod limits;
mod re2;
mod regexes;
mod rewrite;
mod signatures;
mod strings;
mod syntax;
mod value;

use cel::common::ast::IdedExpr;
use cel::common::types::CelMap;
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use cel::{Context, Value};
use regexes::Pattern;
use serde_json::Map;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::thread;

pub use failed::Failed;
pub use invalid::Invalid;
pub use limits::SOURCE_BYTES;
pub use signatures::Type;
pub use syntax::{Problem, Syntax};
pub use value::{Held, Vars};

/// What the parser needs for the deepest tree that [`SOURCE_BYTES`] can spell, with much to spare.
const COMPILE_STACK_BYTES: usize = 64 * 1024 * 1024;

/// What an expression must yield.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Any,
    Text,
    Bool,
    TextList,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any value",
            Self::Text => "a string",
            Self::Bool => "a bool",
            Self::TextList => "a list of strings",
        })
    }
}

/// A checked expression. Cheap to clone.
#[derive(Clone)]
pub struct Program {
    compiled: Arc<Compiled>,
}

struct Compiled {
    source: String,
    expression: IdedExpr,
    /// Those that the source spells; while they are held here, `matches` finds them ready.
    _regexes: Vec<Arc<Pattern>>,
}

/// Parses and checks an expression.
///
/// `variables` are the names it may use. `known_vars` are the names that may follow `vars.`; `None` leaves
/// them open.
pub fn compile(
    source: &str,
    kind: Kind,
    variables: &[&str],
    known_vars: Option<&BTreeSet<String>>,
) -> Result<Program, Invalid> {
    if source.len() > SOURCE_BYTES {
        return Err(Invalid::TooLong { bytes: source.len() });
    }
    // Parsing, walking and dropping a tree recurse over it, so a tree that is not known to be shallow stays
    // on this thread.
    let job = || {
        let parser = env::shared().parser().enable_ident_escape_syntax(true);
        let mut expression = parser
            .parse(source)
            .map_err(|errors| Invalid::syntax(&errors, source))?;
        let regexes = check::check(&expression, variables, known_vars)?;
        infer::check(&expression, kind, variables)?;
        rewrite::rewrite(&mut expression);
        Ok(Compiled {
            source: source.to_owned(),
            expression,
            _regexes: regexes,
        })
    };
    let compiled = thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("cel".to_owned())
            .stack_size(COMPILE_STACK_BYTES)
            .spawn_scoped(scope, job);
        thread
            .map_err(|_| Invalid::NoThread)?
            .join()
            .unwrap_or(Err(Invalid::ParserGaveUp))
    })?;
    Ok(Program {
        compiled: Arc::new(compiled),
    })
}

impl Program {
    /// The string that the expression yields.
    pub fn text(&self, scope: &Scope<'_>) -> Result<String, Failed> {
        self.evaluate(scope, |value| {
            text(&value).ok_or_else(|| Failed::kind(Kind::Text, &value))
        })
    }

    /// The bool that the expression yields.
    pub fn truth(&self, scope: &Scope<'_>) -> Result<bool, Failed> {
        self.evaluate(scope, |value| match value {
            Value::Bool(truth) => Ok(truth),
            other => Err(Failed::kind(Kind::Bool, &other)),
        })
    }

    /// The list of strings that the expression yields. A string alone is no list. As in zot, the list and
    /// each string may be held by an optional, and one that holds nothing is an error.
    pub fn texts(&self, scope: &Scope<'_>) -> Result<Vec<String>, Failed> {
        self.evaluate(scope, |value| match held(&value)? {
            Value::List(elements) => elements
                .iter()
                .map(|one| text(held(one)?).ok_or_else(|| Failed::element(one)))
                .collect(),
            other => Err(Failed::kind(Kind::TextList, other)),
        })
    }

    /// What the expression yields, for a variable that later expressions use.
    pub fn value(&self, scope: &Scope<'_>) -> Result<Held, Failed> {
        self.evaluate(scope, value::hold)
    }

    fn evaluate<T>(
        &self,
        scope: &Scope<'_>,
        take: impl FnOnce(Value) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let Compiled {
            source, expression, ..
        } = &*self.compiled;
        let metered = fuel::metered(|| {
            let mut context = Context::with_env(Arc::clone(env::shared()));
            context.set_variable_resolver(scope);
            // Not `resolve_val`, which is inlined: an unoptimised build of this crate would recurse through
            // frames of 20 KiB.
            let value = Value::resolve(expression, &context).map_err(|error| Failed::of(error, source))?;
            take(value)
        });
        metered.unwrap_or_else(|| Err(Failed::out_of_fuel(source)))
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Program").field(&self.compiled.source).finish()
    }
}

/// The variables of an evaluation. Strings are borrowed, and a clone shares what was converted.
#[derive(Clone, Debug, Default)]
pub struct Scope<'a> {
    variables: BTreeMap<&'static str, Arc<CelMap<'a>>>,
}

impl<'a> Scope<'a> {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn with(mut self, name: &'static str, object: &'a Map<String, serde_json::Value>) -> Self {
        self.variables.insert(name, Arc::new(value::from_object(object)));
        self
    }

    /// The variables so far, as `vars`.
    #[must_use]
    pub fn with_vars(mut self, vars: &Vars) -> Self {
        self.variables.insert("vars", vars.map());
        self
    }
}

impl VariableResolver for Scope<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let object: &'b CelMap<'b> = self.variables.get(name)?;
        Some(CowVal::Borrowed(object))
    }
}

/// What an optional holds; any other value itself.
fn held(value: &Value) -> Result<&Value, Failed> {
    value::optional(value).map_or(Ok(value), |optional| optional.value().ok_or(Failed::Nothing))
}

fn text(value: &Value) -> Option<String> {
    if let Value::String(text) = value {
        Some(text.to_string())
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
