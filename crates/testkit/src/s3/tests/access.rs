//! Keys that are revoked or expired, and presigned URLs.

use super::super::{Fake, Operation, Place};
use super::{builder, client, send};
use crate::Ca;
use http::Method;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use object_store::signer::Signer as _;
use object_store::{Certificate, ClientOptions};
use std::time::Duration;
use wharfinger_base::clock::Clock;

#[tokio::test]
async fn keys_are_good_until_they_are_revoked_or_expire() {
    for (end, code) in [
        (Fake::revoke as fn(&Fake, &str), "InvalidAccessKeyId"),
        (Fake::expire, "ExpiredToken"),
    ] {
        let store = Fake::start().await;
        let client = client(store.place());
        client.put(&Path::from("a"), "x".into()).await.unwrap();
        end(&store, &store.place().access_key);
        let refused = client.get(&Path::from("a")).await;
        assert!(format!("{refused:?}").contains(code), "{refused:?}");
    }
}

#[tokio::test]
async fn presigned_urls_expire() {
    let (clock, hand) = Clock::manual(Clock::system().now());
    let store = Fake::start_at(clock).await;
    let client = client(store.place());
    let key = Path::from("a");
    client.put(&key, "x".into()).await.unwrap();
    let url = client
        .signed_url(Method::GET, &key, Duration::from_mins(1))
        .await
        .unwrap();
    assert_eq!(send("GET", &url, "", "").await, (200, "x".to_owned()));
    hand.advance(Duration::from_mins(2));
    assert_eq!(send("GET", &url, "", "").await.0, 403);
    assert_eq!(store.count(Operation::Get), 2);
}

#[tokio::test]
async fn sts_exchanges_a_token_for_keys_that_expire() {
    let (clock, hand) = Clock::manual(Clock::system().now());
    let store = Fake::start_at(clock).await;
    let form = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr\
                &RoleSessionName=s&WebIdentityToken=a.b.c&DurationSeconds=900";
    let answer = post(store.place(), form).await;
    let of = |name: &str| {
        let (_, rest) = answer.split_once(&format!("<{name}>")).expect(&answer);
        rest.split('<').next().unwrap().to_owned()
    };
    let exchange = &store.exchanges()[0];
    assert_eq!(
        (exchange.target.as_str(), &exchange.form["WebIdentityToken"]),
        ("/", &"a.b.c".to_owned())
    );
    assert_eq!(exchange.access_key, Some(of("AccessKeyId")));

    let mut place = store.place().clone();
    (place.access_key, place.secret_key) = (of("AccessKeyId"), of("SecretAccessKey"));
    let without_session = client(&place).put(&Path::from("a"), "x".into()).await;
    assert!(
        format!("{without_session:?}").contains("InvalidAccessKeyId"),
        "{without_session:?}"
    );
    let session = builder(&place).with_token(of("SessionToken")).build().unwrap();
    session.put(&Path::from("a"), "x".into()).await.unwrap();
    hand.advance(Duration::from_mins(15));
    let expired = session.get(&Path::from("a")).await;
    assert!(format!("{expired:?}").contains("ExpiredToken"), "{expired:?}");

    let bad = post(
        store.place(),
        &form.replace("WebIdentityToken=a.b.c", "WebIdentityToken="),
    )
    .await;
    assert!(
        bad.contains("<ErrorResponse><Error><Code>ValidationError"),
        "{bad}"
    );
    assert_eq!(store.exchanges()[1].access_key, None);
}

async fn post(place: &Place, form: &str) -> String {
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    send("POST", &format!("{}/", place.endpoint), kind, form).await.1
}

#[tokio::test]
async fn a_store_with_tls_presents_a_certificate_of_its_authority() {
    let ca = Ca::new("stores");
    let store = Fake::start_with_tls(&ca).await;
    let key = Path::from("a");
    let options =
        ClientOptions::new().with_root_certificate(Certificate::from_pem(ca.pem.as_bytes()).unwrap());
    let trusting = builder(store.place())
        .with_client_options(options)
        .build()
        .unwrap();
    trusting.put(&key, "x".into()).await.unwrap();
    assert!(client(store.place()).get(&key).await.is_err());
}
