//! The order in which passwords are checked. Only a few are checked at a time. Turns rotate among the client
//! addresses that wait, and for one address among its usernames. So an address that tries many passwords
//! delays only itself.
//!
//! Each attempt takes one of the few places of its address, and keeps it until it is answered.

use super::super::SourceAddress;
use crate::limits::{PASSWORDS_OF_NAME, PASSWORDS_OF_SOURCE, PASSWORDS_WAITING};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

pub(super) struct Turns {
    state: Mutex<State>,
}

/// The hash of a username, since a client may send a long one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name(pub(super) u64);

/// An attempt's place, which is released on drop.
pub(super) struct Place {
    turns: Arc<Turns>,
    id: u64,
    source: SourceAddress,
    name: Name,
}

/// The right to check one password now. On drop the turn passes to the next attempt.
pub(super) struct Turn(Option<Arc<Turns>>);

impl Turns {
    /// `at_a_time` is how many passwords are checked at the same time.
    pub(super) fn new(at_a_time: usize) -> Arc<Self> {
        let state = State {
            free: at_a_time,
            next_id: 0,
            waiting: 0,
            order: VecDeque::new(),
            sources: HashMap::new(),
        };
        Arc::new(Self {
            state: Mutex::new(state),
        })
    }

    /// Takes a place. Returns `None` if the address, or this name at the address, has no free place.
    pub(super) fn place(self: &Arc<Self>, source: SourceAddress, name: Name) -> Option<Place> {
        let id = self.lock().take_place(source, name)?;
        Some(Place {
            turns: self.clone(),
            id,
            source,
            name,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes a finished turn to the next attempt, if one waits.
    fn pass_on(self: Arc<Self>) {
        let mut turn = Turn(Some(self.clone()));
        loop {
            let mut state = self.lock();
            let Some(next) = state.next() else {
                state.free += 1;
                turn.0 = None;
                return;
            };
            drop(state);
            match next.send(turn) {
                Ok(()) => return,
                // The attempt was cancelled between the two steps.
                Err(back) => turn = back,
            }
        }
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting
    }

    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.lock().free
    }
}

impl Place {
    /// Starts to wait for a turn, which arrives through the channel. If the queue is full, the address with
    /// the most waiting attempts loses its newest one, whose channel is closed. Returns `None` if that does
    /// not make room.
    pub(super) fn turn(&self) -> Option<oneshot::Receiver<Turn>> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.turns.lock();
        if state.free > 0 {
            state.free -= 1;
            drop(state);
            drop(sender.send(Turn(Some(self.turns.clone()))));
            return Some(receiver);
        }
        if state.waiting >= PASSWORDS_WAITING && !state.make_room_for(self.source) {
            return None;
        }
        state.wait(self, sender);
        Some(receiver)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.turns.lock().give_up(self.source, self.name, self.id);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.pass_on();
        }
    }
}

struct State {
    /// Free turns. While there is one, no attempt waits.
    free: usize,
    next_id: u64,
    /// The number of waiting attempts of all addresses.
    waiting: usize,
    /// The addresses with waiting attempts, each once, in the order of their next turns.
    order: VecDeque<SourceAddress>,
    sources: HashMap<SourceAddress, Source>,
}

#[derive(Default)]
struct Source {
    /// How many places each name has taken.
    places: HashMap<Name, usize>,
    /// Waiting attempts in order of arrival. The list is short.
    waiting: Vec<Waiting>,
    /// The names of the waiting attempts, each once, in the order of their next turns.
    order: VecDeque<Name>,
}

struct Waiting {
    id: u64,
    name: Name,
    sender: oneshot::Sender<Turn>,
}

impl State {
    fn take_place(&mut self, source: SourceAddress, name: Name) -> Option<u64> {
        let places = &mut self.sources.entry(source).or_default().places;
        let of_name = places.get(&name).copied().unwrap_or(0);
        if of_name >= PASSWORDS_OF_NAME || places.values().sum::<usize>() >= PASSWORDS_OF_SOURCE {
            return None;
        }
        places.insert(name, of_name + 1);
        self.next_id += 1;
        Some(self.next_id)
    }

