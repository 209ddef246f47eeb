//! Whose password is checked next. A few passwords are checked at a time. The turns go round: to each source
//! that waits, and within a source to each name. So a source that tries many passwords only delays itself.
//!
//! An attempt has a place of its source from its beginning until it is answered, and a place is given up only
//! then. A source has few.

use super::super::SourceAddress;
use crate::limits::{PASSWORDS_OF_NAME, PASSWORDS_OF_SOURCE, PASSWORDS_WAITING};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

pub(super) struct Turns {
    state: Mutex<State>,
}

/// A name, hashed: a stranger may send a long one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name(pub(super) u64);

/// One attempt's place. It is given up when this is dropped.
pub(super) struct Place {
    turns: Arc<Turns>,
    id: u64,
    source: SourceAddress,
    name: Name,
}

/// The right to check one password now. The next one's turn comes when this is dropped.
pub(super) struct Turn(Option<Arc<Turns>>);

impl Turns {
    /// `at_a_time` passwords are checked at a time.
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

    /// `None` if the source, or this name of the source, has all its places taken.
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

    /// Hands a turn that has ended to the next one, if one waits.
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
                // It was given up between the two steps.
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
    /// Begins to wait for a turn, which comes through the channel. `None` if too many wait; the source that
    /// has the most waiting loses its last one first, whose channel is then closed.
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
    /// Turns that nobody has. While there is one, nobody waits.
    free: usize,
    next_id: u64,
    /// Of all sources.
    waiting: usize,
    /// The sources that have someone waiting, each once, in the order of their next turns.
    order: VecDeque<SourceAddress>,
    sources: HashMap<SourceAddress, Source>,
}

#[derive(Default)]
struct Source {
    /// How many places each name has.
    places: HashMap<Name, usize>,
    /// In the order in which they came. Short.
    waiting: Vec<Waiting>,
    /// The names of those, each once, in the order of their next turns.
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

    /// Takes out the one whose turn it is.
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

    /// Turns away the last one of the source that has the most waiting, unless that is the newcomer's own or
    /// has no more than it.
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

    /// Takes somebody out who waits.
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

    /// One that waits, with a note of its own.
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

    /// A turn that is free.
    fn now(place: &Place) -> Turn {
        place.turn().unwrap().try_recv().unwrap()
    }

    /// Ends the turn, and says who has the next one.
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
            "nothing is kept of those who are gone"
        );
    }

    #[test]
    fn a_source_and_a_name_have_few_places() {
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
    fn one_that_gives_up_leaves_the_queue_and_a_turn_on_its_way_to_it_goes_on() {
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
        assert!(matches!(away[..], [None]), "one of the crowd is turned away");
        drop((crowd, turn));
        newcomer.turn.as_mut().now_or_never().unwrap().unwrap();
    }

    #[test]
    fn a_full_queue_of_single_attempts_turns_the_newcomer_away() {
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
