//! `wharfinger upgrade FILE`: lets replicas write a bucket in the newest format that this version knows.

use super::{SUCCESS, fail, load, say};
use crate::app;
use crate::config::StorePlace;
use crate::storage::replicas::Upgraded;
use std::path::Path;

pub(super) async fn run(file: &Path) -> u8 {
    let config = match load(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let place = &config.fixed.storage;
    let StorePlace::Bucket(bucket) = place else {
        say(&format!(
            "{place}: nothing to do: `wharfinger serve` converts a store in a folder when it starts"
        ));
        return SUCCESS;
    };
    match app::upgrade(&bucket.settings).await {
        Ok(Upgraded::Already(format)) => say(&format!(
            "{place}: nothing to do: the store has format {format}, the newest that this version knows"
        )),
        Ok(Upgraded::Done { from, to }) => say(&format!(
            "{place}: upgraded from format {from} to {to}; running registries write it within 15 seconds"
        )),
        Err(why) => return fail(&format!("{place}: {why}")),
    }
    SUCCESS
}
