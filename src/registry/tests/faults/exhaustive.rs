//! Every order of three actors with a bounded number of preemptions, on the registry's own code, also if one
//! of the actors dies. The store works here: what a store may do wrong is left to the random runs.

use super::super::*;
use super::actors::{Actor, LISTED, LISTS};
use super::before::Before;
use super::collectors::Conduct;
use super::every_step::Watch;
use super::footprints::Footprints;
use super::history::History;
use super::invariants;
use super::planted::Fault;
use super::process::Process;
use super::scheduler::drive;
use super::search::{Bounds, Search};
use super::setting::{client, say, simulate};
use super::store::Nature;
use super::world::World;
use tokio::time::Instant;

/// Three actors on one store.
#[derive(Clone, Copy, Debug)]
struct Trio {
    name: &'static str,
    before: Before,
    /// Whether the clients may read, so that the bytes of a blob that is pushed again are compared.
    may_read: bool,
    actors: [Actor; 3],
}

const PUSH: Actor = Actor::PushAlone {
    repository: 0,
    manifest: 0,
    tag: 0,
};
const UPLOAD: Actor = Actor::Push {
    repository: 0,
    manifest: 0,
    tag: 0,
};
const LINKS: Actor = Actor::CollectLinks { repository: 0 };
const MANIFESTS: Actor = Actor::CollectManifests { repository: 0 };
const DELETION: Actor = Actor::DeleteManifest {
    repository: 0,
    manifest: LISTED,
};

const TRIOS: &[Trio] = &[
    Trio {
        name: "push, collector of links, deletion",
        before: Before::Tagged,
        may_read: false,
        actors: [PUSH, LINKS, DELETION],
    },
    Trio {
        name: "mount, collector of links, collector of blobs",
        before: Before::Link,
        may_read: false,
        actors: [
            Actor::Mount {
                repository: 1,
                manifest: 0,
                tag: 0,
            },
            LINKS,
            Actor::CollectBlobs,
        ],
    },
    Trio {
        name: "push, two collectors of links",
        before: Before::Link,
        may_read: false,
        actors: [PUSH, LINKS, LINKS],
    },
    Trio {
        name: "upload, two collectors of blobs",
        before: Before::Blob,
        may_read: false,
        actors: [UPLOAD, Actor::CollectBlobs, Actor::CollectBlobs],
    },
    Trio {
        name: "push of an index, deletion of its child, collector of manifests",
        before: Before::Untagged,
        may_read: false,
        actors: [
            Actor::PushAlone {
                repository: 0,
                manifest: LISTS,
                tag: 0,
            },
            DELETION,
            MANIFESTS,
        ],
    },
    Trio {
        name: "push, two deletions",
        before: Before::Tagged,
        may_read: false,
        actors: [
            Actor::PushAlone {
                repository: 0,
                manifest: LISTED,
                tag: 1,
            },
            DELETION,
            DELETION,
        ],
    },
    Trio {
        name: "moved tag, moved tag, collector of manifests",
        before: Before::Tagged,
        may_read: false,
        actors: [
            PUSH,
            Actor::PushAlone {
                repository: 0,
                manifest: LISTED,
                tag: 0,
            },
            MANIFESTS,
        ],
    },
    Trio {
        name: "upload of a known blob, collector of links, collector of blobs",
        before: Before::Link,
        may_read: true,
        actors: [UPLOAD, LINKS, Actor::CollectBlobs],
    },
];

/// The preemptions in a run. `WHARFINGER_PREEMPTIONS` sets another number.
fn preemptions(default: u32) -> u32 {
    std::env::var("WHARFINGER_PREEMPTIONS")
        .ok()
        .and_then(|bound| bound.parse().ok())
        .unwrap_or(default)
}

impl Trio {
    /// Searches all orders. Returns how many runs and states that took, or the first violation.
    fn search(&self, bounds: Bounds, fault: Option<Fault>) -> Result<(u64, usize), String> {
        let mut size = (0, 0);
        let mut seen = Footprints::default();
        // At first, no request is known to be shared. The smaller searches end soon, and find most of those that
        // are.
        for preemptions in 0..=bounds.preemptions {
            let mut search = Search::new(
                Bounds {
                    preemptions,
                    ..bounds
                },
                seen,
            );
            self.search_once(&mut search, fault)?;
            size = search.size();
            seen = search.into_seen();
        }
        Ok(size)
    }

