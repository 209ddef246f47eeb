//! The bounds on the cost of an expression, for any claims.

use super::*;
use crate::expr::fuel::{self, TANK};

fn out_of_fuel(source: &str) -> Failed {
    Failed::OutOfFuel {
        expression: source.into(),
    }
}

/// Each variable could double the one before it.
#[test]
fn variables_cannot_outgrow_the_fuel() {
    let claims = object(json!({"s": "x".repeat(32 * 1024)}));
    let scope = Scope::new().with("claims", &claims);
    let double = |sum: &str| compiled(sum, Kind::Any).unwrap();
    let mut vars = Vars::default();
    vars.insert("team", double("claims.s").value(&scope).unwrap());
    let failed =
        (0..20).find_map(
            |_| match double("vars.team + vars.team").value(&scope.clone().with_vars(&vars)) {
                Ok(value) => {
                    vars.insert("team", value);
                    None
                }
                Err(why) => Some(why),
            },
        );
    assert_eq!(failed, Some(out_of_fuel("vars.team + vars.team")));
}

#[test]
fn fuel_stops_what_loops_too_long() {
    let groups: Vec<String> = (0..1000).map(|n| format!("g{n}")).collect();
    let claims =
        object(json!({"g": groups, "patterns": (0..100).map(|n| format!("^{n}")).collect::<Vec<_>>()}));
    let scope = Scope::new().with("claims", &claims);
    for (source, enough) in [
        ("claims.g.exists(a, a == 'x')", true),
        ("claims.g.map(a, a + 'x').size() == 1000", true),
        ("claims.g.exists(a, claims.g.exists(b, b == 'x'))", false),
        // `||` ignores errors, but not this one.
        ("claims.g.exists(a, claims.g.exists(b, b == 'x')) || true", false),
        ("claims.g.all(a, a in claims.g)", true),
        (
            "claims.g.all(a, claims.g.first().hasValue() && claims.g.last().hasValue())",
            true,
        ),
        (
            "claims.g.exists(a, claims.g.exists(b, b == 'x')) ? true : true",
            false,
        ),
        ("sets.contains(claims.g, claims.g)", true),
        ("claims.g.exists(a, !sets.contains(claims.g, claims.g))", false),
        ("claims.patterns.exists(p, 'x'.matches(p))", false),
    ] {
        let result = compiled(source, Kind::Bool).unwrap().truth(&scope);
        assert_eq!(result.err(), (!enough).then(|| out_of_fuel(source)), "{source}");
    }
    assert_eq!(
        value("claims.n"),
        Ok(json!(1)),
        "the next evaluation has a full tank"
    );
}

/// The result of an expression on these claims, and the fuel that is left.
fn spend(source: &str, claims: &Map<String, Json>) -> (Result<Json, Failed>, i64) {
    let scope = Scope::new().with("claims", claims);
    let result = compiled(source, Kind::Any).unwrap_or_else(|why| panic!("{source}: {why}"));
    let result = result.evaluate(&scope, |value| Ok(to_json(&value)));
    (result, fuel::left())
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("g{n:03}")).collect()
}

