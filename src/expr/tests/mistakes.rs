//! Mistakes in expressions are found when they are loaded, and the messages say where and what to write.

use super::*;

#[test]
fn t_4_1_to_4_and_6_expressions_that_are_known_to_be_wrong_are_rejected() {
    let unknown = |name: &str| Invalid::UnknownVariable {
        name: name.into(),
        known: VARIABLES.map(str::to_owned).to_vec(),
    };
    let no_function = |name: &str, meant| Invalid::UnknownFunction {
        name: name.into(),
        meant,
    };
    let no_var = |name: &str| Invalid::UnknownVar {
        name: name.into(),
        known: vec!["team".into()],
    };
    let arguments = |name: &str, least, most, found| Invalid::Arguments {
        name: name.into(),
        least,
        most,
        found,
    };
    let literal = |function: &str, text: &str| Invalid::Literal {
        function: function.into(),
        text: text.into(),
    };
    let style = |name: &str, member| Invalid::CallStyle {
        name: name.into(),
        member,
    };
    for (source, expected) in [
        ("claim.sub", unknown("claim")),
        (".claims.sub", unknown(".claims")),
        ("claims.groups.exists(g, g == h)", unknown("h")),
        ("claims.groups.exists(g, true) && g == 'a'", unknown("g")),
        ("vars.teem", no_var("teem")),
        ("has(vars.teem)", no_var("teem")),
        ("vars['teem']", no_var("teem")),
        ("vars.?teem.orValue('')", no_var("teem")),
        ("nofn(claims.sub)", no_function("nofn", None)),
        (
            "claims.sub.lowerASCII()",
            no_function("lowerASCII", Some("lowerAscii")),
        ),
        (
            "claims.groups.Exists(g, true)",
            no_function("Exists", Some("exists")),
        ),
        ("claims.groups.map(g)", Invalid::MacroStyle { name: "map".into() }),
        ("lists.range(9)", unknown("lists")),
        ("sets.union([1], [2])", no_function("sets.union", None)),
        ("startsWith(claims.sub, 'a')", style("startsWith", true)),
        ("claims.sub.string()", style("string", false)),
        ("claims.sub.startsWith()", arguments("startsWith", 1, 1, 0)),
        (
            "sets.contains(claims.groups)",
            arguments("sets.contains", 2, 2, 1),
        ),
        (
            "timestamp('yesterday') < timestamp(claims.exp)",
            literal("timestamp", "yesterday"),
        ),
        (
            "duration('1 hour') > duration('1h')",
            literal("duration", "1 hour"),
        ),
        ("int('x') == 1", literal("int", "x")),
        (
            "Message{a: 1}",
            Invalid::Message {
                name: "Message".into(),
            },
        ),
        (
            "claims.groups.map(a, claims.groups.map(b, claims.groups.map(c, c)))",
            Invalid::NestedLoops,
        ),
    ] {
        assert_eq!(compiled(source, Kind::Any).map(|_| ()), Err(expected), "{source}");
    }
    assert!(matches!(
        compiled("claims.sub.matches('(unclosed')", Kind::Bool),
        Err(Invalid::Regex { .. })
    ));
    assert!(matches!(
        compiled("claims.sub.matches('((a{1,100}){1,100}){1,100}')", Kind::Bool),
        Err(Invalid::Regex { .. })
    ));
}

#[test]
fn t_4_5_a_wrong_kind_that_is_known_at_load_is_rejected() {
    use {Kind as K, Type as T};
    for (source, expected, found) in [
        ("size(claims.sub)", K::Text, T::Int),
        ("claims.exp + 1", K::Text, T::Int),
        ("['a']", K::Text, T::List),
        ("claims.?email", K::Text, T::Optional),
        ("has(claims.email)", K::Text, T::Bool),
        ("claims.x == 'a' ? 1 : 2", K::Text, T::Int),
        ("claims", K::Text, T::Map),
        ("'x'", K::Bool, T::Text),
        ("claims.sub + 'x'", K::Bool, T::Text),
        ("claims.groups.filter(g, true)", K::Bool, T::List),
        ("null", K::Bool, T::Null),
        ("claims.sub.lowerAscii()", K::TextList, T::Text),
        ("claims.groups.exists(g, true)", K::TextList, T::Bool),
        ("claims.groups.exists_one(g, true)", K::TextList, T::Bool),
        ("['a', 1]", K::TextList, T::OtherList),
        ("claims.groups + [true]", K::TextList, T::OtherList),
        ("{'a': 1}", K::TextList, T::Map),
    ] {
        assert_eq!(
            compiled(source, expected).map(|_| ()),
            Err(Invalid::Kind { expected, found }),
            "{source}"
        );
    }
    for (source, kind) in [
        ("claims.sub", K::Text),
        ("claims.sub + 'x'", K::Text),
        ("claims.?sub.orValue('')", K::Text),
        ("claims.a ? 'x' : claims.sub", K::Text),
        ("claims.a ? 'x' : 1", K::Text),
        ("claims.email_verified", K::Bool),
        ("claims.email_verified == true", K::Bool),
        ("claims.groups", K::TextList),
        ("claims.groups + ['x']", K::TextList),
        ("claims.groups.map(g, g)", K::TextList),
        ("claims.sub.split('/')", K::TextList),
        ("claims.groups.map(claims, claims)", K::TextList),
        ("timestamp(claims.exp) - timestamp(claims.iat)", K::Any),
    ] {
        assert!(
            compiled(source, kind).is_ok(),
            "{source}: {:?}",
            compiled(source, kind)
        );
    }
}

