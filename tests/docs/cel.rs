//! The table of `docs/reference/cel.md`. Our results are evaluated here; zot's were recorded from cel-go 0.31
//! with zot's options.

use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;
use wharfinger::expr::{Kind, Scope, compile};

const PAGE: &str = "docs/reference/cel.md";
const BEGIN: &str = "<!-- Made by `UPDATE_DOCS=1 cargo test --test docs`. -->\n";
const END: &str = "<!-- End. -->\n";

/// An expression on which the two differ, zot's result, and an expression that is true in both.
struct Difference(&'static str, &'static str, &'static str);

const REFUSED: &str = "refused at load";
const FAILS: &str = "fails";
const TRUE: &str = "`true`";
const FALSE: &str = "`false`";

const DIFFERENCES: &[Difference] = &[
    Difference("claims.n + 1 == 2", FAILS, "int(claims.n) + 1 == 2"),
    Difference("claims.n * 2.0 == 2.0", TRUE, "double(claims.n) * 2.0 == 2.0"),
    Difference(
        "claims.three / claims.two == 1.5",
        TRUE,
        "double(claims.three) / double(claims.two) == 1.5",
    ),
    Difference(
        "string(claims.exp) == '1893456000'",
        FALSE,
        "string(int(claims.exp)) == '1893456000'",
    ),
    Difference("type(claims.n) == double", TRUE, "double(claims.n) == 1.0"),
    Difference(
        "timestamp(claims.exp) > timestamp(0)",
        FAILS,
        "timestamp(int(claims.exp)) > timestamp(0)",
    ),
    Difference("claims.email_verified", REFUSED, "claims.email_verified == true"),
    Difference("[1, 'a'].size() == 2", REFUSED, "[dyn(1), dyn('a')].size() == 2"),
    Difference("1 == 1.0", REFUSED, "dyn(1) == 1.0"),
    Difference(
        "claims.groups.existsOne(g, g == 'a')",
        REFUSED,
        "claims.groups.exists_one(g, g == 'a')",
    ),
    Difference("credential.type == 'oidc'", REFUSED, ""),
    Difference(
        "claims.groups.all(a, claims.groups.all(b, claims.groups.all(c, true)))",
        TRUE,
        "claims.groups.all(a, claims.groups.all(b, true))",
    ),
    Difference(".claims.sub == 'ann'", TRUE, "claims.sub == 'ann'"),
    Difference(
        "type(timestamp(0)) == google.protobuf.Timestamp",
        TRUE,
        "type(timestamp(0)) == type(timestamp(1))",
    ),
    Difference("google.protobuf.Int32Value{value: 1} == 1", TRUE, "dyn(1) == 1"),
    Difference("claims.?sub.x.hasValue()", FALSE, "!claims.?sub.?x.hasValue()"),
    Difference(
        "optional.ofNonZeroValue(timestamp(0)).hasValue()",
        TRUE,
        "optional.of(timestamp(0)).hasValue()",
    ),
    Difference("{1.5: 'a'}.size() == 1", TRUE, "{'1.5': 'a'}.size() == 1"),
    Difference("{'a': 1, 'a': 2}.a == 2", TRUE, "{'a': 2}.a == 2"),
    Difference("'abc'.indexOf('a', 5) == -1", TRUE, "'abc'.indexOf('d') == -1"),
    Difference(
        "string(1e21) == '1e+21'",
        TRUE,
        "'%e'.format([1e21]) == '1.000000e+21'",
    ),
    Difference(
        "int(duration('1s')) == 1000000000",
        TRUE,
        "duration('1s').getMilliseconds() == 1000",
    ),
    Difference(
        "duration('1µs') < duration('1ms')",
        TRUE,
        "duration('1us') < duration('1ms')",
    ),
    Difference(
        "string(timestamp('2030-01-01T01:00:00+02:00')) == '2030-01-01T01:00:00+02:00'",
        TRUE,
        "timestamp('2030-01-01T01:00:00+02:00') == timestamp('2029-12-31T23:00:00Z')",
    ),
    Difference(
        "timestamp(0).getHours('Local') == 0",
        TRUE,
        "timestamp(0).getHours('UTC') == 0",
    ),
    Difference("'aa'.matches('^a(?i)*$')", TRUE, "'aa'.matches('^(?i)a*$')"),
    Difference("'a'.matches('(?)a')", TRUE, "'a'.matches('a')"),
    Difference("'A'.matches('(?ii)a')", TRUE, "'A'.matches('(?i)a')"),
    Difference(
        r"'a'.matches('^\\pL{1,100}$')",
        TRUE,
        r"'a'.matches('^\\pL{1,10}$')",
    ),
    Difference(r"'a'.matches('[^\\x{d800}]')", TRUE, "'a'.matches('.')"),
];

/// Wharfinger's result, as the table shows it.
fn verdict(expression: &str) -> &'static str {
    let claims = json!({
        "sub": "ann", "exp": 1_893_456_000, "n": 1, "two": 2, "three": 3, "email_verified": true, "groups": ["a", "b"],
    });
    let Value::Object(claims) = claims else {
        unreachable!()
    };
    let credential: Map<String, Value> = Map::from_iter([("type".to_owned(), json!("oidc"))]);
    let scope = Scope::new()
        .with("claims", &claims)
        .with("credential", &credential);
    match compile(expression, Kind::Bool, &["claims", "vars", "credential"], None)
        .map(|program| program.truth(&scope))
    {
        Err(_) => REFUSED,
        Ok(Err(_)) => FAILS,
        Ok(Ok(true)) => TRUE,
        Ok(Ok(false)) => FALSE,
    }
}

fn code(expression: &str) -> String {
    if expression.is_empty() {
        String::new()
    } else {
        format!("`{expression}`")
    }
}

#[test]
fn the_table_of_differences_from_zot_is_correct() {
    let mut table = String::from("| expression | zot | here | in both |\n|---|---|---|---|\n");
    for Difference(expression, zot, both) in DIFFERENCES {
        let here = verdict(expression);
        assert_ne!(here, *zot, "{expression} no longer differs");
        assert!(
            both.is_empty() || verdict(both) == TRUE,
            "{both} is {}",
            verdict(both)
        );
        table += &format!("| {} | {zot} | {here} | {} |\n", code(expression), code(both));
    }
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE)).unwrap();
    let (before, rest) = page
        .split_once(BEGIN)
        .expect("the page has a place for the table");
    let (_, after) = rest.split_once(END).expect("the table ends");
    super::check(PAGE, &format!("{before}{BEGIN}\n{table}\n{END}{after}"));
}
