//! The functions: CEL's standard library, and the extensions that zot adds: strings, encoders, sets, and the
//! list functions for optional values.

use super::{equality, fuel, regexes, rewrite, strings};
use cel::common::types::{CelBool, CelList, CelOptional, CelString, LIST_TYPE};
use cel::common::value::{CowVal, Val};
use cel::{DeclarationError, Env, ExecutionError, extensions};
use std::sync::{Arc, LazyLock};

static SHARED: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    for extension in [
        extensions::strings,
        extensions::encoders,
        lists,
        sets,
        matching,
        fuel::declare,
        equality::declare,
        strings::declare,
        rewrite::declare,
    ] {
        #[expect(
            clippy::expect_used,
            reason = "the declarations are constants, and the first test would fail"
        )]
        env.add_extension(extension).expect("no two declarations collide");
    }
    Arc::new(env)
});

/// One environment for all evaluations, since building one takes longer than most evaluations.
pub(super) fn shared() -> &'static Arc<Env> {
    &SHARED
}

fn matching(env: &mut Env) -> Result<(), DeclarationError> {
    use regexes::matches;
    cel::add_member_overload!(env, fn matches: (CelString, CelString) -> Result<CelBool>)?;
    cel::add_overload!(env, fn matches: (CelString, CelString) -> Result<CelBool>, name = "matches", id = "matches")
}

fn sets(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_overload(
        "sets.contains",
        "list_sets_contains_list",
        vec![LIST_TYPE, LIST_TYPE],
        |args| of_two_lists(&args, |left, right| holds_all(left, right)),
    )?;
    env.add_overload(
        "sets.equivalent",
        "list_sets_equivalent_list",
        vec![LIST_TYPE, LIST_TYPE],
        |args| {
            of_two_lists(&args, |left, right| {
                holds_all(left, right) && holds_all(right, left)
            })
        },
    )?;
    env.add_overload(
        "sets.intersects",
        "list_sets_intersects_list",
        vec![LIST_TYPE, LIST_TYPE],
        |args| {
            of_two_lists(&args, |left, right| {
                right.iter().any(|element| holds(left, element))
            })
        },
    )
}

type Elements<'v> = [Box<dyn Val + 'v>];

/// Pays for comparing each element of one list with all of the other.
fn of_two_lists<'b, 'v>(
    args: &[CowVal<'b, 'v>],
    relation: impl FnOnce(&Elements<'v>, &Elements<'v>) -> bool,
) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [left, right] = args else {
        return Err(ExecutionError::missing_argument_or_target());
    };
    let of_left = fuel::pay(left.as_ref(), fuel::READ)?;
    let of_right = fuel::pay(right.as_ref(), fuel::READ)?;
    let left = elements(left)?;
    let right = elements(right)?;
    let one_by_one = [(left.len(), of_right), (right.len(), of_left)]
        .map(|(turns, all)| all.saturating_mul(i64::try_from(turns).unwrap_or(i64::MAX)));
    fuel::spend(one_by_one.into_iter().min().unwrap_or(0))?;
    Ok(CowVal::owned(CelBool::from(relation(left, right))))
}

fn holds_all(left: &Elements<'_>, right: &Elements<'_>) -> bool {
    right.iter().all(|element| holds(left, element))
}

#[expect(clippy::borrowed_box, reason = "what a list's iterator yields")]
fn holds<'v>(list: &Elements<'v>, element: &Box<dyn Val + 'v>) -> bool {
    list.iter()
        .any(|one| equality::same(one.as_ref(), element.as_ref()))
}

fn lists(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_member_overload("first", "list_first", LIST_TYPE, vec![], |args| {
        of_list(&args, |list| optional(list.first()))
    })?;
    env.add_member_overload("last", "list_last", LIST_TYPE, vec![], |args| {
        of_list(&args, |list| optional(list.last()))
    })?;
    env.add_member_overload("unwrapOpt", "list_unwrap_opt", LIST_TYPE, vec![], |args| {
        of_list(&args, unwrap)
    })?;
    env.add_overload("optional.unwrap", "optional_unwrap", vec![LIST_TYPE], |args| {
        of_list(&args, unwrap)
    })
}

fn of_list<'b, 'v>(
    args: &[CowVal<'b, 'v>],
    function: impl FnOnce(&Elements<'v>) -> Result<CowVal<'b, 'v>, ExecutionError>,
) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [list] = args else {
        return Err(ExecutionError::missing_argument_or_target());
    };
    function(elements(list)?)
}

#[expect(clippy::borrowed_box, reason = "what a list's ends are")]
fn optional<'b, 'v>(element: Option<&Box<dyn Val + 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    element.map_or(Ok(0), |element| fuel::pay(element.as_ref(), fuel::KEEP))?;
    Ok(CowVal::owned(element.map_or_else(CelOptional::none, |element| {
        CelOptional::of(element.clone_as_boxed())
    })))
}

/// The values of the optionals that are not empty.
fn unwrap<'b, 'v>(list: &Elements<'v>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let mut values = Vec::new();
    for element in list {
        let optional = element.downcast_ref::<CelOptional<'v>>();
        let optional = optional
            .ok_or_else(|| ExecutionError::function_error("unwrapOpt", "an element is not an optional"))?;
        values.extend(optional.option().map(|value| value.clone_as_boxed()));
    }
    Ok(CowVal::owned(CelList::from(values)))
}

fn elements<'x, 'v>(list: &'x CowVal<'_, 'v>) -> Result<&'x Elements<'v>, ExecutionError> {
    let list = list.downcast_ref::<CelList<'v>>();
    Ok(list
        .ok_or_else(|| ExecutionError::function_error("list", "not a list"))?
        .inner())
}
