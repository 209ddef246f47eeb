//! Bounds the work and the memory of an evaluation. The CEL crate has no such bound, and the author of a
//! credential chooses how large its claims are.
//!
//! Work is paid for before it is done. [`super::rewrite`] passes everything that an expression reads, builds
//! and keeps through the functions here. Functions whose work depends on the size of more than one argument
//! pay themselves. An evaluation stays on one thread, so the fuel is thread-local.

use cel::common::types::{
    BOOL_TYPE, CelBytes, CelDouble, CelInt, CelList, CelMap, CelOptional, CelString, DYN_TYPE, INT_TYPE,
    Kind, LIST_TYPE, MAP_TYPE,
};
use cel::common::value::{CowVal, Val};
use cel::{DeclarationError, Env, ExecutionError, Value};
use std::cell::Cell;

/// One unit is about 20 ns of work or 4 bytes of a new value. An ordinary mapping uses a few thousand.
pub(super) const TANK: i64 = 3_200_000;
/// The price of one iteration of a loop with a short body.
const TURN: i64 = 32;
/// The price of each part of a longer body, per iteration.
const PART: i64 = 4;
/// The price of a clause of `format`.
const CLAUSE: i64 = 50;
/// The price of `%f` and `%e`, which may write 400 exact digits.
const DIGITS: i64 = 1000;

/// The price of a value: a fixed number of units, and one unit for so many bytes of text.
#[derive(Clone, Copy)]
pub(super) struct Price {
    value: i64,
    bytes: usize,
}

/// The price of comparing or searching a value.
pub(super) const READ: Price = Price { value: 1, bytes: 64 };
/// The price of building or copying a value. It allows 13 MB of text or 100,000 elements.
pub(super) const KEEP: Price = Price { value: 32, bytes: 4 };

pub(super) const LOOP: &str = "@loop";
pub(super) const READS: &str = "@read";
pub(super) const KEEPS: &str = "@keep";
pub(super) const GLANCES: &str = "@glance";
pub(super) const INDEX: &str = "@index";
pub(super) const CLAUSES: &str = "@clauses";
pub(super) const GOES_ON: &str = "@goes_on";

thread_local!(static LEFT: Cell<i64> = const { Cell::new(0) });

/// Runs an evaluation on a full tank. `None` if the tank ran dry: `a || b` ignores an error in `a`, so the
/// evaluation may have continued after that.
pub(super) fn metered<T>(evaluation: impl FnOnce() -> T) -> Option<T> {
    LEFT.set(TANK);
    let result = evaluation();
    (LEFT.get() >= 0).then_some(result)
}

pub(super) fn spend(units: i64) -> Result<(), ExecutionError> {
    let left = LEFT.get().saturating_sub(units);
    LEFT.set(left);
    if left < 0 {
        Err(ExecutionError::function_error("fuel", "spent"))
    } else {
        Ok(())
    }
}

/// Pays `units` for each of `count` things.
pub(super) fn spend_each(count: usize, units: i64) -> Result<(), ExecutionError> {
    spend(i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(units))
}

/// Pays for text of so many bytes.
pub(super) fn spend_text(bytes: usize, price: Price) -> Result<(), ExecutionError> {
    let for_bytes = bytes
        .checked_div(price.bytes)
        .and_then(|units| i64::try_from(units).ok());
    spend(for_bytes.unwrap_or(i64::MAX).saturating_add(price.value))
}

/// Pays for a value and everything in it, and returns the sum. Stops when the fuel runs out.
pub(super) fn pay<'v>(value: &(dyn Val + 'v), price: Price) -> Result<i64, ExecutionError> {
    let before = LEFT.get();
    walk(value, price)?;
    Ok(before.saturating_sub(LEFT.get()))
}

fn walk<'v>(value: &(dyn Val + 'v), price: Price) -> Result<(), ExecutionError> {
    let bytes = match value.get_type().kind() {
        Kind::String => value.downcast_ref::<CelString<'v>>().map_or(0, |text| text.len()),
        Kind::Bytes => value
            .downcast_ref::<CelBytes<'v>>()
            .map_or(0, |bytes| bytes.len()),
        _ => 0,
    };
    spend_text(bytes, price)?;
    if let Some(list) = value.downcast_ref::<CelList<'v>>() {
        return list.iter().try_for_each(|element| walk(element.as_ref(), price));
    }
    if let Some(map) = value.downcast_ref::<CelMap<'v>>() {
        return map.iter().try_for_each(|(key, value)| {
            walk(key.inner(), price)?;
            walk(value.as_ref(), price)
        });
    }
    value
        .downcast_ref::<CelOptional<'v>>()
        .and_then(CelOptional::option)
        .map_or(Ok(()), |held| walk(held, price))
}

