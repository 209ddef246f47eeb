//! One upload that several processes serve: they append to it, close it, cancel it and let it expire at the same
//! time, while a collector removes what nothing refers to. These are the rules of `docs/design/protocol.md`, "Upload
//! sessions on a shared store".

use super::super::super::keys;
use super::super::super::omitted::Step;
use super::super::super::states::session::{Session, SessionState};
use super::super::*;
use super::actors::{CONTENT, REPOSITORIES, content_digest};
use super::collectors::{self, Conduct};
use super::every_step::Watch;
use super::history::History;
use super::process::Process;
use super::raw;
use super::runs::hold_seeds;
use super::scheduler::{Odds, Random, drive};
use super::setting::{say, settings, simulate};
use super::store::{Nature, now};
use super::world::World;
use crate::oci::ContentRange;
use crate::storage::Failure;
use std::sync::Mutex;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a process does with the upload.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Asks for the offset, and appends up to this many bytes.
    Append(usize),
    /// Asks for the offset, and closes the upload with the rest.
    Close,
    Cancel,
    /// Lets a day pass, and expires the upload.
    Expire,
    /// Collects the blob's link, and then the blob.
    Collect,
}

impl Act {
    fn random(dice: &mut Random) -> Self {
        match dice.roll(10) {
            0..4 => Self::Append(1 + dice.roll(3) as usize),
            4..7 => Self::Close,
            7 => Self::Cancel,
            8 => Self::Expire,
            _ => Self::Collect,
        }
    }
}

/// What the clients were told.
#[derive(Default)]
struct Told {
    /// The highest offset of an acknowledged chunk.
    appended: u64,
    /// Whether a closing request was acknowledged.
    closed: bool,
}

struct Replica {
    registry: Registry,
    process: Arc<Process>,
    told: Arc<Mutex<Told>>,
}

impl Replica {
    async fn run(self, id: UploadId, act: Act) {
        let process = self.process.clone();
        let acts = async {
            process.begin().await;
            self.act(&id, act).await;
        };
        process.run(acts).await;
    }

    async fn act(&self, id: &UploadId, act: Act) {
        let permit = create(REPOSITORIES[0]);
        match act {
            Act::Append(most) => {
                let Ok(upload) = self.registry.upload_status(&permit, id).await else {
                    return;
                };
                let rest = rest(upload.offset);
                let chunk = &rest[..most.min(rest.len())];
                if chunk.is_empty() {
                    return;
                }
                let range = ContentRange {
                    start: upload.offset,
                    end: upload.offset + chunk.len() as u64 - 1,
                };
                let appended = self
                    .registry
                    .append(&permit, id, Some(range), None, body(&[chunk]))
                    .await;
                if let Ok(upload) = appended {
                    let mut told = self.told.lock().unwrap();
                    told.appended = told.appended.max(upload.offset);
                }
            }
            Act::Close => {
                for _ in 0..2 {
                    let offset = self.registry.upload_status(&permit, id).await;
                    let rest = offset.map_or(&b""[..], |upload| rest(upload.offset));
                    let length = Some(rest.len() as u64);
                    let closed = self
                        .registry
                        .finish(
                            &blind(permit.clone()),
                            id,
                            None,
                            &content_digest(),
                            body(&[rest]).of_length(length),
                        )
                        .await;
                    match closed {
                        Ok(_) => {
                            self.told.lock().unwrap().closed = true;
                            return;
                        }
                        Err(Error::Storage(Failure::Io(_))) => {}
                        Err(_) => return,
                    }
                }
            }
            Act::Cancel => drop(self.registry.cancel(&permit, id).await),
            Act::Expire => {
                self.process.world().hand.advance(DAY);
                drop(self.registry.expire_uploads().await);
            }
            Act::Collect => {
                let conduct = Conduct::default();
                let repository = permit.repository();
                for _ in 0..2 {
                    drop(collectors::link(&self.registry, &conduct, repository, &content_digest()).await);
                    drop(collectors::blob(&self.registry, &conduct, &content_digest()).await);
                }
            }
        }
    }
}

fn rest(offset: u64) -> &'static [u8] {
    &CONTENT[usize::try_from(offset).unwrap()..]
}

fn run(seed: u64, odds: Odds, omitted: Option<Step>) -> Result<(), String> {
    simulate(meet(seed, odds, omitted))
}

