//! Where requests wait whose key is not known yet: bounded, and shared fairly among those who send them.
//!
//! A key ID costs a stranger nothing to invent, so a request with an unknown one cannot be told from the first one after a rotation
//! until newer keys have been fetched. Both wait for the next fetch that the source's limits allow.
//!
//! A stranger can cause one fetch in each cool-down, as before, and can make the first request with a new key wait as long as that
//! cool-down lasts. A stranger cannot make it fail:
//! * a key ID that was looked for in vain is looked for again, so nobody can have a future key refused by asking for it early;
//! * when all places are taken, the sender who holds the most gives one up. Senders are told apart by address (IPv6 by /64), so a
//!   flood from one address costs only that address places. A flood from as many addresses as there are places can fill them, and so
//!   can one from behind the same address as the victim; what both get is 503 with `Retry-After`, not a refusal;
//! * places of one issuer or trust domain are counted apart from those of others.

use crate::limits::{KEY_WAITS, KEY_WAITS_PER_ISSUER};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Who sent a request, as far as fairness needs to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sender(Option<IpAddr>);

impl Sender {
    /// An IPv6 address stands for its /64, which one client has to itself.
    #[must_use]
    pub fn at(address: IpAddr) -> Self {
        Self(Some(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX))),
            v4 @ IpAddr::V4(_) => v4,
        }))
    }
}

/// Cheap to clone: every copy is the same room.
#[derive(Clone)]
pub struct WaitingRoom {
    places: Arc<Mutex<Places>>,
    /// In all, and for one issuer or trust domain.
    bounds: (usize, usize),
}

impl Default for WaitingRoom {
    fn default() -> Self {
        Self::of(KEY_WAITS, KEY_WAITS_PER_ISSUER)
    }
}

impl WaitingRoom {
    fn of(all: usize, each: usize) -> Self {
        Self { places: Arc::default(), bounds: (all, each) }
    }

    /// A place for a request of `sender`'s that waits for the keys of `issuer`. `None` if there is none left and nobody holds more
    /// than `sender` would.
    pub(super) fn enter(&self, issuer: u64, sender: Sender) -> Option<Place> {
        let (all, each) = self.bounds;
        let mut places = self.lock();
        let same = |one: &Taken| one.issuer == issuer;
        if places.count_of(issuer) >= each {
            places.make_room(sender, Some(issuer), same)?;
        } else if places.taken.len() >= all {
            places.make_room(sender, None, |_| true)?;
        }
        Some(places.take(self, issuer, sender))
    }

    /// How many wait.
    #[cfg(test)]
    pub(in crate::trust) fn taken(&self) -> usize {
        self.lock().taken.len()
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for WaitingRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitingRoom").field("taken", &self.lock().taken.len()).finish_non_exhaustive()
    }
}

/// Given back when it is dropped.
pub(super) struct Place {
    room: WaitingRoom,
    number: u64,
    lost: oneshot::Receiver<()>,
}

impl Place {
    /// Resolves when somebody else needs the place more.
    pub(super) async fn lost(&mut self) {
        // The sender is kept until the place is given back, and is dropped when it is taken away.
        let _ = (&mut self.lost).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.lock().give_back(self.number);
    }
}

#[derive(Default)]
struct Places {
    next: u64,
    /// In the order in which they were taken.
    taken: BTreeMap<u64, Taken>,
    /// How many a sender holds, in all (`None`) and for each issuer.
    held: HashMap<Option<u64>, HashMap<Sender, usize>>,
}

struct Taken {
    issuer: u64,
    sender: Sender,
    /// Dropped to say that the place is lost.
    _keep: oneshot::Sender<()>,
}

impl Places {
    fn count_of(&self, issuer: u64) -> usize {
        self.held.get(&Some(issuer)).map_or(0, |senders| senders.values().sum())
    }

