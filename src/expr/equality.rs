//! `==`, `!=` and `in`, with the results of the CEL crate's own. When the crate compares a number with a
//! list, it copies the list into an error that it then drops, and that copy is not charged to the fuel.

use super::strings::type_names;
use cel::common::ast::operators;
use cel::common::types::{CelBool, CelList, CelMap, CelOptional, DYN_TYPE, Kind};
use cel::common::value::{CowVal, Val};
use cel::{DeclarationError, Env, ExecutionError};

const EQUAL: &str = "@equal";
const DIFFERENT: &str = "@different";
const WITHIN: &str = "@within";

/// The name under which the operator is declared here. No source can contain it.
pub(super) fn metered(operator: &str) -> Option<&'static str> {
    match operator {
        operators::EQUALS => Some(EQUAL),
        operators::NOT_EQUALS => Some(DIFFERENT),
        operators::IN => Some(WITHIN),
        _ => None,
    }
}

pub(super) fn declare(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_overload(EQUAL, "equal_dyn", vec![DYN_TYPE, DYN_TYPE], |args| {
        let [left, right] = two(&args)?;
        Ok(truth(same(left.as_ref(), right.as_ref())))
    })?;
    env.add_overload(DIFFERENT, "different_dyn", vec![DYN_TYPE, DYN_TYPE], |args| {
        let [left, right] = two(&args)?;
        Ok(truth(!same(left.as_ref(), right.as_ref())))
    })?;
    env.add_overload(WITHIN, "within_dyn", vec![DYN_TYPE, DYN_TYPE], |args| {
        within(&args)
    })
}

fn two<'x, 'b, 'v>(args: &'x [CowVal<'b, 'v>]) -> Result<&'x [CowVal<'b, 'v>; 2], ExecutionError> {
    args.try_into()
        .map_err(|_| ExecutionError::missing_argument_or_target())
}

fn truth<'b, 'v>(truth: bool) -> CowVal<'b, 'v> {
    CowVal::owned(CelBool::from(truth))
}

fn within<'b, 'v>(args: &[CowVal<'b, 'v>]) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [searched, container] = two(args)?;
    let found = if let Some(list) = container.downcast_ref::<CelList<'v>>() {
        Ok(list.iter().any(|one| same(one.as_ref(), searched.as_ref())))
    } else {
        let fail = || ExecutionError::no_such_overload(operators::IN, type_names(args));
        let keys = container.as_container().ok_or_else(fail)?;
        keys.contains(searched.as_ref()).map_err(|_| fail())
    };
    found.map(truth)
}

/// Whether two values are equal. Only numbers equal values of another kind.
pub(super) fn same<'l, 'r>(left: &(dyn Val + 'l), right: &(dyn Val + 'r)) -> bool {
    if let (Some(left), Some(right)) = (
        left.downcast_ref::<CelList<'l>>(),
        right.downcast_ref::<CelList<'r>>(),
    ) {
        let mut pairs = left.iter().zip(right.iter());
        return left.len() == right.len() && pairs.all(|(left, right)| same(left.as_ref(), right.as_ref()));
    }
    if let (Some(left), Some(right)) = (
        left.downcast_ref::<CelMap<'l>>(),
        right.downcast_ref::<CelMap<'r>>(),
    ) {
        return left.len() == right.len()
            && left
                .iter()
                .all(|(key, value)| has(right, key.inner(), value.as_ref()));
    }
    if let (Some(left), Some(right)) = (
        left.downcast_ref::<CelOptional<'l>>(),
        right.downcast_ref::<CelOptional<'r>>(),
    ) {
        return match (left.option(), right.option()) {
            (Some(left), Some(right)) => same(left, right),
            (left, right) => left.is_none() && right.is_none(),
        };
    }
    let kinds = [left.get_type().kind(), right.get_type().kind()];
    let [of_left, of_right] = kinds;
    let numbers = kinds
        .iter()
        .all(|kind| matches!(kind, Kind::Int | Kind::UInt | Kind::Double));
    (numbers || of_left == of_right) && left.equals(right)
}

/// Whether the map has that value for the key. As keys, `1` and `1u` are the same.
fn has<'r>(map: &CelMap<'r>, key: &dyn Val, value: &dyn Val) -> bool {
    let found: Option<CowVal<'_, 'r>> = map.as_indexer().and_then(|map| map.get(key).ok());
    found.is_some_and(|found| same(value, found.as_ref()))
}
