//! Bytes as a bucket keeps them. A writer collects bytes in its process and sends them as parts. An upload is
//! completed with the parts that a [`Resume`] lists, and only with these.

use super::*;
use crate::storage::{Answer, BlobFile, BlobStore, Failure, Look, Resume, Written};
use futures_util::FutureExt;
use futures_util::future::ready;
use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

/// What all processes share.
#[derive(Default)]
pub(super) struct Parts(Mutex<State>);

#[derive(Default)]
struct State {
    parts: HashMap<(String, usize), Part>,
    /// How many parts were sent. An entity tag is never used again.
    sent: u64,
    /// Names that were removed. Their parts are refused from then on.
    removed: HashSet<String>,
}

struct Part {
    entity: u64,
    bytes: Bytes,
}

/// What one process is writing, by name.
#[derive(Default)]
pub(super) struct Writers(Mutex<HashMap<String, Writer>>);

/// The entity tag and the size of each part.
type Listed = Vec<(u64, u64)>;

#[derive(Clone, Default)]
struct Writer {
    /// The upload as it was when this writer continued it.
    from: Listed,
    /// The bytes since then.
    rest: Vec<u8>,
}

/// A part on its way to the bucket.
pub(super) struct Sent {
    name: String,
    number: usize,
    bytes: Bytes,
    before: Listed,
}

impl Writers {
    /// Adds bytes, which no other process sees.
    pub(super) fn write(
        &self,
        name: &str,
        offset: u64,
        resume: &Resume,
        chunks: &[Bytes],
        mut look: Look,
    ) -> Result<(), Failure> {
        let mut writers = self.0.lock().unwrap();
        let from = listed(resume);
        let goes_on = writers
            .get(name)
            .is_some_and(|writer| writer.from == from && writer.size() == offset);
        if !goes_on {
            if size(&from) != offset {
                return Err(Failure::Missing);
            }
            writers.insert(
                name.to_owned(),
                Writer {
                    from,
                    rest: Vec::new(),
                },
            );
        }
        let writer = writers.get_mut(name).unwrap();
        for chunk in chunks {
            look(chunk);
            writer.rest.extend_from_slice(chunk);
        }
        Ok(())
    }

    /// Takes what was written since `resume`. After this, the writer continues from another one.
    pub(super) fn take(&self, name: &str, wanted: u64, resume: &Resume) -> Result<Sent, Failure> {
        let from = listed(resume);
        let writer = self.0.lock().unwrap().remove(name);
        let writer = writer.unwrap_or_else(|| Writer {
            from: from.clone(),
            rest: Vec::new(),
        });
        if writer.from != from || writer.size() != wanted {
            return Err(Failure::Missing);
        }
        Ok(Sent {
            name: name.to_owned(),
            number: from.len(),
            bytes: writer.rest.into(),
            before: from,
        })
    }
}

impl Writer {
    fn size(&self) -> u64 {
        size(&self.from) + self.rest.len() as u64
    }
}

fn listed(resume: &Resume) -> Listed {
    let text: String = serde_json::from_value(serde_json::to_value(resume).unwrap()).unwrap();
    if text.is_empty() {
        Listed::new()
    } else {
        serde_json::from_str(&text).unwrap()
    }
}

fn size(listed: &Listed) -> u64 {
    listed.iter().map(|(_, size)| size).sum()
}

fn resume(listed: &Listed) -> Resume {
    serde_json::from_value(json!(serde_json::to_string(listed).unwrap())).unwrap()
}

impl Parts {
    /// A part replaces an earlier one with its number.
    pub(super) fn put(&self, sent: Sent) -> Result<Resume, Failure> {
        let Sent {
            name,
            number,
            bytes,
            before: mut listed,
        } = sent;
        if bytes.is_empty() {
            return Ok(resume(&listed));
        }
        let mut state = self.0.lock().unwrap();
        if state.removed.contains(&name) {
            return Err(Failure::Missing);
        }
        state.sent += 1;
        let entity = state.sent;
        listed.push((entity, bytes.len() as u64));
        state.parts.insert((name, number), Part { entity, bytes });
        Ok(resume(&listed))
    }

