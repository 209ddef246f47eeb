//! Tests of the choice of the credential by headers.

use super::*;

fn authenticator() -> Authenticator {
    Authenticator::new(vec![issuer("https://a.example", &oidc_keys(&A))], vec![], vec![])
}

fn token() -> String {
    id_token(&A, "https://a.example", "alice")
}

#[tokio::test]
async fn a_token_is_accepted_as_bearer_and_as_any_users_password() {
    let token = token();
    let headers = [
        bearer(&token),
        format!("bEaReR   {token}"),
        basic(&format!("oauth2:{token}")),
        basic(&format!("alice:{token}")),
        basic(&format!(":{token}")),
        basic(&format!("o:{token}")).trim_end_matches('=').to_owned(),
        basic(&format!("alice:{token}")).replacen("Basic", "BASIC", 1),
    ];
    for header in headers {
        assert_eq!(
            ask(&authenticator(), &[&header]).await.unwrap().username(),
            "https://a.example/alice",
            "{header}"
        );
    }
}

#[tokio::test]
async fn nothing_and_an_empty_basic_are_anonymous() {
    for headers in [&[][..], &["Basic Og=="], &["basic Og"]] {
        let identity = ask(&authenticator(), headers).await.unwrap();
        assert!(identity.is_anonymous(), "{headers:?}");
        assert_eq!(
            (identity.username(), identity.credential()),
            ("", CredentialType::Anonymous)
        );
    }
}

#[tokio::test]
async fn an_unsupported_credential_is_rejected_and_never_anonymous() {
    let good = bearer(&token());
    let table: [(&[&str], Refused); 16] = [
        (&[&good, &good], Refused::SeveralAuthorizationHeaders),
        (&[&good, "Basic Og=="], Refused::SeveralAuthorizationHeaders),
        (&["", &good], Refused::SeveralAuthorizationHeaders),
        (&[""], Refused::Scheme),
        (&["Digest username=\"alice\""], Refused::Scheme),
        (&["Negotiate Og=="], Refused::Scheme),
        (&[&token()], Refused::Scheme),
        (&[&good.replacen(' ', "\t", 1)], Refused::Scheme),
        (&["Basic"], Refused::MalformedBasic),
        (&["Basic ?"], Refused::MalformedBasic),
        (&[&basic("no colon")], Refused::MalformedBasic),
        (&["Basic /zpB"], Refused::MalformedBasic),
        (&[&basic("alice:hunter2")], Refused::NotAToken),
        (&[&basic("alice:")], Refused::NotAToken),
        (&[&basic(":hunter2")], Refused::NotAToken),
        (&[&basic("anonymous:a.b.c")], Refused::NotAToken),
    ];
    for (headers, expected) in table {
        assert_eq!(
            reason(ask(&authenticator(), headers).await),
            expected,
            "{headers:?}"
        );
    }
    let authorization = vec![&b"Bearer \xff"[..]];
    let outcome = authenticator()
        .authenticate(
            &Presented {
                authorization,
                peer: None,
                ambient: true,
                address: None,
            },
            NOW,
        )
        .await;
    assert_eq!(reason(outcome), Refused::Scheme);
}

#[tokio::test]
async fn an_opaque_bearer_token_is_rejected() {
    for (header, parts) in [
        ("Bearer", 1),
        ("Bearer ", 1),
        ("Bearer hunter2", 1),
        ("Bearer a.b", 2),
    ] {
        let expected = Refused::Jwt(crate::trust::jwt::Rejected::NotCompact { parts });
        assert_eq!(
            reason(ask(&authenticator(), &[header]).await),
            expected,
            "{header}"
        );
    }
}

#[test]
fn the_chosen_token_is_returned() {
    let authenticator = authenticator();
    let token = token();
    let handed = |header: &str| {
        let authorization = vec![header.as_bytes()];
        authenticator
            .token(&Presented {
                authorization,
                peer: None,
                ambient: true,
                address: None,
            })
            .map(|secret| secret.expose().to_owned())
    };
    assert_eq!(handed(&bearer(&token)), Some(token.clone()));
    assert_eq!(handed(&basic(&format!("alice:{token}"))), Some(token));
    for nothing in ["Basic Og==", &basic("alice:hunter2"), "Digest x"] {
        assert_eq!(handed(nothing), None, "{nothing}");
    }
}

#[tokio::test]
async fn neither_token_nor_password_is_ever_printed() {
    let token = token();
    let forged = format!("{}AAAA", token.get(..token.len() - 4).unwrap());
    for (header, secret) in [
        (bearer(&forged), forged.as_str()),
        (basic("alice:hunter2"), "hunter2"),
    ] {
        let presented = Presented {
            authorization: vec![header.as_bytes()],
            peer: None,
            ambient: true,
            address: None,
        };
        let failure = authenticator().authenticate(&presented, NOW).await.unwrap_err();
        for text in [
            format!("{presented:?}"),
            format!("{failure:?}"),
            failure.to_string(),
        ] {
            assert!(!text.contains(secret) && !text.contains(&header[6..]), "{text}");
        }
    }
}