/// All of these claims fit into a token. Without the bound some took minutes or gigabytes.
#[test]
fn no_claims_of_a_token_cause_more_work_than_the_fuel_allows() {
    let text =
        |bytes: usize, groups: usize| object(json!({"sub": "a".repeat(bytes), "groups": names(groups)}));
    let list = |elements: usize, groups: usize| {
        object(json!({"d": vec![1; elements], "n": 0.5, "groups": names(groups)}))
    };
    for (source, claims) in [
        (
            "claims.groups.map(g, claims.groups)",
            object(json!({"groups": vec!["a"; 6000]})),
        ),
        (
            "claims.groups.map(g, [claims.groups])",
            object(json!({"groups": vec!["a"; 6000]})),
        ),
        ("claims.groups.map(g, {g: claims.groups})", text(10, 1000)),
        (
            "claims.groups.map(a, claims.groups.map(b, claims.sub + b))",
            text(11_000, 316),
        ),
        (
            "claims.groups.map(a, claims.groups.map(b, claims.groups))",
            text(10, 300),
        ),
        (
            "claims.groups.exists(g, claims.groups.exists(h, claims.sub.reverse() == g + h))",
            text(20_000, 300),
        ),
        (
            "claims.groups.exists(g, claims.groups.exists(h, claims.sub.lowerAscii() == g + h))",
            text(20_000, 300),
        ),
        (
            "claims.groups.exists(g, claims.groups.exists(h, strings.quote(claims.sub) == g + h))",
            text(20_000, 300),
        ),
        (
            "claims.groups.exists(g, claims.groups.exists(h, base64.encode(bytes(claims.sub)) == g + h))",
            text(20_000, 300),
        ),
        (
            "claims.groups.exists(g, claims.groups.exists(h, claims.sub.contains(g + h)))",
            text(20_000, 300),
        ),
        (
            "claims.groups.exists(g, claims.groups.exists(h, size(claims.sub) == size(h)))",
            text(20_000, 300),
        ),
        (
            "claims.groups.exists(g, claims.groups.exists(h, claims.sub.matches('b$')))",
            text(20_000, 300),
        ),
        (
            "claims.groups.exists(g, claims.groups.exists(h, '%s'.format([claims.d]) == h + g))",
            list(5000, 300),
        ),
        (
            "claims.groups.exists(g, claims.groups.exists(h, claims.d == claims.d && g == h + g))",
            list(5000, 300),
        ),
        // Each of these copies the list.
        (
            "claims.groups.exists(g, claims.groups.exists(h, claims.?d.orValue([]).size() == 0))",
            list(5000, 300),
        ),
        (
            "claims.groups.exists(g, claims.?d.hasValue() && g == g + g)",
            list(5000, 1000),
        ),
        (
            "claims.groups.exists(g, claims.groups.exists(h, optional.of(claims.d).orValue([]).size() == 0))",
            list(5000, 300),
        ),
        (
            "claims.groups.exists(g, claims.groups.exists(h, [claims.d].first().value().size() == 0))",
            list(5000, 300),
        ),
        (
            "claims.groups.exists(g, claims.groups.exists(h, optional.of(1).optMap(v, claims.d).value().size() == 0))",
            list(5000, 300),
        ),
        (
            "claims.groups.exists(g, [optional.of(claims)].exists(o, o.d.hasValue() && g == g + 'x'))",
            list(9000, 1000),
        ),
        (
            "[optional.of(claims)].exists(o, claims.groups.exists(g, o['d'].hasValue() && g == 'x'))",
            list(11_000, 300),
        ),
        // These fail, and the error copies the list.
        (
            "claims.groups.exists(g, claims.groups.exists(h, claims.d[claims.n] == 1))",
            list(11_000, 300),
        ),
        (
            "claims.groups.exists(g, claims.groups.exists(h, claims.d + h == g))",
            list(11_000, 300),
        ),
        (
            "claims.groups.exists(g, claims.groups.exists(h, claims.d - 1 == g))",
            list(11_000, 300),
        ),
        (
            "claims.groups.exists(g, claims.groups.exists(h, claims.d < 1))",
            list(11_000, 300),
        ),
        // These take long for each byte or each digit.
        (
            "claims.groups.exists(g, duration(claims.sub) == duration('1s'))",
            object(json!({"sub": "1h".repeat(10_000), "groups": names(1000)})),
        ),
        (
            "claims.groups.exists(g, timestamp(claims.sub) == timestamp(1))",
            object(
                json!({"sub": format!("2026-01-01T00:00:00.{}Z", "0".repeat(20_000)), "groups": names(1000)}),
            ),
        ),
        (
            "claims.groups.exists(g, '%.100f %.99e %f %e'.format([1e300, 1e300, 1e300, 1e300]) == g)",
            text(10, 1000),
        ),
    ] {
        let (result, left) = spend(source, &claims);
        assert!(
            matches!(result, Err(Failed::OutOfFuel { .. })),
            "{source}: {result:?}"
        );
        // The cost of a value is charged step by step, and the enclosing loops end too, so nothing ran after
        // the first step that was too much.
        assert!(left > -TANK / 10, "{source} continued to {left}");
    }
    let claims = list(11_000, 300);
    let scope = Scope::new().with("claims", &claims);
    let mut vars = Vars::default();
    let held = compiled("[optional.of(claims)]", Kind::Any).unwrap();
    vars.insert("team", held.value(&scope).unwrap());
    let source = "claims.groups.exists(g, vars.team[0]['d'].hasValue() && g == 'x')";
    let indexed = compiled(source, Kind::Bool).unwrap();
    assert_eq!(indexed.truth(&scope.with_vars(&vars)), Err(out_of_fuel(source)));
    let doubled = format!("optional.of(claims.sub){}", ".optMap(a, a + a)".repeat(60));
    let (result, _) = spend(&doubled, &text(100, 0));
    assert!(matches!(result, Err(Failed::OutOfFuel { .. })), "{result:?}");
}

