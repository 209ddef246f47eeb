//! Expressions of zot's users, mistakes in expressions, and hostile claims. `t_4_5` is the fifth check of
//! expressions in the project's list of rules for tokens.

use super::*;
use serde_json::{Value as Json, json};

mod bounds;
mod mistakes;
mod zot;

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
fn members_are_unchecked_only_where_the_caller_says_so() {
    assert!(compile("vars.anything", Kind::Any, &["vars"], None).is_ok());
    assert!(compile("claims.sub", Kind::Any, &["vars"], None).is_err());
}

#[test]
fn t_4_5_a_wrong_kind_that_shows_at_run_time_fails() {
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
fn failures_name_the_operation_and_show_no_claim() {
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
