//! CEL (<https://github.com/google/cel-spec>): the administrator's expressions over the claims of a
//! credential, which may be hostile.
//!
//! [`compile`] rejects every mistake that shows without claims. Other mistakes fail at run time. The language
//! is the one that zot's users write: the standard library and macros, strings, sets, encoders and optional
//! values. Integers in claims are CEL `int`. Evaluation is synchronous and takes microseconds. Fuel bounds
//! its time and memory for any claims: an expression pays for everything it reads, builds and keeps, by size.

mod check;
mod env;
mod equality;
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
pub use regexes::{InvalidRegex, regex};
pub use signatures::Type;
pub use syntax::{Problem, Syntax};
pub use value::{Held, Vars};

/// The stack that the parser needs for the deepest tree in [`SOURCE_BYTES`], with a wide margin.
const COMPILE_STACK_BYTES: usize = 64 * 1024 * 1024;

/// The type that an expression must yield.
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
    /// The patterns in the source. Holding them here keeps them in the cache of `matches`.
    _regexes: Vec<Arc<Pattern>>,
}

/// Parses and checks an expression.
///
/// `variables` are the names that the expression may use. `known_vars` are the names that may follow `vars.`;
/// `None` allows any.
pub fn compile(
    source: &str,
    kind: Kind,
    variables: &[&str],
    known_vars: Option<&BTreeSet<String>>,
) -> Result<Program, Invalid> {
    if source.len() > SOURCE_BYTES {
        return Err(Invalid::TooLong { bytes: source.len() });
    }
    // Parsing, walking and dropping a tree recurse over it. So a tree of unknown depth stays on this thread,
    // which has a large stack.
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
    /// Evaluates to a string.
    pub fn text(&self, scope: &Scope<'_>) -> Result<String, Failed> {
        self.evaluate(scope, |value| {
            text(&value).ok_or_else(|| Failed::kind(Kind::Text, &value))
        })
    }

    /// Evaluates to a bool.
    pub fn truth(&self, scope: &Scope<'_>) -> Result<bool, Failed> {
        self.evaluate(scope, |value| match value {
            Value::Bool(truth) => Ok(truth),
            other => Err(Failed::kind(Kind::Bool, &other)),
        })
    }

    /// Evaluates to a list of strings. A single string is not a list. As in zot, the list and each string may
    /// be wrapped in an optional, and an empty optional is an error.
    pub fn texts(&self, scope: &Scope<'_>) -> Result<Vec<String>, Failed> {
        self.evaluate(scope, |value| match held(&value)? {
            Value::List(elements) => elements
                .iter()
                .map(|one| text(held(one)?).ok_or_else(|| Failed::element(one)))
                .collect(),
            other => Err(Failed::kind(Kind::TextList, other)),
        })
    }

    /// Evaluates to a value for a variable that later expressions use.
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
            // Not `resolve_val`: it is inlined, and an unoptimised build of this crate would recurse through
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

/// The variables of an evaluation. Strings are borrowed. A clone shares the converted values.
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

    /// Adds the variables so far as `vars`.
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

/// The value inside an optional. Any other value is returned unchanged.
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
