//! The life of background work: it ends when its [`Tasks`] is dropped.

use std::future::Future;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Sources' background tasks. Dropping this aborts them; what they have published stays until its staleness bound.
#[derive(Debug, Default)]
#[must_use = "dropping it aborts the tasks"]
pub struct Tasks {
    running: Vec<Task>,
    reloads: Vec<Arc<Notify>>,
}

impl Tasks {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over the tasks of `other`.
    pub fn extend(&mut self, mut other: Self) {
        self.running.append(&mut other.running);
        self.reloads.append(&mut other.reloads);
    }

    /// Has every watched file read again now, as on SIGHUP. Does not wait for it.
    pub fn reload_now(&self) {
        for reload in &self.reloads {
            reload.notify_one();
        }
    }

    pub(super) fn spawn(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.running.push(Task::spawn(work));
    }

    /// Resolves once for each [`Tasks::reload_now`] (several at once count as one).
    pub(super) fn on_reload(&mut self) -> Arc<Notify> {
        let reload = Arc::new(Notify::new());
        self.reloads.push(reload.clone());
        reload
    }
}

/// Work that is aborted on drop.
#[derive(Debug)]
pub(super) struct Task(JoinHandle<()>);

impl Task {
    pub(super) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
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
    async fn dropping_aborts_the_tasks_merged_ones_too() {
        let (mut all, mut more) = (Tasks::new(), Tasks::new());
        let mut ends = Vec::new();
        for tasks in [&mut all, &mut more] {
            let (alive, ended) = oneshot::channel::<()>();
            ends.push(ended);
            tasks.spawn(async move {
                let _alive = alive;
                std::future::pending::<()>().await;
            });
        }
        all.extend(more);
        assert!(ends.iter_mut().all(|ended| ended.try_recv() == Err(oneshot::error::TryRecvError::Empty)), "merging aborts nothing");
        drop(all);
        for ended in ends {
            assert!(ended.await.is_err());
        }
    }
}
