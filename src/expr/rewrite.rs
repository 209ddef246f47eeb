//! Rewrites a checked tree. It adds meters where work or memory is used, and corrects what the crate
//! evaluates differently from cel-go.
//!
//! The added functions have names that no source can spell, because CEL has no `@`. An argument is not
//! metered if it was paid for when it was built, or if it is a literal.

use super::signatures::{self, NAMESPACES, Style};
use super::{equality, fuel, strings};
use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, SelectExpr, operators,
};
use cel::common::types::{CelMap, CelTimestamp, DYN_TYPE, Kind};
use cel::common::value::CowVal;
use cel::{DeclarationError, Env, ExecutionError};
use std::collections::HashMap;

/// Converts a timestamp to UTC, since `getHours()` and similar functions mean UTC without a time zone.
/// Returns any other value unchanged.
const UTC: &str = "@utc";
/// Returns the operand of `has(x.field)`, or an empty map for text, numbers, booleans and null: they have no
/// fields, and asking for one is not an error.
const FIELDS: &str = "@fields";

pub(super) fn declare(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_overload(UTC, "utc_dyn", vec![DYN_TYPE], utc)?;
    env.add_overload(FIELDS, "fields_dyn", vec![DYN_TYPE], fields)
}

pub(super) fn rewrite(expression: &mut IdedExpr) {
    Rewrite::default().expression(expression);
    meter(expression, fuel::KEEPS);
}

#[derive(Default)]
struct Rewrite {
    /// The variables of the enclosing loops, and whether each holds a part of the claims.
    bound: Vec<(String, bool)>,
}

impl Rewrite {
    fn expression(&mut self, expression: &mut IdedExpr) {
        match &mut expression.expr {
            Expr::Call(call) => {
                let metered = self.copies(call);
                self.call(call);
                if let Some(price) = metered {
                    meter(expression, price);
                }
            }
            Expr::Comprehension(parts) => self.comprehension(parts),
            Expr::List(list) => self.list(list, None),
            Expr::Map(map) => {
                for entry in &mut map.entries {
                    match &mut entry.expr {
                        EntryExpr::MapEntry(entry) => {
                            self.kept(&mut entry.key);
                            self.kept(&mut entry.value);
                        }
                        EntryExpr::StructField(field) => self.kept(&mut field.value),
                    }
                }
            }
            Expr::Select(select) => {
                if self.select(select) {
                    meter(expression, fuel::GLANCES);
                }
            }
            Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => {}
        }
    }

