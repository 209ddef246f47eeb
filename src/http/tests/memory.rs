//! The memory for the bodies of all requests together.

use super::*;
use crate::budget::{Held, Holder, LEAST, PIECE};
use crate::limits::FORM_BYTES;
use crate::source_address::SourceAddress;
use futures_util::future::join_all;
use futures_util::stream;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::task::JoinHandle;

const LARGEST: usize = crate::limits::MANIFEST_BYTES;

fn site() -> Site {
    let mut site = Site::new();
    site.app.memory = Budget::new(LEAST);
    site.endpoint = Endpoint::new(site.app.clone());
    site
}

/// A body that records whether it was read.
fn watched(content: &'static str) -> (Arc<AtomicBool>, Body) {
    let read = Arc::new(AtomicBool::new(false));
    let reading = read.clone();
    let frames = stream::once(async move {
        reading.store(true, Ordering::SeqCst);
        Ok::<_, Infallible>(content)
    });
    (read, Body::from_stream(frames))
}

/// All memory of the budget.
fn take_all(site: &Site) -> Vec<Held> {
    let callers = (0..LEAST / PIECE).map(|n| Holder::Identified(n.to_string()));
    let forms = std::iter::repeat_n(Holder::Form(None), LEAST / PIECE);
    let held = callers
        .chain(forms)
        .filter_map(|holder| site.app.memory.of(holder).try_take(PIECE))
        .collect();
    assert_eq!(site.app.memory.used(), LEAST);
    held
}

/// Sends a request on a connection from this address.
async fn send_from(site: &Site, address: &str, request: Builder, body: Body) -> Response {
    let remote = std::net::SocketAddr::new(address.parse().unwrap(), 1);
    let connection = Connection {
        active: ActiveRequest::default(),
        peer: None,
        remote,
        tls: true,
        more: More::default(),
    };
    site.endpoint
        .clone()
        .call(request.extension(connection).body(body).unwrap())
        .await
        .unwrap()
}

/// Requests from this address whose bodies never come.
fn silent(
    site: &Arc<Site>,
    address: &'static str,
    count: usize,
    request: fn() -> Builder,
) -> Vec<JoinHandle<StatusCode>> {
    let one = |_| {
        let site = site.clone();
        let never = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        tokio::spawn(async move { send_from(&site, address, request(), never).await.status() })
    };
    (0..count).map(one).collect()
}

/// Counts the requests that were answered with 503, and drops the others.
async fn refused(requests: Vec<JoinHandle<StatusCode>>) -> usize {
    requests.iter().for_each(JoinHandle::abort);
    join_all(requests)
        .await
        .into_iter()
        .filter(|status| matches!(status, Ok(StatusCode::SERVICE_UNAVAILABLE)))
        .count()
}

fn push(name: &str) -> Builder {
    ask(Method::PUT, &format!("/v2/{name}/manifests/v1")).header("content-type", IMAGE)
}

