//! Finds mistakes that the CEL crate reports only during evaluation: unknown names, invalid patterns, trees
//! that are too deep.

use super::limits::{DEPTH, LOOPS};
use super::regexes::{self, Pattern};
use super::signatures::{self, MACROS, NAMESPACES, OPERATORS, Signature, Style, TYPE_NAMES};
use super::{Invalid, env};
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue};
use cel::{Context, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Returns the regular expressions in the source.
pub(super) fn check(
    expression: &IdedExpr,
    variables: &[&str],
    known_vars: Option<&BTreeSet<String>>,
) -> Result<Vec<Arc<Pattern>>, Invalid> {
    let mut walk = Walk {
        variables,
        known_vars,
        bound: Vec::new(),
        regexes: Vec::new(),
    };
    walk.expression(expression, At { depth: 0, loops: 0 })?;
    Ok(walk.regexes)
}

struct Walk<'a> {
    variables: &'a [&'a str],
    known_vars: Option<&'a BTreeSet<String>>,
    /// The variables of the enclosing loops.
    bound: Vec<&'a str>,
    regexes: Vec<Arc<Pattern>>,
}

#[derive(Clone, Copy)]
struct At {
    depth: usize,
    loops: usize,
}

impl<'a> Walk<'a> {
    fn expression(&mut self, expression: &'a IdedExpr, at: At) -> Result<(), Invalid> {
        if at.depth > DEPTH {
            return Err(Invalid::TooDeep);
        }
        let inside = At {
            depth: at.depth + 1,
            ..at
        };
        match &expression.expr {
            Expr::Ident(name) => self.name(name),
            Expr::Call(call) => self.call(call, inside),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, inside),
            Expr::List(list) => list
                .elements
                .iter()
                .try_for_each(|element| self.expression(element, inside)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.expression(&entry.key, inside)?;
                    self.expression(&entry.value, inside)
                }
                EntryExpr::StructField(field) => self.expression(&field.value, inside),
            }),
            Expr::Select(select) => {
                self.member_of_vars(&select.operand, &select.field)?;
                self.expression(&select.operand, inside)
            }
            Expr::Struct(message) => Err(Invalid::Message {
                name: message.type_name.clone(),
            }),
            Expr::Literal(_) | Expr::Unspecified => Ok(()),
        }
    }

    fn name(&self, name: &str) -> Result<(), Invalid> {
        if self.bound.contains(&name) || self.variables.contains(&name) || TYPE_NAMES.contains(&name) {
            return Ok(());
        }
        Err(Invalid::UnknownVariable {
            name: name.to_owned(),
            known: self.variables.iter().map(ToString::to_string).collect(),
        })
    }

    fn is_variable(&self, expression: &Expr, name: &str) -> bool {
        matches!(expression, Expr::Ident(ident) if ident == name) && !self.bound.contains(&name)
    }

    /// Rejects `vars.x` if no `x` was defined before.
    fn member_of_vars(&self, of: &IdedExpr, name: &str) -> Result<(), Invalid> {
        match self.known_vars {
            Some(known) if self.is_variable(&of.expr, "vars") && !known.contains(name) => {
                Err(Invalid::UnknownVar {
                    name: name.to_owned(),
                    known: known.iter().cloned().collect(),
                })
            }
            _ => Ok(()),
        }
    }

    fn comprehension(&mut self, parts: &'a ComprehensionExpr, at: At) -> Result<(), Invalid> {
        self.expression(&parts.iter_range, at)?;
        self.expression(&parts.accu_init, at)?;
        // `optMap` is a binding in the form of a loop over an empty list.
        let binding = matches!(&parts.iter_range.expr, Expr::List(list) if list.elements.is_empty());
        let inside = At {
            loops: at.loops + usize::from(!binding),
            ..at
        };
        if inside.loops > LOOPS {
            return Err(Invalid::NestedLoops);
        }
        let outside = self.bound.len();
        self.bound
            .extend([parts.iter_var.as_str(), parts.accu_var.as_str()]);
        self.bound.extend(parts.iter_var2.as_deref());
        let result = [&parts.loop_cond, &parts.loop_step, &parts.result]
            .into_iter()
            .try_for_each(|part| self.expression(part, inside));
        self.bound.truncate(outside);
        result
    }

    fn call(&mut self, call: &'a CallExpr, at: At) -> Result<(), Invalid> {
        match &call.target {
            None if OPERATORS.contains(&call.func_name.as_str()) => {
                if let ("_[_]" | "_[?_]" | "_?._", [of, key]) =
                    (call.func_name.as_str(), call.args.as_slice())
                    && let Expr::Literal(LiteralValue::String(key)) = &key.expr
                {
                    self.member_of_vars(of, key.inner())?;
                }
            }
            None => {
                signature(&call.func_name, Style::Global, call.args.len())?;
                check_literal(call)?;
            }
            Some(target) => match self.namespace(target) {
                Some(namespace) => drop(signature(
                    &format!("{namespace}.{}", call.func_name),
                    Style::Global,
                    call.args.len(),
                )?),
                None => {
                    self.expression(target, at)?;
                    signature(&call.func_name, Style::Member, call.args.len())?;
                }
            },
        }
        if let ("matches", Some(Expr::Literal(LiteralValue::String(pattern)))) = (
            call.func_name.as_str(),
            call.args.last().map(|pattern| &pattern.expr),
        ) {
            let kept = regexes::keep(pattern.inner());
            self.regexes.push(kept.map_err(|why| Invalid::Regex {
                pattern: pattern.inner().to_owned(),
                why,
            })?);
        }
        call.args
            .iter()
            .try_for_each(|argument| self.expression(argument, at))
    }

    fn namespace(&self, target: &'a IdedExpr) -> Option<&'a str> {
        let Expr::Ident(name) = &target.expr else {
            return None;
        };
        let taken = self.bound.contains(&name.as_str()) || self.variables.contains(&name.as_str());
        (NAMESPACES.contains(&name.as_str()) && !taken).then_some(name)
    }
}

fn signature(name: &str, style: Style, found: usize) -> Result<&'static Signature, Invalid> {
    if MACROS.contains(&name) {
        return Err(Invalid::MacroStyle {
            name: name.to_owned(),
        });
    }
    let Some(other) = signatures::of(name).next() else {
        return Err(Invalid::UnknownFunction {
            name: name.to_owned(),
            meant: signatures::meant_by(name),
        });
    };
    let Some(signature) = signatures::of(name).find(|signature| signature.style == style) else {
        return Err(Invalid::CallStyle {
            name: name.to_owned(),
            member: other.style == Style::Member,
        });
    };
    if found < signature.least || found > signature.most {
        return Err(Invalid::Arguments {
            name: name.to_owned(),
            least: signature.least,
            most: signature.most,
            found,
        });
    }
    Ok(signature)
}

/// Evaluates `timestamp('..')` and similar calls with a literal argument, which either always or never work.
fn check_literal(call: &CallExpr) -> Result<(), Invalid> {
    let [
        IdedExpr {
            expr: Expr::Literal(LiteralValue::String(text)),
            ..
        },
    ] = call.args.as_slice()
    else {
        return Ok(());
    };
    let expression = IdedExpr {
        id: 0,
        expr: Expr::Call(call.clone()),
    };
    match Value::resolve(&expression, &Context::with_env(Arc::clone(env::shared()))) {
        Ok(_) => Ok(()),
        Err(_) => Err(Invalid::Literal {
            function: call.func_name.clone(),
            text: text.inner().to_owned(),
        }),
    }
}