    /// The price of a field or an element that the crate copies, which it does to wrap it into an optional.
    fn copies(&self, call: &CallExpr) -> Option<&'static str> {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::OPT_SELECT | operators::OPT_INDEX, _) => Some(fuel::KEEPS),
            (operators::INDEX, [of, _]) if !self.is_of_claims(of) => Some(fuel::GLANCES),
            _ => None,
        }
    }

    fn kept(&mut self, expression: &mut IdedExpr) {
        self.expression(expression);
        meter(expression, fuel::KEEPS);
    }

    /// `passed` is the variable that the enclosing loop has already paid for.
    fn list(&mut self, list: &mut ListExpr, passed: Option<&str>) {
        for element in &mut list.elements {
            if !matches!(&element.expr, Expr::Ident(name) if Some(name.as_str()) == passed) {
                self.kept(element);
            }
        }
    }

    /// Returns whether the selection must be metered: a field of an optional's value is a copy.
    fn select(&mut self, select: &mut SelectExpr) -> bool {
        let is_variable = matches!(&select.operand.expr, Expr::Ident(name) if self.bound_to(name).is_none());
        let metered = !select.test && !is_variable && !self.is_of_claims(&select.operand);
        self.expression(&mut select.operand);
        if select.test {
            wrap(&mut select.operand, FIELDS, None);
        }
        metered
    }

    fn bound_to(&self, name: &str) -> Option<bool> {
        self.bound
            .iter()
            .rfind(|(bound, _)| bound == name)
            .map(|(_, of_claims)| *of_claims)
    }

    /// Whether a value is a part of the claims, which contain no optionals, unlike `vars`.
    fn is_of_claims(&self, expression: &IdedExpr) -> bool {
        match &expression.expr {
            Expr::Ident(name) => self.bound_to(name).unwrap_or(name != "vars"),
            Expr::Select(select) => !select.test && self.is_of_claims(&select.operand),
            Expr::Call(call) => match call.args.as_slice() {
                [of, _] if call.func_name == operators::INDEX => self.is_of_claims(of),
                _ => false,
            },
            _ => false,
        }
    }

    fn call(&mut self, call: &mut CallExpr) {
        let in_namespace = is_in_namespace(call);
        let of_sets = in_namespace && is_of_sets(call);
        let function = call.func_name.clone();
        if let (Some(target), false) = (&mut call.target, in_namespace) {
            self.expression(target);
        }
        call.args
            .iter_mut()
            .for_each(|argument| self.expression(argument));
        let own = equality::metered(&function).unwrap_or_default();
        let all = |call: &mut CallExpr, function: &str| {
            call.target
                .iter_mut()
                .filter(|_| !in_namespace)
                .for_each(|target| meter(target, function));
            call.args
                .iter_mut()
                .for_each(|argument| meter(argument, function));
        };
        match (function.as_str(), call.args.as_mut_slice()) {
            (operators::ADD, _) => strings::ADD.clone_into(&mut call.func_name),
            // `exists` and `all` continue after an error, but must stop when the fuel is used up. Their own
            // condition never fails.
            (operators::NOT_STRICTLY_FALSE, _) => fuel::GOES_ON.clone_into(&mut call.func_name),
            // A comparison takes as long as the smaller side, so paying for one side is enough.
            (operators::EQUALS | operators::NOT_EQUALS, [left, right]) => {
                if !is_paid(right, fuel::READS) {
                    meter(left, fuel::READS);
                }
                if !matches!(right.expr, Expr::Literal(_)) {
                    own.clone_into(&mut call.func_name);
                }
            }
            (operators::IN, [searched, list]) => {
                own.clone_into(&mut call.func_name);
                if !matches!(list.expr, Expr::List(_)) {
                    meter(searched, fuel::READS);
                    meter(list, fuel::READS);
                }
            }
            ("startsWith" | "endsWith", [part]) => meter(part, fuel::READS),
            (operators::INDEX | operators::OPT_INDEX, [_, index]) => {
                if !matches!(&index.expr, Expr::Literal(literal) if !matches!(literal, LiteralValue::Double(_)))
                {
                    wrap(index, fuel::INDEX, None);
                }
            }
            (function, arguments) if function.starts_with("get") => {
                if let (Some(target), []) = (&mut call.target, &arguments) {
                    wrap(target, UTC, None);
                }
                arguments.iter_mut().for_each(|zone| meter(zone, fuel::GLANCES));
            }
            (function, _) if passes_on(function) || pays_itself(function) || of_sets => {}
            // A number may be long as text, so the list is metered even if it is a literal.
            ("format", [arguments]) => {
                wrap(arguments, fuel::KEEPS, None);
                if let Some(target) = &mut call.target {
                    meter(target, fuel::KEEPS);
                    wrap(target, fuel::CLAUSES, None);
                }
            }
            ("size", _) => all(call, fuel::GLANCES),
            (function, _) if only_reads(function) => all(call, fuel::READS),
            (function, _) => match strings::metered(function) {
                Some(metered) if call.target.is_some() => metered.clone_into(&mut call.func_name),
                _ => all(call, fuel::KEEPS),
            },
        }
    }

    fn comprehension(&mut self, parts: &mut ComprehensionExpr) {
        let of_claims = self.is_of_claims(&parts.iter_range);
        // `optMap` is a binding in the form of a loop over an empty list.
        let binding = matches!(&parts.iter_range.expr, Expr::List(list) if list.elements.is_empty());
        let body = count(&parts.loop_cond).saturating_add(count(&parts.loop_step));
        self.expression(&mut parts.iter_range);
        self.expression(&mut parts.accu_init);
        meter(&mut parts.accu_init, fuel::KEEPS);
        let outside = self.bound.len();
        self.bound.push((parts.iter_var.clone(), of_claims));
        self.bound
            .extend(parts.iter_var2.iter().map(|name| (name.clone(), of_claims)));
        self.bound.push((parts.accu_var.clone(), false));
        self.expression(&mut parts.loop_cond);
        self.step(&parts.iter_var, &mut parts.loop_step);
        self.expression(&mut parts.result);
        self.bound.truncate(outside);
        if !matches!(&parts.result.expr, Expr::Ident(name) if *name == parts.accu_var) {
            meter(&mut parts.result, fuel::KEEPS);
        }
        if !binding {
            wrap(&mut parts.iter_range, fuel::LOOP, Some(body));
        }
    }

    /// Leaves `@result + [x]`, which `map` and `filter` produce, as it is: the crate recognizes it and builds
    /// the list in place.
    fn step(&mut self, variable: &str, step: &mut IdedExpr) {
        match &mut step.expr {
            Expr::Call(call) => match (call.func_name.as_str(), call.args.as_mut_slice()) {
                (operators::CONDITIONAL, [condition, yes, no]) => {
                    self.expression(condition);
                    self.step(variable, yes);
                    self.expression(no);
                }
                (
                    operators::ADD,
                    [
                        IdedExpr {
                            expr: Expr::Ident(_), ..
                        },
                        IdedExpr {
                            expr: Expr::List(list),
                            ..
                        },
                    ],
                ) => {
                    self.list(list, Some(variable));
                }
                _ => self.expression(step),
            },
            _ => self.expression(step),
        }
    }
}