#[tokio::test(start_paused = true)]
async fn without_memory_a_request_is_503_before_its_body_is_read() {
    let site = site();
    let begun = site
        .send(ask(Method::POST, "/v2/open/a/blobs/uploads/"), Body::empty())
        .await;
    let upload = begun.header("location").to_owned();
    let all = take_all(&site);
    let digest = sha256("abc");
    for request in [
        push("open/a"),
        push("open/a").header("content-length", "3"),
        ask(
            Method::POST,
            &format!("/v2/open/a/blobs/uploads/?digest={digest}"),
        ),
        ask(Method::PATCH, &upload),
        ask(Method::PUT, &format!("{upload}?digest={digest}")),
        ask(Method::POST, "/v2/token"),
    ] {
        let (read, body) = watched("abc");
        let answer = site.send(request, body).await;
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (StatusCode::SERVICE_UNAVAILABLE, "5"),
            "{}",
            answer.text()
        );
        assert!(
            !read.load(Ordering::SeqCst),
            "its body was read: {}",
            answer.text()
        );
    }
    let empty = sha256("");
    let closed = site
        .send(
            ask(Method::PUT, &format!("{upload}?digest={empty}")),
            Body::empty(),
        )
        .await;
    assert_eq!(
        closed.status,
        StatusCode::CREATED,
        "a request without a body needs no memory"
    );
    let (read, body) = watched("abc");
    let (answer, ()) = tokio::join!(site.send(push("open/a"), body), async {
        tokio::task::yield_now().await;
        drop(all);
    });
    assert_eq!(
        answer.status,
        StatusCode::BAD_REQUEST,
        "it waited for memory, and then its body was not a manifest: {}",
        answer.text()
    );
    assert!(read.load(Ordering::SeqCst));
    assert_eq!(site.app.memory.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn many_manifests_at_once_hold_no_more_than_the_budget() {
    let site = site();
    let held = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let pushes = (0..40).map(|n| {
        let counting = held.clone();
        let highest = most.clone();
        let frames = stream::unfold(0, move |sent| {
            let counting = counting.clone();
            let highest = highest.clone();
            async move {
                tokio::task::yield_now().await;
                if sent == LARGEST {
                    return None;
                }
                highest.fetch_max(
                    counting.fetch_add(PIECE, Ordering::SeqCst) + PIECE,
                    Ordering::SeqCst,
                );
                Some((Ok::<_, Infallible>(Bytes::from(vec![b' '; PIECE])), sent + PIECE))
            }
        });
        let request = if n % 2 == 0 {
            push("open/a").header("content-length", LARGEST.to_string())
        } else {
            push("open/a")
        };
        let site = &site;
        let held = held.clone();
        async move {
            let answer = site
                .send(
                    bearer(request, &site.token(&format!("builder{}", n % 8))),
                    Body::from_stream(frames),
                )
                .await;
            held.fetch_sub(LARGEST, Ordering::SeqCst);
            answer.status
        }
    });
    let statuses = join_all(pushes).await;
    assert_eq!(
        statuses,
        [StatusCode::BAD_REQUEST; 40],
        "each was read to its end"
    );
    let most = most.load(Ordering::SeqCst);
    assert!(most <= LEAST, "{most} bytes were in memory at once");
}

fn largest() -> Builder {
    push("open/a").header("content-length", LARGEST.to_string())
}

#[tokio::test(start_paused = true)]
async fn anonymous_callers_do_not_keep_an_identified_caller_from_pushing() {
    let site = Arc::new(site());
    let config = site.push_blob("open/a", "{}").await;
    let strangers: Vec<_> = ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
        .into_iter()
        .flat_map(|one| silent(&site, one, 2, largest))
        .collect();
    while site.app.memory.used() < LEAST / 2 {
        tokio::task::yield_now().await;
    }
    let manifest = image(&config).to_string();
    let stranger = send_from(&site, "192.0.2.9", push("open/a"), manifest.clone().into()).await;
    assert_eq!(stranger.status(), StatusCode::SERVICE_UNAVAILABLE);
    let identified = site
        .send(bearer(push("open/a"), &site.token("builder")), manifest)
        .await;
    assert_eq!(identified.status, StatusCode::CREATED, "{}", identified.text());
    assert_eq!(site.app.memory.used(), LEAST / 2);
    while strangers.iter().filter(|stranger| stranger.is_finished()).count() < 4 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        refused(strangers).await,
        4,
        "two of the six anonymous requests held the memory"
    );
    assert_eq!(site.app.memory.used(), 0, "cancelled requests hold no memory");
}

