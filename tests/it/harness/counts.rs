//! What can be counted of a process exactly, whatever the machine: its system calls, as `strace` sees them,
//! and bytes, as the kernel counts them. `benches/` prints them too.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// `strace` of every thread of a process.
pub(crate) struct Trace {
    strace: Child,
    log: PathBuf,
}

impl Trace {
    pub(crate) fn is_installed() -> bool {
        Command::new("strace")
            .arg("-V")
            .stdout(Stdio::null())
            .status()
            .is_ok()
    }

    /// Counts from now on. `folder` is for what `strace` writes.
    pub(crate) fn begin(pid: u32, folder: &Path) -> Self {
        Self::attach(&["-c"], pid, folder)
    }

    /// With other arguments than those to count.
    pub(crate) fn attach(arguments: &[&str], pid: u32, folder: &Path) -> Self {
        // Not a pipe: it says something of each thread that comes, also when nobody listens any more.
        let log = folder.join("strace.log");
        let said = folder.join("strace.err");
        let mut strace = Command::new("strace");
        strace
            .arg("-f")
            .args(arguments)
            .args(["-p", &pid.to_string(), "-o"])
            .arg(&log);
        let mut strace = strace
            .stdin(Stdio::null())
            .stderr(fs::File::create(&said).unwrap())
            .spawn()
            .unwrap();
        // Threads that are there are attached one by one, those that come later with whoever makes them.
        let begun = tokio::time::Instant::now();
        while !is_traced(pid) {
            assert!(
                strace.try_wait().unwrap().is_none(),
                "{}",
                fs::read_to_string(&said).unwrap()
            );
            assert!(
                begun.elapsed().as_secs() < 60,
                "a thread came while strace looked for threads; try again"
            );
            std::thread::yield_now();
        }
        Self { strace, log }
    }

    pub(crate) fn end(mut self) -> Calls {
        let pid = rustix::process::Pid::from_child(&self.strace);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        self.strace.wait().unwrap();
        Calls(fs::read_to_string(&self.log).unwrap())
    }
}

/// What `strace` counted: a line for each system call, and one for the total.
pub(crate) struct Calls(String);

impl Calls {
    pub(crate) fn total(&self) -> usize {
        let total = self.of("total");
        assert!(total > 0, "strace counted nothing: {self}");
        total
    }

    /// How often one of them was called.
    pub(crate) fn of(&self, call: &str) -> usize {
        let line = self
            .0
            .lines()
            .find(|line| line.split_whitespace().next_back() == Some(call));
        // % time, seconds, microseconds a call, calls
        line.map_or(0, |line| line.split_whitespace().nth(3).unwrap().parse().unwrap())
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether each of its threads is (`proc_pid_status(5)`).
fn is_traced(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let status =
        |task: std::io::Result<fs::DirEntry>| fs::read_to_string(task.unwrap().path().join("status"));
    // One that has ended meanwhile is none.
    tasks
        .filter_map(|task| status(task).ok())
        .all(|status| !status.contains("TracerPid:\t0\n"))
}

/// One of the kernel's counters of bytes: `wchar` are those that the process has handed to the kernel so far,
/// whether for files or for sockets, `read_bytes` and `write_bytes` those that had to be read from a disk and
/// that have to be written to one (`proc_pid_io(5)`).
pub(crate) fn io(pid: u32, counter: &str) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let value = io
        .lines()
        .find_map(|line| line.strip_prefix(counter)?.strip_prefix(": "));
    value.unwrap().parse().unwrap()
}
