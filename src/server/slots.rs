//! The connections that are open, and which of them gives way to another. Pure: what is known of a connection is in its
//! [`Standing`].

use crate::http::Standing;
use crate::source_address::SourceAddress;
use std::collections::HashMap;

#[derive(Debug, Default)]
pub(super) struct Slots {
    open: HashMap<u64, Standing>,
    last: u64,
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Returns what [`leave`](Self::leave) needs.
    pub(super) fn enter(&mut self, standing: Standing) -> u64 {
        self.last += 1;
        self.open.insert(self.last, standing);
        self.last
    }

    /// The connection has ended. Its place may have been given away before.
    pub(super) fn leave(&mut self, id: u64) {
        self.open.remove(&id);
    }

    /// Gives away the place of the connection that has been idle for the longest, of those that have not identified anyone, or only of
    /// those at `source`. It has to be told. Not that of a trusted proxy.
    pub(super) fn give_away(&mut self, source: Option<SourceAddress>) -> Option<Standing> {
        let candidates = self.open.iter().filter(|(_, standing)| {
            let there = || standing.stranger().map(|stranger| stranger.source());
            !standing.is_identified()
                && !standing.is_exempt()
                && standing.idle_for().is_some()
                && source.is_none_or(|source| there() == Some(source))
        });
        let (&oldest, _) = candidates.min_by_key(|(id, standing)| (standing.idle_since(), **id))?;
        self.open.remove(&oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Caller, Strangers};
    use std::time::Duration;

    /// What may be known of a connection.
    #[derive(Clone, Copy, PartialEq)]
    enum Is {
        Idle,
        Busy,
        Known,
        Proxy,
        Unflushed,
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_stranger_gives_way() {
        use Is::*;
        let strangers = Strangers::default();
        let there = |address: &str| strangers.at(address.parse().unwrap());
        // Connections in their order; which of them gives way to any, and which to one from 192.0.2.2.
        for (connections, any, same) in [
            (vec![], None, None),
            (vec![(Busy, 1), (Known, 1), (Proxy, 1), (Unflushed, 2), (Busy, 2)], None, None),
            (vec![(Idle, 1), (Idle, 2), (Idle, 2)], Some(0), Some(1)),
            (vec![(Busy, 2), (Known, 2), (Idle, 1), (Idle, 1)], Some(2), None),
            (vec![(Proxy, 2), (Idle, 2), (Busy, 1)], Some(1), Some(1)),
        ] {
            for (source, expected) in [(None, any), (Some(there("192.0.2.2").source()), same)] {
                let (mut slots, mut standings, mut busy) = (Slots::default(), Vec::new(), Vec::new());
                for (is, address) in &connections {
                    let standing = Standing::default();
                    standing.counts_for(there(&format!("192.0.2.{address}")));
                    if *is == Proxy {
                        standing.exempt();
                    }
                    let caller = Caller::new(&standing, true);
                    if *is == Known {
                        caller.identified();
                    }
                    if *is == Unflushed {
                        standing.wrote();
                    }
                    busy.extend(Some(caller).filter(|_| *is == Busy));
                    tokio::time::advance(Duration::from_secs(1)).await;
                    slots.enter(standing.clone());
                    standings.push(standing);
                }
                let given = slots.give_away(source).map(|given| standings.iter().position(|one| one.is(&given)).unwrap());
                assert_eq!(given, expected);
                assert_eq!(slots.len(), connections.len() - usize::from(expected.is_some()), "the place is free at once");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_makes_a_connection_young_again() {
        let mut slots = Slots::default();
        let (first, second) = (Standing::default(), Standing::default());
        slots.enter(first.clone());
        slots.enter(second.clone());
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(Caller::new(&first, true));
        assert!(slots.give_away(None).unwrap().is(&second));
        assert!(slots.give_away(None).unwrap().is(&first));
    }
}