    fn search_once(&self, search: &mut Search, fault: Option<Fault>) -> Result<(), String> {
        let conduct = Conduct {
            rounds: 1,
            may_read: self.may_read,
            fault,
            ..Conduct::default()
        };
        loop {
            let (runs, states) = search.size();
            let held = simulate(self.meet(conduct, search, &mut None));
            // A search that begins again finds the violation again.
            if let Err(why) = held
                && !search.begins_again()
            {
                search.repeat();
                let mut trace = Some(Vec::new());
                drop(simulate(self.meet(conduct, search, &mut trace)));
                let trace = trace.unwrap_or_default().join("\n");
                return Err(format!("{}, run {}: {why}\n{trace}", self.name, runs + 1));
            }
            if runs > 0 && runs.is_multiple_of(10_000) {
                say(&format!("{}: {runs} runs and {states} states so far", self.name));
            }
            if !search.advance() {
                return Ok(());
            }
        }
    }

    /// Fills the trace of the run if it is wanted.
    async fn meet(
        &self,
        conduct: Conduct,
        search: &mut Search,
        trace: &mut Option<Vec<String>>,
    ) -> Result<(), String> {
        fastrand::seed(0);
        // In a folder several changes are one commit. That is one of the orders in a bucket.
        let nature = Nature {
            is_bucket: true,
            is_shared: false,
            has_plain_tombstones: false,
        };
        let world = World::new(0, nature);
        if trace.is_some() {
            world.keep_trace();
        }
        let history = Arc::new(History::default());
        self.before.prepare(conduct, &world, &history).await;
        for actor in self.actors {
            let client = client(conduct, Process::new(&world, true), &history);
            tokio::spawn(client.run(actor));
        }
        let mut watch = Watch::new(&world, &history, false);
        let mut path = search.begin(&history);
        let held = async {
            drive(&world, &mut path, || watch.holds()).await?;
            if path.is_known(&world) {
                return Ok(());
            }
            invariants::broken(&world, &history, &mut watch, &mut path).await
        }
        .await;
        if let Some(trace) = trace {
            *trace = world.trace();
        }
        world.end();
        held
    }
}

/// Searches all orders of these actors, and prints how many there were. The searches run at the same time.
fn lose_nothing(trios: &[Trio], bounds: Bounds) {
    let search = |trio: &Trio| {
        let begun = Instant::now();
        let (runs, states) = trio.search(bounds, None).unwrap_or_else(|why| panic!("{why}"));
        let seconds = begun.elapsed().as_secs();
        say(&format!(
            "{}: {runs} runs and {states} states in {seconds} s, {bounds:?}",
            trio.name
        ));
    };
    std::thread::scope(|scope| trios.iter().for_each(|trio| drop(scope.spawn(|| search(trio)))));
}

#[test]
fn three_actors_lose_nothing_in_any_order_with_few_preemptions() {
    let bounds = Bounds {
        preemptions: preemptions(1),
        deaths: 0,
    };
    lose_nothing(TRIOS, bounds);
}

/// What the dead process had begun is finished by a restart.
#[test]
fn a_death_among_three_actors_loses_nothing_in_any_order() {
    let bounds = Bounds {
        preemptions: preemptions(0),
        deaths: 1,
    };
    lose_nothing(TRIOS, bounds);
}

/// One or two preemptions are enough to find a step that is left out.
#[test]
fn omitted_steps_are_found_by_the_search() {
    for (fault, trio, preemptions) in [
        (Fault::CheckThenWrite, 0, 2),
        (Fault::NoRescue, 2, 1),
        (Fault::NoCondemning, 2, 1),
        (Fault::NoSecondLook, 2, 1),
    ] {
        let bounds = Bounds {
            preemptions,
            deaths: 0,
        };
        let found = TRIOS[trio].search(bounds, Some(fault));
        let found = found.expect_err("the fault is found");
        say(&format!(
            "{fault:?}: {}",
            found.lines().next().unwrap_or_default()
        ));
    }
}
