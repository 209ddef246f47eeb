//! A store whose files fail like those of a broken disk.

use bytes::Bytes;
use rustix::io::Errno;
use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex};
use wharfinger_storage::{Answer, BlobFile, BlobStore, Failure, Look, Resume, Written};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Opened,
    Read,
}

/// Fails for the files that `store` has when [`Failing::fail`] is called.
pub struct Failing {
    store: Arc<dyn BlobStore>,
    fails: Arc<Mutex<Option<Fails>>>,
}

struct Fails {
    when: When,
    why: Errno,
    names: HashSet<String>,
    left: usize,
    /// Whether the whole disk is gone.
    all: bool,
}

struct File {
    name: String,
    file: Arc<dyn BlobFile>,
    fails: Arc<Mutex<Option<Fails>>>,
}

impl Failing {
    pub fn new(store: Arc<dyn BlobStore>) -> Arc<Self> {
        Arc::new(Self {
            store,
            fails: Arc::default(),
        })
    }

    pub async fn fail(&self, when: When, why: Errno) {
        self.fail_times(usize::MAX, when, why).await;
    }

    pub async fn fail_times(&self, left: usize, when: When, why: Errno) {
        let names = self
            .store
            .list_bytes("", 1000)
            .await
            .unwrap()
            .into_iter()
            .map(|found| found.key)
            .collect();
        *self.fails.lock().unwrap() = Some(Fails {
            when,
            why,
            names,
            left,
            all: false,
        });
    }

    /// Makes the whole disk fail.
    pub async fn drop_out(&self, why: Errno) {
        self.fail(When::Opened, why).await;
        self.fails.lock().unwrap().as_mut().unwrap().all = true;
    }

    pub fn work_again(&self) {
        *self.fails.lock().unwrap() = None;
    }
}

fn failed(fails: &Mutex<Option<Fails>>, now: When, name: &str) -> Result<(), Failure> {
    match &mut *fails.lock().unwrap() {
        Some(Fails {
            when,
            why,
            names,
            left,
            ..
        }) if *when == now && names.contains(name) && *left > 0 => {
            *left -= 1;
            Err(io::Error::from(*why).into())
        }
        _ => Ok(()),
    }
}

impl BlobStore for Failing {
    fn write<'a>(
        &'a self,
        name: &'a str,
        offset: u64,
        resume: &'a Resume,
        chunks: Vec<Bytes>,
        look: Look,
    ) -> Answer<'a, ()> {
        self.store.write(name, offset, resume, chunks, look)
    }

    fn keep<'a>(&'a self, name: &'a str, size: u64, resume: &'a Resume) -> Answer<'a, Resume> {
        self.store.keep(name, size, resume)
    }

    fn seal<'a>(&'a self, name: &'a str, size: u64, resume: &'a Resume) -> Answer<'a, ()> {
        self.store.seal(name, size, resume)
    }

    fn open<'a>(&'a self, name: &'a str) -> Answer<'a, Arc<dyn BlobFile>> {
        Box::pin(async move {
            failed(&self.fails, When::Opened, name)?;
            let file = self.store.open(name).await?;
            Ok(Arc::new(File {
                name: name.to_owned(),
                file,
                fails: self.fails.clone(),
            }) as Arc<dyn BlobFile>)
        })
    }

    fn probe(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            match &*self.fails.lock().unwrap() {
                Some(Fails { all: true, why, .. }) => Err(Failure::NotWritable {
                    folder: "d",
                    why: Arc::new(io::Error::from(*why)),
                }),
                _ => Ok(()),
            }
        })
    }

    fn remove<'a>(&'a self, name: &'a str, resume: &'a Resume) -> Answer<'a, ()> {
        self.store.remove(name, resume)
    }

    fn list_bytes<'a>(&'a self, after: &'a str, limit: usize) -> Answer<'a, Vec<Written>> {
        self.store.list_bytes(after, limit)
    }
}

impl BlobFile for File {
    fn size(&self) -> u64 {
        self.file.size()
    }

    fn at_hand(&self, _: u64, _: usize) -> Option<Bytes> {
        None
    }

    fn read(&self, offset: u64, most: usize) -> Answer<'_, Bytes> {
        Box::pin(async move {
            failed(&self.fails, When::Read, &self.name)?;
            self.file.read(offset, most).await
        })
    }
}
