//! The bound on concurrent requests of callers who have not logged in, by client.

use super::*;
use crate::http::{Network, Standing, StrangerBounds};

/// A site behind a proxy at 10.0.0.1. Each address may have one such request in flight.
fn site() -> Site {
    let mut site = Site::new();
    let mut live = Live::clone(&site.app.live.load());
    live.proxies = ["10.0.0.0/8".parse::<Network>().unwrap()].into_iter().collect();
    site.app.live.store(Arc::new(live));
    site.app.strangers = Strangers::new(StrangerBounds {
        connections: 1,
        requests: 1,
    });
    Site {
        endpoint: Endpoint::new(site.app.clone()),
        ..site
    }
}

impl Site {
    /// Sends a request of this caller on a connection from `remote`.
    async fn ask_as(&self, active: &ActiveRequest, remote: &str, request: Builder, body: &str) -> Answer {
        let remote = std::net::SocketAddr::new(remote.parse().unwrap(), 1);
        let connection = Connection {
            peer: None,
            remote,
            tls: true,
            more: More::default(),
            active: active.clone(),
        };
        let request = request
            .extension(connection)
            .body(Body::from(body.to_owned()))
            .unwrap();
        Answer::read(self.endpoint.clone().call(request).await.unwrap()).await
    }

    /// Sends a request through the proxy.
    async fn proxied(&self, active: &ActiveRequest, client: &str, request: Builder) -> Answer {
        self.ask_as(active, "10.0.0.1", request.header("x-forwarded-for", client), "")
            .await
    }
}

fn tags() -> Builder {
    ask(Method::GET, "/v2/open/app/tags/list")
}

#[tokio::test(start_paused = true)]
async fn requests_in_flight_are_bounded_by_the_client_that_a_proxy_names() {
    let site = site();
    site.push_image("open/app", "v1", json!({})).await;
    let proxy = Standing::default();
    let request = || ActiveRequest::new(&proxy, true);
    let first = request();
    assert_eq!(
        site.proxied(&first, "2001:db8::1", tags()).await.status,
        StatusCode::OK
    );
    // The request is in flight as long as the server keeps its `ActiveRequest`.
    let refused = site.proxied(&request(), "2001:db8::2", tags()).await;
    assert_eq!(refused.error(), (429, "TOOMANYREQUESTS".into()));
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(
        site.proxied(&request(), "2001:db8:0:1::1", tags()).await.status,
        StatusCode::OK,
        "another client"
    );
    let unnamed = request();
    assert_eq!(
        site.proxied(&unnamed, "not an address", tags()).await.status,
        StatusCode::OK
    );
    let refused = site.proxied(&request(), "unknown", tags()).await.status;
    assert_eq!(
        refused,
        StatusCode::TOO_MANY_REQUESTS,
        "clients that a proxy does not name share its own address"
    );
    assert_eq!(
        site.proxied(&request(), "2001:db8::1", ask(Method::GET, "/livez"))
            .await
            .status,
        StatusCode::OK
    );
    let known = request();
    let answer = site
        .proxied(&known, "2001:db8::1", bearer(tags(), &site.token("builder")))
        .await;
    assert_eq!((answer.status, known.is_identified()), (StatusCode::OK, true));
    assert!(
        !proxy.is_identified(),
        "the proxy also forwards other clients' requests"
    );
    let bad = site
        .proxied(&request(), "2001:db8::1", bearer(tags(), "a.b.c"))
        .await;
    assert_eq!(bad.status, StatusCode::UNAUTHORIZED);
    drop(first);
    assert_eq!(
        site.proxied(&request(), "2001:db8::2", tags()).await.status,
        StatusCode::OK
    );
}

/// A client that is about to log in gets these answers although its address has no free seat.
#[tokio::test(start_paused = true)]
async fn an_answer_that_holds_nothing_needs_no_seat() {
    let site = site();
    site.push_image("open/app", "v1", json!({})).await;
    let remote = "203.0.113.7";
    let held = ActiveRequest::new(&Standing::default(), true);
    assert_eq!(
        site.ask_as(&held, remote, tags(), "").await.status,
        StatusCode::OK
    );
    let ask_once = async |request: Builder, body: &str| {
        let begun = tokio::time::Instant::now();
        let status = site
            .ask_as(
                &ActiveRequest::new(&Standing::default(), true),
                remote,
                request,
                body,
            )
            .await
            .status;
        (status.as_u16(), begun.elapsed().is_zero())
    };
    for (path, status) in [
        ("/v2/", 401),
        ("/v2/_wharfinger/jwks", 200),
        ("/v2/closed/app/tags/list", 401),
        ("/livez", 200),
    ] {
        let (answered, at_once) = ask_once(ask(Method::GET, path), "").await;
        assert_eq!((answered, at_once), (status, true), "{path}");
    }
    let form = || ask(Method::POST, "/v2/token").header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(ask_once(form(), "grant_type=none").await, (400, true));
    assert_eq!(ask_once(tags(), "").await, (429, false));
    let stranger = site.app.strangers.at(remote.parse().unwrap());
    let mut forms = Vec::new();
    for _ in 0..crate::limits::FORMS_OF_ADDRESS {
        forms.push(stranger.form().await.unwrap());
    }
    assert_eq!(ask_once(form(), "grant_type=none").await, (429, false));
}

