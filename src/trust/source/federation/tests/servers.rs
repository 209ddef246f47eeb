//! Which server is the endpoint: HTTPS by host name or by SPIFFE ID, and redirects.

use super::*;
use crate::limits::CERTIFICATE_NAMES;
use crate::trust::source::testing::site::svid_with;
use http::header::LOCATION;
use rcgen::ExtendedKeyUsagePurpose::ClientAuth;

#[tokio::test]
async fn f_1_f_4_with_https_web_the_server_is_verified_by_its_host_name() {
    let web = Ca::root("web");
    let other = Ca::root("other");
    let site = Site::tls(&server(&web)).await;
    site.answer(PATH, 200, bundle(1, &[Ca::root("root").element(), jwt_key("k1")]));
    let client = Client::of(web_settings(&site, &web));
    client.fetched().await;
    assert_eq!(
        (client.roots(), client.key_ids()),
        (Some(1), Some("k1".to_owned()))
    );
    assert_eq!(client.status().sequence, Some(1));

    let client = Client::of(web_settings(&site, &other));
    let why = client.refused().await;
    assert!(
        why.contains("no connection") && why.to_lowercase().contains("certificate"),
        "{why}"
    );
    site.present(&svid(&web, ENDPOINT, &[ServerAuth]));
    let why = Client::of(web_settings(&site, &web)).refused().await;
    assert!(
        why.to_lowercase().contains("certificate"),
        "an X.509-SVID does not replace a host name: {why}"
    );
}

#[tokio::test]
async fn f_1_f_5_with_https_spiffe_the_server_is_verified_by_its_exact_spiffe_id() {
    let root = Ca::root("root");
    let stranger = Ca::root("stranger");
    let site = Site::tls(&svid(&root, ENDPOINT, &[ServerAuth, ClientAuth])).await;
    site.answer(PATH, 200, bundle(1, &[root.element()]));
    let home = Home::with(&root);
    Client::of(home.settings(&site)).fetched().await;
    for (identity, expected) in [
        (
            svid(&root, "spiffe://prod.example/other", &[ServerAuth]),
            "expected the server to be spiffe://prod.example/spire/server",
        ),
        (
            svid(&root, "spiffe://prod.example/spire/server/x", &[ServerAuth]),
            "expected the server to be",
        ),
        (
            svid(&stranger, ENDPOINT, &[ServerAuth]),
            "to an authority from the bundle of prod.example:",
        ),
        (svid(&root, ENDPOINT, &[ClientAuth]), "serverAuth"),
        (server(&root), "no SPIFFE ID"),
    ] {
        site.present(&identity);
        let why = Client::of(home.settings(&site)).refused().await;
        let expected = if expected == "no SPIFFE ID" {
            "the server is not the configured endpoint"
        } else {
            expected
        };
        assert!(why.contains(expected), "{expected}: {why}");
    }
}

#[tokio::test]
async fn the_limits_for_clients_do_not_apply_to_the_server() {
    let root = Ca::root("root");
    let names: Vec<_> = (0..2 * CERTIFICATE_NAMES)
        .map(|number| format!("n{number}.test"))
        .collect();
    let site = Site::tls(&svid_with(&root, ENDPOINT, &[ServerAuth], &names)).await;
    site.answer(PATH, 200, bundle(1, &[root.element()]));
    let home = Home::with(&root);
    Client::of(home.settings(&site)).fetched().await;
    site.present(&svid(&Ca::root("stranger"), ENDPOINT, &[ServerAuth]));
    let why = Client::of(home.settings(&site)).refused().await;
    assert!(
        why.contains("must be sent with its intermediates") && !why.contains("the client"),
        "{why}"
    );
}

#[tokio::test]
async fn f_2_the_endpoint_of_another_trust_domain_is_always_verified_by_that_ones_bundle() {
    let root = Ca::root("root");
    let others = Ca::root("others");
    let id = "spiffe://bundles.example/server";
    let site = Site::tls(&svid(&others, id, &[ServerAuth])).await;
    site.answer(PATH, 200, bundle(1, &[root.element()]));
    let home = Home::with(&others);
    let profile = EndpointProfile::Spiffe {
        endpoint: id.parse().unwrap(),
        bootstrap: home.path(),
    };
    let client = Client::of(FederationSettings {
        profile,
        ..home.settings(&site)
    });
    client.fetched().await;
    assert_eq!(
        client.again().await,
        2,
        "the fetched bundle does not verify the endpoint"
    );
    assert_eq!(client.status().last_error, None);
}

#[tokio::test]
async fn f_3_only_https_urls_without_a_user() {
    for url in [
        "http://127.0.0.1:1/bundle",
        "https://user@site.test/bundle",
        "ftp://site.test/",
    ] {
        let settings = FederationSettings {
            trust_domain: TRUST_DOMAIN.parse().unwrap(),
            url: url.to_owned(),
            profile: EndpointProfile::Web { ca: None },
            proxy: None,
            max_stale: DAY,
            resolve: Vec::new(),
        };
        assert!(
            Client::of(settings).refused().await.contains("must be https://"),
            "{url}"
        );
    }
}

#[tokio::test]
async fn f_9_redirects_lead_to_https_only_and_are_not_remembered() {
    let root = Ca::root("root");
    let site = Site::tls(&svid(&root, ENDPOINT, &[ServerAuth])).await;
    let home = Home::with(&root);
    let redirect = |target: &str| {
        site.answer(PATH, 302, "");
        site.header(PATH, LOCATION, target);
    };
    site.answer("/moved", 200, bundle(1, &[root.element()]));
    redirect("/moved");
    let client = Client::of(home.settings(&site));
    client.fetched().await;
    site.answer(PATH, 200, bundle(2, &[root.element()]));
    client.again().await;
    assert_eq!((client.status().sequence, site.count("/moved")), (Some(2), 1));

    let same_host = site.base.replace("https://", "");
    for target in [
        format!("http://{same_host}/moved"),
        format!("https://user@{same_host}/moved"),
        "file:///etc/passwd".into(),
    ] {
        redirect(&target);
        let why = Client::of(home.settings(&site)).refused().await;
        assert!(
            why.contains("a redirect whose target is not an https URL"),
            "{target}: {why}"
        );
    }
    redirect(PATH);
    assert!(
        Client::of(home.settings(&site))
            .refused()
            .await
            .contains("more than 5 redirects")
    );
    // The same rules apply to the target: a server that is not the endpoint is rejected.
    let other = Site::tls(&svid(&Ca::root("stranger"), ENDPOINT, &[ServerAuth])).await;
    other.answer("/moved", 200, bundle(9, &[root.element()]));
    redirect(&other.url("/moved").replace("site.test", "127.0.0.1"));
    assert!(
        Client::of(home.settings(&site))
            .refused()
            .await
            .contains("the server is not the configured endpoint")
    );
}
