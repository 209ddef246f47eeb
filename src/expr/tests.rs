//! What zot's users write, what they mistype, and what hostile claims try. `t_4_5` is the fifth check of
//! expressions in the project's list of rules for tokens.

use super::*;
use serde_json::{Value as Json, json};

mod bounds;

const VARIABLES: [&str; 3] = ["claims", "vars", "credential"];

fn object(value: Json) -> Map<String, Json> {
    match value {
        Json::Object(object) => object,
        other => panic!("no object: {other}"),
    }
}

fn claims() -> Map<String, Json> {
    object(json!({
        "iss": "https://i", "sub": "repo:org/app:ref:refs/heads/main", "aud": ["zot"], "exp": 1_893_456_000_u64, "n": 1, "f": 1.5,
        "big": 18_446_744_073_709_551_615_u64, "email": "Ann@Example.org", "email_verified": true, "nul": null,
        "groups": ["a", "x-dev", "x-ops"], "none": [], "nested": [1, [2, 3]],
        "kubernetes.io": {"namespace": "ns1", "serviceaccount": {"name": "builder"}},
        "secret": "hunter2", "pattern": "^h.*2$",
    }))
}

fn compiled(source: &str, kind: Kind) -> Result<Program, Invalid> {
    compile(
        source,
        kind,
        &VARIABLES,
        Some(&BTreeSet::from(["team".to_owned()])),
    )
}

/// Evaluates with the claims above and `vars.team`.
fn with_claims<T>(
    source: &str,
    kind: Kind,
    evaluate: impl FnOnce(&Program, &Scope<'_>) -> Result<T, Failed>,
) -> Result<T, Failed> {
    let claims = claims();
    let vars = object(json!({"team": "core"}));
    let program = compiled(source, kind).unwrap_or_else(|error| panic!("{source}: {error}"));
    evaluate(
        &program,
        &Scope::new().with("claims", &claims).with("vars", &vars),
    )
}

fn value(source: &str) -> Result<Json, Failed> {
    with_claims(source, Kind::Any, |program, scope| {
        program.evaluate(scope, |value| Ok(to_json(&value)))
    })
}

/// Values that JSON cannot express are shown as text.
fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(truth) => (*truth).into(),
        Value::Int(integer) => (*integer).into(),
        Value::UInt(integer) => (*integer).into(),
        Value::Float(double) => (*double).into(),
        Value::String(text) => text.as_str().into(),
        Value::Timestamp(time) => time.to_rfc3339().into(),
        Value::List(elements) => elements.iter().map(to_json).collect(),
        Value::Map(map) => map
            .map
            .iter()
            .map(|(key, value)| (key.to_string(), to_json(value)))
            .collect(),
        other => format!("{other:?}").into(),
    }
}

