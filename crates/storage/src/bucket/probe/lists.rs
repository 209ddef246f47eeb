//! Lists: whether they are complete, ordered, and begin where they are asked to.

use super::super::objects::{Condition, Objects};
use super::report::{Finding, Found, Need, no, unknown, yes};
use super::{Run, nonce};
use object_store::Error;
use std::future::Future;

pub(super) async fn all(run: &Run<'_>) -> Vec<Finding> {
    vec![
        Finding::new(
            "a list shows what was just written",
            Need::Always,
            or_unknown(run, fresh(run)).await,
        ),
        Finding::new(
            "a list is in the order of the keys",
            Need::Always,
            or_unknown(run, ordered(run)).await,
        ),
        Finding::new(
            "a list begins after a key",
            Need::Always,
            or_unknown(run, continued(run)).await,
        ),
    ]
}

async fn or_unknown(run: &Run<'_>, check: impl Future<Output = Result<Found, Error>>) -> Found {
    check.await.unwrap_or_else(|why| unknown(run.explain(&why)))
}

/// Writes through one endpoint and lists through the next.
async fn fresh(run: &Run<'_>) -> Result<Found, Error> {
    let readers = run.endpoints.iter().cycle().skip(1);
    for ((number, writer), reader) in (0..FRESH).zip(run.endpoints.iter().cycle()).zip(readers) {
        let key = run.key(&format!("fresh-{number}"));
        writer.put(&key, nonce(), Condition::None).await?;
        if keys(reader, &key, "", 2).await? != [key.as_str()] {
            return Ok(no("an object that was just written is not in a list"));
        }
        writer.delete(&key).await?;
        if !keys(reader, &key, "", 2).await?.is_empty() {
            return Ok(no("an object that was just deleted is still in a list"));
        }
    }
    Ok(yes(format!("{FRESH} writes and deletions were seen at once")))
}

async fn ordered(run: &Run<'_>) -> Result<Found, Error> {
    let prefix = run.key("ordered/");
    let expected = written(run, &prefix).await?;
    for objects in run.endpoints {
        let listed = keys(objects, &prefix, "", 100).await?;
        if listed != expected {
            return Ok(no(match listed.len() == expected.len() {
                true => "the keys are not in the order of their bytes".to_owned(),
                false => format!(
                    "{} keys were written, and {} are listed",
                    expected.len(),
                    listed.len()
                ),
            }));
        }
    }
    Ok(yes("the keys are in the order of their bytes"))
}

async fn continued(run: &Run<'_>) -> Result<Found, Error> {
    let prefix = run.key("ordered/");
    let expected = written(run, &prefix).await?;
    for objects in run.endpoints {
        for (number, after) in expected.iter().enumerate() {
            let listed = keys(objects, &prefix, after, 2).await?;
            let rest = expected.iter().skip(number + 1).take(2);
            if !listed.iter().eq(rest) {
                return Ok(no("a list that should begin after a key begins elsewhere"));
            }
        }
    }
    Ok(yes("each list began after the key that it was given"))
}

/// Writes an object under each name, and returns the keys in their right order.
async fn written(run: &Run<'_>, prefix: &str) -> Result<Vec<String>, Error> {
    let mut keys: Vec<_> = NAMES.iter().map(|name| format!("{prefix}{name}")).collect();
    for (key, objects) in keys.iter().zip(run.endpoints.iter().cycle()) {
        objects.put(key, nonce(), Condition::None).await?;
    }
    keys.sort();
    Ok(keys)
}

async fn keys(objects: &Objects, prefix: &str, after: &str, limit: usize) -> Result<Vec<String>, Error> {
    let listed = objects.list(prefix, after, limit).await?;
    Ok(listed.into_iter().map(|entry| entry.key).collect())
}

const FRESH: usize = 4;
/// Names like those of records, which a store with another alphabet puts into another order.
const NAMES: [&str; 8] = ["a", "a.-b", "a._b", "a-b", "a0", "aB", "a_b", "ab"];
