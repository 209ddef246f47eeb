//! The history of tags that everybody moves. Each tag is a register: what is there must be what somebody wrote, and not what an
//! acknowledged change that began later has overwritten.

use super::client::Http;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) const REPOSITORY: &str = "shared/app";
pub(super) const TAGS: [&str; 3] = ["s0", "s1", "s2"];

#[derive(Clone, Debug)]
struct Event {
    /// `None`: the tag was deleted.
    digest: Option<String>,
    begun: u64,
    /// `None`: nobody knows.
    acknowledged: Option<u64>,
}

#[derive(Default)]
pub(super) struct Register {
    events: Mutex<BTreeMap<&'static str, Vec<Event>>>,
    time: AtomicU64,
}

impl Register {
    fn now(&self) -> u64 {
        self.time.fetch_add(1, Ordering::SeqCst)
    }

    /// Somebody is about to change the tag.
    pub(super) fn begin(&self, tag: &'static str, digest: Option<String>) -> usize {
        let begun = self.now();
        let mut events = self.events.lock().unwrap();
        let events = events.entry(tag).or_default();
        events.push(Event { digest, begun, acknowledged: None });
        events.len() - 1
    }

    pub(super) fn acknowledge(&self, tag: &'static str, event: usize) {
        let now = self.now();
        self.events.lock().unwrap().get_mut(tag).unwrap()[event].acknowledged = Some(now);
    }

    /// Compares with what is there when nobody writes, and begins anew from that.
    pub(super) async fn settle(&self, address: SocketAddr) {
        let http = Http::new(address);
        for tag in TAGS {
            let found = http.manifest(REPOSITORY, tag).await;
            let mut events = self.events.lock().unwrap();
            let events = events.entry(tag).or_default();
            let stands = |event: &&Event| {
                let end = event.acknowledged.unwrap_or(u64::MAX);
                !events.iter().any(|other| other.acknowledged.is_some() && other.begun > end && other.digest != event.digest)
            };
            let mut causes = events.iter().filter(|event| event.digest == found);
            let never_set = found.is_none() && !events.iter().any(|event| event.acknowledged.is_some());
            assert!(never_set || causes.any(|event| stands(&event)), "{tag} is {found:?} after {events:#?}");
            let now = self.now();
            *events = vec![Event { digest: found, begun: now, acknowledged: Some(now) }];
        }
    }
}
