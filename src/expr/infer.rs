//! Infers the type of an expression from its form. Claims can have any type, so most expressions have no
//! known type. It is enough to reject a username that is a number, or groups that are a string, before that
//! locks users out.

use super::{Invalid, Kind, Type, signatures};
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue};

/// Rejects an expression that is known to be of another type. An unknown type passes, and is checked at run
/// time.
pub(super) fn check(expression: &IdedExpr, expected: Kind, variables: &[&str]) -> Result<(), Invalid> {
    let whole_variable = matches!(&expression.expr, Expr::Ident(name) if variables.contains(&name.as_str()));
    let found = if whole_variable {
        Some(Type::Map)
    } else {
        infer(expression)
    };
    match found {
        Some(found) if !fits(found, expected) => Err(Invalid::Kind { expected, found }),
        _ => Ok(()),
    }
}

const fn fits(found: Type, expected: Kind) -> bool {
    match expected {
        Kind::Any => true,
        Kind::Text => matches!(found, Type::Text),
        Kind::Bool => matches!(found, Type::Bool),
        Kind::TextList => matches!(found, Type::List | Type::Optional),
    }
}

fn infer(expression: &IdedExpr) -> Option<Type> {
    match &expression.expr {
        Expr::Literal(literal) => Some(match literal {
            LiteralValue::Boolean(_) => Type::Bool,
            LiteralValue::Int(_) => Type::Int,
            LiteralValue::UInt(_) => Type::Uint,
            LiteralValue::Double(_) => Type::Double,
            LiteralValue::String(_) => Type::Text,
            LiteralValue::Bytes(_) => Type::Bytes,
            LiteralValue::Null => Type::Null,
        }),
        // An optional element may yield any value, or none.
        Expr::List(list) if list.optional_indices.is_empty() => {
            let other = list
                .elements
                .iter()
                .filter_map(infer)
                .any(|element| !matches!(element, Type::Text | Type::Optional));
            Some(if other { Type::OtherList } else { Type::List })
        }
        Expr::List(_) => Some(Type::List),
        Expr::Map(_) => Some(Type::Map),
        Expr::Select(select) if select.test => Some(Type::Bool),
        Expr::Call(call) => infer_call(call),
        Expr::Comprehension(parts) => match &parts.result.expr {
            // A loop that builds a list starts from an empty one.
            Expr::Ident(name) if *name == parts.accu_var => infer(&parts.accu_init),
            _ => infer(&parts.result),
        },
        Expr::Select(_) | Expr::Ident(_) | Expr::Struct(_) | Expr::Unspecified => None,
    }
}

fn infer_call(call: &CallExpr) -> Option<Type> {
    match (call.func_name.as_str(), call.args.as_slice()) {
        (
            "_==_"
            | "_!=_"
            | "_<_"
            | "_<=_"
            | "_>_"
            | "_>=_"
            | "_&&_"
            | "_||_"
            | "!_"
            | "@in"
            | "@not_strictly_false",
            _,
        ) => Some(Type::Bool),
        ("_?._" | "_[?_]", _) => Some(Type::Optional),
        ("_?_:_", [_, yes, no]) => infer(yes).filter(|yes| infer(no) == Some(*yes)),
        ("-_", [of]) => infer(of),
        ("_+_", [left, right]) => sum(infer(left), infer(right)),
        ("_-_" | "_*_" | "_/_" | "_%_", [left, right]) => {
            number(infer(left)).or_else(|| number(infer(right)))
        }
        (name, _) if name.starts_with('_') => None,
        (name, _) => infer_function(name, call.target.as_deref()),
    }
}

/// Both sides of a sum have its type, except for timestamps and durations.
fn sum(left: Option<Type>, right: Option<Type>) -> Option<Type> {
    match (left, right) {
        (Some(Type::Timestamp | Type::Duration), _) | (_, Some(Type::Timestamp | Type::Duration)) => None,
        (Some(Type::OtherList), _) | (_, Some(Type::OtherList)) => Some(Type::OtherList),
        (known, unknown) => known.or(unknown),
    }
}

fn number(found: Option<Type>) -> Option<Type> {
    found.filter(|found| matches!(found, Type::Int | Type::Uint | Type::Double))
}

fn infer_function(name: &str, target: Option<&IdedExpr>) -> Option<Type> {
    if let Some(IdedExpr {
        expr: Expr::Ident(namespace),
        ..
    }) = target
        && let Some(signature) = signatures::of(&format!("{namespace}.{name}")).next()
    {
        return signature.result;
    }
    signatures::of(name).next()?.result
}
