//! Background work that begins on request and ends when its last owner is dropped.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// One source's background work.
pub(in crate::trust) struct Life {
    stage: Mutex<Stage>,
    reload: Arc<Notify>,
}

enum Stage {
    Waiting(Begin),
    Running(#[expect(dead_code, reason = "dropping it ends the work")] Vec<Task>),
}

type Begin = Box<dyn FnOnce() -> Vec<Task> + Send>;

impl Life {
    /// For a source without background work.
    pub(in crate::trust) fn still() -> Self {
        Self {
            stage: Mutex::new(Stage::Running(Vec::new())),
            reload: Arc::default(),
        }
    }

    /// Work that `begin` starts. Its argument is notified by each [`Life::reload`]; several reloads at once
    /// notify it once.
    pub(in crate::trust) fn new(begin: impl FnOnce(Arc<Notify>) -> Vec<Task> + Send + 'static) -> Self {
        let reload: Arc<Notify> = Arc::default();
        let notify = reload.clone();
        Self {
            stage: Mutex::new(Stage::Waiting(Box::new(move || begin(notify)))),
            reload,
        }
    }

    /// Begins the work, unless it has begun. Needs a tokio runtime.
    pub(in crate::trust) fn start(&self) {
        let mut stage = self.stage();
        *stage = match std::mem::replace(&mut *stage, Stage::Running(Vec::new())) {
            Stage::Waiting(begin) => Stage::Running(begin()),
            running @ Stage::Running(_) => running,
        };
    }

    /// Triggers another read of files, without waiting for it.
    pub(in crate::trust) fn reload(&self) {
        self.reload.notify_one();
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(*self.stage(), Stage::Waiting(_)) {
            "Waiting"
        } else {
            "Running"
        })
    }
}

/// Work that is aborted on drop.
#[derive(Debug)]
pub(in crate::trust) struct Task(JoinHandle<()>);

impl Task {
    pub(in crate::trust) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn work_begins_once_and_ends_with_its_last_owner() {
        let (alive, mut ended) = oneshot::channel::<()>();
        let life = Arc::new(Life::new(move |_| {
            vec![Task::spawn(async move {
                let _alive = alive;
                std::future::pending::<()>().await;
            })]
        }));
        assert_eq!(format!("{life:?}"), "Waiting");
        life.start();
        life.start();
        let other = life.clone();
        drop(life);
        tokio::task::yield_now().await;
        assert_eq!(
            ended.try_recv(),
            Err(oneshot::error::TryRecvError::Empty),
            "it still has an owner"
        );
        drop(other);
        assert!(ended.await.is_err());
    }
}
