//! Copies on disk of the last valid document of each network source, for the next start. A file contains the
//! document as it was received, so that the source's own parser reads it. A header says when the document was
//! last confirmed.
//!
//! A user who can write these files decides whom the registry trusts. So only the owner can write them, and a
//! file that another user could have written is not read.

use crate::clock::Timestamp;
use crate::file_error::FileError;
use crate::owner_file;
use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

/// The folder of copies. A separate thread writes them in order. Drop waits until everything is written.
#[derive(Debug)]
pub struct LastGood {
    folder: PathBuf,
    jobs: Option<Mutex<mpsc::Sender<Job>>>,
    writer: Option<JoinHandle<()>>,
}

/// One source's file.
#[derive(Clone, Debug)]
pub(in crate::trust) struct Place {
    all: Arc<LastGood>,
    path: PathBuf,
    source: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(in crate::trust) struct Copy {
    pub(in crate::trust) document: Vec<u8>,
    pub(in crate::trust) as_of: Timestamp,
}

enum Job {
    Write {
        path: PathBuf,
        bytes: Vec<u8>,
    },
    #[cfg(test)]
    Flush(mpsc::Sender<()>),
}

impl LastGood {
    /// The folder is in the state directory. It is created when the first file is written.
    #[must_use]
    pub fn new(state_directory: &Path) -> Arc<Self> {
        let folder = state_directory.join("trust");
        let (jobs, todo) = mpsc::channel();
        let writing = folder.clone();
        let writer = std::thread::Builder::new()
            .name("last-good".into())
            .spawn(move || work(&writing, &todo));
        if let Err(why) = &writer {
            tracing::error!("keys cannot be saved on disk: {why}");
        }
        Arc::new(Self {
            folder,
            jobs: Some(Mutex::new(jobs)),
            writer: writer.ok(),
        })
    }

    /// Returns the file for `source`, a text with everything that affects what the source returns.
    pub(in crate::trust) fn place(self: &Arc<Self>, source: String) -> Place {
        Place {
            all: self.clone(),
            path: self.folder.join(format!("{}.last-good", hex(source.as_bytes()))),
            source,
        }
    }

    fn send(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            let _ = jobs.lock().unwrap_or_else(PoisonError::into_inner).send(job);
        }
    }

    /// Waits until everything given so far is written.
    #[cfg(test)]
    pub(in crate::trust) fn flush(&self) {
        let (done, flushed) = mpsc::channel();
        self.send(Job::Flush(done));
        flushed.recv().unwrap();
    }
}

impl Drop for LastGood {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Place {
    /// Reads the copy. Returns `None` if there is none. Logs a warning and returns `None` if it cannot be
    /// used.
    pub(in crate::trust) fn load(&self) -> Option<Copy> {
        match self.read() {
            Ok(copy) => copy,
            Err(why) => {
                tracing::warn!(source = self.source, "{}: not used: {why}", self.path.display());
                None
            }
        }
    }

    pub(in crate::trust) fn save(&self, document: &[u8], as_of: Timestamp) {
        let head = Head {
            source: self.source.clone(),
            as_of: as_of.as_millis(),
            sha256: hex(document),
        };
        let Ok(head) = serde_json::to_string(&head) else {
            return;
        };
        let bytes = [TITLE, head.as_bytes(), b"\n", document].concat();
        self.all.send(Job::Write {
            path: self.path.clone(),
            bytes,
        });
    }

    fn read(&self) -> Result<Option<Copy>, Unusable> {
        let Some(bytes) = owner_file::read(&self.path, LARGEST)? else {
            return Ok(None);
        };
        let rest = bytes.strip_prefix(TITLE).ok_or(Unusable::Format)?;
        let end = rest
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or(Unusable::Format)?;
        let (head, document) = rest.split_at(end);
        let document = document.get(1..).unwrap_or_default();
        let head: Head = serde_json::from_slice(head).map_err(|_| Unusable::Format)?;
        if head.source != self.source || head.sha256 != hex(document) {
            return Err(Unusable::Damaged);
        }
        Ok(Some(Copy {
            document: document.to_vec(),
            as_of: Timestamp::from_millis(head.as_of),
        }))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Head {
    source: String,
    /// In milliseconds since 1970.
    as_of: i64,
    sha256: String,
}

#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error(transparent)]
    File(#[from] owner_file::Unreadable),
    #[error("has a format that this program does not know")]
    Format,
    #[error("is damaged, or belongs to another source")]
    Damaged,
}

fn work(folder: &Path, todo: &mpsc::Receiver<Job>) {
    while let Ok(job) = todo.recv() {
        match job {
            Job::Write { path, bytes } => {
                if let Err(why) = write(folder, &path, &bytes) {
                    tracing::error!(
                        "{}: could not be written, so a restart may have to wait for its source: {why}",
                        path.display()
                    );
                }
            }
            #[cfg(test)]
            Job::Flush(done) => drop(done.send(())),
        }
    }
}

fn write(folder: &Path, path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    owner_file::make_folder(folder).map_err(|why| FileError::new(folder, &why))?;
    owner_file::replace(path, bytes)
}

fn hex(bytes: &[u8]) -> String {
    digest(&SHA256, bytes)
        .as_ref()
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

const TITLE: &[u8] = b"wharfinger last-good 1\n";
/// In bytes: the largest document of any source, and the header.
const LARGEST: u64 = 65 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    const AT: Timestamp = Timestamp::from_millis(1_790_000_000_123);

    fn place(folder: &Path, source: &str) -> Place {
        LastGood::new(folder).place(source.to_owned())
    }

    #[test]
    fn a_copy_is_loaded_by_the_next_process_for_the_same_source_only() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let one = place(&state, "one");
        assert_eq!(one.load(), None);
        assert!(
            !state.exists(),
            "no folder is created before there are keys to keep"
        );
        one.save(b"first", AT.minus(std::time::Duration::from_secs(1)));
        one.save(b"second\nline", AT);
        drop(one);
        let again = place(&state, "one");
        assert_eq!(
            again.load(),
            Some(Copy {
                document: b"second\nline".to_vec(),
                as_of: AT
            })
        );
        assert_eq!(place(&state, "two").load(), None);
        std::fs::copy(&again.path, place(&state, "two").path).unwrap();
        assert_eq!(place(&state, "two").load(), None, "another source's");
        for path in [&state, &state.join("trust"), &again.path] {
            assert_eq!(
                path.metadata().unwrap().permissions().mode() & 0o077,
                0,
                "{}",
                path.display()
            );
        }
    }

    #[test]
    fn a_damaged_newer_or_shared_copy_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let one = place(folder.path(), "one");
        one.save(b"document", AT);
        one.all.flush();
        let good = std::fs::read(&one.path).unwrap();
        let newer = [b"wharfinger last-good 2\n", &good[TITLE.len()..]].concat();
        for bad in [
            &good[..good.len() - 1],
            &[&good[..], b"x"].concat(),
            &good[..30],
            b"",
            &newer,
        ] {
            std::fs::write(&one.path, bad).unwrap();
            assert_eq!(one.load(), None, "{}", bad.escape_ascii());
        }
        std::fs::write(&one.path, &good).unwrap();
        assert!(one.load().is_some());
        std::fs::set_permissions(&one.path, std::fs::Permissions::from_mode(0o620)).unwrap();
        assert_eq!(one.load(), None);
        let elsewhere = folder.path().join("elsewhere");
        std::fs::write(&elsewhere, &good).unwrap();
        std::fs::remove_file(&one.path).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &one.path).unwrap();
        assert_eq!(one.load(), None, "links are not followed");
    }
}
