//! Records as objects of a bucket. They change only by conditional requests.

mod body;
mod lists;
mod names;
mod seen;
mod sweep;
mod writing;

use super::objects::{Object, Objects, Reading};
use crate::Failure;
use crate::contract::{Change, Record, Token, Value, Version};
use body::Body;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::iter;
use seen::Seen;
use std::sync::Arc;
use sweep::Sweeper;

#[derive(Debug)]
pub(super) struct Records {
    objects: Arc<Objects>,
    seen: Seen,
    sweeper: Sweeper,
}

/// How many independent changes are made at the same time.
const AT_ONCE: usize = 16;

impl Records {
    pub(super) fn new(objects: Arc<Objects>) -> Self {
        Self {
            objects,
            seen: Seen::new(),
            sweeper: Sweeper::default(),
        }
    }

    /// Always asks the store. If the object has not changed since it was read last, its bytes are not sent
    /// again.
    pub(super) async fn get(&self, key: &str) -> Result<Option<Record>, Failure> {
        self.read(key, self.seen.get(key)).await
    }

    pub(super) async fn get_recent(&self, key: &str) -> Result<Option<Record>, Failure> {
        match self.seen.get_fresh(key).map(|object| Self::record(&object)) {
            Some(Ok(Some(record))) => Ok(Some(record)),
            _ => self.get(key).await,
        }
    }

    pub(super) async fn get_stored(&self, key: &str) -> Result<Option<Record>, Failure> {
        self.seen.forget(key);
        self.read(key, None).await
    }

    pub(super) async fn create(&self, key: &str, value: Value) -> Result<Version, Failure> {
        self.write(key, None, body::of_value(&value)).await
    }

    pub(super) async fn swap(&self, key: &str, expected: &Version, value: Value) -> Result<Version, Failure> {
        let expected = tag_of(expected)?;
        self.write(key, Some(expected), body::of_value(&value)).await
    }

    pub(super) async fn delete(&self, key: &str, expected: &Version) -> Result<(), Failure> {
        let expected = tag_of(expected)?;
        self.write(key, Some(expected), body::tombstone()).await.map(drop)
    }

    pub(super) async fn change_each(&self, changes: Vec<Change>) -> Vec<Result<Option<Version>, Failure>> {
        iter(changes)
            .map(|change| self.change(change))
            .buffered(AT_ONCE)
            .collect()
            .await
    }

    async fn change(&self, change: Change) -> Result<Option<Version>, Failure> {
        let Change { key, expected, value } = change;
        match (expected, value) {
            (None, Some(value)) => self.create(&key, value).await.map(Some),
            (Some(expected), Some(value)) => self.swap(&key, &expected, value).await.map(Some),
            (Some(expected), None) => self.delete(&key, &expected).await.map(|()| None),
            (None, None) => Err(Failure::Conflict),
        }
    }

    pub(super) async fn sweep(&self, position: &str) -> Result<Option<String>, Failure> {
        self.sweeper.sweep(&self.objects, position).await
    }

    async fn write(&self, key: &str, expected: Option<Arc<str>>, body: Bytes) -> Result<Version, Failure> {
        let _changing = self.seen.changing(key);
        let written = writing::write(&self.objects, &names::object(key), expected, body).await;
        Ok(Version(Token::Text(written?)))
    }

    /// Reads the object, unless it still is what is `known`.
    async fn read(&self, key: &str, known: Option<Arc<Object>>) -> Result<Option<Record>, Failure> {
        let look = self.seen.look(key);
        let tag = known.as_ref().map(|object| &*object.tag);
        let answer = self.objects.get(&names::object(key), tag).await;
        let object = match (answer, known) {
            (Ok(Reading::Found(object)), _) => Arc::new(object),
            (Ok(Reading::Same), Some(known)) => known,
            (Ok(Reading::Absent | Reading::Same), _) => {
                self.seen.forget(key);
                return Ok(None);
            }
            (Err(why), _) => return Err(self.objects.failure(why)),
        };
        if !is_strong(&object.tag) {
            return Err(self.objects.failure(NoEntityTag::of(&object.tag)));
        }
        self.seen.keep(key, object.clone(), &look);
        Self::record(&object)
    }

    fn record(object: &Object) -> Result<Option<Record>, Failure> {
        let version = Version(Token::Text(object.tag.clone()));
        match body::read(&object.bytes) {
            Body::Tombstone => Ok(None),
            Body::Value(value) => Ok(Some(Record {
                version,
                value,
                written: object.written,
            })),
            Body::Strange => Err(Failure::Lost {
                version,
                what: "the registry did not write this object".into(),
            }),
        }
    }
}

/// The entity tag in a version. A version of another kind of store names no state of this one.
fn tag_of(version: &Version) -> Result<Arc<str>, Failure> {
    match &version.0 {
        Token::Text(tag) if is_strong(tag) => Ok(tag.clone()),
        _ => Err(Failure::Conflict),
    }
}

/// A weak entity tag may stay the same when the bytes change.
fn is_strong(tag: &str) -> bool {
    tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"')
}

#[derive(Debug, thiserror::Error)]
#[error(
    "it answers with {what}, so changes of records cannot be told apart: use a store with strong entity tags"
)]
struct NoEntityTag {
    what: String,
}

impl NoEntityTag {
    fn of(tag: &str) -> Self {
        let what = if tag.is_empty() {
            "no entity tag".to_owned()
        } else {
            format!("the entity tag {tag}, which is weak or has no quotes")
        };
        Self { what }
    }
}