/// A reload changes the trusted proxies while connections are open.
#[tokio::test(start_paused = true)]
async fn a_connection_identifies_its_requests_unless_it_becomes_a_proxys() {
    let site = site();
    site.push_image("open/app", "v1", json!({})).await;
    let connection = Standing::default();
    let request = || ActiveRequest::new(&connection, true);
    let remote = "192.0.2.9";
    let proxied = |proxied: bool| {
        let mut live = Live::clone(&site.app.live.load());
        let network = if proxied { "192.0.2.9" } else { "10.0.0.0/8" };
        live.proxies = [network.parse::<Network>().unwrap()].into_iter().collect();
        site.app.live.store(Arc::new(live));
    };
    let good = || bearer(tags(), &site.token("builder"));
    assert_eq!(
        site.ask_as(&request(), remote, good(), "").await.status,
        StatusCode::OK
    );
    assert!(connection.is_identified());
    proxied(true);
    let held = request();
    let named = || tags().header("x-forwarded-for", "203.0.113.7");
    assert_eq!(
        site.ask_as(&held, remote, named(), "").await.status,
        StatusCode::OK
    );
    assert!(
        !held.is_identified() && !connection.is_identified(),
        "a client of the proxy is another caller"
    );
    assert_eq!(
        site.ask_as(&request(), remote, named(), "").await.status,
        StatusCode::TOO_MANY_REQUESTS
    );
    assert_eq!(connection.loss(), None, "a proxy's connection stays");
    proxied(false);
    assert_eq!(
        site.ask_as(&request(), remote, named(), "").await.status,
        StatusCode::OK
    );
    assert!(connection.is_identified() && !connection.is_exempt());
}

#[test]
fn a_connection_is_counted_once() {
    let strangers = Strangers::new(StrangerBounds {
        connections: 2,
        requests: 1,
    });
    let stranger = strangers.at("192.0.2.1".parse().unwrap());
    let connection = Standing::default();
    assert!(stranger.connects());
    connection.counts_for(stranger.clone());
    assert!(stranger.connects());
    connection.counts_for(stranger.clone());
    assert!(stranger.connects() && !stranger.connects());
}

#[tokio::test(start_paused = true)]
async fn a_direct_connection_is_bounded_until_its_caller_is_identified() {
    let site = site();
    site.push_image("open/app", "v1", json!({})).await;
    let remote = "203.0.113.7";
    let stranger = site.app.strangers.at(remote.parse().unwrap());
    let connect = || {
        let standing = Standing::default();
        standing.counts_for(stranger.clone());
        standing
    };
    assert!(stranger.connects() && !stranger.connects());
    let connection = connect();
    let held = ActiveRequest::new(&connection, true);
    assert_eq!(
        site.ask_as(&held, remote, tags(), "").await.status,
        StatusCode::OK
    );
    let ask_once = async |connection: &Standing, request: Builder| {
        let active = ActiveRequest::new(connection, true);
        site.ask_as(&active, remote, request, "").await.status
    };
    assert_eq!(ask_once(&connection, tags()).await, StatusCode::TOO_MANY_REQUESTS);
    let bad = bearer(tags(), "a.b.c");
    assert_eq!(ask_once(&connection, bad).await, StatusCode::UNAUTHORIZED);
    assert!(!connection.is_identified() && !stranger.connects());
    assert_eq!(
        ask_once(&connection, bearer(tags(), &site.token("builder"))).await,
        StatusCode::OK
    );
    assert!(
        connection.is_identified() && stranger.connects(),
        "its place is free for the next stranger"
    );
    assert_eq!(
        ask_once(&connection, tags()).await,
        StatusCode::OK,
        "whatever it asks for next"
    );
}

#[tokio::test(start_paused = true)]
async fn a_login_at_the_token_endpoint_identifies_the_connection() {
    let site = site();
    let connection = Standing::default();
    let login = bearer(
        ask(Method::GET, "/v2/token?service=r.example"),
        &site.token("builder"),
    );
    assert_eq!(
        site.ask_as(&ActiveRequest::new(&connection, true), "203.0.113.7", login, "")
            .await
            .status,
        StatusCode::OK
    );
    assert!(connection.is_identified());
    let connection = Standing::default();
    let anonymous = ask(Method::GET, "/v2/token?service=r.example");
    assert_eq!(
        site.ask_as(
            &ActiveRequest::new(&connection, true),
            "203.0.113.7",
            anonymous,
            ""
        )
        .await
        .status,
        StatusCode::OK
    );
    assert!(
        !connection.is_identified(),
        "an anonymous token does not identify the connection"
    );
}
