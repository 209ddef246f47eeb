//! A bound on the work of an evaluation: the CEL crate has none, and three nested loops over a long list take
//! seconds.
//!
//! [`super::rewrite`] lets everything a loop runs over, and everything `in` searches, pass through the
//! functions here. Evaluation stays on one thread, so the fuel is a thread's.

use super::Failed;
use cel::common::types::{LIST_TYPE, MAP_TYPE};
use cel::common::value::CowVal;
use cel::{DeclarationError, Env, ExecutionError};
use std::cell::Cell;

/// About 70 ms of nested loops at worst; an ordinary mapping takes less than a hundred.
pub(super) const FUEL: i64 = 100_000;
/// How many elements `in` compares for the price of one turn of a loop.
const SCANNED_PER_FUEL: i64 = 32;

pub(super) const LOOP: &str = "@fuel";
pub(super) const SCAN: &str = "@scan";

thread_local!(static LEFT: Cell<i64> = const { Cell::new(0) });

/// Runs an evaluation on a full tank. `a || b` forgives an error in `a`, so the gauge has the last word.
pub(super) fn metered<T>(evaluation: impl FnOnce() -> Result<T, Failed>) -> Result<T, Failed> {
    LEFT.set(FUEL);
    let result = evaluation();
    if LEFT.get() < 0 {
        Err(Failed::OutOfFuel)
    } else {
        result
    }
}

pub(super) fn spend(amount: i64) -> Result<(), ExecutionError> {
    let left = LEFT.get().saturating_sub(amount);
    LEFT.set(left);
    if left < 0 {
        Err(ExecutionError::function_error("fuel", "spent"))
    } else {
        Ok(())
    }
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
    let elements = args
        .pop()
        .ok_or_else(ExecutionError::missing_argument_or_target)?;
    let size = elements.as_sizer().map_or(0, |sizer| *sizer.size().inner());
    spend((size / per_fuel).saturating_add(1))?;
    Ok(elements)
}
