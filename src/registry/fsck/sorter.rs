//! Sorts any number of lines with little memory. Lines that do not fit are sorted into temporary files, which are
//! merged at the end. A file has no name once it is open, so it is gone when the process ends.
//!
//! Only a check uses it, so it may block its thread.

use super::super::Error;
use crate::file_error::FileError;
use crate::owner_file;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{File, OpenOptions, remove_file};
use std::io::{BufRead as _, BufReader, BufWriter, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

pub(super) struct Sorter {
    /// `None` keeps everything in memory.
    folder: Option<PathBuf>,
    /// The most bytes in memory.
    room: usize,
    bytes: usize,
    lines: Vec<Box<str>>,
    runs: Vec<File>,
}

/// The lines in order.
pub(super) struct Sorted {
    runs: Vec<Run>,
    heads: BinaryHeap<Reverse<(Box<str>, usize)>>,
}

enum Run {
    Memory(std::vec::IntoIter<Box<str>>),
    File(BufReader<File>),
}

impl Sorter {
    pub(super) fn new(folder: Option<PathBuf>) -> Self {
        Self::with_room(folder, ROOM)
    }

    pub(super) fn with_room(folder: Option<PathBuf>, room: usize) -> Self {
        Self {
            folder,
            room,
            bytes: 0,
            lines: Vec::new(),
            runs: Vec::new(),
        }
    }

    /// A line has no line break.
    pub(super) fn push(&mut self, line: &str) -> Result<(), Error> {
        self.bytes += line.len() + OVERHEAD;
        self.lines.push(line.into());
        if self.bytes < self.room {
            return Ok(());
        }
        let Some(folder) = self.folder.clone() else {
            return Ok(());
        };
        let run = self.spill(&folder).map_err(|why| failed(&folder, &why))?;
        self.runs.push(run);
        Ok(())
    }

    fn spill(&mut self, folder: &Path) -> std::io::Result<File> {
        owner_file::make_folder(folder)?;
        let path = folder.join(format!("sorting-{:016x}", fastrand::u64(..)));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        remove_file(&path)?;
        self.lines.sort_unstable();
        let mut writer = BufWriter::new(file);
        for line in self.lines.drain(..) {
            writer.write_all(line.as_bytes())?;
            writer.write_all(b"\n")?;
        }
        self.bytes = 0;
        let mut file = writer.into_inner()?;
        file.rewind()?;
        Ok(file)
    }

    /// Takes the lines out, and begins again without any.
    pub(super) fn take(&mut self) -> Self {
        let empty = Self::with_room(self.folder.clone(), self.room);
        std::mem::replace(self, empty)
    }

    pub(super) fn sorted(mut self) -> Result<Sorted, Error> {
        self.lines.sort_unstable();
        let files = self.runs.into_iter().map(|file| Run::File(BufReader::new(file)));
        let mut sorted = Sorted {
            runs: files.chain([Run::Memory(self.lines.into_iter())]).collect(),
            heads: BinaryHeap::new(),
        };
        for number in 0..sorted.runs.len() {
            sorted.advance(number)?;
        }
        Ok(sorted)
    }
}

impl Sorted {
    pub(super) fn next(&mut self) -> Result<Option<Box<str>>, Error> {
        let Some(Reverse((line, number))) = self.heads.pop() else {
            return Ok(None);
        };
        self.advance(number)?;
        Ok(Some(line))
    }

    fn advance(&mut self, number: usize) -> Result<(), Error> {
        let next = match self.runs.get_mut(number) {
            Some(Run::Memory(lines)) => lines.next(),
            Some(Run::File(lines)) => {
                let mut line = String::new();
                let read = lines.read_line(&mut line);
                read.map_err(|why| failed(Path::new("stateDirectory"), &why))?;
                line.strip_suffix('\n').map(Box::from)
            }
            None => None,
        };
        self.heads.extend(next.map(|line| Reverse((line, number))));
        Ok(())
    }
}

fn failed(folder: &Path, why: &std::io::Error) -> Error {
    Error::Scratch {
        folder: folder.to_owned(),
        why: FileError::new(folder, why),
    }
}

/// What a line costs in memory in addition to its bytes.
const OVERHEAD: usize = 32;
const ROOM: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_in_order_however_many_files_they_were_in() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = folder.path().join("new");
        for room in [1, 200, usize::MAX] {
            let mut sorter = Sorter::with_room(Some(scratch.clone()), room);
            let mut expected: Vec<String> = (0..100_u32).map(|n| format!("{:x} é", n * 7919 % 97)).collect();
            for line in &expected {
                sorter.push(line).unwrap();
            }
            assert_eq!(sorter.runs.is_empty(), room == usize::MAX);
            expected.sort();
            let mut sorted = sorter.sorted().unwrap();
            for line in expected {
                assert_eq!(sorted.next().unwrap().as_deref(), Some(line.as_str()));
            }
            assert_eq!(sorted.next().unwrap(), None);
        }
        assert_eq!(
            std::fs::read_dir(&scratch).unwrap().count(),
            0,
            "the files have no names"
        );
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_named() {
        let mut sorter = Sorter::with_room(Some("/proc/no".into()), 1);
        let why = sorter.push("a").unwrap_err().to_string();
        assert!(
            why.contains("/proc/no") && why.contains("stateDirectory"),
            "{why}"
        );
    }
}
