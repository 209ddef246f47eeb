//! Expressions that users of zot write, and the values that they yield.

use super::*;

#[test]
fn expressions_of_zots_users_have_the_same_value() {
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
fn expressions_that_work_in_zot_but_not_in_the_plain_crate() {
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
