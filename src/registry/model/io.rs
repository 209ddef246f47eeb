//! The requests of an actor. An actor's phase is plain code that is run again from its beginning for every
//! request. Earlier replies are repeated from memory, one new request is carried out, and the next one stops
//! the run.

use super::faults::Fault;
use super::options::Options;
use super::seen::Seen;
use super::steps::{Condemnable, Next};
use super::values::{Key, Value};
use super::world::{Bytes, Content, Reply, World};

/// The run has made the one request that it may make.
#[derive(Debug)]
pub(super) struct Stop;

pub(super) struct Io<'a> {
    options: &'a Options,
    world: &'a mut World,
    past: &'a mut Vec<Reply>,
    at: usize,
    pub acted: bool,
}

impl<'a> Io<'a> {
    pub(super) fn new(options: &'a Options, world: &'a mut World, past: &'a mut Vec<Reply>) -> Self {
        Self {
            options,
            world,
            past,
            at: 0,
            acted: false,
        }
    }

    /// Whether the actors of this run have this fault.
    pub(super) fn has(&self, fault: Fault) -> bool {
        self.options.fault == Some(fault)
    }

    pub(super) const fn children(&self, manifest: u8) -> &'a [u8] {
        self.options.children_of(manifest)
    }

    pub(super) const fn has_damages(&self) -> bool {
        self.options.damages
    }

    pub(super) const fn has_tags(&self) -> bool {
        self.options.tags
    }

    pub(super) const fn keeps_history(&self) -> bool {
        self.options.history
    }

    pub(super) const fn batch(&self) -> usize {
        self.options.batch
    }

    /// The current world. Use it only where the answer cannot change between two runs of a phase, because
    /// this does not make a request.
    pub(super) const fn world(&self) -> &World {
        self.world
    }

    /// With the record's age.
    fn read(&mut self, key: Key) -> Result<(Seen, Option<Value>, u8), Stop> {
        match self.next(|world| world.read(key))? {
            Reply::Read(seen, value, age) => Ok((seen, value, age)),
            other => unreachable!("{other:?}"),
        }
    }

    pub(super) fn get<T: TryFrom<Value>>(&mut self, key: Key) -> Result<(Seen, Option<T>), Stop> {
        let (seen, value, _) = self.read(key)?;
        Ok((seen, value.and_then(|value| value.try_into().ok())))
    }

    pub(super) fn get_with_age<T: TryFrom<Value>>(
        &mut self,
        key: Key,
    ) -> Result<(Seen, Option<T>, u8), Stop> {
        let (seen, value, age) = self.read(key)?;
        Ok((seen, value.and_then(|value| value.try_into().ok()), age))
    }

    /// Reads, decides and writes once. Returns the decision with the state after it. `None` if another actor
    /// was faster; try again.
    pub(super) fn change<T, R>(
        &mut self,
        key: Key,
        decide: impl FnOnce(Option<T>) -> Next<T, R>,
    ) -> Result<Option<(Seen, R)>, Stop>
    where
        T: TryFrom<Value> + Into<Value>,
    {
        self.change_with_age(key, |found, _| decide(found))
    }

    pub(super) fn change_with_age<T, R>(
        &mut self,
        key: Key,
        decide: impl FnOnce(Option<T>, u8) -> Next<T, R>,
    ) -> Result<Option<(Seen, R)>, Stop>
    where
        T: TryFrom<Value> + Into<Value>,
    {
        let (seen, found, age) = self.get_with_age(key)?;
        match decide(found, age) {
            Next::Keep(result) => Ok(Some((seen, result))),
            Next::Write(record, result) => Ok(self.swap(seen, record)?.map(|seen| (seen, result))),
            Next::Delete(result) => Ok(self.delete(seen)?.then_some((seen, result))),
            Next::Again(record) => self.swap(seen, record).map(|_| None),
        }
    }

    /// Condemns a record in the state in which it was read. If it is already condemned, by a crashed actor or
    /// by one that is deciding now, this actor takes over. `None` if it has changed.
    pub(super) fn condemn<T>(&mut self, seen: Seen, record: T) -> Result<Option<Seen>, Stop>
    where
        T: Condemnable + Copy + Into<Value>,
    {
        if record.is_condemned() || self.has(Fault::NoCondemning) {
            Ok(Some(seen))
        } else {
            self.swap(seen, record.condemned())
        }
    }

    /// `None` if the record has changed.
    pub(super) fn swap(&mut self, seen: Seen, value: impl Into<Value>) -> Result<Option<Seen>, Stop> {
        let value = value.into();
        match self.next(|world| Reply::Wrote(world.write(seen.key, Some(seen), Some(value))))? {
            Reply::Wrote(seen) => Ok(seen),
            other => unreachable!("{other:?}"),
        }
    }

    /// `None` if the record already exists.
    pub(super) fn create(&mut self, key: Key, value: impl Into<Value>) -> Result<Option<Seen>, Stop> {
        self.swap(Seen::nothing(key), value)
    }

    /// Overwrites any record. Only faults do that.
    pub(super) fn put(&mut self, key: Key, value: impl Into<Value>) -> Result<Seen, Stop> {
        let value = value.into();
        match self.next(|world| Reply::Wrote(world.write(key, None, Some(value))))? {
            Reply::Wrote(Some(seen)) => Ok(seen),
            other => unreachable!("{other:?}"),
        }
    }

    /// `false` if the record has changed.
    pub(super) fn delete(&mut self, seen: Seen) -> Result<bool, Stop> {
        match self.next(|world| Reply::Deleted(world.write(seen.key, Some(seen), None).is_some()))? {
            Reply::Deleted(done) => Ok(done),
            other => unreachable!("{other:?}"),
        }
    }

    /// Removes any record. Only faults do that.
    pub(super) fn erase(&mut self, key: Key) -> Result<(), Stop> {
        self.next(|world| Reply::Deleted(world.write(key, None, None).is_some()))
            .map(|_| ())
    }

    /// The set of the keys that exist, as bits. `number` gives a key its bit, or `None` to ignore it.
    pub(super) fn list(&mut self, number: impl Fn(Key) -> Option<u8>) -> Result<u16, Stop> {
        match self
            .next(|world| Reply::Listed(world.keys().filter_map(number).fold(0, |all, bit| all | 1 << bit)))?
        {
            Reply::Listed(found) => Ok(found),
            other => unreachable!("{other:?}"),
        }
    }

    /// The tags that are not in their deleted form.
    pub(super) fn list_tags(&mut self) -> Result<u16, Stop> {
        let reply = self.next(|world| {
            let live = |key: &Key| matches!(world.get(*key), Some(Value::Tag(tag)) if tag.live);
            Reply::Listed(world.keys().filter(live).fold(0, |all, key| match key {
                Key::Tag(tag) => all | 1 << tag,
                _ => all,
            }))
        })?;
        match reply {
            Reply::Listed(found) => Ok(found),
            other => unreachable!("{other:?}"),
        }
    }

    pub(super) fn open(&mut self, generation: u8) -> Result<Option<Content>, Stop> {
        let reply = self.next(|world| {
            Reply::Bytes(match world.bytes[usize::from(generation)] {
                Bytes::Absent => None,
                Bytes::Good => Some([1, 0, 0, 0]),
                Bytes::Damaged => Some([9, 0, 0, 0]),
                Bytes::Content(content) => Some(content),
            })
        })?;
        match reply {
            Reply::Bytes(content) => Ok(content),
            other => unreachable!("{other:?}"),
        }
    }

    pub(super) fn write_bytes(&mut self, name: u8, bytes: Bytes) -> Result<(), Stop> {
        self.next(|world| {
            world.bytes[usize::from(name)] = bytes;
            Reply::Done
        })
        .map(|_| ())
    }

    pub(super) fn remove_bytes(&mut self, name: u8) -> Result<(), Stop> {
        self.write_bytes(name, Bytes::Absent)
    }

    /// Assembles these parts into one object, in one request.
    pub(super) fn complete(&mut self, name: u8, parts: &[u8]) -> Result<(), Stop> {
        self.next(|world| {
            let mut content = [0; 4];
            for (at, part) in parts.iter().enumerate() {
                content[at] = match world.bytes[usize::from(*part)] {
                    Bytes::Content([chunk, ..]) => chunk,
                    _ => 255,
                };
            }
            world.bytes[usize::from(name)] = Bytes::Content(content);
            Reply::Done
        })
        .map(|_| ())
    }

    /// Records something for the invariants, with the request that was just made.
    pub(super) fn note(&mut self, note: impl FnOnce(&mut World)) {
        if self.acted && self.at == self.past.len() {
            note(self.world);
        }
    }

    fn next(&mut self, perform: impl FnOnce(&mut World) -> Reply) -> Result<Reply, Stop> {
        if let Some(reply) = self.past.get(self.at) {
            self.at += 1;
            return Ok(*reply);
        }
        if self.acted {
            return Err(Stop);
        }
        self.acted = true;
        let reply = perform(self.world);
        self.past.push(reply);
        self.at += 1;
        Ok(reply)
    }
}