pub(super) fn declare(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_overload(LOOP, "loop_list", vec![LIST_TYPE, INT_TYPE], turns)?;
    env.add_overload(LOOP, "loop_map", vec![MAP_TYPE, INT_TYPE], turns)?;
    env.add_overload(READS, "read_dyn", vec![DYN_TYPE], |args| {
        of_one(args, |value| pay(value, READ).map(drop))
    })?;
    env.add_overload(KEEPS, "keep_dyn", vec![DYN_TYPE], |args| {
        of_one(args, |value| pay(value, KEEP).map(drop))
    })?;
    env.add_overload(GLANCES, "glance_dyn", vec![DYN_TYPE], |args| of_one(args, glance))?;
    env.add_overload(CLAUSES, "clauses_dyn", vec![DYN_TYPE], |args| {
        of_one(args, clauses)
    })?;
    env.add_overload(GOES_ON, "goes_on_bool", vec![BOOL_TYPE], |args| {
        of_one(args, |_| spend(0))
    })?;
    env.add_overload(INDEX, "index_dyn", vec![DYN_TYPE], |args| of_one(args, index))
}

/// Pays for the argument and returns it.
fn of_one<'b, 'v>(
    mut args: Vec<CowVal<'b, 'v>>,
    pay: impl FnOnce(&(dyn Val + 'v)) -> Result<(), ExecutionError>,
) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let value = args
        .pop()
        .ok_or_else(ExecutionError::missing_argument_or_target)?;
    pay(value.as_ref())?;
    Ok(value)
}

/// Pays for all iterations of a loop over the first argument. The second argument is the number of parts of
/// its body. Each iteration copies its element.
fn turns<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let parts = args
        .pop()
        .and_then(|parts| parts.downcast_ref::<CelInt>().map(|parts| *parts.inner()))
        .unwrap_or(0);
    of_one(args, |elements| {
        pay(elements, READ)?;
        let turns = elements.as_sizer().map_or(0, |sizer| *sizer.size().inner());
        spend(turns.saturating_mul(parts.saturating_mul(PART).max(TURN)))
    })
}

/// Pays for reading a value's size or fields: a text is read in full, and a value from an optional's field is
/// copied. Other values cost nothing here.
fn glance(value: &(dyn Val + '_)) -> Result<(), ExecutionError> {
    match value.get_type().kind() {
        Kind::List | Kind::Map => spend(1),
        Kind::String | Kind::Bytes => pay(value, READ).map(drop),
        _ => pay(value, KEEP).map(drop),
    }
}

/// Pays for an index. The crate copies an index that it rejects into its error, and for a fractional number
/// it copies the whole list, so that case fails here.
fn index(value: &(dyn Val + '_)) -> Result<(), ExecutionError> {
    pay(value, READ)?;
    match value.downcast_ref::<CelDouble>().map(|number| *number.inner()) {
        Some(fraction) if fraction.fract() != 0.0 => Err(ExecutionError::UnsupportedIndex(
            Value::Float(fraction),
            Value::List(Vec::new().into()),
        )),
        _ => Ok(()),
    }
}

/// Pays for the clauses of a text for `format`.
fn clauses(format: &(dyn Val + '_)) -> Result<(), ExecutionError> {
    let format = format.downcast_ref::<CelString<'_>>();
    let clauses = format.map_or("", CelString::inner).split('%').skip(1);
    spend(clauses.fold(0, |units: i64, clause| {
        let conversion = clause.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
        units.saturating_add(if conversion.starts_with(['e', 'f']) {
            DIGITS
        } else {
            CLAUSE
        })
    }))
}

/// The fuel left after the last evaluation on this thread. Negative if it ran out.
#[cfg(test)]
pub(super) fn left() -> i64 {
    LEFT.get()
}