/// Each of these took hours, when a number that met a list copied it.
#[test]
fn values_of_unlike_kinds_are_not_copied_to_be_compared() {
    let claims = object(json!({
        "d": vec![1; 500_000], "m": {"d": vec![1; 500_000]}, "nested": [vec![1; 500_000]], "ones": vec![[1]; 100_000], "groups": names(200),
    }));
    for source in [
        "claims.d in claims.d",
        "claims.nested in claims.ones",
        "sets.contains(claims.d, claims.nested)",
        "sets.intersects(claims.ones, claims.nested)",
        "claims.groups.exists(g, claims.groups.exists(h, 1 == claims.d))",
        "claims.groups.exists(g, claims.groups.exists(h, claims.d in [1, 2]))",
        "claims.groups.exists(g, claims.groups.exists(h, {'d': 1} == claims.m))",
        "claims.groups.exists(g, claims.groups.exists(h, !(1 != claims.m)))",
    ] {
        assert_eq!(spend(source, &claims).0, Ok(json!(false)), "{source}");
    }
}

/// 9 KB of `\pL` took twelve seconds.
#[test]
fn a_pattern_from_a_claim_must_be_short_and_costs_much_fuel() {
    let claims = object(json!({"short": "a".repeat(128), "long": "a".repeat(129)}));
    let (result, left) = spend("'b'.matches(claims.short)", &claims);
    assert_eq!(result, Ok(json!(false)));
    assert!(left < TANK / 3, "{left}");
    let failed = Failed::Function {
        function: "matches".to_owned(),
    };
    assert_eq!(spend("'b'.matches(claims.long)", &claims).0, Err(failed));
    let written = format!("'a'.matches('{}')", "a".repeat(129));
    assert_eq!(spend(&written, &claims).0, Ok(json!(false)));
}

/// The results would not fit into any memory.
#[test]
fn functions_that_multiply_text_are_charged_before_they_build_it() {
    let claims =
        object(json!({"text": "a".repeat(8_000_000), "list": vec!["a"; 60_000], "sub": "a".repeat(12_000)}));
    for source in [
        "claims.text.replace('a', claims.text)",
        "claims.text.replace('', claims.text, 7000000)",
        "claims.list.join(claims.text)",
        "claims.sub.replace('', claims.sub)",
        "claims.sub.split('').join(claims.sub)",
        "claims.sub.replace('a', claims.sub.replace('a', claims.sub))",
        "claims.text.split('')",
        "claims.text + claims.text",
    ] {
        let (result, _) = spend(source, &claims);
        assert_eq!(
            result,
            Err(Failed::OutOfFuel {
                expression: source.into()
            }),
            "{source}"
        );
    }
}

#[test]
fn ordinary_expressions_take_a_small_part_of_the_fuel() {
    let claims = object(json!({
        "iss": "https://token.example.org", "sub": format!("project_path:my-group/{}", "a".repeat(200)), "exp": 1_893_456_000, "iat": 1_893_455_000,
        "groups": (0..1000).map(|n| format!("registry-{n:032}")).collect::<Vec<_>>(), "email": "Ann@example.org",
        "kubernetes.io": {"namespace": "prod", "serviceaccount": {"name": "builder"}},
    }));
    for (source, percent) in [
        ("claims.iss + '/' + claims.sub", 1),
        (
            "claims['kubernetes.io'].namespace + ':' + claims.`kubernetes.io`.serviceaccount.name",
            1,
        ),
        ("claims.?email_verified.orValue(false) == true", 1),
        ("claims.sub.matches('^project_path:my-group/[a-z-]+:')", 1),
        ("claims.email.split('@')[0].lowerAscii()", 1),
        (
            "timestamp(claims.exp) - timestamp(claims.iat) <= duration('1h') + duration('5m')",
            1,
        ),
        ("sets.intersects(claims.groups, ['admins', 'operators'])", 1),
        ("claims.groups.first().orValue('none')", 1),
        ("'admins' in claims.groups", 1),
        ("claims.groups.join(',')", 1),
        ("claims.groups + ['all']", 3),
        ("claims.?groups.orValue([])", 3),
        ("claims.groups.filter(g, g.startsWith('registry-'))", 5),
        ("claims.groups.map(g, 'oidc:' + g.substring(9))", 15),
        ("claims.groups.map(g, claims.sub + '/' + g)", 15),
        (
            "claims.groups.filter(g, g.matches('^registry-[0-9a-f]{32}$')).map(g, g.replace('registry-', ''))",
            25,
        ),
        (
            "claims.groups.exists(g, ['admins', 'operators', 'builders'].exists(p, g.startsWith(p)))",
            15,
        ),
        ("claims.groups.all(g, g in claims.groups)", 40),
    ] {
        let (result, left) = spend(source, &claims);
        assert!(result.is_ok(), "{source}: {result:?}");
        assert!(
            (TANK - left) * 100 <= TANK * percent,
            "{source} takes {}%",
            (TANK - left) * 100 / TANK
        );
    }
}

