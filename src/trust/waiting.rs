//! A waiting room for requests with an unknown key. It is bounded, and its places are shared fairly among
//! clients.
//!
//! Anyone can make up a key ID. Until newer keys have been fetched, such a request looks like the first one
//! after a key rotation. Both wait for the next fetch that the source's limits allow.
//!
//! A client with made-up key IDs can cause one fetch in each cool-down, and can make the first request with a
//! new key wait for that long. It cannot make that request fail:
//! * a key ID that was not found is looked up again, so asking for a future key early does not get it
//!   rejected later;
//! * when all places are taken, the sender with the most places loses one to a sender with fewer. A sender is
//!   an IPv4 address or an IPv6 /48, and within a /48 a /64. So each sender keeps at least an equal share:
//!   all places, divided by the number of waiting senders. A client that makes up key IDs from many addresses
//!   makes the share small, and all clients behind one NAT or proxy have a single share. A request that loses
//!   its place gets 503 with `Retry-After`, not 401;
//! * the places of each issuer or trust domain are limited separately.

use crate::clock::Clock;
use crate::limits::{KEY_WAITS, KEY_WAITS_PER_ISSUER};
use crate::source_address::SourceAddress;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The sender of a request, for sharing places fairly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sender(Option<IpAddr>);

impl Sender {
    /// An IPv6 address is reduced to its /64, which usually belongs to one host.
    #[must_use]
    pub fn at(address: IpAddr) -> Self {
        Self(SourceAddress::of(address).first())
    }

    /// Returns what one subscriber typically has: an IPv4 address, or an IPv6 /48.
    fn site(self) -> Self {
        Self(self.0.map(|address| match address {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & SITE)),
            v4 @ IpAddr::V4(_) => v4,
        }))
    }
}

/// Cheap to clone. All clones share one room.
#[derive(Clone)]
pub struct WaitingRoom {
    places: Arc<Mutex<Places>>,
    clock: Clock,
    /// The limits in total, and for one issuer or trust domain.
    bounds: (usize, usize),
}

impl WaitingRoom {
    /// `clock` gives the time after a wait.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            places: Arc::default(),
            clock,
            bounds: (KEY_WAITS, KEY_WAITS_PER_ISSUER),
        }
    }

    pub(super) const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Takes a place for a request from `sender` that waits for the keys of `issuer`. Returns `None` if no
    /// place is free and no sender holds more than `sender` would.
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

    /// Returns how many requests wait.
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
        f.debug_struct("WaitingRoom")
            .field("taken", &self.lock().taken.len())
            .finish_non_exhaustive()
    }
}

/// A place, which is given back on drop.
pub(super) struct Place {
    room: WaitingRoom,
    number: u64,
    lost: oneshot::Receiver<()>,
}

impl Place {
    /// Resolves when the place is taken away for another sender.
    pub(super) async fn lost(&mut self) {
        // The channel's sender is kept until the place is given back, and is dropped when the place is taken
        // away.
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
    /// Taken places, in the order in which they were taken.
    taken: BTreeMap<u64, Taken>,
    /// The holders in total (`None`) and for each issuer.
    held: HashMap<Option<u64>, Holders>,
}

/// How many places each site and sender holds.
#[derive(Default)]
struct Holders {
    sites: HashMap<Sender, usize>,
    senders: HashMap<Sender, usize>,
}

impl Holders {
    fn add(&mut self, sender: Sender) {
        *self.sites.entry(sender.site()).or_default() += 1;
        *self.senders.entry(sender).or_default() += 1;
    }

