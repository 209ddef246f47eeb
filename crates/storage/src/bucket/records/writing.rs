//! One conditional write, until its outcome is known or can no longer be found out.

use super::super::objects::{Condition, Object, Objects, Reading};
use super::super::retry::{Attempts, Verdict, verdict};
use super::body::{self, Body};
use super::{NoEntityTag, is_strong};
use crate::Failure;
use bytes::Bytes;
use std::sync::Arc;

/// Writes `body`, which no other writer has, over the state `expected`, and returns its entity tag. Without
/// `expected` there must be no record: no object, or a tombstone.
pub(super) async fn write(
    objects: &Objects,
    name: &str,
    expected: Option<Arc<str>>,
    body: Bytes,
) -> Result<Arc<str>, Failure> {
    let creates = expected.is_none();
    let mut writing = Writing {
        objects,
        name,
        body,
        expected,
        creates,
        attempts: Attempts::new(objects.budget()),
        moved: 0,
        unknown: None,
    };
    loop {
        if let Some(outcome) = writing.attempt().await {
            return outcome;
        }
    }
}

/// Others would have to create and delete the record this often during one creation.
const MOST_MOVES: u32 = 20;

struct Writing<'a> {
    objects: &'a Objects,
    name: &'a str,
    body: Bytes,
    /// The state to write over. `None` if there must be no object.
    expected: Option<Arc<str>>,
    creates: bool,
    attempts: Attempts<'a>,
    /// How often a creation found that there is no record in another state than it expected.
    moved: u32,
    /// The failure of an attempt that may have been done, or may be done later.
    unknown: Option<object_store::Error>,
}

/// What the object turned out to be after an attempt.
enum After {
    /// It has the bytes that were to be written, so an attempt succeeded.
    Written(Arc<str>),
    /// It is as expected, so no attempt was done yet.
    Expected,
    /// There is no record. The next attempt may write over this state.
    NoRecord(Option<Arc<str>>),
    Changed,
}

impl Writing<'_> {
    /// `None` if there should be another attempt.
    async fn attempt(&mut self) -> Option<Result<Arc<str>, Failure>> {
        let condition = self.expected.as_deref().map_or(Condition::Absent, Condition::Tag);
        let mut wait = None;
        let mut in_progress = false;
        match self.objects.put(self.name, self.body.clone(), condition).await {
            Ok(tag) if is_strong(&tag) => return Some(Ok(tag)),
            // Some stores leave it out here and have it in the answer to a read.
            Ok(_) => {}
            Err(why) => match verdict(&why) {
                Verdict::Refused => in_progress = true,
                Verdict::Passing { wait: asked } => {
                    wait = asked;
                    self.unknown = Some(why);
                }
                Verdict::Unusable => self.unknown = Some(why),
                Verdict::Final => return Some(Err(self.objects.failure(why))),
            },
        }
        match self.look().await {
            Err(failure) => Some(Err(failure)),
            Ok(After::Written(tag)) => Some(Ok(tag)),
            Ok(After::Expected) => {
                let again = if in_progress {
                    self.attempts.again_soon().await
                } else {
                    self.attempts.again(wait).await
                };
                if again { None } else { Some(Err(self.failure())) }
            }
            // An attempt may have created the record, and someone may have deleted it since. It must not be
            // created twice.
            Ok(After::NoRecord(_) | After::Changed) if self.unknown.is_some() => Some(Err(self.failure())),
            Ok(After::NoRecord(found)) if self.creates && self.moved < MOST_MOVES => {
                self.expected = found;
                self.moved += 1;
                None
            }
            Ok(After::NoRecord(_) | After::Changed) => Some(Err(Failure::Conflict)),
        }
    }

    /// The failure after the last attempt.
    fn failure(&mut self) -> Failure {
        match self.unknown.take() {
            Some(source) => self.objects.failure(Unknown {
                name: self.name.to_owned(),
                why: self.objects.explain(&source),
                source,
            }),
            None => self.objects.failure(Busy(self.name.to_owned())),
        }
    }

    async fn look(&self) -> Result<After, Failure> {
        let object = match self.objects.get(self.name, None).await {
            Ok(Reading::Found(object)) => object,
            Ok(Reading::Absent | Reading::Same) if self.expected.is_none() => return Ok(After::Expected),
            Ok(Reading::Absent | Reading::Same) => return Ok(After::NoRecord(None)),
            Err(why) => return Err(self.objects.failure(why)),
        };
        let Object { tag, bytes, .. } = object;
        if !is_strong(&tag) {
            return Err(self.objects.failure(NoEntityTag::of(&tag)));
        }
        Ok(if bytes == self.body {
            After::Written(tag)
        } else if self.expected.as_ref() == Some(&tag) {
            After::Expected
        } else if body::read(&bytes) == Body::Tombstone {
            After::NoRecord(Some(tag))
        } else {
            After::Changed
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("it is not known whether {name} was written: {why}")]
struct Unknown {
    name: String,
    why: String,
    source: object_store::Error,
}

#[derive(Debug, thiserror::Error)]
#[error("too many other requests change {0} at the same time")]
struct Busy(String);