#[test]
fn what_users_of_zot_write() {
    for (source, expected) in [
        (
            "claims.iss + '/' + claims.sub",
            json!("https://i/repo:org/app:ref:refs/heads/main"),
        ),
        ("claims['kubernetes.io'].serviceaccount.name", json!("builder")),
        (
            "'system:serviceaccount:' + claims['kubernetes.io'].namespace",
            json!("system:serviceaccount:ns1"),
        ),
        ("vars.team + '/x'", json!("core/x")),
        ("has(vars.team) && vars['team'] == 'core'", json!(true)),
        // strings
        ("claims.email.split('@')[0].lowerAscii()", json!("ann")),
        ("claims.email.replace('Ann', 'Bob').substring(0, 3)", json!("Bob")),
        ("claims.groups.join(',')", json!("a,x-dev,x-ops")),
        ("'%s-%d'.format([claims.iss, claims.n])", json!("https://i-1")),
        ("strings.quote('a')", json!("\"a\"")),
        (
            "claims.sub.matches('^repo:org/[^:]+:ref:refs/heads/(main|release-.*)$')",
            json!(true),
        ),
        ("matches(claims.sub, 'nothing')", json!(false)),
        ("claims.secret.matches(claims.pattern)", json!(true)),
        // lists and macros
        (
            "claims.groups.filter(g, g.startsWith('x-')).map(g, 'oidc:' + g.substring(2))",
            json!(["oidc:dev", "oidc:ops"]),
        ),
        (
            "claims.groups.map(g, g != 'a', g + '!')",
            json!(["x-dev!", "x-ops!"]),
        ),
        (
            "claims.groups.exists(g, g == 'a') && claims.groups.all(g, size(g) > 0)",
            json!(true),
        ),
        (
            "claims.groups.exists_one(g, g == 'a') && claims.groups.existsOne(g, g == 'a')",
            json!(true),
        ),
        (
            "'a' in claims.groups && !('b' in claims.groups) && 'iss' in claims",
            json!(true),
        ),
        (
            "claims.groups.exists(g, claims.groups.exists(h, h == g))",
            json!(true),
        ),
        ("claims.groups.first().orValue('')", json!("a")),
        ("claims.groups.last().orValue('')", json!("x-ops")),
        ("claims.none.first().orValue('empty')", json!("empty")),
        (
            "[claims.?email, claims.?missing].unwrapOpt()",
            json!(["Ann@Example.org"]),
        ),
        (
            "optional.unwrap([claims.?missing, optional.of('x')])",
            json!(["x"]),
        ),
        // sets
        ("sets.contains(claims.groups, ['a'])", json!(true)),
        ("sets.contains(claims.groups, ['q'])", json!(false)),
        ("sets.intersects(claims.groups, ['q', 'a'])", json!(true)),
        ("sets.equivalent([1, 2], [2, 1, 1])", json!(true)),
        // encoders
        ("base64.encode(b'hello')", json!("aGVsbG8=")),
        ("string(base64.decode('aGVsbG8='))", json!("hello")),
        // optional values
        ("claims.?missing.orValue('')", json!("")),
        ("claims.?missing.deeper.orValue('z')", json!("z")),
        ("claims[?'email'].hasValue()", json!(true)),
        (
            "claims.?email.optMap(e, e.upperAscii()).orValue('')",
            json!("ANN@EXAMPLE.ORG"),
        ),
        ("[?claims.?missing, 'x']", json!(["x"])),
        // integers are ints
        ("claims.exp + 1", json!(1_893_456_001)),
        ("-claims.n", json!(-1)),
        ("claims.n == 1 && claims.n == 1.0 && claims.n < 1.5", json!(true)),
        ("string(claims.exp)", json!("1893456000")),
        ("timestamp(claims.exp).getFullYear()", json!(2030)),
        (
            "timestamp('2030-01-01T00:00:00Z') + duration('1h')",
            json!("2030-01-01T01:00:00+00:00"),
        ),
        ("claims.f + 0.5", json!(2.0)),
        ("claims.big > 1.0", json!(true)),
        // the rest
        ("has(claims.missing) ? 'a' : 'b'", json!("b")),
        ("claims.nul == null && has(claims.nul)", json!(true)),
        ("type(claims.sub) == string", json!(true)),
        ("true || claims.missing == 'x'", json!(true)),
        ("claims.missing == 'x' || true", json!(true)),
        (
            "{'a': claims.n, 'b': [true, null]}",
            json!({"a": 1, "b": [true, null]}),
        ),
        ("[claims].map(claims, claims.n)", json!([1])),
    ] {
        assert_eq!(value(source), Ok(expected), "{source}");
    }
    assert_eq!(
        value("claims"),
        Ok(Json::Object(object(json!(claims())))
            .pointer("")
            .cloned()
            .map(with_double)
            .unwrap())
    );
}

/// The one number above that is not an `int`.
fn with_double(mut value: Json) -> Json {
    value["big"] = json!(18_446_744_073_709_551_615_u64 as f64);
    value
}

