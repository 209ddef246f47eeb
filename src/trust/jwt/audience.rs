//! The audience of a token (RFC 7519 4.1.3): one of the configured audiences, or one of this registry's host
//! names. An audience that also names a repository, as in Flux's default, limits the token to that
//! repository.

use super::claims;
use super::rejected::Rejected;
use crate::oci::RepositoryName;
use serde_json::{Map, Value};

/// What an audience gives access to.
enum Admitted {
    Everything,
    Repository(RepositoryName),
}

fn admitted(audience: &str, expected: &[String], hosts: &[String]) -> Option<Admitted> {
    if audience.is_empty() {
        return None;
    }
    if expected.iter().any(|ours| ours == audience) {
        return Some(Admitted::Everything);
    }
    let is_host = |text: &str| hosts.iter().any(|host| host == text);
    if let Some(host) = audience.strip_prefix("https://") {
        return is_host(host).then_some(Admitted::Everything);
    }
    let rest = audience.strip_prefix("oci://").unwrap_or(audience);
    match rest.split_once('/') {
        None => is_host(rest).then_some(Admitted::Everything),
        Some((host, repository)) if is_host(host) => repository.parse().ok().map(Admitted::Repository),
        Some(_) => None,
    }
}

pub(super) fn check(
    found: &[&str],
    expected: &[String],
    hosts: &[String],
    single: bool,
) -> Result<(), Rejected> {
    if hosts.is_empty() {
        return claims::check_audience(found, expected, single);
    }
    let owned = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
    if !found.iter().any(|one| admitted(one, expected, hosts).is_some()) {
        let expected = expected.iter().chain(hosts).cloned().collect();
        return Err(Rejected::Audience {
            expected,
            found: owned(found),
        });
    }
    if single && found.len() > 1 {
        Err(Rejected::SeveralAudiences { found: owned(found) })
    } else {
        Ok(())
    }
}

/// Returns the repositories to which its audiences limit an accepted token, or `None` if one of them is for
/// everything.
#[must_use]
pub fn audience_cap(
    token: &Map<String, Value>,
    expected: &[String],
    hosts: &[String],
) -> Option<Vec<RepositoryName>> {
    let mut repositories = Vec::new();
    for audience in claims::audiences(token).unwrap_or_default() {
        match admitted(audience, expected, hosts) {
            Some(Admitted::Everything) => return None,
            Some(Admitted::Repository(name)) => repositories.push(name),
            None => {}
        }
    }
    Some(repositories)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Returns `*` for everything, or the repositories, or nothing if the token is not accepted.
    fn cap(audiences: Value) -> Option<String> {
        let expected = vec!["registry".to_owned()];
        let hosts = vec!["r.example:443".to_owned(), "r.example".to_owned()];
        let token = json!({"aud": audiences}).as_object().unwrap().clone();
        check(&claims::audiences(&token).unwrap(), &expected, &hosts, false).ok()?;
        let text =
            |all: Vec<RepositoryName>| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        Some(audience_cap(&token, &expected, &hosts).map_or_else(|| "*".to_owned(), text))
    }

    #[test]
    fn hosts_are_audiences_and_a_repository_after_one_is_a_limit() {
        for (audience, expected) in [
            (json!("registry"), Some("*")),
            (json!("r.example"), Some("*")),
            (json!("r.example:443"), Some("*")),
            (json!("https://r.example"), Some("*")),
            (json!("oci://r.example"), Some("*")),
            (json!("oci://r.example/team/app"), Some("team/app")),
            (json!("r.example/team/app"), Some("team/app")),
            (
                json!(["oci://r.example/a", "r.example/b", "elsewhere"]),
                Some("a b"),
            ),
            (json!(["oci://r.example/a", "registry"]), Some("*")),
            (json!("https://r.example/team/app"), None),
            (json!("http://r.example"), None),
            (json!("oci://r.example/"), None),
            (json!("oci://r.example/Team"), None),
            (json!("oci://r.example.evil/team/app"), None),
            (json!("oci://evil/r.example"), None),
            (json!("r.example:80"), None),
            (json!("R.example"), None),
            (json!(""), None),
        ] {
            assert_eq!(cap(audience.clone()).as_deref(), expected, "{audience}");
        }
    }
}
