//! Uploads that share little memory.

use super::*;
use crate::budget::{Budget, Holder, PIECE, Share};
use futures_util::future::join_all;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;

const R: &str = "team/app";

fn budget(pieces: usize) -> (Budget, Share) {
    let budget = Budget::new(pieces * PIECE);
    let share = budget.of(Holder::Identified("builder".into()));
    (budget, share)
}

/// A body of the frames that are sent while it is read.
fn sending(share: &Share) -> (mpsc::UnboundedSender<Bytes>, Body) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let frames = futures_util::stream::unfold(receiver, |mut frames| async {
        Some((Ok(frames.recv().await?), frames))
    });
    (sender, Body::new(frames.boxed(), share.clone(), None))
}

#[tokio::test]
async fn many_uploads_take_turns_and_all_of_them_end() {
    const FRAME: usize = 16 << 10;
    let bench = Bench::new();
    let (budget, share) = budget(4);
    let most = Arc::new(AtomicUsize::new(0));
    let uploads = (0..20_u8).map(|n| {
        let registry = bench.registry.clone();
        let content = Bytes::from(vec![n; 40 * FRAME]);
        let share = share.clone();
        let budget = budget.clone();
        let most = most.clone();
        async move {
            let digest = sha256(&content);
            let frames = futures_util::stream::unfold(content, move |mut rest| {
                most.fetch_max(budget.used(), Ordering::SeqCst);
                async move {
                    tokio::task::yield_now().await;
                    (!rest.is_empty()).then(|| (Ok(rest.split_to(FRAME)), rest))
                }
            });
            let body = Body::new(frames.boxed(), share.clone(), Some(share.take(1).await));
            registry.put_blob(&pusher(R), None, &digest, body).await.unwrap()
        }
    });
    let digests = join_all(uploads).await;
    for (n, digest) in (0..20_u8).zip(&digests) {
        assert!(
            content(&bench.registry, R, digest)
                .await
                .unwrap()
                .iter()
                .all(|byte| *byte == n)
        );
    }
    assert_eq!((most.load(Ordering::SeqCst), budget.used()), (4 * PIECE, 0));
}

#[tokio::test]
async fn a_client_that_sends_nothing_leaves_its_memory_to_others() {
    let bench = Bench::new();
    let (budget, share) = budget(2);
    let push = |content: &'static [u8], body| {
        let registry = bench.registry.clone();
        tokio::spawn(async move {
            registry
                .put_blob(&blind(create(R)), None, &sha256(content), body)
                .await
        })
    };
    let slow: Vec<_> = (0..2).map(|_| sending(&share)).collect();
    let mut waiting = Vec::new();
    let mut senders = Vec::new();
    for (sender, body) in slow {
        sender.send(Bytes::from_static(b"sl")).unwrap();
        waiting.push(push(b"slow", body));
        senders.push(sender);
    }
    while budget.used() < 2 * PIECE {
        tokio::task::yield_now().await;
    }
    let (sender, body) = sending(&share);
    sender.send(Bytes::from_static(b"fast")).unwrap();
    drop(sender);
    assert_eq!(push(b"fast", body).await.unwrap().unwrap(), sha256(b"fast"));
    for sender in senders {
        sender.send(Bytes::from_static(b"ow")).unwrap();
    }
    for slow in waiting {
        assert_eq!(slow.await.unwrap().unwrap(), sha256(b"slow"));
    }
    assert_eq!(budget.used(), 0);
}

#[tokio::test]
async fn hashing_again_waits_for_memory_without_holding_any() {
    let bench = Bench::new();
    let (budget, share) = budget(2);
    let content: &[u8] = b"hello";
    let closings = (0..5).map(|_| {
        let registry = bench.registry.clone();
        let share = share.clone();
        async move {
            let upload = registry.start_upload(&create(R), None).await.unwrap();
            registry
                .append(&create(R), &upload.id, None, None, body(&[content]))
                .await
                .unwrap();
            let first = share.take(1).await;
            let rest = Body::new(futures_util::stream::empty().boxed(), share, Some(first));
            registry
                .finish(
                    &blind(create(R)),
                    &upload.id,
                    None,
                    &digest_of(Algorithm::Sha512, content),
                    rest,
                )
                .await
                .unwrap();
        }
    });
    tokio::time::timeout(std::time::Duration::from_secs(60), join_all(closings))
        .await
        .expect("they wait for each other");
    assert_eq!(budget.used(), 0);
}