    fn wait(&mut self, place: &Place, sender: oneshot::Sender<Turn>) {
        let Some(source) = self.sources.get_mut(&place.source) else {
            return;
        };
        source.waiting.push(Waiting {
            id: place.id,
            name: place.name,
            sender,
        });
        if !source.order.contains(&place.name) {
            source.order.push_back(place.name);
        }
        if !self.order.contains(&place.source) {
            self.order.push_back(place.source);
        }
        self.waiting += 1;
    }

    /// Removes and returns the attempt whose turn is next.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let at = self.order.pop_front()?;
        let source = self.sources.get_mut(&at)?;
        let name = source.order.pop_front()?;
        let first = source.waiting.iter().position(|one| one.name == name)?;
        let next = source.waiting.remove(first);
        self.waiting -= 1;
        if source.waiting.iter().any(|one| one.name == name) {
            source.order.push_back(name);
        }
        if !source.waiting.is_empty() {
            self.order.push_back(at);
        }
        Some(next.sender)
    }

    /// Drops the newest attempt of the address with the most waiting attempts. Returns `false` if the
    /// newcomer's own address would then have as many.
    fn make_room_for(&mut self, newcomer: SourceAddress) -> bool {
        let waiting = |source: &Source| source.waiting.len();
        let own = self.sources.get(&newcomer).map_or(0, waiting);
        let Some((heaviest, source)) = self.sources.iter().max_by_key(|(_, source)| waiting(source)) else {
            return false;
        };
        let Some(last) = source
            .waiting
            .last()
            .filter(|_| waiting(source) > own + 1)
            .map(|last| last.id)
        else {
            return false;
        };
        let heaviest = *heaviest;
        self.remove(heaviest, last);
        true
    }

    /// Removes a waiting attempt.
    fn remove(&mut self, at: SourceAddress, id: u64) {
        let Some(source) = self.sources.get_mut(&at) else {
            return;
        };
        let Some(index) = source.waiting.iter().position(|one| one.id == id) else {
            return;
        };
        let Waiting { name, .. } = source.waiting.remove(index);
        self.waiting -= 1;
        if !source.waiting.iter().any(|one| one.name == name) {
            source.order.retain(|other| *other != name);
        }
        if source.waiting.is_empty() {
            self.order.retain(|other| *other != at);
        }
    }

    fn give_up(&mut self, at: SourceAddress, name: Name, id: u64) {
        self.remove(at, id);
        let Some(source) = self.sources.get_mut(&at) else {
            return;
        };
        if let Some(places) = source.places.get_mut(&name) {
            *places -= 1;
            if *places == 0 {
                source.places.remove(&name);
            }
        }
        if source.places.is_empty() {
            self.sources.remove(&at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;
    use std::net::Ipv4Addr;

    fn source(number: usize) -> SourceAddress {
        SourceAddress::of(Ipv4Addr::from_bits(u32::try_from(number).unwrap()).into())
    }

    /// A waiting attempt with a note.
    struct Attempt {
        note: &'static str,
        turn: BoxFuture<'static, Option<Turn>>,
    }

    fn attempt(turns: &Arc<Turns>, at: usize, name: u64, note: &'static str) -> Attempt {
        let place = turns.place(source(at), Name(name)).unwrap();
        let mut turn = async move { place.turn()?.await.ok() }.boxed();
        assert!(
            turn.as_mut().now_or_never().is_none(),
            "{note} has a turn at once"
        );
        Attempt { note, turn }
    }

    /// Takes a free turn.
    fn now(place: &Place) -> Turn {
        place.turn().unwrap().try_recv().unwrap()
    }

    /// Ends the turn and returns the attempt that has the next one.
    fn next(attempts: &mut Vec<Attempt>, ended: Turn) -> (&'static str, Turn) {
        drop(ended);
        let having = |one: &mut Attempt| one.turn.as_mut().now_or_never().map(|turn| turn.unwrap());
        let (index, turn) = attempts
            .iter_mut()
            .enumerate()
            .find_map(|(index, one)| Some((index, having(one)?)))
            .unwrap();
        (attempts.remove(index).note, turn)
    }

    #[test]
    fn turns_go_round_the_sources_and_within_a_source_round_the_names() {
        let turns = Turns::new(1);
        let place = turns.place(source(9), Name(0)).unwrap();
        let mut turn = now(&place);
        let mut attempts: Vec<_> = ["a1", "a2", "a3"].map(|note| attempt(&turns, 1, 1, note)).into();
        attempts.push(attempt(&turns, 1, 2, "a, another name"));
        attempts.push(attempt(&turns, 2, 1, "b1"));
        attempts.push(attempt(&turns, 3, 1, "c1"));
        attempts.push(attempt(&turns, 2, 1, "b2"));
        let mut order = Vec::new();
        while !attempts.is_empty() {
            let (note, next) = next(&mut attempts, turn);
            order.push(note);
            turn = next;
        }
        assert_eq!(order, ["a1", "b1", "c1", "a, another name", "b2", "a2", "a3"]);
        drop((turn, place));
        assert_eq!(
            (turns.free(), turns.lock().sources.len()),
            (1, 0),
            "finished attempts leave nothing behind"
        );
    }

    #[test]
    fn an_address_and_a_name_have_few_places() {
        let turns = Turns::new(1);
        let mut taken: Vec<_> = (0..PASSWORDS_OF_NAME)
            .map(|_| turns.place(source(1), Name(1)).unwrap())
            .collect();
        assert!(turns.place(source(1), Name(1)).is_none(), "of one name");
        for name in 2.. {
            let Some(place) = turns.place(source(1), Name(name)) else {
                break;
            };
            taken.push(place);
        }
        assert_eq!(taken.len(), PASSWORDS_OF_SOURCE);
        assert!(
            turns.place(source(2), Name(1)).is_some(),
            "another source has its own"
        );
        taken.pop();
        assert!(turns.place(source(1), Name(99)).is_some());
    }

    #[test]
    fn an_attempt_that_gives_up_leaves_the_queue_and_passes_its_turn_on() {
        let turns = Turns::new(1);
        let place = turns.place(source(9), Name(0)).unwrap();
        let turn = now(&place);
        let mut attempts: Vec<_> = (1..=3)
            .map(|at| attempt(&turns, at, 1, ["", "first", "second", "third"][at]))
            .collect();
        drop(attempts.remove(1));
        assert_eq!(turns.waiting(), 2);
        drop(turn);
        drop(attempts.remove(0)); // it has the turn, and has not seen it
        let third = attempts[0].turn.as_mut().now_or_never().unwrap();
        assert_eq!((turns.free(), turns.waiting()), (0, 0));
        drop(third);
        assert_eq!(turns.free(), 1);
    }

    #[test]
    fn a_full_queue_has_room_for_a_source_with_fewer_waiting_than_the_one_with_the_most() {
        let turns = Turns::new(1);
        let place = turns.place(source(9999), Name(0)).unwrap();
        let turn = now(&place);
        let heavy = PASSWORDS_WAITING / PASSWORDS_OF_SOURCE;
        let mut crowd: Vec<_> = (0..PASSWORDS_WAITING)
            .map(|n| attempt(&turns, n % heavy, (n / heavy) as u64, "crowd"))
            .collect();
        assert_eq!(turns.waiting(), PASSWORDS_WAITING);
        let mut newcomer = attempt(&turns, 5000, 1, "newcomer");
        assert_eq!(turns.waiting(), PASSWORDS_WAITING);
        let away = crowd
            .iter_mut()
            .filter_map(|one| one.turn.as_mut().now_or_never())
            .collect::<Vec<_>>();
        assert!(matches!(away[..], [None]), "one waiting attempt is dropped");
        drop((crowd, turn));
        newcomer.turn.as_mut().now_or_never().unwrap().unwrap();
    }

    #[test]
    fn a_full_queue_of_single_attempts_rejects_the_newcomer() {
        let turns = Turns::new(1);
        let place = turns.place(source(9999), Name(0)).unwrap();
        let _turn = now(&place);
        let _crowd: Vec<_> = (0..PASSWORDS_WAITING)
            .map(|n| attempt(&turns, n, 1, "crowd"))
            .collect();
        let late = turns.place(source(5000), Name(1)).unwrap();
        assert!(late.turn().is_none());
    }
}
