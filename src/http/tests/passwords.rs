//! Names and passwords, and the bounds by client address.

use super::*;
use crate::http::Network;
use crate::identity::Htpasswd;
use crate::limits::PASSWORDS_OF_NAME;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

/// A site behind a proxy at 127.0.0.1, with the user `ann` and the password `one`. Wrong passwords are
/// answered after a minute.
fn site() -> Site {
    let site = Site::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("ann:{}\n", bcrypt::hash("one", 4).unwrap())).unwrap();
    let passwords = Arc::new(Htpasswd::open(file.path()).unwrap());
    let mut live = Live::clone(&site.app.live.load());
    let authenticator =
        Authenticator::new(vec![], vec![], vec![]).with_passwords(passwords, Duration::from_secs(60));
    live.authenticator = Arc::new(authenticator);
    live.proxies = ["127.0.0.1"]
        .map(|network| network.parse::<Network>().unwrap())
        .into_iter()
        .collect();
    site.app.live.store(Arc::new(live));
    site
}

fn with_password(request: Builder, password: &str, client: &str) -> Builder {
    let header = format!("Basic {}", STANDARD.encode(format!("ann:{password}")));
    request
        .header("authorization", header)
        .header("x-forwarded-for", client)
}

/// A request whose password is being checked, or whose answer is delayed.
async fn guess<'a>(site: &'a Site, password: &'a str, client: &'a str) -> BoxFuture<'a, Answer> {
    let request = with_password(ask(Method::GET, "/v2/"), password, client);
    let mut sent = site.send(request, Body::empty()).boxed();
    assert!(
        sent.as_mut().now_or_never().is_none(),
        "{password} of {client} is answered at once"
    );
    sent
}

#[tokio::test]
async fn too_many_wrong_passwords_from_one_address_are_429_only_there() {
    let site = site();
    let wrong: Vec<_> = (0..PASSWORDS_OF_NAME).map(|n| n.to_string()).collect();
    let mut waiting = Vec::new();
    for password in &wrong {
        waiting.push(guess(&site, password, "2001:db8::1").await);
    }
    for client in ["2001:db8::1", "2001:db8::99:1"] {
        let answer = site
            .send(
                with_password(ask(Method::GET, "/v2/"), "one", client),
                Body::empty(),
            )
            .await;
        assert_eq!(answer.error(), (429, "TOOMANYREQUESTS".into()), "{client}");
        assert_eq!(answer.header("retry-after"), "60");
        assert!(
            answer.header("www-authenticate").is_empty(),
            "the client need not present another credential"
        );
    }
    let form = "grant_type=password&username=ann&password=one";
    let request = ask(Method::POST, "/v2/token").header("x-forwarded-for", "2001:db8::1");
    let answer = site.send(request, form).await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()["error"].clone()),
        (429, "temporarily_unavailable".into())
    );
    for client in ["2001:db8:0:1::1", "192.0.2.1"] {
        let answer = site
            .send(
                with_password(ask(Method::GET, "/v2/"), "one", client),
                Body::empty(),
            )
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{client}");
    }
    let answer = site
        .send(
            with_password(ask(Method::GET, "/v2/"), "one", "2001:db8::1"),
            Body::empty(),
        )
        .await;
    assert_eq!(
        answer.status,
        StatusCode::OK,
        "a password that is known passes from everywhere"
    );
}

#[tokio::test]
async fn a_password_that_bcrypt_would_cut_is_rejected() {
    let answer = site()
        .send(
            with_password(ask(Method::GET, "/v2/"), &"x".repeat(73), "192.0.2.1"),
            Body::empty(),
        )
        .await;
    assert_eq!(answer.error(), (401, "UNAUTHORIZED".into()));
    assert!(answer.text().contains("72 bytes"), "{}", answer.text());
}