    fn remove(&mut self, sender: Sender) {
        for (counts, who) in [(&mut self.sites, sender.site()), (&mut self.senders, sender)] {
            if let Some(count) = counts.get_mut(&who) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&who);
                }
            }
        }
    }

    /// Returns which senders may lose a place to `newcomer`: those with the most places, among the sites with
    /// the most places. If the newcomer's own site would then hold as many, only senders of that site.
    /// Returns `None` if no sender would still hold at least as many as the newcomer.
    fn losers(&self, newcomer: Sender) -> Option<impl Fn(Sender) -> bool> {
        let most = *self.sites.values().max()?;
        let elsewhere = count_of(&self.sites, newcomer.site()) + 1 < most;
        let of_site = move |sender: Sender| {
            if elsewhere {
                count_of(&self.sites, sender.site()) == most
            } else {
                sender.site() == newcomer.site()
            }
        };
        let count = self
            .senders
            .iter()
            .filter(|(sender, _)| of_site(**sender))
            .map(|(_, count)| *count)
            .max()?;
        (elsewhere || count_of(&self.senders, newcomer) + 1 < count)
            .then_some(move |sender| of_site(sender) && count_of(&self.senders, sender) == count)
    }
}

fn count_of(counts: &HashMap<Sender, usize>, who: Sender) -> usize {
    counts.get(&who).copied().unwrap_or(0)
}

struct Taken {
    issuer: u64,
    sender: Sender,
    /// Dropped to signal that the place is lost.
    _keep: oneshot::Sender<()>,
}

impl Places {
    fn count_of(&self, issuer: u64) -> usize {
        self.held
            .get(&Some(issuer))
            .map_or(0, |holders| holders.senders.values().sum())
    }

    fn take(&mut self, room: &WaitingRoom, issuer: u64, sender: Sender) -> Place {
        let (keep, lost) = oneshot::channel();
        let number = self.next;
        self.next += 1;
        self.taken.insert(
            number,
            Taken {
                issuer,
                sender,
                _keep: keep,
            },
        );
        for scope in [None, Some(issuer)] {
            self.held.entry(scope).or_default().add(sender);
        }
        Place {
            room: room.clone(),
            number,
            lost,
        }
    }

    /// Takes the newest place away from the senders with the most places in `scope`. Returns `None` if it
    /// would be fairer to reject `sender`.
    fn make_room(
        &mut self,
        sender: Sender,
        scope: Option<u64>,
        within: impl Fn(&Taken) -> bool,
    ) -> Option<()> {
        let loses = self.held.get(&scope)?.losers(sender)?;
        let number = self
            .taken
            .iter()
            .rev()
            .find(|(_, one)| loses(one.sender) && within(one))
            .map(|(number, _)| *number)?;
        drop(loses);
        self.give_back(number);
        Some(())
    }

    fn give_back(&mut self, number: u64) {
        let Some(Taken { issuer, sender, .. }) = self.taken.remove(&number) else {
            return;
        };
        for scope in [None, Some(issuer)] {
            if let Some(holders) = self.held.get_mut(&scope) {
                holders.remove(sender);
                if holders.senders.is_empty() {
                    self.held.remove(&scope);
                }
            }
        }
    }
}