#[test]
fn the_error_for_too_much_work_names_the_expression_and_what_to_do() {
    let why = out_of_fuel("claims.groups.map(g, claims.groups)").to_string();
    assert!(
        why.starts_with("`claims.groups.map(g, claims.groups)` is too much work on claims of this size"),
        "{why}"
    );
    assert!(
        why.ends_with("check first, as in size(claims.groups) <= 100"),
        "{why}"
    );
    let Failed::OutOfFuel { expression } = Failed::out_of_fuel(&"é".repeat(1000)) else {
        panic!()
    };
    assert_eq!(expression, format!("{}..", "é".repeat(100)));
}

/// Compares with the crate's own functions on the tree as parsed.
#[test]
fn metered_functions_return_what_those_of_the_crate_return() {
    let texts = ["", "a", "aa", "abcabc", "ta©o©αT", "bananananana", "éé"];
    let parts = ["", "a", "b", "nana", "©", "©α", "abcabcabc", "é"];
    let mut sources = vec![
        "['a', 'b'].join()".to_owned(),
        "['a', 'b'].join('/')".to_owned(),
        "[].join('/')".to_owned(),
    ];
    for (text, part) in texts.iter().flat_map(|text| parts.map(|part| (text, part))) {
        for call in [
            "split({})",
            "indexOf({})",
            "lastIndexOf({})",
            "replace({}, 'xy')",
            "replace({}, '')",
        ] {
            sources.push(format!("'{text}'.{}", call.replace("{}", &format!("'{part}'"))));
        }
        for number in -1..8 {
            for call in [
                "split({}, #)",
                "indexOf({}, #)",
                "lastIndexOf({}, #)",
                "replace({}, 'xy', #)",
            ] {
                let call = call
                    .replace("{}", &format!("'{part}'"))
                    .replace('#', &number.to_string());
                sources.push(format!("'{text}'.{call}"));
            }
        }
    }
    let values = [
        "1",
        "2",
        "1u",
        "1.0",
        "2.5",
        "double('NaN')",
        "'a'",
        "b'a'",
        "true",
        "null",
        "type(1)",
        "[]",
        "[1]",
        "[1u]",
        "[1.0]",
        "['a']",
        "[[1]]",
        "[1, 2]",
        "[null]",
        "{}",
        "{'a': 1}",
        "{'a': 1u}",
        "{'a': [1]}",
        "{'b': 1}",
        "{1: 'a'}",
        "{1u: 'a'}",
        "{1: 'a', 2: 'a'}",
        "{true: 1}",
        "optional.none()",
        "optional.of(1)",
        "optional.of(1.0)",
        "optional.of([1])",
        "duration('1s')",
        "timestamp(1)",
    ];
    for (left, right) in values.iter().flat_map(|left| values.map(|right| (left, right))) {
        for comparison in [
            "[#][0] == [@][0]",
            "[#][0] != [@][0]",
            "[#][0] in [@][0]",
            "[#] == [@]",
            "{'x': #} != {'x': @}",
            "# in [[@], @]",
        ] {
            sources.push(comparison.replace('#', left).replace('@', right));
        }
    }
    let claims = Map::new();
    for source in sources {
        let parsed = env::shared().parser().parse(&source).unwrap();
        let expected = Value::resolve(&parsed, &Context::with_env(Arc::clone(env::shared())));
        assert_eq!(
            spend(&source, &claims).0.ok(),
            expected.ok().map(|value| to_json(&value)),
            "{source}"
        );
    }
}
