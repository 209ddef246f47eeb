//! Entries of indexes, which hold no information: they are made live, or cleared unless something needs them.
//! Clearing follows [`TypedStore::judge`], and does many entries in two commits.

use super::super::Error;
use super::super::keys::Key;
use super::super::records;
use super::super::states::mark::Mark;
use super::super::states::{Condemnable, Next};
use super::{Base, Changed, Found, LISTED, TypedStore, until_settled};
use crate::storage::{self, Version};
use std::future::ready;

impl TypedStore {
    pub(in crate::registry) async fn is_marked(&self, key: &Key<Mark>) -> Result<bool, Error> {
        Ok(self.get(key).await?.is_some())
    }

    /// Makes the entry live. That also stops a clearing that is under way.
    pub(in crate::registry) async fn mark(&self, key: &Key<Mark>) -> Result<(), Error> {
        until_settled(|| async {
            match self
                .change(key, |found| Ok(Mark::wanted(found.map(|found| found.record))))
                .await
            {
                // An entry holds no information that could be lost.
                Err(why) if why.is_damage() => {
                    Ok(self.replace_damaged(key, &Mark::LIVE).await?.then_some(()))
                }
                done => done.map(|_| Some(())),
            }
        })
        .await
    }

    /// Like [`mark`](Self::mark). Returns the version that is live. The first attempt starts from `seen`.
    pub(in crate::registry) async fn mark_from(
        &self,
        key: &Key<Mark>,
        seen: Option<Option<Found<Mark>>>,
    ) -> Result<Option<Version>, Error> {
        let decide = |found: Option<Found<Mark>>| ready(Ok(Mark::wanted(found.map(|found| found.record))));
        match self.change_seen(key, seen, decide).await {
            Err(why) if why.is_damage() => self.mark(key).await.map(|()| None),
            done => Ok(done?.1.map(|base| base.version)),
        }
    }

    /// Whether the entry has not changed since this version of it was live.
    pub(in crate::registry) async fn is_still(
        &self,
        key: &Key<Mark>,
        version: &Version,
    ) -> Result<bool, Error> {
        Ok(self
            .get(key)
            .await?
            .is_some_and(|found| found.version == *version))
    }

    /// The change that makes the entry live. `None` if it is already live.
    pub(in crate::registry) async fn wanted(
        &self,
        key: &Key<Mark>,
    ) -> Result<Option<storage::Change>, Error> {
        let (found, base) = self.read_mark(key).await?;
        match Mark::wanted(found) {
            Next::Write(mark, ()) => self.planned(key, base.as_ref(), Some(&mark)).map(Some),
            _ => Ok(None),
        }
    }

    /// The change that writes the entry again even if it is live, so that any clearing that is under way
    /// fails.
    pub(in crate::registry) async fn renewed(&self, key: &Key<Mark>) -> Result<storage::Change, Error> {
        let (_, base) = self.read_mark(key).await?;
        self.planned(key, base.as_ref(), Some(&Mark::LIVE))
    }

    /// Makes several entries live, up to a thousand in one commit.
    pub(in crate::registry) async fn mark_all(&self, keys: &[Key<Mark>]) -> Result<(), Error> {
        for page in keys.chunks(LISTED) {
            until_settled(|| async {
                let mut changes = Vec::new();
                for key in page {
                    changes.extend(self.wanted(key).await?);
                }
                Ok(self
                    .change_each(changes)
                    .await?
                    .iter()
                    .all(|done| *done != Changed::Lost)
                    .then_some(()))
            })
            .await?;
        }
        Ok(())
    }

    /// Deletes the entry unless it is `needed`, as [`TypedStore::judge`] does.
    pub(in crate::registry) async fn clear<F>(
        &self,
        key: &Key<Mark>,
        needed: impl Fn() -> F,
    ) -> Result<(), Error>
    where
        F: Future<Output = Result<bool, Error>>,
    {
        match self.judge(key, |_| true, &needed).await {
            Err(why) if why.is_damage() => {
                // The entry is unreadable, but it holds no information. Only `needed` decides.
                let freeing = self.freeing();
                if needed().await? {
                    freeing.replace_damaged(key, &Mark::LIVE).await.map(drop)
                } else {
                    freeing.delete_damaged(key).await.map(drop)
                }
            }
            judged => judged.map(drop),
        }
    }

