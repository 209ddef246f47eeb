//! Why an expression failed. The texts contain types, functions and parts of the source, but never the value
//! of a claim.

use super::{Kind, fuel};
use cel::{ExecutionError, Value};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// `key` is set only if it appears in the expression.
    #[error("{} is missing; guard it with has(..), or write .?name.orValue('..')", missing(.key.as_deref()))]
    Missing { key: Option<String> },
    #[error("`{operation}` cannot be applied to ({operands})")]
    Operands { operation: String, operands: String },
    #[error("expected {expected}, but the expression yields {found}")]
    Kind { expected: Kind, found: String },
    #[error("expected a list of strings, but the list holds a {found}")]
    Element { found: String },
    #[error("the optional is empty; give a default with orValue(..)")]
    Nothing,
    #[error("the index is outside the list")]
    Index,
    #[error("the result overflows, or there is a division by zero")]
    Arithmetic,
    /// The function's own message may contain claims, so it is not passed on.
    #[error("`{function}` failed on these values")]
    Function { function: String },
    /// `expression` is the start of the source.
    #[error(
        "`{expression}` is too much work on claims of this size: it loops too often, or builds a text or list that is too long; \
         loop over less, move parts into variables, or check first, as in size(claims.groups) <= 100"
    )]
    OutOfFuel { expression: String },
    #[error("`{name}` is not known here")]
    Undeclared { name: String },
    #[error("the expression cannot be evaluated on these values")]
    Other,
}

/// How many characters of an expression a message shows.
const SHOWN: usize = 100;

impl Failed {
    pub(super) fn out_of_fuel(source: &str) -> Self {
        let rest = if source.chars().nth(SHOWN).is_some() {
            ".."
        } else {
            ""
        };
        Self::OutOfFuel {
            expression: source.chars().take(SHOWN).chain(rest.chars()).collect(),
        }
    }

    pub(super) fn kind(expected: Kind, found: &Value) -> Self {
        Self::Kind {
            expected,
            found: type_name(found),
        }
    }

    pub(super) fn element(found: &Value) -> Self {
        Self::Element {
            found: type_name(found),
        }
    }

    pub(super) fn of(error: ExecutionError, source: &str) -> Self {
        match error {
            ExecutionError::NoSuchKey(key) => Self::Missing {
                key: source.contains(key.as_str()).then(|| key.to_string()),
            },
            ExecutionError::NoSuchOverload(overload) => {
                // The second argument of a loop, the length of its body, is not in the source.
                let written = if overload.function() == fuel::LOOP {
                    1
                } else {
                    usize::MAX
                };
                let operands: Vec<&str> = overload
                    .argument_types()
                    .iter()
                    .take(written)
                    .map(String::as_str)
                    .collect();
                Self::Operands {
                    operation: readable(overload.function()),
                    operands: operands.join(", "),
                }
            }
            ExecutionError::UnsupportedBinaryOperator(operator, left, right) => Self::Operands {
                operation: readable(operator),
                operands: format!("{}, {}", type_name(&left), type_name(&right)),
            },
            ExecutionError::ValuesNotComparable(left, right) => Self::Operands {
                operation: "compare".to_owned(),
                operands: format!("{}, {}", type_name(&left), type_name(&right)),
            },
            ExecutionError::UnsupportedIndex(index, of) => Self::Operands {
                operation: "[_]".to_owned(),
                operands: format!("{}, {}", type_name(&of), type_name(&index)),
            },
            ExecutionError::IndexOutOfBounds(_) => Self::Index,
            ExecutionError::DivisionByZero(_)
            | ExecutionError::RemainderByZero(_)
            | ExecutionError::Overflow(..) => Self::Arithmetic,
            ExecutionError::FunctionError { function, .. } => Self::Function {
                function: readable(&function),
            },
            ExecutionError::UndeclaredReference(name) if source.contains(name.as_str()) => Self::Undeclared {
                name: name.to_string(),
            },
            _ => Self::Other,
        }
    }
}

fn type_name(value: &Value) -> String {
    match value {
        Value::Opaque(_) => "optional".to_owned(),
        Value::Float(_) => "double".to_owned(),
        other => other.type_of().to_string(),
    }
}

/// The operator or function as users write it.
fn readable(function: &str) -> String {
    match function {
        "add" => "+",
        "sub" => "-",
        "mul" => "*",
        "div" => "/",
        "rem" => "%",
        fuel::LOOP => "a loop",
        "_[_]" | "_[?_]" => "[_]",
        "_._" | "_?._" => "._",
        other => other.trim_start_matches('@').trim_matches('_'),
    }
    .to_owned()
}

fn missing(key: Option<&str>) -> String {
    key.map_or_else(
        || "a key that the expression computes".to_owned(),
        |key| format!("`{key}`"),
    )
}
