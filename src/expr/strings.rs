//! Functions whose result or work can be much larger than their arguments. The CEL crate builds the result
//! first; these pay first. They return what the crate's functions return, but `indexOf` and `lastIndexOf`
//! search in linear time.

use super::fuel::{self, KEEP, READ};
use cel::common::types::{CelInt, CelList, CelString, DYN_TYPE, LIST_TYPE, STRING_TYPE};
use cel::common::value::{CowVal, Val};
use cel::{DeclarationError, Env, ExecutionError};

/// `a + b`.
pub(super) const ADD: &str = "@add";

/// The name of the metered version of a function. No source can spell it.
pub(super) fn metered(function: &str) -> Option<&'static str> {
    match function {
        "replace" => Some("@replace"),
        "join" => Some("@join"),
        "split" => Some("@split"),
        "indexOf" => Some("@indexOf"),
        "lastIndexOf" => Some("@lastIndexOf"),
        _ => None,
    }
}

pub(super) fn declare(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_overload(ADD, "add_dyn", vec![DYN_TYPE, DYN_TYPE], |args| add(&args))?;
    env.add_member_overload("@join", "join", LIST_TYPE, vec![], |args| join(&args))?;
    env.add_member_overload("@join", "join_with", LIST_TYPE, vec![STRING_TYPE], |args| {
        join(&args)
    })?;
    cel::add_member_overload!(env, fn replace: (CelString, CelString, CelString) -> Result<CelString>, name = "@replace")?;
    cel::add_member_overload!(env, fn replace_some: (CelString, CelString, CelString, CelInt) -> Result<CelString>, name = "@replace")?;
    cel::add_member_overload!(env, fn split: (CelString, CelString) -> Result<CelList>, name = "@split")?;
    cel::add_member_overload!(env, fn split_some: (CelString, CelString, CelInt) -> Result<CelList>, name = "@split")?;
    cel::add_member_overload!(env, fn index_of: (CelString, CelString) -> Result<CelInt>, name = "@indexOf")?;
    cel::add_member_overload!(env, fn index_from: (CelString, CelString, CelInt) -> Result<CelInt>, name = "@indexOf")?;
    cel::add_member_overload!(env, fn last_index_of: (CelString, CelString) -> Result<CelInt>, name = "@lastIndexOf")?;
    cel::add_member_overload!(env, fn last_index_to: (CelString, CelString, CelInt) -> Result<CelInt>, name = "@lastIndexOf")
}

fn add<'b, 'v>(args: &[CowVal<'b, 'v>]) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [left, right] = args else {
        return Err(ExecutionError::missing_argument_or_target());
    };
    fuel::pay(left.as_ref(), KEEP)?;
    fuel::pay(right.as_ref(), KEEP)?;
    let adder = left
        .as_adder()
        .ok_or_else(|| ExecutionError::no_such_overload("add", type_names(args)))?;
    Ok(CowVal::Owned(adder.add(right.as_ref())?.into_owned()))
}

pub(super) fn type_names(args: &[CowVal<'_, '_>]) -> Vec<String> {
    args.iter()
        .map(|value| value.get_type().name().to_owned())
        .collect()
}

fn join<'b, 'v>(args: &[CowVal<'b, 'v>]) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let (list, separator) = match args {
        [list] => (list, ""),
        [list, separator] => (
            list,
            separator
                .downcast_ref::<CelString<'v>>()
                .map_or("", CelString::inner),
        ),
        _ => return Err(ExecutionError::missing_argument_or_target()),
    };
    let list = list
        .downcast_ref::<CelList<'v>>()
        .ok_or_else(ExecutionError::missing_argument_or_target)?;
    fuel::spend_each(list.len(), 1)?;
    let texts: Option<Vec<&str>> = list
        .iter()
        .map(|text| text.downcast_ref::<CelString<'v>>().map(CelString::inner))
        .collect();
    let texts = texts.ok_or_else(|| ExecutionError::function_error("join", "an element is not a string"))?;
    let separators = separator.len().saturating_mul(texts.len().saturating_sub(1));
    fuel::spend_text(
        texts
            .iter()
            .map(|text| text.len())
            .fold(separators, usize::saturating_add),
        KEEP,
    )?;
    Ok(CowVal::owned(CelString::from(texts.join(separator))))
}

fn replace(
    text: &CelString<'_>,
    from: &CelString<'_>,
    to: &CelString<'_>,
) -> Result<CelString<'static>, ExecutionError> {
    replace_some(text, from, to, &CelInt::from(-1))
}

