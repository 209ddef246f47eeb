//! Measures the store and its disk repeatedly. It uses threads that serve no requests, because a file system
//! may hang, and counting a large store takes long.

use crate::file_error::FileError;
use crate::storage::local::meter::{Amount, Disk, Meter, Part, count};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Never ends.
pub(super) async fn measure(meter: Option<Meter>) {
    let Some(meter) = meter else {
        return std::future::pending().await;
    };
    tokio::select! {
        never = measure_disk(&meter) => never,
        never = count_files(&meter) => never,
    }
}

async fn measure_disk(meter: &Meter) -> ! {
    let mut failing = false;
    loop {
        let measuring = meter.clone();
        let measured = blocking(move || Ok((measuring.disk()?, measuring.database()?))).await;
        match &measured {
            Ok((disk, (database, log))) => {
                metrics::gauge!("wharfinger_store_bytes", "part" => "database").set(number(*database));
                metrics::gauge!("wharfinger_store_bytes", "part" => "log").set(number(*log));
                if let Some(Disk {
                    bytes,
                    free_bytes,
                    free_files,
                }) = disk
                {
                    metrics::gauge!("wharfinger_disk_size_bytes").set(number(*bytes));
                    metrics::gauge!("wharfinger_disk_free_bytes").set(number(*free_bytes));
                    if let Some(files) = free_files {
                        metrics::gauge!("wharfinger_disk_free_files").set(number(*files));
                    }
                }
            }
            Err(why) if !failing => {
                tracing::warn!("cannot measure the store's disk; its metrics keep their last values: {why}")
            }
            Err(_) => {}
        }
        failing = measured.is_err();
        sleep(EVERY).await;
    }
}

/// Counting uses at most a tenth of the time while it runs, and a hundredth overall, because each folder may
/// have to be read from the disk.
async fn count_files(meter: &Meter) -> ! {
    loop {
        let mut worked = Duration::ZERO;
        for part in Part::ALL {
            let began = Instant::now();
            let listing = meter.clone();
            let Ok(folders) = blocking(move || listing.folders(part)).await else {
                continue;
            };
            worked += began.elapsed();
            let mut all = Ok(Amount::default());
            for folder in folders {
                let began = Instant::now();
                let counted = blocking(move || count(&folder)).await;
                all = all.and_then(|all: Amount| counted.map(|one| all.with(one)));
                let took = began.elapsed();
                worked += took;
                sleep(took * 9).await;
            }
            if let Ok(Amount { files, bytes }) = all {
                metrics::gauge!("wharfinger_store_files", "part" => part.name()).set(number(files));
                metrics::gauge!("wharfinger_store_bytes", "part" => part.name()).set(number(bytes));
            }
        }
        sleep(EVERY.max(worked * 90)).await;
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(std::io::ErrorKind::Interrupted.into()))
}

#[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
const fn number(value: u64) -> f64 {
    value as f64
}

/// The shortest interval.
const EVERY: Duration = Duration::from_secs(5);
