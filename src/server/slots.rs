//! The open connections, and the choice of one to close for another. The code is pure: the state of a
//! connection is in its [`Standing`].

use crate::http::{Loss, Standing};
use crate::source_address::SourceAddress;
use std::collections::{BTreeMap, BTreeSet, HashMap};

#[derive(Debug, Default)]
pub(super) struct Slots {
    /// The address of each connection, if it may give way.
    open: HashMap<u64, Option<SourceAddress>>,
    /// The connections that may give way, by address, oldest first.
    sources: HashMap<SourceAddress, BTreeMap<u64, Standing>>,
    /// The number of connections of each address. The last address has the most connections.
    sizes: BTreeSet<(usize, SourceAddress)>,
    last: u64,
}

/// A connection whose place was given away. The caller must call [`Standing::give_way`].
#[derive(Debug)]
pub(super) struct Given {
    pub(super) standing: Standing,
    /// Whether to end the connection although a request is in flight.
    pub(super) at_once: bool,
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Adds a connection, and returns its id for [`leave`](Self::leave).
    pub(super) fn enter(&mut self, standing: Standing) -> u64 {
        self.last += 1;
        self.open.insert(self.last, None);
        self.file(self.last, &standing);
        self.last
    }

    /// Moves the connection to the address that its standing now has.
    pub(super) fn file(&mut self, id: u64, standing: &Standing) {
        if !self.open.contains_key(&id) {
            return;
        }
        self.remove_from_source(id);
        if standing.loss().is_some() {
            let source = standing
                .stranger()
                .map_or(SourceAddress::UNKNOWN, |stranger| stranger.source());
            self.open.insert(id, Some(source));
            self.change(source, |connections| {
                drop(connections.insert(id, standing.clone()))
            });
        }
    }

    /// Removes a connection that has ended. Its place may already have been given away.
    pub(super) fn leave(&mut self, id: u64) {
        self.remove_from_source(id);
        self.open.remove(&id);
    }

    /// Gives away the place of an unidentified connection of this address: an idle one or, without any, one
    /// on which no request is being answered. Among several it chooses the one whose client has been inactive
    /// for the longest time.
    pub(super) fn give_away_of(&mut self, source: SourceAddress) -> Option<Given> {
        let mut left = EXAMINED;
        let (loss, _, id) = self.least(source, &mut left)?;
        (loss < Loss::Seated)
            .then(|| self.give(source, loss, id))
            .flatten()
    }

    /// Gives away the place of any unidentified connection: the one that has been idle for the longest or,
    /// without any, one of the address with most connections, even if a request is being answered on it. It
    /// examines the addresses with most connections first, and stops after a bounded number, since new
    /// connections are waiting.
    pub(super) fn give_away(&mut self) -> Option<Given> {
        self.give_away_up_to(Loss::Seated)
    }

    /// Gives away the place of an idle connection, if there is one.
    pub(super) fn give_away_idle(&mut self) -> Option<Given> {
        self.give_away_up_to(Loss::Idle)
    }

    fn give_away_up_to(&mut self, most: Loss) -> Option<Given> {
        let mut left = EXAMINED;
        let mut idle: Option<(u64, u64, SourceAddress)> = None;
        let mut other: Option<(Loss, u64, SourceAddress)> = None;
        let sources: Vec<_> = self
            .sizes
            .iter()
            .rev()
            .map(|(_, source)| *source)
            .take(EXAMINED)
            .collect();
        for source in sources {
            match self.least(source, &mut left) {
                Some((Loss::Idle, since, id)) => idle = idle.into_iter().chain([(since, id, source)]).min(),
                Some((loss, _, id)) if other.is_none_or(|(found, ..)| loss < found) => {
                    other = Some((loss, id, source))
                }
                _ => {}
            }
            if left == 0 {
                break;
            }
        }
        match (idle, other) {
            (Some((_, id, source)), _) => self.give(source, Loss::Idle, id),
            (None, Some((loss, id, source))) if loss <= most => self.give(source, loss, id),
            (None, _) => None,
        }
    }

    /// The connection of this address that loses least. Connections that must stay are not examined again.
    fn least(&mut self, source: SourceAddress, left: &mut usize) -> Option<(Loss, u64, u64)> {
        let connections = self.sources.get(&source)?;
        let mut least = None;
        let mut stay = Vec::new();
        for (&id, standing) in connections.iter().take(*left) {
            *left -= 1;
            match standing.loss() {
                None => stay.push(id),
                Some((loss, since)) if least.is_none_or(|least| (loss, since, id) < least) => {
                    least = Some((loss, since, id))
                }
                Some(_) => {}
            }
        }
        stay.into_iter().for_each(|id| self.remove_from_source(id));
        least
    }

    fn give(&mut self, source: SourceAddress, loss: Loss, id: u64) -> Option<Given> {
        let standing = self.sources.get(&source)?.get(&id)?.clone();
        self.leave(id);
        Some(Given {
            standing,
            at_once: loss > Loss::Idle,
        })
    }

    fn remove_from_source(&mut self, id: u64) {
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

/// How many connections are examined to find one that gives way.
const EXAMINED: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{ActiveRequest, Strangers};
    use futures_util::FutureExt as _;
    use std::time::Duration;

    /// The states of a connection.
    #[derive(Clone, Copy, PartialEq)]
    enum Is {
        Idle,
        /// A request waits for its turn, or has an answer that holds nothing.
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
    async fn the_unidentified_connection_that_loses_least_gives_way() {
        use Is::*;
        let strangers = Strangers::default();
        let two = strangers.at("192.0.2.2".parse().unwrap()).source();
        // Each row has the connections in order, the one that gives way to any other, and the one that gives
        // way to one from 192.0.2.2.
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
    async fn a_bounded_number_of_connections_is_examined() {
        let strangers = Strangers::default();
        let connections: Vec<_> = (0..EXAMINED + 10)
            .map(|_| (Is::Known, 1))
            .chain([(Is::Idle, 2)])
            .collect();
        let mut open = Open::new(&strangers, &connections).await;
        // They were unidentified on arrival.
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
    async fn a_connection_is_filed_under_the_address_in_its_header() {
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
            "filing it again does not take its place back"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_ends_the_idle_time_of_a_connection() {
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
