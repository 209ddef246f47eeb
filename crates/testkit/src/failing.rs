//! A store whose files fail like those of a broken disk.

use super::hooked::{Hook, Hooked, Request};
use rustix::io::Errno;
use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex};
use wharfinger_storage::{BlobStore, Failure};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Opened,
    Read,
}

/// Fails for the files that the store has when [`Failing::fail`] is called.
pub type Failing = Hooked<dyn BlobStore, BrokenDisk>;

#[derive(Default)]
pub struct BrokenDisk(Mutex<Option<Fails>>);

struct Fails {
    when: When,
    why: Errno,
    names: HashSet<String>,
    left: usize,
    /// Whether the whole disk is gone.
    all: bool,
}

impl Failing {
    pub fn new(store: Arc<dyn BlobStore>) -> Arc<Self> {
        Self::over(store, BrokenDisk::default())
    }

    pub async fn fail(&self, when: When, why: Errno) {
        self.fail_times(usize::MAX, when, why).await;
    }

    pub async fn fail_times(&self, left: usize, when: When, why: Errno) {
        let found = self.store.list_bytes("", 1000).await.unwrap();
        let fails = Fails {
            when,
            why,
            names: found.into_iter().map(|found| found.key).collect(),
            left,
            all: false,
        };
        *self.hook.0.lock().unwrap() = Some(fails);
    }

    /// Makes the whole disk fail.
    pub async fn drop_out(&self, why: Errno) {
        self.fail(When::Opened, why).await;
        self.hook.0.lock().unwrap().as_mut().unwrap().all = true;
    }

    pub fn work_again(&self) {
        *self.hook.0.lock().unwrap() = None;
    }
}

impl Hook for BrokenDisk {
    async fn before(&self, request: Request<'_>) -> Result<(), Failure> {
        match &mut *self.0.lock().unwrap() {
            Some(fails) => fails.fate(request),
            None => Ok(()),
        }
    }
}

impl Fails {
    fn fate(&mut self, request: Request<'_>) -> Result<(), Failure> {
        let why = io::Error::from(self.why);
        let (now, name) = match request {
            Request::Open(name) => (When::Opened, name),
            Request::Read(name) => (When::Read, name),
            Request::Probe if self.all => {
                return Err(Failure::NotWritable {
                    folder: "d",
                    why: Arc::new(why),
                });
            }
            _ => return Ok(()),
        };
        if now != self.when || !self.names.contains(name) || self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        Err(why.into())
    }
}
