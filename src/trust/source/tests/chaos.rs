//! Random tests of all sources over real sockets. A Workload API, two federation endpoints and an OIDC issuer
//! rotate and withdraw keys, disappear, send garbage, hang and come back, in an order that a seed decides.
//! The test's clock advances by hours, and the registry restarts.
//!
//! After each step, the time of a source's last confirmation says what must be accepted: exactly what was
//! published at that time. The age of that confirmation is bounded too.

mod verdicts;

use super::publisher::{Keys, Publisher};
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::spiffe_id::TrustDomain;
use crate::trust::jwks::KeySet;
use crate::trust::jwt;
use crate::trust::refresh::Pace;
use crate::trust::source::testing::eventually;
use crate::trust::source::testing::site::server;
use crate::trust::source::workload_api::tests::impatient;
use crate::trust::source::{
    CaSource, EndpointProfile, FederationSettings, Following, OidcSettings, OnPermissionDenied, Source,
};
use crate::trust::source::{federation, oidc_discovery};
use crate::trust::x509::{self, X509Authorities};
use crate::trust::{Authorities, LastGood, Status};
use serde_json::json;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use wharfinger_testkit::{Agent, Ca, Hold, Site};

/// The publishers and their protocols.
const OWN: usize = 0;
const GUEST: usize = 1;
const WEB: usize = 2;
const SPIFFE: usize = 3;
const OIDC: usize = 4;
const NAMES: [&str; 5] = [
    "own.example",
    "guest.example",
    "web.example",
    "spiffe.example",
    "oidc.example",
];

const START: Timestamp = Timestamp::from_secs(1_800_000_000);
const MAX_STALE: Duration = Duration::from_secs(24 * 3600);
/// The time within which a healthy source has been fetched, whatever happened before.
const SOON: Duration = Duration::from_secs(15 * 60);
/// How much older the copy on disk may be.
const LAG: Duration = Duration::from_secs(3600 + 60);
const STEPS: usize = 60;
/// Real time to wait for answers that do not come.
const TIMEOUT: Duration = Duration::from_millis(700);
/// A withdrawn key is rejected at once, so exactly what was published last must be accepted.
const PACE: Pace = Pace {
    patience: Duration::from_secs(30),
    withdrawn: Duration::ZERO,
    ..Pace::OIDC
};

