//! Copies files one by one.

use super::super::hold::Hold;
use super::super::openat::{open_file, open_folder};
use super::target::{PART, Target, clone_file, made, stat};
use super::{BackedUp, BackupError, Kind, check};
use crate::Progress;
use rustix::fs::{AtFlags, OFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

/// A large file is copied in pieces of so many bytes, between which a backup can be stopped.
const PIECE: u64 = 64 << 20;

/// Copies the files of `d` or of `v`, in the order of their folders.
pub(super) struct Copier<'a> {
    from: &'a File,
    hold: &'a Hold,
    target: &'a Target,
    files: &'static str,
    to: File,
    hard_link: bool,
    /// Whether to try sharing blocks. Turned off when the file system cannot.
    clones: bool,
    progress: &'a Progress,
    shard: Option<Shard>,
}

/// The folder whose files are being copied.
struct Shard {
    name: String,
    /// `None` if the store has no such folder.
    from: Option<File>,
    to: File,
}

/// How a file got into the backup.
enum Way {
    Linked,
    Cloned,
    Copied,
}

/// A file of the store.
enum Source {
    There(File, Metadata),
    Missing,
}

impl<'a> Copier<'a> {
    pub(super) fn new(
        from: &'a File,
        hold: &'a Hold,
        target: &'a Target,
        files: &'static str,
        hard_link: bool,
        progress: &'a Progress,
    ) -> Result<Self, BackupError> {
        let to = target.files(files)?;
        Ok(Self {
            from,
            hold,
            target,
            files,
            to,
            hard_link,
            clones: true,
            progress,
            shard: None,
        })
    }

    /// Makes sure that the file is in the backup, or reports that the store has lost it. `size` comes from
    /// the record; of an unsealed file so many bytes are copied.
    pub(super) fn copy(
        &mut self,
        shard: &str,
        name: &str,
        size: Option<u64>,
        kind: Kind,
        done: &mut BackedUp,
    ) -> Result<(), BackupError> {
        check(self.progress)?;
        if self.hold.is_broken() {
            return Err(BackupError::HoldBroken);
        }
        self.enter(shard)?;
        self.progress.count_file();
        let there = self.there(name)?;
        let (source, found) = match self.source(name)? {
            Source::There(source, found) => (source, found),
            Source::Missing => {
                self.count(size.unwrap_or_default());
                match (kind, there) {
                    (Kind::Spare, _) => {}
                    (_, Some(_)) => {
                        done.damage(format!(
                            "{}/{shard}/{name} is missing from the store; an earlier run had copied it",
                            self.files
                        ));
                        done.files += 1;
                        done.kept += 1;
                    }
                    (_, None) => {
                        done.damage(format!("{}/{shard}/{name} is missing from the store", self.files))
                    }
                }
                return Ok(());
            }
        };
        let wanted = size.unwrap_or(found.len());
        let length = if kind == Kind::Unsealed {
            wanted.min(found.len())
        } else {
            found.len()
        };
        if length != wanted && kind != Kind::Spare {
            done.damage(format!(
                "{}/{shard}/{name} has {length} bytes in the store, not {wanted}",
                self.files
            ));
        }
        done.files += 1;
        let whole_already = there.is_some_and(|(size, _)| size == wanted) && length != wanted;
        if whole_already || there == Some((length, found.mtime())) {
            done.kept += 1;
            done.bytes += if whole_already { wanted } else { length };
            self.count(wanted);
            return Ok(());
        }
        match self.make(name, &source, &found, length, kind)? {
            Ok(way) => {
                done.bytes += length;
                match way {
                    Way::Linked => done.linked += 1,
                    Way::Cloned => done.cloned += 1,
                    Way::Copied => {
                        done.copied += 1;
                        done.copied_bytes += length;
                    }
                }
                if !matches!(way, Way::Copied) {
                    self.count(length);
                }
            }
            Err(why) => {
                done.files -= 1;
                done.damage(format!(
                    "{}/{shard}/{name} cannot be read in the store: {why}",
                    self.files
                ));
            }
        }
        Ok(())
    }

    /// Returns when everything survives a power cut.
    pub(super) fn end(mut self) -> Result<(), BackupError> {
        self.leave()?;
        self.to.sync_all().map_err(self.failed(""))
    }

    fn enter(&mut self, name: &str) -> Result<(), BackupError> {
        if self.shard.as_ref().is_some_and(|shard| shard.name == name) {
            return Ok(());
        }
        self.leave()?;
        // If the folder is missing, each of its files is reported as missing. After any other error it is
        // unknown what the store has.
        let from = match open_folder(self.from, name) {
            Ok(from) => Some(from),
            Err(Errno::NOENT) => None,
            Err(error) => {
                return Err(BackupError::Store {
                    folder: PathBuf::from(format!("{}/{name}", self.files)),
                    source: error.into(),
                });
            }
        };
        let to = made(&self.to, name).map_err(|error| self.failed(name)(error.into()))?;
        self.shard = Some(Shard {
            name: name.to_owned(),
            from,
            to,
        });
        Ok(())
    }

    fn leave(&mut self) -> Result<(), BackupError> {
        match self.shard.take() {
            Some(shard) => shard.to.sync_all().map_err(self.failed(&shard.name)),
            None => Ok(()),
        }
    }

    /// The size and time of the file in the backup.
    fn there(&self, name: &str) -> Result<Option<(u64, i64)>, BackupError> {
        let Some(shard) = &self.shard else { return Ok(None) };
        stat(&shard.to, name).map_err(|error| self.failed(name)(error.into()))
    }