/// Whether the target is a namespace, as in `sets.contains(..)`.
fn is_in_namespace(call: &CallExpr) -> bool {
    let Some(Expr::Ident(namespace)) = call.target.as_ref().map(|target| &target.expr) else {
        return false;
    };
    NAMESPACES.contains(&namespace.as_str())
        && signatures::of(&format!("{namespace}.{}", call.func_name)).any(|known| {
            known.style == Style::Global && (known.least..=known.most).contains(&call.args.len())
        })
}

/// The functions of `sets` pay for each comparison themselves.
fn is_of_sets(call: &CallExpr) -> bool {
    matches!(call.target.as_ref().map(|target| &target.expr), Some(Expr::Ident(namespace)) if namespace == "sets")
}

/// Functions whose work does not depend on the size of an argument, and which return an argument or a part of
/// one.
fn passes_on(function: &str) -> bool {
    matches!(
        function,
        operators::CONDITIONAL | "dyn" | "type" | "first" | "last" | "value" | "or" | "orValue" | "hasValue"
    )
}

fn pays_itself(function: &str) -> bool {
    matches!(
        function,
        operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT | "matches"
    ) || function == operators::OPT_SELECT
}

/// Functions with small results.
fn only_reads(function: &str) -> bool {
    matches!(
        function,
        operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS
            | operators::SUBSTRACT
            | operators::MULTIPLY
            | operators::DIVIDE
            | operators::MODULO
            | operators::NEGATE
            | "bool"
            | "contains"
            | "double"
            | "int"
            | "uint"
    )
}

/// Whether the whole value is already paid for at that function's price, or is a literal.
fn is_paid(expression: &IdedExpr, function: &str) -> bool {
    match &expression.expr {
        Expr::Literal(_) | Expr::List(_) | Expr::Map(_) => true,
        Expr::Select(select) => select.test,
        Expr::Call(call) => match call.func_name.as_str() {
            fuel::READS => function != fuel::KEEPS,
            fuel::GLANCES => function == fuel::GLANCES,
            name => {
                !passes_on(name)
                    && !matches!(
                        name,
                        operators::INDEX | operators::OPT_INDEX | operators::OPT_SELECT
                    )
            }
        },
        Expr::Ident(_) | Expr::Comprehension(_) | Expr::Struct(_) | Expr::Unspecified => false,
    }
}

fn meter(expression: &mut IdedExpr, function: &str) {
    if !is_paid(expression, function) {
        wrap(expression, function, None);
    }
}

fn wrap(expression: &mut IdedExpr, function: &str, number: Option<i64>) {
    let inner = std::mem::take(expression);
    let id = inner.id;
    let number = number.map(|number| IdedExpr {
        id,
        expr: Expr::Literal(LiteralValue::Int(number.into())),
    });
    let args = std::iter::once(inner).chain(number).collect();
    *expression = IdedExpr {
        id,
        expr: Expr::Call(CallExpr {
            func_name: function.to_owned(),
            target: None,
            args,
        }),
    };
}

/// How many parts one iteration evaluates, without those of inner loops.
fn count(expression: &IdedExpr) -> i64 {
    let sum = |parts: &mut dyn Iterator<Item = &IdedExpr>| parts.map(count).fold(1, i64::saturating_add);
    match &expression.expr {
        Expr::Call(call) => sum(&mut call.target.iter().map(|target| &**target).chain(&call.args)),
        Expr::Comprehension(parts) => {
            sum(&mut [&parts.iter_range, &parts.accu_init, &parts.result].into_iter())
        }
        Expr::List(list) => sum(&mut list.elements.iter()),
        Expr::Map(map) => map.entries.iter().fold(1, |parts, entry| {
            parts.saturating_add(match &entry.expr {
                EntryExpr::MapEntry(entry) => count(&entry.key).saturating_add(count(&entry.value)),
                EntryExpr::StructField(field) => count(&field.value),
            })
        }),
        Expr::Select(select) => count(&select.operand).saturating_add(1),
        Expr::Literal(LiteralValue::String(text)) => i64::try_from(text.len() / 64)
            .unwrap_or(i64::MAX)
            .saturating_add(1),
        Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => 1,
    }
}

fn utc<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let value = args
        .pop()
        .ok_or_else(ExecutionError::missing_argument_or_target)?;
    let moved = value
        .downcast_ref::<CelTimestamp>()
        .map(|time| time.inner().to_utc().fixed_offset());
    Ok(moved.map_or(value, |time| CowVal::owned(CelTimestamp::from(time))))
}

fn fields<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let value = args
        .pop()
        .ok_or_else(ExecutionError::missing_argument_or_target)?;
    let plain = matches!(
        value.get_type().kind(),
        Kind::Boolean | Kind::Int | Kind::UInt | Kind::Double | Kind::String | Kind::NullType
    );
    Ok(if plain {
        CowVal::owned(CelMap::from(HashMap::new()))
    } else {
        value
    })
}