#[tokio::test]
async fn no_valid_credential_is_rejected_and_no_invalid_one_accepted_whatever_publishers_do() {
    for seed in [1, 2] {
        let mut world = World::new(seed).await;
        world.settle().await;
        for step in 0..STEPS {
            let deed = world.do_something().await;
            let pause = world.pause();
            world.hand.advance(pause);
            world.settle().await;
            world
                .judge(&format!("seed {seed}, step {step}: {deed}, then {pause:?}"))
                .await;
        }
        world.an_hour_without_anyone().await;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Unreachable,
    Garbage,
    Hang,
    Refusal,
    /// A document that was published before.
    Rollback,
}

struct World {
    random: fastrand::Rng,
    clock: Clock,
    hand: ManualClock,
    folder: tempfile::TempDir,
    last_good: Arc<LastGood>,
    publishers: Vec<Publisher>,
    faults: [Fault; 5],
    /// Since when a publisher has been healthy, if it is.
    well_since: [Option<Timestamp>; 5],
    sites: Vec<Site>,
    holds: [Option<Hold>; 5],
    older: Vec<Vec<u8>>,
    agent: Agent,
    agent_changed: Timestamp,
    /// The periods in which the agent denied JWT bundles.
    denied: Vec<(Timestamp, Timestamp)>,
    web_authority: Ca,
    registry: Option<Registry>,
    /// When each source was last confirmed before a restart.
    floor: [Timestamp; 5],
    accepted: usize,
    refused: usize,
}

/// The parts that a restart creates again.
struct Registry {
    sources: Vec<Source>,
    x509: Vec<Authorities<X509Authorities>>,
    jwt: Vec<Authorities<KeySet>>,
}

impl World {
    async fn new(seed: u64) -> Self {
        let (clock, hand) = Clock::manual(START);
        let folder = tempfile::tempdir().unwrap();
        let publishers: Vec<_> = NAMES
            .into_iter()
            .map(|name| Publisher::new(name, START))
            .collect();
        let web_authority = Ca::root("web authority");
        let identity = server(&web_authority);
        let sites = vec![
            Site::tls(&identity).await,
            Site::tls(&publishers[SPIFFE].newest().server).await,
            Site::plain().await,
        ];
        let older = publishers.iter().map(Publisher::bundle).collect();
        let mut world = Self {
            random: fastrand::Rng::with_seed(seed),
            last_good: LastGood::new(folder.path()),
            clock,
            hand,
            folder,
            publishers,
            faults: [Fault::None; 5],
            well_since: [Some(START); 5],
            sites,
            holds: Default::default(),
            older,
            agent: Agent::new(),
            agent_changed: START,
            denied: Vec::new(),
            web_authority,
            registry: None,
            floor: [START; 5],
            accepted: 0,
            refused: 0,
        };
        (0..5).for_each(|who| world.show(who));
        world.agent.start();
        world.start();
        world
    }

    fn start(&mut self) {
        let last_good = Some(&self.last_good);
        let domain = |who: usize| NAMES[who].parse::<TrustDomain>().unwrap();
        let api = impatient(&self.agent.address, &self.clock, last_good);
        let following = |who| Following {
            trust_domain: domain(who),
            max_stale: MAX_STALE,
            on_denied: OnPermissionDenied::Withdraw,
        };
        let federated = |who: usize, profile| {
            let site = &self.sites[who - WEB];
            let settings = FederationSettings {
                trust_domain: domain(who),
                url: site.url("/bundle"),
                profile,
                proxy: None,
                max_stale: MAX_STALE,
                resolve: site.resolve(),
            };
            federation::paced(
                settings,
                self.clock.clone(),
                last_good,
                Pace {
                    patience: PACE.patience,
                    ..Pace::FEDERATION
                },
                TIMEOUT,
            )
        };
        let oidc = OidcSettings {
            name: None,
            issuer: self.sites[OIDC - WEB].base.clone(),
            discovery_url: None,
            jwks_url: None,
            ca: None,
            bearer_token_file: None,
            bearer_token_origins: Vec::new(),
            proxy: None,
            skip_issuer: false,
            max_stale: MAX_STALE,
            resolve: Vec::new(),
        };
        let endpoint = format!("spiffe://{}/spire/server", NAMES[SPIFFE])
            .parse()
            .unwrap();
        let sources = vec![
            api.source(&following(OWN)),
            api.source(&following(GUEST)),
            federated(
                WEB,
                EndpointProfile::Web {
                    ca: Some(CaSource::Inline(self.web_authority.pem.clone().into())),
                },
            ),
            federated(
                SPIFFE,
                EndpointProfile::Spiffe {
                    endpoint,
                    bootstrap: self.folder.path().join("bootstrap"),
                },
            ),
            oidc_discovery::paced(oidc, self.clock.clone(), last_good, PACE, TIMEOUT),
        ];
        sources.iter().for_each(Source::start);
        let x509 = sources
            .iter()
            .map(|source| source.x509().into_iter().collect())
            .collect();
        let jwt = sources
            .iter()
            .map(|source| source.jwt().into_iter().collect())
            .collect();
        self.registry = Some(Registry { sources, x509, jwt });
    }

    fn registry(&self) -> &Registry {
        self.registry.as_ref().unwrap()
    }

    /// Runs one random event at a random time.
    async fn do_something(&mut self) -> String {
        self.hand.advance(Duration::from_millis(1));
        let now = self.clock.now();
        let who = self.random.usize(0..5);
        let name = NAMES[who];
        match self.random.usize(0..20) {
            0..6 => {
                self.publish(who, |publisher| publisher.rotate(now));
                format!("{name} rotates")
            }
            6..8 => {
                self.publish(who, |publisher| publisher.withdraw_old(now));
                format!("{name} withdraws its old keys")
            }
            8 => {
                self.publish(who, |publisher| publisher.withdraw_all(now));
                format!("{name} withdraws everything")
            }
            9..12 => {
                (0..5).for_each(|who| self.set_fault(who, Fault::None));
                "everybody is well".into()
            }
            12 => {
                self.last_good.flush();
                self.registry = None;
                self.start();
                for who in 0..5 {
                    self.floor[who] = self.floor[who].minus(LAG);
                    self.well_since[who] = self.well_since[who].map(|_| now);
                }
                self.agent_changed = now;
                "the registry restarts".into()
            }
            _ => {
                let fault = [
                    Fault::Unreachable,
                    Fault::Garbage,
                    Fault::Refusal,
                    Fault::Rollback,
                    Fault::Hang,
                ][self.random.usize(0..5)];
                self.set_fault(who, fault);
                format!("{name} has a fault: {fault:?}")
            }
        }
    }

    fn publish(&mut self, who: usize, deed: impl FnOnce(&mut Publisher)) {
        if self.faults[who] != Fault::Rollback {
            self.older[who] = self.publishers[who].bundle();
        }
        deed(&mut self.publishers[who]);
        self.show(who);
    }

    fn set_fault(&mut self, who: usize, fault: Fault) {
        let fault = match (who, fault) {
            (OIDC, Fault::Rollback) => Fault::Garbage,
            // This can be detected only with the newer document.
            (WEB | SPIFFE, Fault::Rollback) if !self.knows_the_newest(who) => Fault::Garbage,
            // The agent serves both trust domains, and only the guest's bundles are ever malformed.
            (OWN, Fault::Garbage | Fault::Rollback) => Fault::Refusal,
            (GUEST, Fault::Hang | Fault::Unreachable | Fault::Refusal | Fault::Rollback) => Fault::Garbage,
            (_, fault) => fault,
        };
        if self.faults[who] != fault {
            let was = std::mem::replace(&mut self.faults[who], fault);
            self.show(who);
            if who == OWN {
                self.end_fault_of_agent(was);
                self.begin_fault_of_agent(fault);
            }
        }
    }

    fn knows_the_newest(&self, who: usize) -> bool {
        let Status { sequence, as_of, .. } = self.status(who);
        let recently = as_of.is_some_and(|as_of| self.clock.now().since(as_of) < Duration::from_secs(3600));
        recently && sequence == Some(self.publishers[who].sequence) && self.publishers[who].sequence > 1
    }

    fn end_fault_of_agent(&mut self, fault: Fault) {
        match fault {
            Fault::Unreachable | Fault::Hang => {
                self.agent.thaw();
                self.agent.start();
            }
            Fault::Refusal => self.denied.last_mut().unwrap().1 = self.clock.now(),
            _ => {}
        }
        self.show(OWN);
    }

    fn begin_fault_of_agent(&mut self, fault: Fault) {
        match fault {
            Fault::Unreachable => self.agent.stop(),
            Fault::Hang => self.agent.freeze(),
            Fault::Refusal => {
                self.agent.deny_jwt();
                self.denied.push((self.clock.now(), Timestamp::MAX));
            }
            _ => {}
        }
    }

    /// Publishes a publisher's valid or invalid document where its source finds it.
    fn show(&mut self, who: usize) {
        let now = self.clock.now();
        let fault = self.faults[who];
        let is_well = fault == Fault::None && (who != SPIFFE || !self.publishers[who].published().is_empty());
        self.well_since[who] = if is_well {
            self.well_since[who].or(Some(now))
        } else {
            None
        };
        match who {
            OWN | GUEST => {
                self.agent_changed = now;
                let publishers = &self.publishers;
                let malformed = self.faults[GUEST] == Fault::Garbage;
                let der = if malformed {
                    b"garbage".to_vec()
                } else {
                    publishers[GUEST].der()
                };
                let jwks = if malformed {
                    b"{".to_vec()
                } else {
                    publishers[GUEST].jwks()
                };
                self.agent
                    .x509(&[(NAMES[OWN], publishers[OWN].der()), (NAMES[GUEST], der)]);
                if self.faults[OWN] != Fault::Refusal {
                    self.agent
                        .jwt(&[(NAMES[OWN], publishers[OWN].jwks()), (NAMES[GUEST], jwks)]);
                }
            }
            _ => self.show_site(who),
        }
    }

    fn show_site(&mut self, who: usize) {
        let publisher = &self.publishers[who];
        let site = &self.sites[who - WEB];
        let fault = self.faults[who];
        let path = if who == OIDC { "/keys" } else { "/bundle" };
        let good = if who == OIDC {
            publisher.jwks()
        } else {
            publisher.bundle()
        };
        if who == SPIFFE {
            if !publisher.published().is_empty() {
                site.present(&publisher.newest().server);
            }
            // The operator keeps the bootstrap bundle up to date.
            std::fs::write(self.folder.path().join("bootstrap"), publisher.bundle()).unwrap();
        }
        if who == OIDC {
            let document =
                |issuer: &str| json!({"issuer": issuer, "jwks_uri": site.url("/keys")}).to_string();
            let issuer = if fault == Fault::Garbage {
                "https://another.example"
            } else {
                &*site.base
            };
            site.answer("/.well-known/openid-configuration", 200, document(issuer));
        }
        match fault {
            Fault::Garbage => site.answer(path, 200, &b"<html>"[..]),
            Fault::Refusal => site.answer(path, 503, &b""[..]),
            Fault::Rollback => site.answer(path, 200, self.older[who].clone()),
            Fault::None | Fault::Unreachable | Fault::Hang => site.answer(path, 200, good),
        }
        site.set_unreachable(fault == Fault::Unreachable);
        if fault == Fault::Hang {
            self.holds[who].get_or_insert_with(|| site.hold());
        } else {
            self.holds[who] = None;
        }
    }

    fn pause(&mut self) -> Duration {
        let rolled_back = self.faults.contains(&Fault::Rollback);
        match self.random.usize(0..30) {
            0 if !rolled_back => Duration::from_secs(25 * 3600),
            1..3 => Duration::from_secs(3600),
            _ => Duration::from_secs(self.random.u64(10..600)),
        }
    }

    /// Waits until every source has done what is due.
    async fn settle(&self) {
        let now = self.clock.now();
        let Registry { sources, jwt, .. } = self.registry();
        // It is fetched on request.
        jwt[OIDC].refetch(now).await;
        for who in WEB..=OIDC {
            let status = || sources[who].jwt().unwrap().slot.status();
            eventually(&format!("{} has been asked", NAMES[who]), || {
                status().attempts > 0 && status().next_refresh.is_some_and(|next| now < next)
            })
            .await;
        }
        for who in [OWN, GUEST] {
            let x509 = sources[who].x509().unwrap().slot;
            let jwt = sources[who].jwt().unwrap().slot;
            // A message may be in transit while the clock advances, so the previous state may be confirmed
            // once more.
            let said: Vec<_> = self.publishers[who]
                .published()
                .iter()
                .map(|number| format!("{} {number}", NAMES[who]))
                .collect();
            let heard = |status: Status| {
                let keys: Vec<_> = status
                    .keys
                    .iter()
                    .flat_map(|key| &key.id)
                    .map(|id| id.trim_start_matches("CN=").to_owned())
                    .collect();
                let recent = |as_of: Timestamp| {
                    self.agent_changed <= as_of && now.since(as_of) < Duration::from_secs(61)
                };
                keys == said && status.as_of.is_some_and(recent)
            };
            let malformed = self.faults[who] == Fault::Garbage;
            let running = self.agent.is_running();
            let denied = self.faults[OWN] == Fault::Refusal;
            if running && !malformed {
                eventually("the agent's X.509 bundles have come", || heard(x509.status())).await;
            }
            if running && !malformed && !denied {
                eventually("the agent's JWT bundles have come", || heard(jwt.status())).await;
            }
            if running && denied {
                eventually("the denial has come", || {
                    jwt.status()
                        .last_error
                        .is_some_and(|why| why.contains("PermissionDenied"))
                })
                .await;
            }
            if !running {
                let lost = |status: Status| status.last_error.is_some();
                eventually("the loss was noticed", || {
                    lost(x509.status()) && (denied || lost(jwt.status()))
                })
                .await;
            }
        }
    }

    fn status(&self, who: usize) -> Status {
        self.registry().sources[who].jwt().unwrap().slot.status()
    }

    /// All publishers are healthy and then unreachable for an hour: no valid credential is rejected.
    async fn an_hour_without_anyone(&mut self) {
        self.hand.advance(Duration::from_millis(1));
        let now = self.clock.now();
        for who in 0..5 {
            self.set_fault(who, Fault::None);
            self.publish(who, |publisher| publisher.rotate(now));
        }
        self.hand.advance(SOON);
        self.settle().await;
        self.hand.advance(SOON);
        self.settle().await;
        (0..5).for_each(|who| self.set_fault(who, Fault::Unreachable));
        for _ in 0..12 {
            self.hand.advance(Duration::from_secs(300));
            self.settle().await;
            for who in (0..5).filter(|who| *who != GUEST) {
                let newest: Rc<Keys> = self.publishers[who].all.last().unwrap().clone();
                assert!(
                    self.verify_token(who, &self.token(who, &newest)).await,
                    "{}",
                    NAMES[who]
                );
                assert!(
                    who == OIDC || self.verify_chain(who, &newest.leaf),
                    "{}",
                    NAMES[who]
                );
            }
        }
        assert!(
            self.accepted > 200 && self.refused > 200,
            "{} accepted, {} rejected: the test covers both",
            self.accepted,
            self.refused
        );
    }
}