    /// Completes the upload with these parts. Completing it again is not an error.
    pub(super) fn complete(
        &self,
        memory: &Memory,
        name: &str,
        wanted: u64,
        resume: &Resume,
    ) -> Result<(), Failure> {
        let done = |answer: Answer<()>| answer.now_or_never().unwrap();
        if let Some(Ok(file)) = memory.open(name).now_or_never() {
            return if file.size() == wanted {
                Ok(())
            } else {
                Err(Failure::Missing)
            };
        }
        let mut state = self.0.lock().unwrap();
        if state.removed.contains(name) || size(&listed(resume)) != wanted {
            return Err(Failure::Missing);
        }
        let mut chunks = Vec::new();
        for (number, (entity, _)) in listed(resume).iter().enumerate() {
            match state.parts.get(&(name.to_owned(), number)) {
                Some(part) if part.entity == *entity => chunks.push(part.bytes.clone()),
                _ => return Err(Failure::Missing),
            }
        }
        state.parts.retain(|(of, _), _| of != name);
        let none = Resume::default();
        done(memory.write(name, 0, &none, chunks, Box::new(|_| ())))?;
        done(memory.seal(name, wanted, &none))
    }

    pub(super) fn remove(&self, memory: &Memory, name: &str) {
        let mut state = self.0.lock().unwrap();
        state.parts.retain(|(of, _), _| of != name);
        state.removed.insert(name.to_owned());
        memory
            .remove(name, &Resume::default())
            .now_or_never()
            .unwrap()
            .unwrap();
    }
}

/// The bytes as one process sees them.
pub(super) struct OfOne {
    memory: Arc<Memory>,
    parts: Arc<Parts>,
    writers: Writers,
    /// Runs before the next upload is sealed.
    before_seal: Mutex<Option<Work>>,
}

type Work = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

impl OfOne {
    pub(super) fn new(memory: &Arc<Memory>, parts: &Arc<Parts>) -> Arc<Self> {
        Arc::new(Self {
            memory: memory.clone(),
            parts: parts.clone(),
            writers: Writers::default(),
            before_seal: Mutex::default(),
        })
    }

    /// Lets `work` run before the next upload is sealed.
    pub(super) fn before_seal(&self, work: Work) {
        *self.before_seal.lock().unwrap() = Some(work);
    }
}

impl BlobStore for OfOne {
    fn write<'a>(
        &'a self,
        name: &'a str,
        offset: u64,
        resume: &'a Resume,
        chunks: Vec<Bytes>,
        look: Look,
    ) -> Answer<'a, ()> {
        Box::pin(ready(self.writers.write(name, offset, resume, &chunks, look)))
    }

    fn keep<'a>(&'a self, name: &'a str, size: u64, resume: &'a Resume) -> Answer<'a, Resume> {
        let kept = self.writers.take(name, size, resume);
        Box::pin(ready(kept.and_then(|sent| self.parts.put(sent))))
    }

    fn seal<'a>(&'a self, name: &'a str, size: u64, resume: &'a Resume) -> Answer<'a, ()> {
        Box::pin(async move {
            let before = self.before_seal.lock().unwrap().take();
            if let Some(before) = before {
                before.await;
            }
            let resume = self
                .writers
                .take(name, size, resume)
                .and_then(|sent| self.parts.put(sent))?;
            self.parts.complete(&self.memory, name, size, &resume)
        })
    }

    fn open<'a>(&'a self, name: &'a str) -> Answer<'a, Arc<dyn BlobFile>> {
        self.memory.open(name)
    }

    fn remove<'a>(&'a self, name: &'a str, _: &'a Resume) -> Answer<'a, ()> {
        self.parts.remove(&self.memory, name);
        Box::pin(ready(Ok(())))
    }

    fn list_bytes<'a>(&'a self, after: &'a str, limit: usize) -> Answer<'a, Vec<Written>> {
        self.memory.list_bytes(after, limit)
    }
}
