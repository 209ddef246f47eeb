//! `wharfinger gc` again and again beside the registry. Some runs are killed. If the registry dies, the
//! command works on the store itself.

use crate::harness::PATIENCE;
use serde_json::Value;
use std::ops::AddAssign;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(super) struct Passes {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Ran>,
}

/// How the runs ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ran {
    pub(super) complete: u64,
    pub(super) killed: u64,
    /// Most of these failed because the registry that made the pass was killed.
    pub(super) failed: u64,
}

impl AddAssign for Ran {
    fn add_assign(&mut self, other: Self) {
        self.complete += other.complete;
        self.killed += other.killed;
        self.failed += other.failed;
    }
}

impl Passes {
    pub(super) fn begin(command: impl Fn() -> Command + Send + 'static, dice: fastrand::Rng) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self {
            stop,
            task: tokio::spawn(run(command, dice, stopped)),
        }
    }

    /// Returns when no command runs any more, so that nothing holds the store.
    pub(super) async fn end(self) -> Ran {
        drop(self.stop);
        self.task.await.unwrap()
    }
}

async fn run(
    command: impl Fn() -> Command,
    mut dice: fastrand::Rng,
    mut stopped: oneshot::Receiver<()>,
) -> Ran {
    let mut ran = Ran::default();
    loop {
        let mut child = command().spawn().unwrap();
        let lives = if dice.u32(0..3) == 0 {
            Duration::from_millis(dice.u64(0..600))
        } else {
            PATIENCE
        };
        let report = tokio::select! {
            report = report(&mut child) => Some(report),
            () = tokio::time::sleep(lives) => None,
            _ = &mut stopped => {
                child.kill().await.unwrap();
                return ran;
            }
        };
        match report {
            Some(Some(report)) => {
                assert_eq!(report["complete"], true, "{report:#}");
                ran.complete += 1;
            }
            Some(None) => ran.failed += 1,
            None => {
                assert!(lives < PATIENCE, "a pass does not end");
                child.kill().await.unwrap();
                ran.killed += 1;
            }
        }
    }
}

/// What the command printed. `None` if it could not make a pass.
async fn report(child: &mut Child) -> Option<Value> {
    let mut text = String::new();
    let mut out = child.stdout.take().unwrap();
    out.read_to_string(&mut text).await.unwrap();
    child.wait().await.unwrap();
    serde_json::from_str(&text).ok()
}