    fn take(&mut self, room: &WaitingRoom, issuer: u64, sender: Sender) -> Place {
        let (keep, lost) = oneshot::channel();
        let number = self.next;
        self.next += 1;
        self.taken.insert(number, Taken { issuer, sender, _keep: keep });
        for scope in [None, Some(issuer)] {
            *self.held.entry(scope).or_default().entry(sender).or_default() += 1;
        }
        Place { room: room.clone(), number, lost }
    }

    /// Takes the newest place from the sender who holds the most of `scope`, if that is fairer than to turn `sender` away.
    fn make_room(&mut self, sender: Sender, scope: Option<u64>, within: impl Fn(&Taken) -> bool) -> Option<()> {
        let senders = self.held.get(&scope)?;
        let own = senders.get(&sender).copied().unwrap_or(0);
        let (most, count) = senders.iter().map(|(sender, count)| (*sender, *count)).max_by_key(|(_, count)| *count)?;
        if own + 1 >= count {
            return None;
        }
        let number = self.taken.iter().rev().find(|(_, one)| one.sender == most && within(one)).map(|(number, _)| *number)?;
        self.give_back(number);
        Some(())
    }

    fn give_back(&mut self, number: u64) {
        let Some(Taken { issuer, sender, .. }) = self.taken.remove(&number) else { return };
        for scope in [None, Some(issuer)] {
            if let Some(senders) = self.held.get_mut(&scope) {
                if let Some(count) = senders.get_mut(&sender) {
                    *count -= 1;
                    if *count == 0 {
                        senders.remove(&sender);
                    }
                }
                if senders.is_empty() {
                    self.held.remove(&scope);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn at(last: u8) -> Sender {
        Sender::at(IpAddr::from([192, 0, 2, last]))
    }

    fn is_lost(place: &mut Place) -> bool {
        place.lost().now_or_never().is_some()
    }

    #[test]
    fn a_flood_from_one_address_costs_nobody_else_a_place() {
        let room = WaitingRoom::of(100, 8);
        let mut patient = room.enter(1, at(1)).unwrap();
        let mut flood: Vec<_> = (0..100).filter_map(|_| room.enter(1, at(9))).collect();
        assert_eq!(flood.len(), 7, "what is left");
        let mut others: Vec<_> = (2..5).map(|who| room.enter(1, at(who)).unwrap()).collect();
        assert!(!is_lost(&mut patient) && !others.iter_mut().any(is_lost));
        assert_eq!(flood.iter_mut().filter_map(|place| is_lost(place).then_some(())).count(), 3, "the flood gave them up");
        assert!(flood[..4].iter_mut().all(|place| !is_lost(place)), "its newest ones");
        assert!(room.enter(1, at(9)).is_none());
    }

    #[test]
    fn issuers_do_not_share_places_and_there_is_a_bound_over_all() {
        let room = WaitingRoom::of(6, 4);
        let flood: Vec<_> = (0..10).filter_map(|_| room.enter(1, at(9))).collect();
        assert_eq!(flood.len(), 4);
        let _two = [room.enter(2, at(1)).unwrap(), room.enter(2, at(2)).unwrap()];
        assert_eq!(room.lock().taken.len(), 6);
        let _third = room.enter(3, at(3)).expect("the flood gives one up, though it waits for another issuer");
        let places = room.lock();
        assert_eq!((places.taken.len(), places.count_of(1)), (6, 3));
        drop(places);
    }

    #[test]
    fn a_place_is_free_again_once_its_request_is_gone() {
        let room = WaitingRoom::of(2, 2);
        let places = [room.enter(1, at(1)), room.enter(1, at(1))];
        assert!(room.enter(1, at(1)).is_none());
        drop(places);
        assert!(room.lock().held.is_empty());
        assert!(room.enter(1, at(1)).is_some());
    }

    #[test]
    fn an_ipv6_client_is_its_64() {
        let sender = |text: &str| Sender::at(text.parse().unwrap());
        assert_eq!(sender("2001:db8::1"), sender("2001:db8::ffff:2"));
        assert_ne!(sender("2001:db8::1"), sender("2001:db8:0:1::1"));
        assert_eq!(sender("::ffff:192.0.2.1"), at(1));
    }
}
