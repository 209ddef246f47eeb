//! The sources of one kind of key for a trust domain or an issuer. Their keys are never merged: only the
//! first listed source with keys within its staleness bound is used.

use super::generation::Generation;
use super::keys::Keys;
use super::refetch::Refetch;
use super::slot::{Held, Slot};
use super::status::Status;
use super::waiting::WaitingRoom;
use crate::clock::Timestamp;
use futures_util::future::join_all;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One of several sources.
pub struct Origin<T> {
    pub slot: Arc<Slot<T>>,
    /// Absent if the source updates itself, as files and the Workload API do.
    pub refetch: Option<Arc<dyn Refetch>>,
}

/// The sources of one kind of key for a trust domain or an issuer, in order of preference.
pub struct Authorities<T> {
    pub(super) origins: Vec<Origin<T>>,
    /// Where requests wait for newer keys, and the number that identifies these sources there.
    pub(super) room: Option<WaitingRoom>,
    pub(super) number: u64,
    /// Removes the keys that belong to other trust domains.
    pub(super) apart: Option<Box<dyn Apart<T>>>,
}

/// Removes the keys that belong to other trust domains.
pub(super) trait Apart<T>: Send + Sync {
    fn apply(&self, held: Arc<Held<T>>) -> Arc<Held<T>>;

    /// Returns the keys that [`Self::apply`] removed the last time, for messages.
    fn withheld(&self) -> Vec<String>;
}

impl<T> Authorities<T> {
    /// Sources that cannot be fetched on request.
    #[must_use]
    pub fn new(slots: Vec<Arc<Slot<T>>>) -> Self {
        slots
            .into_iter()
            .map(|slot| Origin { slot, refetch: None })
            .collect()
    }

    /// Returns the keys in use now.
    pub fn view(&self, now: Timestamp) -> Result<Arc<Held<T>>, NoKeys> {
        let counting = self.origins.iter().find_map(|origin| origin.fresh(now));
        let counting = counting.map(|held| match &self.apart {
            Some(apart) => apart.apply(held),
            None => held,
        });
        counting.ok_or_else(|| NoKeys::None {
            why: self.origins.iter().map(|origin| origin.slot.state(now)).collect(),
        })
    }

    /// Returns the generation of the keys in use now, to compare with an earlier one.
    #[must_use]
    pub fn generation(&self, now: Timestamp) -> Option<Generation> {
        self.view(now).ok().map(|held| held.generation)
    }

    /// Fetches newer keys from the source in use and from those preferred to it, and waits. Returns whether
    /// any of them can be fetched on request. Sources after the one in use are not fetched.
    pub async fn refetch(&self, now: Timestamp) -> bool {
        let asked: Vec<_> = self
            .preferred(now)
            .filter_map(|origin| origin.refetch.as_deref())
            .map(Refetch::refetch)
            .collect();
        !join_all(asked).await.is_empty()
    }

    /// Returns the generation of every source, including those not in use.
    pub(super) fn generations(&self) -> impl Iterator<Item = Option<Generation>> {
        self.origins
            .iter()
            .map(|origin| origin.slot.held().map(|held| held.generation))
    }

    /// Returns the last keys of every source, including stale ones.
    pub(super) fn all_held(&self) -> impl Iterator<Item = Arc<Held<T>>> {
        self.origins.iter().filter_map(|origin| origin.slot.held())
    }

    /// Returns the keys that are held but not used, because a trust domain earlier in the configuration also
    /// holds them. For messages.
    #[must_use]
    pub fn withheld(&self, now: Timestamp) -> Vec<String> {
        match (&self.apart, self.view(now)) {
            (Some(apart), Ok(_)) => apart.withheld(),
            _ => Vec::new(),
        }
    }

    /// Returns the source in use, and those that would be preferred if they had fresh keys.
    pub(super) fn preferred(&self, now: Timestamp) -> impl Iterator<Item = &Origin<T>> {
        self.origins
            .iter()
            .take(self.in_use(now).map_or(usize::MAX, |index| index + 1))
    }

    /// Returns the index of the source in use.
    pub(super) fn in_use(&self, now: Timestamp) -> Option<usize> {
        self.origins.iter().position(|origin| origin.fresh(now).is_some())
    }
}

impl<T: Keys> Authorities<T> {
    /// Returns the status of each source, in order of preference.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        self.origins.iter().map(|origin| origin.slot.status()).collect()
    }
}

impl<T> Origin<T> {
    fn fresh(&self, now: Timestamp) -> Option<Arc<Held<T>>> {
        self.slot.held().filter(|held| now < held.usable_until)
    }
}

