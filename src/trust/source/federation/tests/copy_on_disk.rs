//! The copy on disk of the bundle that was fetched last.

use super::*;

#[tokio::test]
async fn f_6_the_bundle_that_was_fetched_last_survives_a_restart() {
    let old = Ca::root("old");
    let new = Ca::root("new");
    let site = Site::tls(&svid(&old, ENDPOINT, &[ServerAuth])).await;
    site.answer(PATH, 200, bundle(1, &[old.element(), new.element()]));
    let home = Home::with(&old);
    let client = Client::kept(home.settings(&site), &home);
    client.fetched().await;
    drop(client);
    site.present(&svid(&new, ENDPOINT, &[ServerAuth]));
    let client = Client::kept(home.settings(&site), &home);
    client.fetched().await;
    assert_eq!((client.roots(), client.status().from_disk), (Some(2), false));
}

#[tokio::test]
async fn the_copy_on_disk_is_used_while_the_endpoint_is_unreachable_at_the_start() {
    let web = Ca::root("web");
    let site = Site::tls(&server(&web)).await;
    site.answer(PATH, 200, bundle(3, &[web.element()]));
    let home = Home::with(&web);
    let client = Client::kept(web_settings(&site, &web), &home);
    client.fetched().await;
    drop(client);

    site.set_unreachable(true);
    let client = Client::kept(web_settings(&site, &web), &home);
    assert!(client.roots().is_none(), "the source is asked first");
    client.start().await;
    let status = client.status();
    assert_eq!(
        (client.roots(), status.from_disk, status.as_of),
        (Some(1), true, Some(START))
    );
    assert_eq!(
        status.usable_until,
        Some(START.plus(DAY)),
        "the age begins with the time of the copy"
    );
    site.set_unreachable(false);
    client.again().await;
    assert_eq!((client.roots(), client.status().from_disk), (Some(1), false));
    drop(client);

    site.set_unreachable(true);
    let client = Client::at(START.plus(DAY).plus(DAY), web_settings(&site, &web), Some(&home));
    client.start().await;
    assert!(client.roots().is_none(), "stale keys are not used");
}

#[tokio::test]
async fn a_copy_on_disk_of_another_authority_or_proxy_is_not_used() {
    let web = Ca::root("web");
    let other = Ca::root("other");
    let site = Site::tls(&server(&web)).await;
    site.answer(PATH, 200, bundle(3, &[web.element()]));
    let home = Home::with(&web);
    Client::kept(web_settings(&site, &web), &home).fetched().await;
    site.set_unreachable(true);
    let proxy = Some(Secret::new("http://user:pa55@127.0.0.1:1"));
    for corrected in [
        web_settings(&site, &other),
        FederationSettings {
            proxy,
            ..web_settings(&site, &web)
        },
    ] {
        let client = Client::kept(corrected, &home);
        client.start().await;
        assert!(client.roots().is_none(), "{:?}", client.status());
    }
    let client = Client::kept(web_settings(&site, &web), &home);
    client.start().await;
    assert_eq!(client.roots(), Some(1));
}

#[tokio::test]
async fn the_copy_on_disk_is_used_before_a_hanging_endpoint_times_out() {
    let web = Ca::root("web");
    let site = Site::tls(&server(&web)).await;
    site.answer(PATH, 200, bundle(3, &[web.element()]));
    let home = Home::with(&web);
    Client::kept(web_settings(&site, &web), &home).fetched().await;
    let _hold = site.hold();
    let patient = Duration::from_secs(3600);
    let client = Client::built(START, web_settings(&site, &web), Some(&home), patient);
    client.source.start();
    eventually("the copy is used", || client.roots() == Some(1)).await;
    assert!(client.status().from_disk);
}
