//! The connections that are open, and which of them gives way to another. Pure: what is known of a connection
//! is in its [`Standing`].

use crate::http::{Stake, Standing};
use crate::source_address::SourceAddress;
use std::collections::{BTreeMap, BTreeSet, HashMap};

#[derive(Debug, Default)]
pub(super) struct Slots {
    /// The address under which each connection is filed, if it may give way.
    open: HashMap<u64, Option<SourceAddress>>,
    /// Those that may give way, by address, in the order of their beginning.
    sources: HashMap<SourceAddress, BTreeMap<u64, Standing>>,
    /// How many each address has; the last one has most.
    sizes: BTreeSet<(usize, SourceAddress)>,
    last: u64,
}

/// A connection whose place was given away. It must be told so.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) standing: Standing,
    /// A request is in flight that is not waited for.
    pub(super) at_once: bool,
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Returns what [`leave`](Self::leave) needs.
    pub(super) fn enter(&mut self, standing: Standing) -> u64 {
        self.last += 1;
        self.open.insert(self.last, None);
        self.file(self.last, &standing);
        self.last
    }

    /// The connection is one of the address that its standing now says.
    pub(super) fn file(&mut self, id: u64, standing: &Standing) {
        if !self.open.contains_key(&id) {
            return;
        }
        self.unfile(id);
        if standing.stake().is_some() {
            let source = standing
                .stranger()
                .map_or(SourceAddress::UNKNOWN, |stranger| stranger.source());
            self.open.insert(id, Some(source));
            self.change(source, |connections| {
                drop(connections.insert(id, standing.clone()))
            });
        }
    }

    /// The connection has ended. Its place may have been given away before.
    pub(super) fn leave(&mut self, id: u64) {
        self.unfile(id);
        self.open.remove(&id);
    }

    /// Gives away the place of a connection of this address that has identified nobody: an idle one, or else
    /// one on which no request is being answered. Of several it is the one whose client has done nothing for
    /// the longest time.
    pub(super) fn give_away_of(&mut self, source: SourceAddress) -> Option<Given> {
        let mut left = EXAMINED;
        let (stake, _, id) = self.least(source, &mut left)?;
        (stake < Stake::Seated)
            .then(|| self.give(source, stake, id))
            .flatten()
    }

    /// The same among all: the one that has been idle for the longest, or else one of the address that has
    /// most, whatever it does. The addresses that have most are examined first, and no more connections than
    /// can be while others wait to be accepted.
    pub(super) fn give_away(&mut self) -> Option<Given> {
        self.give_away_up_to(Stake::Seated)
    }

    /// The same of idle ones only.
    pub(super) fn give_away_idle(&mut self) -> Option<Given> {
        self.give_away_up_to(Stake::Idle)
    }

    fn give_away_up_to(&mut self, most: Stake) -> Option<Given> {
        let mut left = EXAMINED;
        let mut idle: Option<(u64, u64, SourceAddress)> = None;
        let mut other: Option<(Stake, u64, SourceAddress)> = None;
        let sources: Vec<_> = self
            .sizes
            .iter()
            .rev()
            .map(|(_, source)| *source)
            .take(EXAMINED)
            .collect();
        for source in sources {
            match self.least(source, &mut left) {
                Some((Stake::Idle, since, id)) => idle = idle.into_iter().chain([(since, id, source)]).min(),
                Some((stake, _, id)) if other.is_none_or(|(found, ..)| stake < found) => {
                    other = Some((stake, id, source))
                }
                _ => {}
            }
            if left == 0 {
                break;
            }
        }
        match (idle, other) {
            (Some((_, id, source)), _) => self.give(source, Stake::Idle, id),
            (None, Some((stake, id, source))) if stake <= most => self.give(source, stake, id),
            (None, _) => None,
        }
    }

    /// What closes with the least loss at this address. Connections that must stay are not examined again.
    fn least(&mut self, source: SourceAddress, left: &mut usize) -> Option<(Stake, u64, u64)> {
        let connections = self.sources.get(&source)?;
        let mut least = None;
        let mut stay = Vec::new();
        for (&id, standing) in connections.iter().take(*left) {
            *left -= 1;
            match standing.stake() {
                None => stay.push(id),
                Some((stake, since)) if least.is_none_or(|least| (stake, since, id) < least) => {
                    least = Some((stake, since, id))
                }
                Some(_) => {}
            }
        }
        stay.into_iter().for_each(|id| self.unfile(id));
        least
    }

    fn give(&mut self, source: SourceAddress, stake: Stake, id: u64) -> Option<Given> {
        let standing = self.sources.get(&source)?.get(&id)?.clone();
        self.leave(id);
        Some(Given {
            standing,
            at_once: stake > Stake::Idle,
        })
    }

    fn unfile(&mut self, id: u64) {
        if let Some(source) = self.open.get_mut(&id).and_then(Option::take) {
            self.change(source, |connections| drop(connections.remove(&id)));
        }
    }

    fn change(&mut self, source: SourceAddress, change: impl FnOnce(&mut BTreeMap<u64, Standing>)) {
        let connections = self.sources.entry(source).or_default();
        self.sizes.remove(&(connections.len(), source));
        change(connections);
        if connections.is_empty() {
            self.sources.remove(&source);
        } else {
            self.sizes.insert((connections.len(), source));
        }
    }
}

