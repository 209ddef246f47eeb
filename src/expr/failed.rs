//! Why an expression yielded nothing. The texts name types, functions and what the source itself spells, never a claim's value.

use super::Kind;
use cel::ExecutionError;
use cel::common::value::Val;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// `key` only if the expression spells it.
    #[error("{} is missing; guard it with has(..), or write .?name.orValue('..')", .key.as_ref().map_or_else(|| "a key that the expression computes".to_owned(), |key| format!("`{key}`")))]
    Missing { key: Option<String> },
    #[error("`{operation}` cannot be applied to ({operands})")]
    Operands { operation: String, operands: String },
    #[error("expected {expected}, but the expression yields {found}")]
    Kind { expected: Kind, found: String },
    #[error("expected a list of strings, but the list holds a {found}")]
    Element { found: String },
    #[error("the index is outside the list")]
    Index,
    #[error("the numbers overflow, or one is divided by zero")]
    Arithmetic,
    /// The function's own message may hold claims, so it stays here.
    #[error("`{function}` cannot work with these values")]
    Function { function: String },
    #[error("the expression loops over too much; make it do less")]
    OutOfFuel,
    #[error("`{name}` is not known here")]
    Undeclared { name: String },
    #[error("the expression cannot be evaluated on these values")]
    Other,
}

impl Failed {
    pub(super) fn kind(expected: Kind, found: &dyn Val) -> Self {
        Self::Kind { expected, found: found.get_type().name().to_owned() }
    }

    pub(super) fn element(found: &dyn Val) -> Self {
        Self::Element { found: found.get_type().name().to_owned() }
    }

    pub(super) fn of(error: ExecutionError, source: &str) -> Self {
        match error {
            ExecutionError::NoSuchKey(key) => Self::Missing { key: source.contains(key.as_str()).then(|| key.to_string()) },
            ExecutionError::NoSuchOverload(overload) => {
                Self::Operands { operation: readable(overload.function()), operands: overload.argument_types().join(", ") }
            }
            ExecutionError::UnsupportedBinaryOperator(operator, left, right) => {
                Self::Operands { operation: readable(operator), operands: format!("{}, {}", left.type_of(), right.type_of()) }
            }
            ExecutionError::ValuesNotComparable(left, right) => {
                Self::Operands { operation: "compare".to_owned(), operands: format!("{}, {}", left.type_of(), right.type_of()) }
            }
            ExecutionError::UnsupportedIndex(index, of) => {
                Self::Operands { operation: "[_]".to_owned(), operands: format!("{}, {}", of.type_of(), index.type_of()) }
            }
            ExecutionError::IndexOutOfBounds(_) => Self::Index,
            ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) | ExecutionError::Overflow(..) => Self::Arithmetic,
            ExecutionError::FunctionError { function, .. } => Self::Function { function: readable(&function) },
            ExecutionError::UndeclaredReference(name) if source.contains(name.as_str()) => Self::Undeclared { name: name.to_string() },
            _ => Self::Other,
        }
    }
}

/// As users write it.
fn readable(function: &str) -> String {
    match function {
        "@fuel" => "a loop",
        "@scan" | "@in" => "in",
        "_[_]" | "_[?_]" => "[_]",
        "_._" | "_?._" => "._",
        other => other.trim_matches('_'),
    }
    .to_owned()
}
