//! Exact counts of a process, which do not depend on the machine: its system calls, as `strace` counts them,
//! and bytes, as the kernel counts them.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// `strace` of every thread of a process.
pub struct Trace {
    strace: Child,
    log: PathBuf,
}

impl Trace {
    pub fn is_installed() -> bool {
        Command::new("strace")
            .arg("-V")
            .stdout(Stdio::null())
            .status()
            .is_ok()
    }

    /// Counts from now on. `strace` writes into `folder`.
    pub fn begin(pid: u32, folder: &Path) -> Self {
        Self::attach(&["-c"], pid, folder)
    }

    /// The same with other arguments for `strace`.
    pub fn attach(arguments: &[&str], pid: u32, folder: &Path) -> Self {
        // A pipe does not work here: `strace` writes a line for each new thread, even when nothing reads any more.
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
        // Existing threads are attached one by one. Later ones are attached with the thread that makes them.
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

    pub fn end(mut self) -> Calls {
        let pid = rustix::process::Pid::from_child(&self.strace);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        self.strace.wait().unwrap();
        Calls(fs::read_to_string(&self.log).unwrap())
    }
}

/// The counts of `strace`: a line for each system call, and one for the total.
pub struct Calls(String);

impl Calls {
    pub fn total(&self) -> usize {
        let total = self.of("total");
        assert!(total > 0, "strace counted nothing: {self}");
        total
    }

    /// The number of calls of this name.
    pub fn of(&self, call: &str) -> usize {
        let line = self
            .0
            .lines()
            .find(|line| line.split_whitespace().next_back() == Some(call));
        // The columns are: % time, seconds, microseconds for each call, calls.
        line.map_or(0, |line| line.split_whitespace().nth(3).unwrap().parse().unwrap())
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `strace` has attached every thread of the process (`proc_pid_status(5)`).
fn is_traced(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let status =
        |task: std::io::Result<fs::DirEntry>| fs::read_to_string(task.unwrap().path().join("status"));
    // A thread that has ended meanwhile has no status.
    tasks
        .filter_map(|task| status(task).ok())
        .all(|status| !status.contains("TracerPid:\t0\n"))
}

/// One of the kernel's counters of bytes (`proc_pid_io(5)`). `wchar` counts the bytes that the process has
/// written to files and sockets. `read_bytes` and `write_bytes` count those that went from and to a disk.
pub fn io(pid: u32, counter: &str) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let value = io
        .lines()
        .find_map(|line| line.strip_prefix(counter)?.strip_prefix(": "));
    value.unwrap().parse().unwrap()
}
