//! The memory for the bodies of requests, all together.

use super::*;
use crate::budget::{Class, LEAST, PIECE};
use futures_util::future::join_all;
use futures_util::stream;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const LARGEST: usize = crate::limits::MANIFEST_BYTES;

fn site() -> Site {
    let mut site = Site::new();
    site.app.memory = Budget::new(LEAST);
    site.endpoint = Endpoint::new(site.app.clone());
    site
}

/// A body that notes that it was read.
fn watched(content: &'static str) -> (Arc<AtomicBool>, Body) {
    let read = Arc::new(AtomicBool::new(false));
    let reading = read.clone();
    let frames = stream::once(async move {
        reading.store(true, Ordering::SeqCst);
        Ok::<_, Infallible>(content)
    });
    (read, Body::from_stream(frames))
}

fn push(name: &str) -> Builder {
    ask(Method::PUT, &format!("/v2/{name}/manifests/v1")).header("content-type", IMAGE)
}

#[tokio::test(start_paused = true)]
async fn without_memory_a_request_is_503_before_its_body_is_read() {
    let site = site();
    let begun = site.send(ask(Method::POST, "/v2/open/a/blobs/uploads/"), Body::empty()).await;
    let upload = begun.header("location").to_owned();
    let all = site.app.memory.of(Class::Identified).try_take(LEAST).unwrap();
    let digest = sha256("abc");
    for request in [
        push("open/a"),
        push("open/a").header("content-length", "3"),
        ask(Method::POST, &format!("/v2/open/a/blobs/uploads/?digest={digest}")),
        ask(Method::PATCH, &upload),
        ask(Method::PUT, &format!("{upload}?digest={digest}")),
        ask(Method::POST, "/v2/token"),
    ] {
        let (read, body) = watched("abc");
        let answer = site.send(request, body).await;
        assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "5"), "{}", answer.text());
        assert!(!read.load(Ordering::SeqCst), "its body was read: {}", answer.text());
    }
    let empty = sha256("");
    let closed = site.send(ask(Method::PUT, &format!("{upload}?digest={empty}")), Body::empty()).await;
    assert_eq!(closed.status, StatusCode::CREATED, "what has no body needs no memory");
    let (read, body) = watched("abc");
    let (answer, ()) = tokio::join!(site.send(push("open/a"), body), async {
        tokio::task::yield_now().await;
        drop(all);
    });
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "it waited for memory, and is no manifest: {}", answer.text());
    assert!(read.load(Ordering::SeqCst));
    assert_eq!(site.app.memory.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn many_manifests_at_once_hold_no_more_than_the_budget() {
    let site = site();
    let (held, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let pushes = (0..40).map(|n| {
        let (counting, highest) = (held.clone(), most.clone());
        let frames = stream::unfold(0, move |sent| {
            let (counting, highest) = (counting.clone(), highest.clone());
            async move {
                tokio::task::yield_now().await;
                if sent == LARGEST {
                    return None;
                }
                highest.fetch_max(counting.fetch_add(PIECE, Ordering::SeqCst) + PIECE, Ordering::SeqCst);
                Some((Ok::<_, Infallible>(Bytes::from(vec![b' '; PIECE])), sent + PIECE))
            }
        });
        let request = if n % 2 == 0 { push("open/a").header("content-length", LARGEST.to_string()) } else { push("open/a") };
        let (site, held) = (&site, held.clone());
        async move {
            let answer = site.send(bearer(request, &site.token("builder")), Body::from_stream(frames)).await;
            held.fetch_sub(LARGEST, Ordering::SeqCst);
            answer.status
        }
    });
    let statuses = join_all(pushes).await;
    assert_eq!(statuses, [StatusCode::BAD_REQUEST; 40], "each was read to its end");
    let most = most.load(Ordering::SeqCst);
    assert!(most <= LEAST, "{most} bytes were in memory at once");
}

#[tokio::test(start_paused = true)]
async fn strangers_do_not_keep_an_identified_caller_from_pushing() {
    let site = Arc::new(site());
    let config = site.push_blob("open/a", "{}").await;
    let strangers: Vec<_> = (0..6)
        .map(|_| {
            let site = site.clone();
            let never = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
            tokio::spawn(async move { site.send(push("open/a").header("content-length", LARGEST.to_string()), never).await.status })
        })
        .collect();
    while site.app.memory.used() < LEAST / 2 {
        tokio::task::yield_now().await;
    }
    let manifest = image(&config).to_string();
    assert_eq!(site.send(push("open/a"), manifest.clone()).await.status, StatusCode::SERVICE_UNAVAILABLE);
    let identified = site.send(bearer(push("open/a"), &site.token("builder")), manifest).await;
    assert_eq!(identified.status, StatusCode::CREATED, "{}", identified.text());
    assert_eq!(site.app.memory.used(), LEAST / 2);
    while strangers.iter().filter(|stranger| stranger.is_finished()).count() < 4 {
        tokio::task::yield_now().await;
    }
    strangers.iter().for_each(tokio::task::JoinHandle::abort);
    let ended = join_all(strangers).await;
    let refused = ended.into_iter().filter(|status| matches!(status, Ok(StatusCode::SERVICE_UNAVAILABLE))).count();
    assert_eq!(refused, 4, "of six strangers two had their half");
    assert_eq!(site.app.memory.used(), 0, "and what is given up holds nothing");
}

#[tokio::test(start_paused = true)]
async fn large_manifests_that_clients_do_not_take_hold_no_more_than_the_budget() {
    const LARGE: usize = 3 << 20;
    let site = site();
    let pushed = site.push_image("open/a", "v1", json!({"annotations": {"large": "x".repeat(LARGE)}})).await;
    assert_eq!(pushed.status, StatusCode::CREATED, "{}", pushed.text());
    let get = || {
        let connection =
            Connection { caller: Caller::default(), peer: None, remote: ([127, 0, 0, 1], 1).into(), tls: true, more: More::default() };
        let request = ask(Method::GET, "/v2/open/a/manifests/v1").extension(connection).body(Body::empty()).unwrap();
        let mut endpoint = site.endpoint.clone();
        async move { endpoint.call(request).await.unwrap() }
    };
    let untaken = [get().await, get().await];
    assert!(untaken.iter().all(|answer| answer.status() == StatusCode::OK));
    assert!((2 * LARGE..=LEAST / 2).contains(&site.app.memory.used()), "{}", site.app.memory.used());
    let refused = get().await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE, "strangers have half of the budget, which is two of these");
    assert_eq!(refused.headers()["retry-after"], "5");
    let (waited, ()) = tokio::join!(get(), async {
        tokio::task::yield_now().await;
        drop(untaken);
    });
    let answer = Answer::read(waited).await;
    assert_eq!((answer.status, sha256(&answer.body)), (StatusCode::OK, pushed.header("docker-content-digest").to_owned()));
    drop(answer);
    assert_eq!(site.app.memory.used(), 0);
}