/// The upper 48 bits.
const SITE: u128 = !0 << 80;

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn room(all: usize, each: usize) -> WaitingRoom {
        WaitingRoom {
            bounds: (all, each),
            ..WaitingRoom::new(Clock::system())
        }
    }

    fn at(last: u8) -> Sender {
        Sender::at(IpAddr::from([192, 0, 2, last]))
    }

    fn is_lost(place: &mut Place) -> bool {
        place.lost().now_or_never().is_some()
    }

    #[test]
    fn a_flood_from_one_address_takes_no_places_of_others() {
        let room = room(100, 8);
        let mut patient = room.enter(1, at(1)).unwrap();
        let mut flood: Vec<_> = (0..100).filter_map(|_| room.enter(1, at(9))).collect();
        assert_eq!(flood.len(), 7, "what is left");
        let mut others: Vec<_> = (2..5).map(|who| room.enter(1, at(who)).unwrap()).collect();
        assert!(!is_lost(&mut patient) && !others.iter_mut().any(is_lost));
        assert_eq!(
            flood
                .iter_mut()
                .filter_map(|place| is_lost(place).then_some(()))
                .count(),
            3,
            "the flood lost three places"
        );
        assert!(
            flood[..4].iter_mut().all(|place| !is_lost(place)),
            "its newest ones"
        );
        assert!(room.enter(1, at(9)).is_none());
    }

    #[test]
    fn a_sender_keeps_an_equal_share_of_the_places_and_may_lose_the_rest() {
        let room = room(100, 100);
        let held = |last| {
            room.lock().held[&Some(1)]
                .senders
                .get(&at(last))
                .copied()
                .unwrap_or(0)
        };
        let _nat: Vec<_> = (0..40).map(|_| room.enter(1, at(1)).unwrap()).collect();
        let flooding = || {
            (0..400)
                .filter_map(|index: u16| room.enter(1, at(10 + u8::try_from(index % 4).unwrap())))
                .collect::<Vec<_>>()
        };
        let _flood = flooding();
        assert_eq!(
            [1, 10, 11, 12, 13].map(held),
            [20; 5],
            "a fifth for each of the five addresses"
        );
        let _few: Vec<_> = (0..10).map(|_| room.enter(1, at(2)).unwrap()).collect();
        let _more = flooding();
        assert!(
            held(2) == 10 && held(1) >= 16,
            "less than a sixth is kept, and of more at least a sixth"
        );
    }

    #[test]
    fn an_ipv6_site_is_one_sender_and_its_networks_share_its_places() {
        let room = room(100, 100);
        let network = |site: u16, network: u16| {
            Sender::at(Ipv6Addr::new(0x2001, 0xdb8, site, network, 0, 0, 0, 1).into())
        };
        let mut neighbour = room.enter(1, network(1, 9999)).unwrap();
        let flood: Vec<_> = (0..1000)
            .filter_map(|index| room.enter(1, network(1, index)))
            .collect();
        assert_eq!(flood.len(), 99, "each network holds one");
        let mut victims: Vec<_> = (0..50).map(|_| room.enter(1, at(1)).unwrap()).collect();
        assert!((0..1000).all(|index| room.enter(1, network(1, index)).is_none()));
        assert!(!victims.iter_mut().any(is_lost), "they are half of all");
        assert!(room.enter(1, at(1)).is_none());
        drop(flood);
        let many: Vec<_> = (0..100).filter_map(|_| room.enter(1, network(1, 2))).collect();
        assert_eq!(room.taken(), 100);
        assert!(
            !is_lost(&mut neighbour) && room.enter(1, network(1, 3)).is_some(),
            "of its site, the network with the most gives one up"
        );
        drop(many);
    }

    #[test]
    fn issuers_do_not_share_places_and_there_is_a_bound_over_all() {
        let room = room(6, 4);
        let flood: Vec<_> = (0..10).filter_map(|_| room.enter(1, at(9))).collect();
        assert_eq!(flood.len(), 4);
        let _two = [room.enter(2, at(1)).unwrap(), room.enter(2, at(2)).unwrap()];
        assert_eq!(room.lock().taken.len(), 6);
        let _third = room
            .enter(3, at(3))
            .expect("the flood gives one up, though it waits for another issuer");
        let places = room.lock();
        assert_eq!((places.taken.len(), places.count_of(1)), (6, 3));
        drop(places);
    }

    #[test]
    fn a_place_is_free_again_once_its_request_is_gone() {
        let room = room(2, 2);
        let places = [room.enter(1, at(1)), room.enter(1, at(1))];
        assert!(room.enter(1, at(1)).is_none());
        drop(places);
        assert!(room.lock().held.is_empty());
        assert!(room.enter(1, at(1)).is_some());
    }

    #[test]
    fn an_ipv6_client_is_reduced_to_its_64() {
        let sender = |text: &str| Sender::at(text.parse().unwrap());
        assert_eq!(sender("2001:db8::1"), sender("2001:db8::ffff:2"));
        assert_ne!(sender("2001:db8::1"), sender("2001:db8:0:1::1"));
        assert_eq!(
            (sender("::ffff:192.0.2.1"), sender("64:ff9b::192.0.2.1")),
            (at(1), at(1))
        );
    }
}