/// No error has the parser's own words, which are about tokens and grammar rules.
#[test]
fn syntax_errors_name_the_place_and_the_piece() {
    use Problem as P;
    for (source, line, column, piece, problem) in [
        ("", 1, 1, "", P::EndsEarly),
        ("claims.", 1, 8, "", P::EndsEarly),
        ("claims.sub + ", 1, 14, "", P::EndsEarly),
        ("(claims.sub", 1, 12, "", P::EndsEarly),
        ("a b", 1, 3, "b", P::Leftover),
        ("claims.sub claims.iss", 1, 12, "claims", P::Unexpected),
        ("claims.sub)", 1, 11, ")", P::Leftover),
        ("claims.sub ==\n  && true", 2, 3, "&", P::Unexpected),
        ("claims.groups[,]", 1, 15, ",", P::Unexpected),
        ("claims.a = 'b'", 1, 10, "=", P::Equals),
        ("claims.a and true", 1, 10, "and", P::Word),
        ("[1,,2]", 1, 4, ",", P::Unexpected),
        ("claims.`a b", 1, 8, "`", P::Backquote),
        ("claims.in", 1, 8, "in", P::Reserved),
        ("if", 1, 1, "if", P::Reserved),
        ("'a", 1, 1, "'a", P::Quote),
        ("claims.sub.matches('\\d+')", 1, 20, "'\\d+')", P::Quote),
        ("@fuel([1])", 1, 1, "@", P::Character),
        ("`claims`.sub", 1, 1, "`", P::Backquote),
        ("9223372036854775808", 1, 1, "9223372036854775808", P::Number),
        ("claims.groups.map(1, 2)", 1, 19, "1", P::LoopVariable),
        ("has(claims)", 1, 5, "claims", P::Has),
    ] {
        let Err(Invalid::Syntax(found)) = compiled(source, Kind::Any) else {
            panic!("{source:?}")
        };
        assert_eq!(
            found,
            Syntax {
                line,
                column,
                piece: piece.to_owned(),
                problem
            },
            "{source:?}"
        );
    }
    let deep = compiled(&format!("{}1{}", "(".repeat(200), ")".repeat(200)), Kind::Any)
        .unwrap_err()
        .to_string();
    assert!(deep.contains("move parts into variables"), "{deep}");
}

#[test]
fn errors_say_what_to_write() {
    for (source, kind, expected) in [
        (
            "claim.sub",
            Kind::Any,
            "there is no variable `claim` here; the variables are claims, vars, credential",
        ),
        (
            "vars.x",
            Kind::Any,
            "`vars.x` is not defined before this expression; the defined variables are team",
        ),
        (
            "claims.sub.lowerASCII()",
            Kind::Any,
            "there is no function `lowerASCII`; write `lowerAscii`",
        ),
        (
            "size(claims.sub)",
            Kind::Text,
            "expected a string, but this always yields an int",
        ),
        (
            "startsWith(claims.sub, 'a')",
            Kind::Bool,
            "`startsWith` is not called like this: write x.startsWith(..)",
        ),
        (
            "claims.sub == ",
            Kind::Bool,
            "this is not valid CEL: line 1, column 15, at the end: something is missing here: a value, or a closing bracket",
        ),
        (
            "claims.sub.matches('a(')",
            Kind::Bool,
            "the pattern \"a(\" in matches() is not a regular expression of RE2: unclosed group",
        ),
    ] {
        assert_eq!(compiled(source, kind).unwrap_err().to_string(), expected);
    }
}