    /// Clears several entries in two commits. The first commit also makes the changes in `before`, which must
    /// free space too, and their results are returned. `needed` is called for each entry with its position.
    pub(in crate::registry) async fn clear_all<F>(
        &self,
        before: Vec<storage::Change>,
        keys: &[Key<Mark>],
        needed: impl Fn(usize) -> F,
    ) -> Result<Vec<Changed>, Error>
    where
        F: Future<Output = Result<bool, Error>>,
    {
        let freeing = self.freeing();
        let (done, settled) = freeing.clear_once(before, keys, &needed).await?;
        if !settled {
            until_settled(|| async {
                Ok(freeing
                    .clear_once(Vec::new(), keys, &needed)
                    .await?
                    .1
                    .then_some(()))
            })
            .await?;
        }
        Ok(done)
    }

    /// Clears entries that are either all needed or all not needed, with two commits for up to a thousand of
    /// them. `needed` is called once for each thousand.
    pub(in crate::registry) async fn clear_alike<F>(
        &self,
        keys: &[Key<Mark>],
        needed: impl Fn() -> F,
    ) -> Result<(), Error>
    where
        F: Future<Output = Result<bool, Error>>,
    {
        let freeing = self.freeing();
        for page in keys.chunks(LISTED) {
            until_settled(|| async {
                let (changes, condemning, mut condemned) = freeing.condemn(Vec::new(), page).await?;
                let done = freeing.change_each(changes).await?;
                let mut settled = add_condemned(&mut condemned, condemning, done);
                let record = if condemned.is_empty() {
                    None
                } else {
                    needed().await?.then_some(Mark::LIVE)
                };
                let decided: Result<Vec<_>, Error> = condemned
                    .into_iter()
                    .map(|(_, key, base)| freeing.planned(key, Some(&base), record.as_ref()))
                    .collect();
                settled &= freeing
                    .change_each(decided?)
                    .await?
                    .iter()
                    .all(|done| *done != Changed::Lost);
                Ok(settled.then_some(()))
            })
            .await?;
        }
        Ok(())
    }

    /// Also returns whether every entry was decided.
    async fn clear_once<F>(
        &self,
        before: Vec<storage::Change>,
        keys: &[Key<Mark>],
        needed: &impl Fn(usize) -> F,
    ) -> Result<(Vec<Changed>, bool), Error>
    where
        F: Future<Output = Result<bool, Error>>,
    {
        let count = before.len();
        let (changes, condemning, mut condemned) = self.condemn(before, keys).await?;
        let mut done = self.change_all(changes).await?;
        let condemnations = done.split_off(count);
        let mut settled = add_condemned(&mut condemned, condemning, condemnations);
        let mut decided = Vec::with_capacity(condemned.len());
        for (place, key, base) in condemned {
            let record = needed(place).await?.then_some(Mark::LIVE);
            decided.push(self.planned(key, Some(&base), record.as_ref())?);
        }
        settled &= self
            .change_each(decided)
            .await?
            .iter()
            .all(|done| *done != Changed::Lost);
        Ok((done, settled))
    }

    /// Adds to `changes` the condemnation of each entry that is live. Returns the changes, the entries that
    /// these condemn, and those that are condemned already. An entry that cannot be read is left alone.
    async fn condemn<'a>(
        &self,
        mut changes: Vec<storage::Change>,
        keys: &'a [Key<Mark>],
    ) -> Result<(Vec<storage::Change>, Vec<Condemned<'a>>, Vec<Condemned<'a>>), Error> {
        let mut condemning = Vec::new();
        let mut condemned = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            let Some(found) = records::unless_unreadable(self.read(key).await)?.flatten() else {
                continue;
            };
            if found.record.is_condemned() {
                condemned.push((place, key, found.base()));
            } else {
                changes.push(self.planned(key, Some(&found.base()), Some(&found.record.condemned()))?);
                condemning.push((place, key, found.base()));
            }
        }
        Ok((changes, condemning, condemned))
    }
}

/// A condemned entry: its position among those to be cleared, its key, and the state to decide from.
type Condemned<'a> = (usize, &'a Key<Mark>, Base);

/// Adds the entries that were condemned just now. Returns whether all of them were.
fn add_condemned<'a>(
    condemned: &mut Vec<Condemned<'a>>,
    condemning: Vec<Condemned<'a>>,
    done: Vec<Changed>,
) -> bool {
    let mut all = true;
    for ((place, key, base), done) in condemning.into_iter().zip(done) {
        match done {
            Changed::Written(version) => condemned.push((place, key, base.at(version))),
            _ => all = false,
        }
    }
    all
}