/// How many connections are examined for one that must give way.
const EXAMINED: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{ActiveRequest, Strangers};
    use futures_util::FutureExt as _;
    use std::time::Duration;

    /// What may be known of a connection.
    #[derive(Clone, Copy, PartialEq)]
    enum Is {
        Idle,
        /// With a request that waits for its turn, or whose answer holds nothing.
        Busy,
        Seated,
        Known,
        Proxy,
        Unflushed,
    }

    struct Open {
        slots: Slots,
        standings: Vec<Standing>,
        _requests: Vec<ActiveRequest>,
    }

    impl Open {
        async fn new(strangers: &Strangers, connections: &[(Is, u8)]) -> Self {
            let mut slots = Slots::default();
            let mut standings = Vec::new();
            let mut requests = Vec::new();
            for (is, address) in connections {
                let standing = Standing::default();
                let stranger = strangers.at(format!("192.0.2.{address}").parse().unwrap());
                standing.counts_for(stranger.clone());
                standing.is_proxy(*is == Is::Proxy);
                let active = ActiveRequest::new(&standing, true);
                match is {
                    Is::Known => active.identified(),
                    Is::Unflushed => standing.wrote(),
                    Is::Seated => active.sits(stranger.seat().now_or_never().unwrap().unwrap()),
                    Is::Idle | Is::Busy | Is::Proxy => {}
                }
                requests.extend(Some(active).filter(|_| matches!(is, Is::Busy | Is::Seated)));
                tokio::time::advance(Duration::from_secs(1)).await;
                slots.enter(standing.clone());
                standings.push(standing);
            }
            Self {
                slots,
                standings,
                _requests: requests,
            }
        }

        fn which(&self, given: Option<Given>) -> Option<usize> {
            given.map(|given| {
                self.standings
                    .iter()
                    .position(|one| one.is(&given.standing))
                    .unwrap()
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_stranger_that_loses_least_gives_way() {
        use Is::*;
        let strangers = Strangers::default();
        let two = strangers.at("192.0.2.2".parse().unwrap()).source();
        // Connections in their order; which of them gives way to any, and which to one from 192.0.2.2.
        for (connections, any, same) in [
            (vec![], None, None),
            (vec![(Known, 1), (Proxy, 1), (Known, 2)], None, None),
            (vec![(Idle, 1), (Idle, 2), (Idle, 2)], Some(0), Some(1)),
            (
                vec![(Busy, 2), (Known, 2), (Idle, 1), (Idle, 1)],
                Some(2),
                Some(0),
            ),
            (vec![(Proxy, 2), (Idle, 2), (Busy, 1)], Some(1), Some(1)),
            (
                vec![(Busy, 1), (Seated, 2), (Busy, 2), (Unflushed, 2)],
                Some(2),
                Some(2),
            ),
            (
                vec![(Busy, 1), (Known, 1), (Known, 1), (Busy, 2), (Busy, 2)],
                Some(3),
                Some(3),
            ),
            (
                vec![(Seated, 1), (Seated, 2), (Seated, 2), (Known, 1), (Proxy, 1)],
                Some(1),
                None,
            ),
            (vec![(Busy, 1), (Seated, 2), (Seated, 2)], Some(0), None),
        ] {
            let mut open = Open::new(&strangers, &connections).await;
            let given = open.slots.give_away_of(two);
            assert_eq!(open.which(given), same);
            let mut open = Open::new(&strangers, &connections).await;
            let given = open.slots.give_away();
            assert_eq!(
                given.as_ref().map(|given| given.at_once),
                any.map(|any| connections[any].0 != Idle)
            );
            assert_eq!(open.which(given), any);
            assert_eq!(
                open.slots.len(),
                connections.len() - usize::from(any.is_some()),
                "the place is free at once"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_some_connections_are_examined() {
        let strangers = Strangers::default();
        let connections: Vec<_> = (0..EXAMINED + 10)
            .map(|_| (Is::Known, 1))
            .chain([(Is::Idle, 2)])
            .collect();
        let mut open = Open::new(&strangers, &connections).await;
        // They were strangers when they came.
        for standing in &open.standings {
            open.slots.last += 1;
            open.slots.open.insert(open.slots.last, None);
            let source = standing.stranger().unwrap().source();
            open.slots.open.insert(open.slots.last, Some(source));
            let id = open.slots.last;
            open.slots.change(source, |connections| {
                drop(connections.insert(id, standing.clone()))
            });
        }
        assert!(
            open.slots.give_away().is_none(),
            "all that were examined must stay"
        );
        assert!(
            open.slots
                .sizes
                .contains(&(10, strangers.at("192.0.2.1".parse().unwrap()).source())),
            "and are not examined again"
        );
        assert!(open.slots.give_away().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_filed_where_its_header_says() {
        let mut slots = Slots::default();
        let strangers = Strangers::default();
        let standing = Standing::default();
        let id = slots.enter(standing.clone());
        let stranger = strangers.at("192.0.2.1".parse().unwrap());
        assert!(slots.give_away_of(stranger.source()).is_none());
        standing.counts_for(stranger.clone());
        slots.file(id, &standing);
        assert!(
            slots
                .give_away_of(stranger.source())
                .unwrap()
                .standing
                .is(&standing)
        );
        slots.file(id, &standing);
        assert_eq!(
            (slots.len(), slots.sources.len(), slots.sizes.len()),
            (0, 0, 0),
            "its place stays given away"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_makes_a_connection_young_again() {
        let mut slots = Slots::default();
        let first = Standing::default();
        let second = Standing::default();
        slots.enter(first.clone());
        slots.enter(second.clone());
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(ActiveRequest::new(&first, true));
        assert!(slots.give_away().unwrap().standing.is(&second));
        assert!(slots.give_away().unwrap().standing.is(&first));
    }
}
