//! What a bucket does with the bytes of a blob: parts, rests, and how many requests it makes.

use super::buckets::{InMoto, InSeaweedFs};
use super::*;
use crate::bucket::Bucket;

mod faults;
mod memory;
mod requests;

const MIB: usize = 1 << 20;

/// Bytes that differ everywhere.
fn content(size: usize) -> Bytes {
    let mut random = fastrand::Rng::with_seed(size as u64);
    let mut bytes = vec![0; size];
    random.fill(&mut bytes);
    bytes.into()
}

async fn read(store: &Bucket, name: &str) -> Vec<u8> {
    let file = store.open(name).await.unwrap();
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < file.size() {
        bytes.extend_from_slice(&file.read(bytes.len() as u64, MIB).await.unwrap());
    }
    bytes
}

/// Writes in chunks of about a MiB, as the registry does.
async fn write_all(store: &Bucket, resume: &Resume, whole: &Bytes, from: usize, to: usize) {
    let mut at = from;
    while at < to {
        let end = to.min(at + MIB + 77);
        let chunks = vec![whole.slice(at..end)];
        write_on(store, NAME, at as u64, resume, chunks).await.unwrap();
        at = end;
    }
}

macro_rules! on_each {
    ($($rule:ident),* $(,)?) => {
        mod moto {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                if let Some(place) = super::InMoto::new() {
                    super::$rule(place).await;
                }
            })*
        }
        mod seaweedfs {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                if let Some(place) = super::InSeaweedFs::new() {
                    super::$rule(place).await;
                }
            })*
        }
    };
}

on_each! {
    a_blob_of_several_parts_comes_back_whole,
    an_upload_that_is_kept_anywhere_is_continued_by_another_process,
}

async fn a_blob_of_several_parts_comes_back_whole(place: impl Place<Store = Bucket>) {
    let store = place.open().await;
    let whole = content(20 * MIB + 5);
    write_all(&store, &NEW, &whole, 0, whole.len()).await;
    store.seal(NAME, whole.len() as u64, &NEW).await.unwrap();
    store.seal(NAME, whole.len() as u64, &NEW).await.unwrap();
    assert!(read(&store, NAME).await == whole);
    assert!(is_missing(store.seal(NAME, 5, &NEW).await));
}

async fn an_upload_that_is_kept_anywhere_is_continued_by_another_process(place: impl Place<Store = Bucket>) {
    let whole = content(30 * MIB);
    let mut resume = NEW.clone();
    let mut at = 0;
    // A rest alone, a part and a rest, several rests, a part that is smaller than others, and a rest.
    for to in [
        3 * MIB,
        9 * MIB,
        10 * MIB + 1,
        12 * MIB,
        18 * MIB,
        29 * MIB,
        30 * MIB,
    ] {
        let store = place.open().await;
        write_all(&store, &resume, &whole, at, to).await;
        resume = store.keep(NAME, to as u64, &resume).await.unwrap();
        at = to;
    }
    let store = place.open().await;
    store.seal(NAME, at as u64, &resume).await.unwrap();
    let again = place.open().await;
    again.seal(NAME, at as u64, &resume).await.unwrap();
    assert!(read(&store, NAME).await == whole);
}
