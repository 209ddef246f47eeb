//! `/v2/_wharfinger/whoami`.

use super::*;

const PATH: &str = "/v2/_wharfinger/whoami";

#[tokio::test]
async fn a_caller_sees_its_identity_and_its_expiry() {
    let site = Site::new();
    let answer = site.get_as("builder", PATH).await;
    let username = format!("{ISSUER}/builder");
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("cache-control"), "no-store");
    let identity = answer.json();
    assert_eq!(
        (&identity["username"], &identity["credential"]),
        (&json!(username), &json!("oidc"))
    );
    assert_eq!(identity["principal"], format!("oidc {ISSUER:?} \"builder\""));
    assert_eq!(
        (&identity["claims"]["sub"], &identity["claims"]["aud"]),
        (&json!("builder"), &json!(["registry"]))
    );
    assert_eq!(
        (&identity["groups"], &identity["access"], &identity["scope"]),
        (&json!([]), &Value::Null, &Value::Null)
    );
    assert_eq!(identity["expiresIn"], 300);
    assert_eq!(site.get(PATH).await.error(), (401, "UNAUTHORIZED".into()));
    assert_eq!(
        site.get(PATH).await.header("www-authenticate").split(' ').next(),
        Some("Bearer")
    );
}

#[tokio::test]
async fn a_caller_sees_what_it_may_do_in_a_repository_and_by_which_rule() {
    let site = Site::new();
    let access_of = |subject: &'static str, repository: &'static str| {
        let site = &site;
        async move {
            site.get_as(subject, &format!("{PATH}?repository={repository}"))
                .await
                .json()["access"]
                .clone()
        }
    };
    let access = access_of("builder", "team/a").await;
    assert_eq!(access["repository"], "team/a");
    assert_eq!(
        access["actions"]["delete"],
        json!({"allowed": true, "rule": r#"accessControl.repositories["team/**"].policies[0]"#})
    );
    let access = access_of("somebody", "team/a").await;
    let refused = json!({"allowed": false, "rule": "no rule of accessControl grants read to this caller"});
    assert_eq!(access["actions"]["read"], refused);
    let elsewhere = access_of("somebody", "nowhere/a").await;
    assert_eq!(
        elsewhere["actions"], access["actions"],
        "a stranger does not learn whether a pattern matches"
    );
    let access = access_of("somebody", "open/a").await;
    assert_eq!(
        access["actions"]["update"]["rule"],
        r#"accessControl.repositories["open/**"].defaultPolicy"#
    );
    let bad = site.get_as("builder", &format!("{PATH}?repository=Team")).await;
    assert_eq!(bad.error(), (400, "NAME_INVALID".into()));
}