fn replace_some(
    text: &CelString<'_>,
    from: &CelString<'_>,
    to: &CelString<'_>,
    most: &CelInt,
) -> Result<CelString<'static>, ExecutionError> {
    fuel::spend_text(text.len(), KEEP)?;
    let most = at_most(most);
    let found = text.matches(from.inner()).take(most).count();
    fuel::spend_text(found.saturating_mul(to.len()), KEEP)?;
    Ok(text.replacen(from.inner(), to.inner(), most).into())
}

fn split(text: &CelString<'_>, separator: &CelString<'_>) -> Result<CelList<'static>, ExecutionError> {
    split_some(text, separator, &CelInt::from(-1))
}

fn split_some(
    text: &CelString<'_>,
    separator: &CelString<'_>,
    most: &CelInt,
) -> Result<CelList<'static>, ExecutionError> {
    fuel::spend_text(text.len(), KEEP)?;
    let most = at_most(most);
    let parts = if separator.is_empty() {
        text.chars().count()
    } else {
        text.matches(separator.inner()).count().saturating_add(1)
    };
    fuel::spend_each(parts.min(most), 32)?;
    let parts: Vec<&str> = match most {
        0 => vec![],
        most if separator.is_empty() => characters(text, most),
        most => text.splitn(most, separator.inner()).collect(),
    };
    let parts = parts
        .into_iter()
        .map(|part| Box::new(CelString::from(part.to_owned())) as Box<dyn Val>);
    Ok(CelList::from(parts.collect::<Vec<_>>()))
}

/// Splits into single characters. The last part is the rest.
fn characters(text: &str, most: usize) -> Vec<&str> {
    let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).take(most).collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts
        .iter()
        .zip(ends)
        .filter_map(|(start, end)| text.get(*start..end))
        .collect()
}

/// A negative number means no limit.
fn at_most(most: &CelInt) -> usize {
    usize::try_from(*most.inner()).unwrap_or(usize::MAX)
}

fn index_of(text: &CelString<'_>, searched: &CelString<'_>) -> Result<CelInt, ExecutionError> {
    search(text, searched)?;
    Ok(position(text, text.find(searched.inner())))
}

fn index_from(
    text: &CelString<'_>,
    searched: &CelString<'_>,
    offset: &CelInt,
) -> Result<CelInt, ExecutionError> {
    search(text, searched)?;
    let Some(start) = start("indexOf", text, searched, offset)? else {
        return Ok(text_end(text, offset));
    };
    let found = text.get(start..).and_then(|rest| rest.find(searched.inner()));
    Ok(position(text, found.map(|at| start.saturating_add(at))))
}

fn last_index_of(text: &CelString<'_>, searched: &CelString<'_>) -> Result<CelInt, ExecutionError> {
    search(text, searched)?;
    Ok(position(text, text.rfind(searched.inner())))
}

/// The last match that begins at the offset or before it.
fn last_index_to(
    text: &CelString<'_>,
    searched: &CelString<'_>,
    offset: &CelInt,
) -> Result<CelInt, ExecutionError> {
    search(text, searched)?;
    let Some(start) = start("lastIndexOf", text, searched, offset)? else {
        return Ok(text_end(text, offset));
    };
    let rest = text.get(start..).unwrap_or_default();
    let end = start.saturating_add(byte_of(rest, searched.chars().count()).unwrap_or(rest.len()));
    Ok(position(
        text,
        text.get(..end).and_then(|text| text.rfind(searched.inner())),
    ))
}

fn search(text: &str, searched: &str) -> Result<(), ExecutionError> {
    fuel::spend_text(text.len(), KEEP)?;
    fuel::spend_text(searched.len(), READ)
}

/// The byte offset of the character at `offset`. `None` if the searched text is empty, which matches at once.
fn start(
    function: &str,
    text: &str,
    searched: &str,
    offset: &CelInt,
) -> Result<Option<usize>, ExecutionError> {
    let outside = || ExecutionError::function_error(function, "the offset is outside the text");
    let offset = usize::try_from(*offset.inner()).map_err(|_| outside())?;
    if searched.is_empty() {
        Ok(None)
    } else {
        byte_of(text, offset).map(Some).ok_or_else(outside)
    }
}

fn byte_of(text: &str, character: usize) -> Option<usize> {
    text.char_indices().nth(character).map(|(at, _)| at)
}

/// The index of the character that begins at that byte, or -1.
fn position(text: &str, byte: Option<usize>) -> CelInt {
    let before = byte
        .and_then(|byte| text.get(..byte))
        .map(|before| before.chars().count());
    before
        .and_then(|count| i64::try_from(count).ok())
        .unwrap_or(-1)
        .into()
}

fn text_end(text: &str, offset: &CelInt) -> CelInt {
    (*offset.inner())
        .min(i64::try_from(text.chars().count()).unwrap_or(i64::MAX))
        .into()
}