impl<T> FromIterator<Origin<T>> for Authorities<T> {
    fn from_iter<I: IntoIterator<Item = Origin<T>>>(origins: I) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self {
            origins: origins.into_iter().collect(),
            room: None,
            apart: None,
            number: LAST.fetch_add(1, Ordering::Relaxed),
        }
    }
}

/// Shows the names of the sources.
impl<T> fmt::Display for Authorities<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, origin) in self.origins.iter().enumerate() {
            write!(f, "{}{}", if n == 0 { "" } else { ", " }, origin.slot.source())?;
        }
        Ok(())
    }
}

impl<T> fmt::Debug for Authorities<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.origins.iter().map(|origin| origin.slot.source()))
            .finish()
    }
}

impl<T> fmt::Debug for Origin<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("source", self.slot.source())
            .field("fetched", &self.refetch.is_some())
            .finish()
    }
}

/// A credential cannot be verified because keys are missing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKeys {
    /// No source has keys that may be used now.
    #[error("no usable keys: {}", why.join("; "))]
    None { why: Vec<String> },
    /// The key is unknown, and newer keys could not be fetched.
    #[error("the key is unknown, and newer keys could not be fetched: {why}")]
    NotFetched { why: String },
    #[error(
        "the key is unknown, and too many requests wait for newer keys already; look for a client that makes up key IDs"
    )]
    NoPlace,
    /// Another registry of this store signed the token, and its key is not in this registry's file.
    #[error(
        "another registry of this store may have signed the token with a key that is not in http.auth.token.signingKeyFile here yet: give all registries the same file"
    )]
    Awaited,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::Next;
    use futures_util::future::BoxFuture;
    use std::sync::atomic::AtomicUsize;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    #[test]
    fn the_first_fresh_source_is_used_and_sources_are_never_merged() {
        let first = Slot::new("first");
        let second = Slot::new("second");
        let all = Authorities::new(vec![first.clone(), second.clone()]);
        assert_eq!(
            all.view(at(0)).unwrap_err().to_string(),
            "no usable keys: first: no answer yet; second: no answer yet"
        );
        second.publish(vec![2], at(0), Timestamp::MAX);
        let from_second = all.generation(at(1));
        first.publish(vec![1], at(1), at(10));
        assert_eq!(all.view(at(2)).unwrap().keys, [1]);
        assert_ne!(all.generation(at(2)), from_second);
        assert_eq!(
            all.generation(at(10)),
            from_second,
            "past its staleness bound the next source takes over"
        );
    }

    #[test]
    fn an_empty_answer_does_not_fall_through() {
        let first = Slot::new("first");
        let second = Slot::new("second");
        first.publish(vec![], at(0), Timestamp::MAX);
        second.publish(vec![2], at(0), Timestamp::MAX);
        assert!(
            Authorities::new(vec![first, second])
                .view(at(1))
                .unwrap()
                .keys
                .is_empty()
        );
    }

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Refetch for Counting {
        fn refetch(&self) -> BoxFuture<'_, ()> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Box::pin(std::future::ready(()))
        }

        fn next(&self, _: Timestamp, _: Timestamp) -> BoxFuture<'_, Next> {
            Box::pin(std::future::ready(Next::Answered))
        }
    }

    #[tokio::test]
    async fn sources_after_the_one_in_use_are_not_fetched() {
        let slots = [Slot::new("first"), Slot::new("second"), Slot::new("third")];
        let sources: [Arc<Counting>; 3] = Default::default();
        let origin = |(slot, source): (&Arc<Slot<Vec<u8>>>, &Arc<Counting>)| Origin {
            slot: slot.clone(),
            refetch: Some(source.clone() as Arc<dyn Refetch>),
        };
        let all: Authorities<_> = slots.iter().zip(&sources).map(origin).collect();
        let asked = || sources.each_ref().map(|source| source.0.load(Ordering::SeqCst));
        assert!(all.refetch(at(1)).await);
        assert_eq!(asked(), [1, 1, 1], "no source has keys");
        slots[1].publish(vec![], at(1), at(10));
        all.refetch(at(2)).await;
        assert_eq!(asked(), [2, 2, 1]);
        all.refetch(at(10)).await;
        assert_eq!(asked(), [3, 3, 2], "the second is stale");
        assert!(
            !Authorities::new(vec![Slot::<Vec<u8>>::new("file")])
                .refetch(at(1))
                .await
        );
    }
}
