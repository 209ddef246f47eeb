//! Rewrites a checked tree: what costs work is metered, and what the crate evaluates otherwise than cel-go is
//! put right.
//!
//! The functions that this adds have names that no source can spell, because CEL has no `@`.

use super::fuel;
use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, operators};
use cel::common::types::{CelMap, CelTimestamp, DYN_TYPE, Kind};
use cel::common::value::CowVal;
use cel::{DeclarationError, Env, ExecutionError};
use std::collections::HashMap;

/// A timestamp in UTC, and any other value as it is: without a time zone, `getHours()` and its like mean UTC.
const UTC: &str = "@utc";
/// What `has(x.field)` looks into. Text, numbers and null have no fields, and to ask for one is no error.
const FIELDS: &str = "@fields";

pub(super) fn declare(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_overload(UTC, "utc_dyn", vec![DYN_TYPE], utc)?;
    env.add_overload(FIELDS, "fields_dyn", vec![DYN_TYPE], fields)
}

pub(super) fn rewrite(expression: &mut IdedExpr) {
    match &mut expression.expr {
        Expr::Call(call) => {
            call.target.iter_mut().for_each(|target| rewrite(target));
            call.args.iter_mut().for_each(rewrite);
            if let (operators::IN, [_, searched]) = (call.func_name.as_str(), call.args.as_mut_slice()) {
                wrap(searched, fuel::SCAN);
            }
            if let (Some(target), true, []) = (
                &mut call.target,
                call.func_name.starts_with("get"),
                call.args.as_slice(),
            ) {
                wrap(target, UTC);
            }
        }
        Expr::Comprehension(comprehension) => {
            let parts = &mut **comprehension;
            for part in [
                &mut parts.iter_range,
                &mut parts.accu_init,
                &mut parts.loop_cond,
                &mut parts.loop_step,
                &mut parts.result,
            ] {
                rewrite(part);
            }
            wrap(&mut parts.iter_range, fuel::LOOP);
        }
        Expr::List(list) => list.elements.iter_mut().for_each(rewrite),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                match &mut entry.expr {
                    EntryExpr::MapEntry(entry) => {
                        rewrite(&mut entry.key);
                        rewrite(&mut entry.value);
                    }
                    EntryExpr::StructField(field) => rewrite(&mut field.value),
                }
            }
        }
        Expr::Select(select) => {
            rewrite(&mut select.operand);
            if select.test {
                wrap(&mut select.operand, FIELDS);
            }
        }
        Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => {}
    }
}

/// The iteration itself stays as the parser made it, for the crate recognises it and builds lists in place.
fn wrap(expression: &mut IdedExpr, function: &str) {
    let inner = std::mem::take(expression);
    let id = inner.id;
    *expression = IdedExpr {
        id,
        expr: Expr::Call(CallExpr {
            func_name: function.to_owned(),
            target: None,
            args: vec![inner],
        }),
    };
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
