//! A mapping's expressions as text, and their properties that need no evaluation.

use crate::config::raw;

/// The expressions of one mapping.
#[derive(Default)]
pub(super) struct Expressions<'a> {
    pub(super) variables: Vec<&'a str>,
    pub(super) validations: Vec<&'a str>,
    pub(super) username: Option<&'a str>,
    pub(super) groups: Option<&'a str>,
}

impl<'a> Expressions<'a> {
    pub(super) fn of(mapping: Option<&'a raw::ClaimMapping>) -> Self {
        let Some(mapping) = mapping else {
            return Self::default();
        };
        Self {
            variables: mapping
                .variables
                .iter()
                .map(|variable| variable.expression.as_str())
                .collect(),
            validations: mapping
                .validations
                .iter()
                .map(|validation| validation.expression.as_str())
                .collect(),
            username: mapping.username.as_deref(),
            groups: mapping.groups.as_deref(),
        }
    }

    /// Each expression with its key below `claimMapping`.
    pub(super) fn all(&self) -> impl Iterator<Item = (String, &'a str)> {
        let variables = self
            .variables
            .iter()
            .enumerate()
            .map(|(i, text)| (format!("variables[{i}].expression"), *text));
        let validations = self
            .validations
            .iter()
            .enumerate()
            .map(|(i, text)| (format!("validations[{i}].expression"), *text));
        let username = self.username.map(|text| ("username".to_owned(), text));
        let groups = self.groups.map(|text| ("groups".to_owned(), text));
        variables.chain(validations).chain(username).chain(groups)
    }

    /// Whether any expression reads this claim.
    pub(super) fn read(&self, claim: &str) -> bool {
        self.all().any(|(_, text)| reads(text, claim))
    }
}

/// Whether an expression reads a claim, for example with `claims.name`, `claims.?name`, `claims['name']` or
/// `has(claims.name)`.
pub(super) fn reads(expression: &str, claim: &str) -> bool {
    let names = |byte: Option<char>| byte.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    let mut rest = expression;
    while let Some(at) = rest.find("claims") {
        rest = rest.get(at + "claims".len()..).unwrap_or_default();
        let after = rest.trim_start();
        let name = after
            .strip_prefix('.')
            .map(|after| after.trim_start_matches('?').trim_start());
        let selected = name
            .and_then(|name| name.strip_prefix(claim))
            .is_some_and(|end| !names(end.chars().next()));
        let index = after
            .strip_prefix('[')
            .map(|after| after.trim_start_matches('?').trim_start());
        let indexed = ['\'', '"'].into_iter().any(|quote| {
            let quoted = index
                .and_then(|index| index.strip_prefix(quote))
                .and_then(|name| name.strip_prefix(claim));
            quoted.is_some_and(|end| end.starts_with(quote))
        });
        if selected || indexed {
            return true;
        }
    }
    false
}

/// The quoted strings in an expression.
pub(super) fn literals(expression: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut characters = expression.chars().peekable();
    let mut raw = false;
    while let Some(character) = characters.next() {
        if character != '\'' && character != '"' {
            raw = matches!(character, 'r' | 'R');
            continue;
        }
        let mut text = String::new();
        while let Some(next) = characters.next() {
            match next {
                '\\' if !raw => text.extend(characters.next()),
                end if end == character => break,
                other => text.push(other),
            }
        }
        found.push(text);
        raw = false;
    }
    found
}

/// The value of an expression that is a quoted string or a list of them. `None` for all other expressions,
/// because they could yield other strings.
pub(super) fn constants(expression: &str) -> Option<Vec<String>> {
    let mut quote = None;
    let is_constant = expression.chars().all(|character| match (quote, character) {
        (_, '\\') => false,
        (None, '\'' | '"') => {
            quote = Some(character);
            true
        }
        (None, other) => matches!(other, '[' | ']' | ',') || other.is_whitespace(),
        (Some(open), other) => {
            quote = quote.filter(|_| other != open);
            true
        }
    });
    is_constant.then(|| literals(expression))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_read_in_each_way_to_write_it() {
        for (expression, claim, expected) in [
            ("claims.email", "email", true),
            ("claims.email_verified", "email", false),
            ("claims['email']", "email", true),
            (r#"claims["email"].split('@')[0]"#, "email", true),
            ("claims.?email.orValue('')", "email", true),
            ("claims[?'email'].orValue('')", "email", true),
            ("has(claims.email) ? claims.email : claims.sub", "email", true),
            ("claims.sub + 'email'", "email", false),
            (
                "claims.email_verified == true && claims.email != ''",
                "email",
                true,
            ),
        ] {
            assert_eq!(reads(expression, claim), expected, "{expression}");
        }
    }

    #[test]
    fn texts_in_quotes() {
        for (expression, expected) in [
            ("['ci', \"x\"] + claims.groups", &["ci", "x"][..]),
            (r"claims.sub.matches(r'^a\.b$')", &[r"^a\.b$"]),
            (r"'it\'s'", &["it's"]),
            ("claims.sub", &[]),
        ] {
            assert_eq!(literals(expression), expected, "{expression}");
        }
    }

    #[test]
    fn only_texts_in_quotes_are_constant() {
        for (expression, expected) in [
            ("'ci'", Some(&["ci"][..])),
            ("[\"a\", 'b']", Some(&["a", "b"])),
            ("[]", Some(&[])),
            ("['c' + 'i']", None),
            (r"'\x63i'", None),
            ("r'ci'", None),
            ("['ci', claims.sub]", None),
            ("vars.g", None),
        ] {
            assert_eq!(
                constants(expression),
                expected.map(|texts| texts.iter().map(|&text| text.into()).collect()),
                "{expression}"
            );
        }
    }
}
