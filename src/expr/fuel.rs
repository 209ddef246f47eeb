//! A bound on the work of an evaluation: the CEL crate has none, and three nested loops over a long list take seconds.
//!
//! [`meter`] rewrites a tree so that everything a loop runs over, and everything `in` searches, passes through a function that no
//! source can name, because CEL cannot spell `@`. Evaluation stays on one thread, so the fuel is a thread's.

use super::Failed;
use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, operators};
use cel::common::types::{LIST_TYPE, MAP_TYPE};
use cel::common::value::CowVal;
use cel::{DeclarationError, Env, ExecutionError};
use std::cell::Cell;

/// About 70 ms of nested loops at worst; an ordinary mapping takes less than a hundred.
pub(super) const FUEL: i64 = 100_000;
/// How many elements `in` compares for the price of one turn of a loop.
const SCANNED_PER_FUEL: i64 = 32;

const LOOP: &str = "@fuel";
const SCAN: &str = "@scan";

thread_local!(static LEFT: Cell<i64> = const { Cell::new(0) });

/// Runs an evaluation on a full tank. `a || b` forgives an error in `a`, so the gauge has the last word.
pub(super) fn metered<T>(evaluation: impl FnOnce() -> Result<T, Failed>) -> Result<T, Failed> {
    LEFT.set(FUEL);
    let result = evaluation();
    if LEFT.get() < 0 { Err(Failed::OutOfFuel) } else { result }
}

pub(super) fn spend(amount: i64) -> Result<(), ExecutionError> {
    let left = LEFT.get().saturating_sub(amount);
    LEFT.set(left);
    if left < 0 { Err(ExecutionError::function_error("fuel", "spent")) } else { Ok(()) }
}

pub(super) fn declare(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_overload(LOOP, "loop_list", vec![LIST_TYPE], charge_loop)?;
    env.add_overload(LOOP, "loop_map", vec![MAP_TYPE], charge_loop)?;
    env.add_overload(SCAN, "scan_list", vec![LIST_TYPE], charge_scan)?;
    env.add_overload(SCAN, "scan_map", vec![MAP_TYPE], charge_scan)
}

fn charge_loop<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    charge(args, 1)
}

fn charge_scan<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    charge(args, SCANNED_PER_FUEL)
}

/// Hands its argument back.
fn charge<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>, per_fuel: i64) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let elements = args.pop().ok_or_else(ExecutionError::missing_argument_or_target)?;
    let size = elements.as_sizer().map_or(0, |sizer| *sizer.size().inner());
    spend((size / per_fuel).saturating_add(1))?;
    Ok(elements)
}

pub(super) fn meter(expression: &mut IdedExpr) {
    match &mut expression.expr {
        Expr::Call(call) => {
            call.target.iter_mut().for_each(|target| meter(target));
            call.args.iter_mut().for_each(meter);
            if let (operators::IN, [_, searched]) = (call.func_name.as_str(), call.args.as_mut_slice()) {
                wrap(searched, SCAN);
            }
        }
        Expr::Comprehension(comprehension) => {
            let parts = &mut **comprehension;
            for part in [&mut parts.iter_range, &mut parts.accu_init, &mut parts.loop_cond, &mut parts.loop_step, &mut parts.result] {
                meter(part);
            }
            wrap(&mut parts.iter_range, LOOP);
        }
        Expr::List(list) => list.elements.iter_mut().for_each(meter),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                match &mut entry.expr {
                    EntryExpr::MapEntry(entry) => {
                        meter(&mut entry.key);
                        meter(&mut entry.value);
                    }
                    EntryExpr::StructField(field) => meter(&mut field.value),
                }
            }
        }
        Expr::Select(select) => meter(&mut select.operand),
        Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => {}
    }
}

/// The iteration itself stays as the parser made it, for the crate recognises it and builds lists in place.
fn wrap(expression: &mut IdedExpr, function: &str) {
    let inner = std::mem::take(expression);
    let id = inner.id;
    *expression = IdedExpr { id, expr: Expr::Call(CallExpr { func_name: function.to_owned(), target: None, args: vec![inner] }) };
}
