//! Condemns several records with one commit, and restores, changes or deletes them with another.

use super::super::Error;
use super::super::keys::Key;
use super::super::omitted::Step;
use super::super::records::Stored;
use super::super::states::Condemnable;
use super::super::typed_store::{Base, Changed, Found};
use super::Collector;

/// How many records are changed in one commit. Other writers wait for that commit.
const AT_ONCE: usize = 100;

/// A record that was condemned. In a dry run it was only read.
pub(super) struct Doomed<T> {
    pub key: Key<T>,
    /// The record as it was read.
    pub record: T,
    base: Base,
    /// Whether the record is condemned in the store.
    condemned: bool,
}

impl<T> Doomed<T> {
    pub(super) const fn base(&self) -> &Base {
        &self.base
    }
}

impl Collector {
    /// Condemns these records, which must be old. A record that has changed since it was read is left out,
    /// because its writer may need it.
    pub(super) async fn condemn<T>(&self, found: Vec<(Key<T>, Found<T>)>) -> Result<Vec<Doomed<T>>, Error>
    where
        T: Stored + Condemnable + Clone,
    {
        let leave = self.is_dry() || self.registry.omitted.has(Step::Condemning);
        let mut doomed = Vec::with_capacity(found.len());
        let mut condemning = Vec::new();
        for (key, found) in found {
            let one = Doomed {
                base: found.base(),
                // Another collector condemned it, and has stopped or is about to decide. The first of the two
                // to write decides.
                condemned: found.record.is_condemned(),
                record: found.record,
                key,
            };
            if leave || one.condemned {
                doomed.push(one);
            } else {
                condemning.push(one);
            }
        }
        while !condemning.is_empty() {
            self.breath.take().await;
            let page: Vec<_> = condemning.drain(..condemning.len().min(AT_ONCE)).collect();
            let changes: Result<Vec<_>, Error> = page
                .iter()
                .map(|one| {
                    self.registry
                        .records
                        .planned(&one.key, Some(&one.base), Some(&one.record.condemned()))
                })
                .collect();
            let done = self.registry.records.change_each(changes?).await?;
            for (one, done) in page.into_iter().zip(done) {
                if let Changed::Written(version) = done {
                    doomed.push(Doomed {
                        base: one.base.at(version),
                        condemned: true,
                        ..one
                    });
                }
            }
        }
        Ok(doomed)
    }

    /// Restores condemned records. If a record has changed, a writer has rescued it already.
    pub(super) async fn restore<T>(&self, doomed: &[Doomed<T>]) -> Result<(), Error>
    where
        T: Stored + Condemnable,
    {
        let condemned: Vec<_> = doomed.iter().filter(|one| one.condemned).collect();
        if self.is_dry() {
            return Ok(());
        }
        for page in condemned.chunks(AT_ONCE) {
            let changes: Result<Vec<_>, Error> = page
                .iter()
                .map(|one| {
                    self.registry
                        .records
                        .planned(&one.key, Some(&one.base), Some(&one.record.rescued()))
                })
                .collect();
            self.breath.take().await;
            self.registry.records.change_each(changes?).await?;
        }
        Ok(())
    }

    /// Writes the next state of each condemned record, or deletes it if `next` returns `None`. Returns the
    /// new base of each record, or `None` if a writer rescued it. A deleted record keeps its base.
    pub(super) async fn decide<T: Stored>(
        &self,
        doomed: &[Doomed<T>],
        next: impl Fn(&T) -> Option<T>,
    ) -> Result<Vec<Option<Base>>, Error> {
        if self.is_dry() {
            return Ok(doomed.iter().map(|one| Some(one.base.clone())).collect());
        }
        let mut decided = Vec::with_capacity(doomed.len());
        for page in doomed.chunks(AT_ONCE) {
            let changes: Result<Vec<_>, Error> = page
                .iter()
                .map(|one| {
                    self.registry
                        .records
                        .planned(&one.key, Some(&one.base), next(&one.record).as_ref())
                })
                .collect();
            self.breath.take().await;
            let done = self.registry.records.change_each(changes?).await?;
            decided.extend(page.iter().zip(done).map(|(one, done)| match done {
                Changed::Lost => None,
                Changed::Deleted => Some(one.base.clone()),
                Changed::Written(version) => Some(one.base.at(version)),
            }));
        }
        Ok(decided)
    }
}