    /// Opens the file in its folder or among the held files. A file moves from the first to the second and
    /// not back.
    fn source(&self, name: &str) -> Result<Source, BackupError> {
        let in_folder = self.shard.as_ref().and_then(|shard| shard.from.as_ref());
        let opened = in_folder.map_or(Err(Errno::NOENT), |folder| {
            open_file(folder, name, OFlags::RDONLY)
        });
        let opened = match opened {
            Err(Errno::NOENT) => self.hold.open_held(name),
            opened => opened,
        };
        let failed = |source| BackupError::Store {
            folder: PathBuf::from(format!("{}/{name}", self.files)),
            source,
        };
        match opened {
            Ok(file) => {
                let found = file.metadata().map_err(failed)?;
                Ok(Source::There(file, found))
            }
            Err(Errno::NOENT) if self.hold.is_broken() => Err(BackupError::HoldBroken),
            Err(Errno::NOENT | Errno::LOOP) => Ok(Source::Missing),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// Writes the file under a temporary name and renames it when it is complete. The inner error belongs to
    /// the source.
    fn make(
        &mut self,
        name: &str,
        source: &File,
        found: &Metadata,
        length: u64,
        kind: Kind,
    ) -> Result<Result<Way, io::Error>, BackupError> {
        let part = format!("{name}{PART}");
        let Some(shard) = &self.shard else {
            return Err(BackupError::Stopped);
        };
        let to = shard.to.try_clone().map_err(self.failed(name))?;
        match rustix::fs::unlinkat(&to, &part, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(self.failed(&part)(error.into())),
        }
        let linked = self.hard_link && kind != Kind::Unsealed && self.link(name, &to, &part)?;
        let way = if linked {
            // The file may not be on the disk yet if the store does not wait for that.
            source.sync_all().map_err(self.failed(&part))?;
            Way::Linked
        } else {
            let file = open_file(&to, &part, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL);
            let file = file.map_err(|error| self.failed(&part)(error.into()))?;
            let way = match self.fill(&part, &file, source, length)? {
                Ok(way) => way,
                Err(why) => {
                    let _ = rustix::fs::unlinkat(&to, &part, AtFlags::empty()); // the next run tries again
                    return Ok(Err(why));
                }
            };
            let omit = Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT,
            };
            let modified = Timespec {
                tv_sec: found.mtime(),
                tv_nsec: found.mtime_nsec(),
            };
            let times = Timestamps {
                last_access: omit,
                last_modification: modified,
            };
            rustix::fs::futimens(&file, &times).map_err(|error| self.failed(&part)(error.into()))?;
            file.sync_all().map_err(self.failed(&part))?;
            way
        };
        rustix::fs::renameat(&to, &part, &to, name).map_err(|error| self.failed(name)(error.into()))?;
        Ok(Ok(way))
    }

    /// `false` if the file already has the most links that it can have.
    fn link(&self, name: &str, to: &File, part: &str) -> Result<bool, BackupError> {
        let in_folder = self.shard.as_ref().and_then(|shard| shard.from.as_ref());
        let link = |from: &File| rustix::fs::linkat(from, name, to, part, AtFlags::empty());
        let linked = match in_folder.map_or(Err(Errno::NOENT), link) {
            Err(Errno::NOENT) => self.hold.held().and_then(|held| link(&held)),
            linked => linked,
        };
        match linked {
            Ok(()) => Ok(true),
            Err(Errno::MLINK) => Ok(false),
            Err(Errno::NOENT) => Err(BackupError::HoldBroken),
            Err(error) => Err(BackupError::HardLink {
                to: self.target.path().to_owned(),
                source: error.into(),
            }),
        }
    }

    fn fill(
        &mut self,
        part: &str,
        to: &File,
        from: &File,
        length: u64,
    ) -> Result<Result<Way, io::Error>, BackupError> {
        if self.clones && length > 0 {
            self.clones = clone_file(to, from).is_ok();
            if self.clones {
                to.set_len(length).map_err(self.failed(part))?;
                return Ok(Ok(Way::Cloned));
            }
        }
        let reader = from;
        let mut writer = to;
        let mut at = 0;
        while at < length {
            check(self.progress)?;
            let most = PIECE.min(length - at);
            // The kernel copies the bytes itself if it can.
            match io::copy(&mut reader.take(most), &mut writer) {
                Ok(0) => return Ok(Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(copied) => {
                    at += copied;
                    self.count(copied);
                }
                Err(why) => {
                    return match read_through(from, at, most) {
                        Err(source) => Ok(Err(source)),
                        Ok(()) => Err(self.failed(part)(why)),
                    };
                }
            }
        }
        Ok(Ok(Way::Copied))
    }

    fn count(&self, bytes: u64) {
        self.progress.count_bytes(bytes);
    }

    /// Turns an error into one about this file of the backup.
    fn failed(&self, name: &str) -> impl Fn(io::Error) -> BackupError + use<> {
        let to = self.target.path().to_owned();
        let shard = self.shard.as_ref().map_or("", |shard| shard.name.as_str());
        let path = to.join(self.files).join(shard).join(name);
        move |source| BackupError::of_file(to.clone(), path.clone(), source)
    }
}

/// Checks whether these bytes can be read, since a failed copy does not tell which side failed.
fn read_through(from: &File, mut at: u64, length: u64) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    let end = at + length;
    while at < end {
        match from.read_at(&mut buffer, at)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => at += read as u64,
        }
    }
    Ok(())
}