async fn meet(seed: u64, odds: Odds, omitted: Option<Step>) -> Result<(), String> {
    fastrand::seed(seed);
    let mut scheduler = Random::new(seed, odds);
    let nature = Nature {
        is_bucket: true,
        is_shared: true,
        has_plain_tombstones: false,
    };
    let world = World::new(seed, nature);
    let history = Arc::new(History::default());
    let told = Arc::new(Mutex::new(Told::default()));
    let memory = world.store.memory.clone();
    let quiet = Registry::new(memory.clone(), memory.clone()).with(settings(&world));
    let id = quiet
        .start_upload(&create(REPOSITORIES[0]), None)
        .await
        .unwrap()
        .id;
    world.store.reload();
    let acts: Vec<Act> = (0..2 + scheduler.roll(4))
        .map(|_| Act::random(&mut scheduler))
        .collect();
    let start = |act: &Act| {
        let process = Process::new(&world, true);
        let registry = Registry::new(process.clone(), process.clone())
            .with(settings(&world))
            .simulated(process.ids(), omitted);
        let replica = Replica {
            registry,
            process,
            told: told.clone(),
        };
        tokio::spawn(replica.run(id.clone(), *act))
    };
    let tasks: Vec<_> = acts.iter().map(start).collect();
    let mut watch = Watch::new(&world, &history, false);
    let key = keys::upload(create(REPOSITORIES[0]).repository(), &id);
    let holds = || {
        watch.holds()?;
        let Some(found) = now(memory.get(key.as_str())).unwrap() else {
            return Ok(());
        };
        let session: Session = raw::decode(key.as_str(), &found);
        let told = told.lock().unwrap();
        if session.state == SessionState::Open && session.offset < told.appended {
            return Err(format!(
                "{} bytes were acknowledged, and the upload has {}",
                told.appended, session.offset
            ));
        }
        Ok(())
    };
    let driven = drive(&world, &mut scheduler, holds).await;
    let held = match driven {
        Ok(()) => nothing_leaks(&world, &quiet, &acts, &told).await,
        broken => broken,
    };
    world.end();
    held.map_err(|why| format!("seed {seed}: {why}\n{acts:?}"))?;
    assert!(
        tasks.iter().all(tokio::task::JoinHandle::is_finished),
        "seed {seed}"
    );
    Ok(())
}

/// An acknowledged blob can be read unless a collector ran. When everything has expired and was collected, no bytes
/// are left.
async fn nothing_leaks(
    world: &World,
    quiet: &Registry,
    acts: &[Act],
    told: &Mutex<Told>,
) -> Result<(), String> {
    let collected = acts.iter().any(|act| matches!(act, Act::Collect));
    if told.lock().unwrap().closed && !collected {
        let found = content(quiet, REPOSITORIES[0], &content_digest()).await;
        if found.as_deref().ok() != Some(CONTENT) {
            return Err(format!("an acknowledged blob is {found:?}"));
        }
    }
    world.hand.advance(2 * DAY);
    quiet.expire_uploads().await.map_err(|why| why.to_string())?;
    let conduct = Conduct::default();
    for _ in 0..2 {
        collectors::everything(quiet, &conduct)
            .await
            .map_err(|why| why.to_string())?;
    }
    match world.store.names().first() {
        Some(name) => Err(format!("the bytes {name} are left")),
        None => Ok(()),
    }
}

#[test]
fn the_invariants_of_uploads_hold_on_a_shared_store() {
    for odds in [Odds::ALL, Odds::NONE] {
        hold_seeds(400, |seed| run(seed, odds, None));
    }
}

/// If the protocol of uploads omits one of its steps, the runs find a violation.
#[test]
fn every_omitted_step_of_uploads_is_found() {
    for (step, seeds) in [
        (Step::EndingWithoutAClaim, 4000),
        (Step::CheckingTheSession, 20_000),
    ] {
        let found = (0..seeds).find_map(|seed| Some((seed, run(seed, Odds::NONE, Some(step)).err()?)));
        let (seed, why) = found.unwrap_or_else(|| panic!("{step:?} is not found with {seeds} seeds"));
        let first = why.lines().next().unwrap_or_default();
        say(&format!("{step:?}: {} seeds, {first}", seed + 1));
    }
}