#[tokio::test(start_paused = true)]
async fn one_address_does_not_keep_others_from_pushing_or_logging_in_with_a_form() {
    let site = Arc::new(site());
    let config = site.push_blob("open/a", "{}").await;
    let form = || ask(Method::POST, "/v2/token").header("content-length", FORM_BYTES.to_string());
    let mut greedy = silent(&site, "192.0.2.1", 3, largest);
    greedy.extend(silent(&site, "192.0.2.1", 40, form));
    while site.app.memory.used() < LARGEST {
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(
        site.app.memory.used() < LARGEST + LEAST / 32,
        "it has more than its share: {}",
        site.app.memory.used()
    );
    let credential = site.token("builder");
    let fields = format!("grant_type=password&username=oidc&password={credential}&service=r.example");
    let logged_in = send_from(&site, "192.0.2.2", ask(Method::POST, "/v2/token"), fields.into()).await;
    assert_eq!(logged_in.status(), StatusCode::OK);
    let pushed = send_from(
        &site,
        "192.0.2.2",
        push("open/a"),
        image(&config).to_string().into(),
    )
    .await;
    assert_eq!(pushed.status(), StatusCode::CREATED);
    let same = send_from(
        &site,
        "192.0.2.1",
        push("open/a"),
        image(&config).to_string().into(),
    )
    .await;
    assert_eq!(same.status(), StatusCode::SERVICE_UNAVAILABLE);
    refused(greedy).await;
    assert_eq!(site.app.memory.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_identity_with_slow_connections_does_not_keep_others_from_pushing() {
    let site = Arc::new(site());
    let config = site.push_blob("open/a", "{}").await;
    let slow: Vec<_> = (0..16)
        .map(|_| {
            let site = site.clone();
            let never = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
            tokio::spawn(async move {
                site.send(bearer(largest(), &site.token("slow")), never)
                    .await
                    .status
            })
        })
        .collect();
    while site.app.memory.used() < LARGEST {
        tokio::task::yield_now().await;
    }
    let pushed = site
        .send(
            bearer(push("open/a"), &site.token("builder")),
            image(&config).to_string(),
        )
        .await;
    assert_eq!(
        (pushed.status, site.app.memory.used()),
        (StatusCode::CREATED, LARGEST),
        "{}",
        pushed.text()
    );
    refused(slow).await;
    assert_eq!(site.app.memory.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn large_manifests_that_clients_do_not_receive_hold_no_more_than_the_budget() {
    const LARGE: usize = 3 << 20;
    let site = site();
    let pushed = site
        .push_image(
            "open/a",
            "v1",
            json!({"annotations": {"large": "x".repeat(LARGE)}}),
        )
        .await;
    assert_eq!(pushed.status, StatusCode::CREATED, "{}", pushed.text());
    let get = |from| {
        send_from(
            &site,
            from,
            ask(Method::GET, "/v2/open/a/manifests/v1"),
            Body::empty(),
        )
    };
    let untaken = [get("192.0.2.1").await, get("192.0.2.2").await];
    assert!(untaken.iter().all(|answer| answer.status() == StatusCode::OK));
    assert!(
        (2 * LARGE..=LEAST / 2).contains(&site.app.memory.used()),
        "{}",
        site.app.memory.used()
    );
    let refused = get("192.0.2.3").await;
    assert_eq!(
        refused.status(),
        StatusCode::SERVICE_UNAVAILABLE,
        "strangers have half of the budget, which is two of these"
    );
    assert_eq!(refused.headers()["retry-after"], "5");
    let (waited, ()) = tokio::join!(get("192.0.2.3"), async {
        tokio::task::yield_now().await;
        drop(untaken);
    });
    let answer = Answer::read(waited).await;
    assert_eq!(
        (answer.status, sha256(&answer.body)),
        (StatusCode::OK, pushed.header("docker-content-digest").to_owned())
    );
    drop(answer);
    assert_eq!(site.app.memory.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn no_referrer_is_skipped_when_more_come_while_the_list_waits_for_memory() {
    let site = site();
    let large = "x".repeat(1_500_000);
    let subject = site
        .push_image("open/a", "v1", json!({}))
        .await
        .header("docker-content-digest")
        .to_owned();
    let config = sha256("{}");
    let size = image(&config).to_string().len();
    let refer = async |n: u8| {
        let mut manifest = image(&config);
        manifest["subject"] = json!({"mediaType": IMAGE, "digest": subject, "size": size});
        manifest["annotations"] = json!({"large": large, "n": n.to_string()});
        let request = ask(Method::PUT, &format!("/v2/open/a/manifests/t{n}")).header("content-type", IMAGE);
        let pushed = site
            .send(bearer(request, &site.token("builder")), manifest.to_string())
            .await;
        assert_eq!(pushed.status, StatusCode::CREATED, "{}", pushed.text());
    };
    refer(0).await;
    refer(1).await;
    let share = site
        .app
        .memory
        .of(Holder::Stranger(Some(SourceAddress::of([127, 0, 0, 1].into()))));
    let held = share.try_take(usize::MAX).unwrap();
    let mut next = format!("/v2/open/a/referrers/{subject}");
    let (mut answer, ()) = tokio::join!(site.send(ask(Method::GET, &next), Body::empty()), async {
        share.wanted().await;
        for n in 2..6 {
            refer(n).await;
        }
        drop(held);
    });
    let mut found = Vec::new();
    loop {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        found.extend(
            answer.json()["manifests"]
                .as_array()
                .unwrap()
                .iter()
                .map(|entry| entry["digest"].clone()),
        );
        let Some((path, _)) = answer
            .header("link")
            .strip_prefix('<')
            .and_then(|link| link.split_once('>'))
        else {
            break;
        };
        next = path.to_owned();
        drop(answer);
        answer = site.send(ask(Method::GET, &next), Body::empty()).await;
    }
    assert_eq!(found.len(), 6, "{found:?}");
}
