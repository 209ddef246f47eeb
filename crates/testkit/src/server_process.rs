//! A server's process. It runs on its own loopback address, with its log in a file. The kernel counts its
//! resources, and it is ended by its process id.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::Instant;

pub struct ServerProcess {
    child: Child,
    /// The time at which the process was started.
    begun: Instant,
}

impl ServerProcess {
    /// Starts it and waits until it listens on `address`.
    pub fn start(mut command: Command, log: Option<&Path>, address: SocketAddr) -> Self {
        let output = || {
            log.map_or_else(Stdio::null, |log| {
                fs::File::options()
                    .create(true)
                    .append(true)
                    .open(log)
                    .unwrap()
                    .into()
            })
        };
        command.stdin(Stdio::null()).stdout(output()).stderr(output());
        let name = command.get_program().to_string_lossy().into_owned();
        let begun = Instant::now();
        let child = command.spawn();
        let child = child.unwrap_or_else(|why| {
            panic!("{name} cannot be started: {why}; apt-get install nginx docker-registry")
        });
        let mut program = Self { child, begun };
        while TcpStream::connect(address).is_err() {
            if let Some(status) = program.child.try_wait().unwrap() {
                panic!("{name} ended before it served, with {status}: its log is {log:?}");
            }
            pause();
        }
        program
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The process and its children, which do nginx's work.
    pub fn pids(&self) -> Vec<u32> {
        let own = self.pid();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        let mut pids = vec![own];
        pids.extend(
            children
                .split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
        pids
    }

    /// CPU seconds so far, of user and system (`proc_pid_stat(5)`, 14 and 15).
    #[expect(clippy::cast_precision_loss, reason = "a figure to be read")]
    pub fn cpu(&self) -> f64 {
        let ticks = |pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
            let times = fields.skip(11).take(2);
            times.map(|field| field.parse::<u64>().unwrap()).sum::<u64>()
        };
        let ticks: u64 = self.pids().into_iter().map(ticks).sum();
        ticks as f64 / rustix::param::clock_ticks_per_second() as f64
    }

    /// The seconds from its start to its first `200` for `path` at `address`, which may be another listener of
    /// the process. Call it right after the start.
    pub fn first_answer(&self, address: SocketAddr, path: &str) -> f64 {
        loop {
            if let Ok(mut stream) = TcpStream::connect(address) {
                let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
                let mut answer = Vec::new();
                if stream.write_all(request.as_bytes()).is_ok()
                    && stream.read_to_end(&mut answer).is_ok()
                    && answer.starts_with(b"HTTP/1.1 200")
                {
                    return self.begun.elapsed().as_secs_f64();
                }
            }
            pause();
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        // nginx's workers end with their master only if the master gets a signal.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        drop(self.child.wait());
    }
}

pub fn pause() {
    let (_keep, never) = std::sync::mpsc::channel::<()>();
    let _ = never.recv_timeout(Duration::from_micros(500));
}

/// An unused address.
pub fn free() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap()
}