#[test]
fn t_4_1_to_4_and_6_what_is_known_to_be_wrong_is_refused() {
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
fn names_are_open_where_the_caller_says_so() {
    assert!(compile("vars.anything", Kind::Any, &["vars"], None).is_ok());
    assert!(compile("claims.sub", Kind::Any, &["vars"], None).is_err());
}

#[test]
fn t_4_5_a_wrong_kind_is_refused_when_known() {
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

#[test]
fn t_4_5_a_wrong_kind_fails_when_it_shows() {
    let kind = |expected, found: &str| Failed::Kind {
        expected,
        found: found.to_owned(),
    };
    assert_eq!(
        with_claims("claims.n", Kind::Text, Program::text),
        Err(kind(Kind::Text, "int"))
    );
    assert_eq!(
        with_claims("claims.nul", Kind::Text, Program::text),
        Err(kind(Kind::Text, "null"))
    );
    assert_eq!(
        with_claims("claims.sub", Kind::Bool, Program::truth),
        Err(kind(Kind::Bool, "string"))
    );
    assert_eq!(
        with_claims("claims.sub", Kind::TextList, Program::texts),
        Err(kind(Kind::TextList, "string"))
    );
    assert_eq!(
        with_claims("claims.nested", Kind::TextList, Program::texts),
        Err(Failed::Element {
            found: "int".to_owned()
        })
    );
    assert_eq!(
        with_claims("claims.f", Kind::Text, Program::text),
        Err(kind(Kind::Text, "double"))
    );
    assert_eq!(
        with_claims("dyn(claims.?email)", Kind::Text, Program::text),
        Err(kind(Kind::Text, "optional"))
    );
    assert_eq!(
        with_claims("claims.?missing", Kind::TextList, Program::texts),
        Err(Failed::Nothing)
    );
    assert_eq!(
        with_claims("[claims.?missing]", Kind::TextList, Program::texts),
        Err(Failed::Nothing)
    );
    assert_eq!(
        with_claims("claims.sub", Kind::Text, Program::text),
        Ok("repo:org/app:ref:refs/heads/main".to_owned())
    );
    assert_eq!(
        with_claims("claims.email_verified", Kind::Bool, Program::truth),
        Ok(true)
    );
    assert_eq!(
        with_claims("claims.none", Kind::TextList, Program::texts),
        Ok(vec![])
    );
    assert_eq!(
        with_claims("claims.aud", Kind::TextList, Program::texts),
        Ok(vec!["zot".to_owned()])
    );
}

#[test]
fn groups_may_come_as_optionals() {
    for (source, expected) in [
        ("claims.?groups", vec!["a", "x-dev", "x-ops"]),
        (
            "[claims.?email, claims.groups.first()]",
            vec!["Ann@Example.org", "a"],
        ),
        (
            "claims.groups.map(g, optional.of(g))",
            vec!["a", "x-dev", "x-ops"],
        ),
    ] {
        assert_eq!(
            with_claims(source, Kind::TextList, Program::texts),
            Ok(expected.iter().map(ToString::to_string).collect()),
            "{source}"
        );
    }
}

#[test]
fn expressions_that_work_in_zot_but_not_in_the_crate_alone() {
    for (source, expected) in [
        ("claims.`kubernetes.io`.`namespace`", json!("ns1")),
        ("claims.?`kubernetes.io`.namespace.orValue('')", json!("ns1")),
        ("has(claims.`kubernetes.io`) && !has(claims.`a-b`)", json!(true)),
        ("{'a-b': 1}.`a-b`", json!(1)),
        (
            "has(claims.email.x) || has(claims.n.x) || has(claims.f.x) || has(claims.nul.x) || has(claims.email_verified.x)",
            json!(false),
        ),
        ("timestamp('2030-01-01T01:00:00+01:00').getHours()", json!(0)),
        (
            "timestamp('2030-01-01T01:00:00+01:00').getHours('+01:00')",
            json!(1),
        ),
        ("duration('90m').getHours()", json!(1)),
        ("'é'.matches('[\\\\w]')", json!(false)),
    ] {
        assert_eq!(value(source), Ok(expected), "{source}");
    }
}

/// The result of `then` where `vars.v` is the result of `variable`.
fn through_a_variable(variable: &str, then: &str) -> Result<Json, Failed> {
    let claims = claims();
    let known = BTreeSet::from(["v".to_owned()]);
    let scope = Scope::new().with("claims", &claims);
    let mut vars = Vars::default();
    vars.insert(
        "v",
        compiled(variable, Kind::Any)
            .unwrap()
            .value(&scope.clone().with_vars(&vars))?,
    );
    let program =
        compile(then, Kind::Any, &VARIABLES, Some(&known)).unwrap_or_else(|why| panic!("{then}: {why}"));
    program.evaluate(&scope.with_vars(&vars), |value| Ok(to_json(&value)))
}

#[test]
fn a_variable_holds_a_value_of_any_type() {
    for (variable, then, expected) in [
        (
            "b'abc'",
            "vars.v == b'abc' && base64.encode(vars.v) == 'YWJj' && type(vars.v) == bytes",
            json!(true),
        ),
        (
            "duration('1h')",
            "vars.v + duration('30m') == duration('90m') && vars.v - vars.v == duration('0s')",
            json!(true),
        ),
        (
            "timestamp('2030-01-01T00:00:00Z')",
            "(vars.v - duration('1h')).getFullYear()",
            json!(2029),
        ),
        (
            "timestamp(claims.exp) - timestamp('2030-01-01T00:00:00Z')",
            "vars.v < duration('1h')",
            json!(true),
        ),
        ("1u", "vars.v + 1u == 2u && type(vars.v) == uint", json!(true)),
        ("1.0 / 0.0", "vars.v > 1.0", json!(true)),
        ("{1: 'a', true: 'b'}", "vars.v[1] + vars.v[true]", json!("ab")),
        (
            "[b'a', duration('1s')]",
            "vars.v[0] == b'a' && vars.v[1] == duration('1s')",
            json!(true),
        ),
        // An optional becomes its value or null. A type becomes its name.
        ("claims.?email", "vars.v + '!'", json!("Ann@Example.org!")),
        ("claims.?missing", "vars.v == null", json!(true)),
        ("claims.groups.first()", "vars.v", json!("a")),
        ("claims.groups.last()", "vars.v", json!("x-ops")),
        ("type(claims.sub)", "vars.v", json!("string")),
        (
            "[claims.?email, claims.?missing]",
            "vars.v.unwrapOpt()",
            json!(["Ann@Example.org"]),
        ),
        ("claims", "vars.v.sub == claims.sub", json!(true)),
    ] {
        assert_eq!(
            through_a_variable(variable, then),
            Ok(expected),
            "{variable}, {then}"
        );
    }
}

#[test]
fn failures_say_what_failed_and_no_claim() {
    let operands = |operation: &str, operands: &str| Failed::Operands {
        operation: operation.into(),
        operands: operands.into(),
    };
    let missing = |key: &str| Failed::Missing {
        key: Some(key.into()),
    };
    for (source, expected) in [
        ("claims.missing", missing("missing")),
        ("claims['missing']", missing("missing")),
        ("has(claims.missing.deeper)", missing("missing")),
        ("claims[claims.secret]", Failed::Missing { key: None }),
        ("claims.secret + 1", operands("+", "string, int")),
        ("claims.secret < 1", operands("<", "string, int")),
        ("claims.secret.size() / 0", Failed::Arithmetic),
        ("9223372036854775807 + claims.n", Failed::Arithmetic),
        ("claims.groups[9]", Failed::Index),
        (
            "claims.secret.substring(5, 8000)",
            Failed::Function {
                function: "substring".into(),
            },
        ),
        (
            "int(claims.secret)",
            Failed::Function {
                function: "int".into(),
            },
        ),
        ("claims.secret.map(c, c)", operands("a loop", "string")),
        ("'h' in claims.secret", operands("in", "string, string")),
        (
            "claims.secret.matches(claims.secret + '(')",
            Failed::Function {
                function: "matches".into(),
            },
        ),
        ("claims.nul.x", operands("._", "null_type, string")),
        ("string(claims.nul)", operands("string", "null_type")),
        (
            "[claims.secret].unwrapOpt()",
            Failed::Function {
                function: "unwrapOpt".into(),
            },
        ),
        (
            "credential.type",
            Failed::Undeclared {
                name: "credential".into(),
            },
        ),
    ] {
        let failed = value(source);
        assert_eq!(failed, Err(expected), "{source}");
        let display = failed.as_ref().unwrap_err().to_string();
        let debug = format!("{failed:?}");
        assert!(
            !display.contains("hunter2") && !debug.contains("hunter2"),
            "{source}: {display} {debug}"
        );
    }
}

#[test]
fn long_chains_do_not_end_the_process() {
    for (source, expected) in [
        (vec!["1"; 500].join("+"), Invalid::TooDeep),
        (vec!["1"; 500].join("=="), Invalid::TooDeep),
        (format!("claims{}", "[0]".repeat(600)), Invalid::TooDeep),
        (format!("claims{}", ".a".repeat(900)), Invalid::TooDeep),
        (format!("claims{}", ".trim()".repeat(280)), Invalid::TooDeep),
        (
            format!("claims.a == '{}'", "x".repeat(SOURCE_BYTES)),
            Invalid::TooLong {
                bytes: SOURCE_BYTES + 14,
            },
        ),
        ("(".repeat(80_000), Invalid::TooLong { bytes: 80_000 }),
    ] {
        assert_eq!(
            compiled(&source, Kind::Any).map(|_| ()),
            Err(expected),
            "{source:.40}"
        );
    }
    for source in [
        "(".repeat(2000),
        "[".repeat(2000),
        "!".repeat(2000),
        "-".repeat(2000),
        "{1:".repeat(600),
        "f(".repeat(1000),
    ] {
        assert!(compiled(&source, Kind::Any).is_err(), "{source:.40}");
    }
    assert_eq!(value(&vec!["1"; 100].join("+")), Ok(json!(100)));
    assert_eq!(value(&format!("'a'{}", ".trim()".repeat(99))), Ok(json!("a")));
    assert_eq!(
        value(&format!("{}1{} != []", "[".repeat(90), "]".repeat(90))),
        Ok(json!(true))
    );
    assert_eq!(
        value(&format!("{}2{}", "true ? (".repeat(45), ") : 1".repeat(45))),
        Ok(json!(2))
    );
    assert_eq!(value(&vec!["true"; 300].join("&&")), Ok(json!(true)));
    assert_eq!(
        compiled(
            &format!("claims.a =={}1", " ".repeat(SOURCE_BYTES - 12)),
            Kind::Bool
        )
        .map(|_| ()),
        Ok(())
    );
}

#[test]
fn programs_are_shared_between_threads() {
    fn shared<T: Clone + Send + Sync + fmt::Debug>(_: &T) {}
    let program = compiled("claims.sub", Kind::Text).unwrap();
    shared(&program);
    assert_eq!(format!("{program:?}"), "Program(\"claims.sub\")");
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
