//! Conditional writes, one after the other.

use super::super::objects::{Condition, Objects, Reading};
use super::attempt::Attempt;
use super::report::{Finding, Found, Need, no, unknown, yes};
use super::{Run, nonce};
use bytes::Bytes;
use object_store::Error;
use std::sync::Arc;

pub(super) async fn all(objects: &Objects, run: &Run<'_>) -> Vec<Finding> {
    vec![
        Finding::new("create if absent", Need::Replicas, creates(objects, run).await),
        Finding::new("update if unchanged", Need::Replicas, updates(objects, run).await),
        Finding::new("delete if unchanged", Need::Nothing, deletes(objects, run).await),
        Finding::new("read if changed", Need::Nothing, reads(objects, run).await),
        Finding::new("multipart upload", Need::Always, multipart(objects, run).await),
    ]
}

fn failed(objects: &Objects, why: &Error) -> Found {
    unknown(objects.explain(why))
}

async fn creates(objects: &Objects, run: &Run<'_>) -> Found {
    let key = run.key("create");
    let twice = [
        Attempt::from(objects.put(&key, nonce(), Condition::Absent).await),
        Attempt::from(objects.put(&key, nonce(), Condition::Absent).await),
    ];
    match twice {
        [Attempt::Done(_), Attempt::Refused] => yes("the second creation was refused"),
        [Attempt::Done(_), Attempt::Done(_)] => no("the second creation was accepted"),
        [Attempt::Refused, _] => no("the first creation was refused"),
        [Attempt::Rejected(why), _] | [_, Attempt::Rejected(why)] => no(why),
        [Attempt::Denied(why) | Attempt::Unknown(why), _]
        | [_, Attempt::Denied(why) | Attempt::Unknown(why)] => failed(objects, &why),
    }
}

async fn updates(objects: &Objects, run: &Run<'_>) -> Found {
    let key = run.key("update");
    let first = match objects.put(&key, nonce(), Condition::None).await {
        Ok(tag) => tag,
        Err(why) => return failed(objects, &why),
    };
    let twice = [
        Attempt::from(objects.put(&key, nonce(), Condition::Tag(&first)).await),
        Attempt::from(objects.put(&key, nonce(), Condition::Tag(&first)).await),
    ];
    match twice {
        [Attempt::Done(second), Attempt::Refused] if second != first => yes("the stale update was refused"),
        [Attempt::Done(_), Attempt::Refused] => no("two states have one entity tag"),
        [Attempt::Done(_), Attempt::Done(_)] => no("the stale update was accepted"),
        [Attempt::Refused, _] => no("the right update was refused"),
        [Attempt::Rejected(why), _] | [_, Attempt::Rejected(why)] => no(why),
        [Attempt::Denied(why) | Attempt::Unknown(why), _]
        | [_, Attempt::Denied(why) | Attempt::Unknown(why)] => failed(objects, &why),
    }
}

async fn deletes(objects: &Objects, run: &Run<'_>) -> Found {
    let key = run.key("delete");
    let found: Result<Found, Error> = async {
        let first: Arc<str> = objects.put(&key, nonce(), Condition::None).await?;
        let second = objects.put(&key, nonce(), Condition::None).await?;
        let stale = objects.delete_if(&key, &first).await?;
        let is_gone = matches!(objects.get(&key, None).await?, Reading::Absent);
        Ok(match (stale, is_gone) {
            (_, true) => {
                no("a stale deletion was accepted, so small markers of deleted records stay for good")
            }
            (_, false) if objects.delete_if(&key, &second).await? => yes("a stale deletion was refused"),
            (_, false) => {
                no("a right deletion was refused, so small markers of deleted records stay for good")
            }
        })
    }
    .await;
    found.unwrap_or_else(|why| no(objects.explain(&why)))
}

async fn reads(objects: &Objects, run: &Run<'_>) -> Found {
    let key = run.key("read");
    let found: Result<Found, Error> = async {
        let tag = objects.put(&key, nonce(), Condition::None).await?;
        Ok(match objects.get(&key, Some(&tag)).await? {
            Reading::Same => yes("an unchanged object is not sent again"),
            Reading::Found(_) | Reading::Absent => {
                no("an unchanged object is sent again, which costs time only")
            }
        })
    }
    .await;
    found.unwrap_or_else(|why| failed(objects, &why))
}

async fn multipart(objects: &Objects, run: &Run<'_>) -> Found {
    let key = run.key("multipart");
    let parts = [Bytes::from(vec![1; SMALLEST_PART]), Bytes::from_static(b"rest")];
    let size: usize = parts.iter().map(Bytes::len).sum();
    let found: Result<Found, Error> = async {
        let aborted = objects.begin(&run.key("aborted")).await?;
        objects.abort(&run.key("aborted"), &aborted).await?;
        let upload = objects.begin(&key).await?;
        let mut tags = Vec::new();
        for (number, part) in parts.into_iter().enumerate() {
            tags.push(objects.put_part(&key, &upload, number, part).await?);
        }
        objects.complete(&key, &upload, &tags).await?;
        Ok(match objects.size(&key).await? {
            Some(found) if usize::try_from(found) == Ok(size) => yes("parts of 5 MiB make an object"),
            found => no(format!(
                "expected an object of {size} bytes, found {}",
                found.unwrap_or(0)
            )),
        })
    }
    .await;
    found.unwrap_or_else(|why| no(objects.explain(&why)))
}

const SMALLEST_PART: usize = 5 << 20;
