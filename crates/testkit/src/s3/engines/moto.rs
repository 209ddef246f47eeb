//! moto, a store in memory that knows most of S3 and STS.

use super::super::Place;
use super::program::{Program, ask, free};
use crate::programs::is_installed;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

/// It serves until it is dropped. It accepts any key.
pub struct Moto {
    place: Place,
    address: SocketAddr,
    buckets: AtomicU32,
    _program: Program,
    _folder: TempDir,
}

impl Moto {
    /// Starts it with an empty bucket. `None` if it is not installed.
    pub fn start() -> Option<Self> {
        if !is_installed("moto_server") {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let [address] = free();
        let mut command = Command::new("moto_server");
        command.args(["-H", "127.0.0.1", "-p", &address.port().to_string()]);
        let mut program = Program::start(command, &log);
        program.wait(address, "/moto-api/data.json", &log);
        program.until(address, "PUT", &format!("/{}", Place::BUCKET), &log);
        Some(Self {
            place: Place::first(format!("http://{address}")),
            address,
            buckets: AtomicU32::new(1),
            _program: program,
            _folder: folder,
        })
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Another empty bucket. moto looks at every object of a bucket for each page of a list.
    pub fn new_place(&self) -> Place {
        let number = self.buckets.fetch_add(1, Ordering::Relaxed);
        let bucket = format!("{}-{number}", Place::BUCKET);
        make(self.address, &bucket);
        Place {
            bucket,
            ..self.place.clone()
        }
    }
}

fn make(address: SocketAddr, bucket: &str) {
    assert_eq!(ask(address, "PUT", &format!("/{bucket}")), Some(200));
}
