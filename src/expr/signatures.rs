//! The functions, how they are called, and what they return. The CEL crate itself checks this only during
//! evaluation.

use std::fmt;

/// A CEL type, as far as it is known without declarations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Null,
    /// A list of strings, or of unknown elements.
    List,
    /// A list with an element that is not a string.
    OtherList,
    Map,
    Timestamp,
    Duration,
    Optional,
    Type,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "a bool",
            Self::Int => "an int",
            Self::Uint => "a uint",
            Self::Double => "a double",
            Self::Text => "a string",
            Self::Bytes => "bytes",
            Self::Null => "null",
            Self::List => "a list",
            Self::OtherList => "a list with an element that is not a string",
            Self::Map => "a map",
            Self::Timestamp => "a timestamp",
            Self::Duration => "a duration",
            Self::Optional => "an optional; get its value with orValue(..)",
            Self::Type => "a type",
        })
    }
}

/// Whether a function is called as `f(x)` or as `x.f()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Global,
    Member,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Signature {
    pub(super) name: &'static str,
    pub(super) style: Style,
    pub(super) least: usize,
    pub(super) most: usize,
    /// `None` if it depends on the arguments.
    pub(super) result: Option<Type>,
}

/// The namespaces of functions that are called as `namespace.function(..)`.
pub(super) const NAMESPACES: [&str; 4] = ["base64", "optional", "sets", "strings"];

/// Names of types, to compare with `type(x)`.
pub(super) const TYPE_NAMES: [&str; 11] = [
    "bool",
    "bytes",
    "double",
    "int",
    "list",
    "map",
    "null_type",
    "optional_type",
    "string",
    "type",
    "uint",
];

/// The parser creates these from operators and macros, always with the right number of arguments.
pub(super) const OPERATORS: [&str; 21] = [
    "_?_:_",
    "_&&_",
    "_||_",
    "!_",
    "_-_",
    "_+_",
    "_*_",
    "_/_",
    "_%_",
    "_==_",
    "_!=_",
    "_>=_",
    "_<=_",
    "_>_",
    "_<_",
    "-_",
    "_[_]",
    "_[?_]",
    "_?._",
    "@not_strictly_false",
    "@in",
];

pub(super) fn of(name: &str) -> impl Iterator<Item = &'static Signature> {
    SIGNATURES.iter().filter(move |signature| signature.name == name)
}

/// The function whose name differs from this one in case only.
pub(super) fn meant_by(name: &str) -> Option<&'static str> {
    SIGNATURES
        .iter()
        .map(|signature| signature.name)
        .chain(MACROS)
        .find(|known| known.eq_ignore_ascii_case(name))
}

/// The parser expands these, unless they are called in a wrong way.
pub(super) const MACROS: [&str; 9] = [
    "has",
    "all",
    "exists",
    "exists_one",
    "existsOne",
    "map",
    "filter",
    "optMap",
    "optFlatMap",
];

const fn global(name: &'static str, args: usize, result: Option<Type>) -> Signature {
    Signature {
        name,
        style: Style::Global,
        least: args,
        most: args,
        result,
    }
}

const fn member(name: &'static str, least: usize, most: usize, result: Option<Type>) -> Signature {
    Signature {
        name,
        style: Style::Member,
        least,
        most,
        result,
    }
}

const SIGNATURES: &[Signature] = &[
    global("bool", 1, Some(Type::Bool)),
    global("bytes", 1, Some(Type::Bytes)),
    global("double", 1, Some(Type::Double)),
    global("duration", 1, Some(Type::Duration)),
    global("dyn", 1, None),
    global("int", 1, Some(Type::Int)),
    global("matches", 2, Some(Type::Bool)),
    global("size", 1, Some(Type::Int)),
    global("string", 1, Some(Type::Text)),
    global("timestamp", 1, Some(Type::Timestamp)),
    global("type", 1, Some(Type::Type)),
    global("uint", 1, Some(Type::Uint)),
    global("base64.decode", 1, Some(Type::Bytes)),
    global("base64.encode", 1, Some(Type::Text)),
    global("optional.none", 0, Some(Type::Optional)),
    global("optional.of", 1, Some(Type::Optional)),
    global("optional.ofNonZeroValue", 1, Some(Type::Optional)),
    global("optional.unwrap", 1, Some(Type::List)),
    global("sets.contains", 2, Some(Type::Bool)),
    global("sets.equivalent", 2, Some(Type::Bool)),
    global("sets.intersects", 2, Some(Type::Bool)),
    global("strings.quote", 1, Some(Type::Text)),
    member("charAt", 1, 1, Some(Type::Text)),
    member("contains", 1, 1, Some(Type::Bool)),
    member("endsWith", 1, 1, Some(Type::Bool)),
    member("first", 0, 0, Some(Type::Optional)),
    member("format", 1, 1, Some(Type::Text)),
    member("getDate", 0, 1, Some(Type::Int)),
    member("getDayOfMonth", 0, 1, Some(Type::Int)),
    member("getDayOfWeek", 0, 1, Some(Type::Int)),
    member("getDayOfYear", 0, 1, Some(Type::Int)),
    member("getFullYear", 0, 1, Some(Type::Int)),
    member("getHours", 0, 1, Some(Type::Int)),
    member("getMilliseconds", 0, 1, Some(Type::Int)),
    member("getMinutes", 0, 1, Some(Type::Int)),
    member("getMonth", 0, 1, Some(Type::Int)),
    member("getSeconds", 0, 1, Some(Type::Int)),
    member("hasValue", 0, 0, Some(Type::Bool)),
    member("indexOf", 1, 2, Some(Type::Int)),
    member("join", 0, 1, Some(Type::Text)),
    member("last", 0, 0, Some(Type::Optional)),
    member("lastIndexOf", 1, 2, Some(Type::Int)),
    member("lowerAscii", 0, 0, Some(Type::Text)),
    member("matches", 1, 1, Some(Type::Bool)),
    member("or", 1, 1, Some(Type::Optional)),
    member("orValue", 1, 1, None),
    member("replace", 2, 3, Some(Type::Text)),
    member("reverse", 0, 0, Some(Type::Text)),
    member("size", 0, 0, Some(Type::Int)),
    member("split", 1, 2, Some(Type::List)),
    member("startsWith", 1, 1, Some(Type::Bool)),
    member("substring", 1, 2, Some(Type::Text)),
    member("trim", 0, 0, Some(Type::Text)),
    member("unwrapOpt", 0, 0, Some(Type::List)),
    member("upperAscii", 0, 0, Some(Type::Text)),
    member("value", 0, 0, None),
];
