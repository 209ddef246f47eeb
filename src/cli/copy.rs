//! `wharfinger copy FROM TO`: copies a store in a folder into an empty bucket.

use super::bar::Bar;
use super::{FAILED, SUCCESS, WRONG, fail, interrupted, load, say, say_error};
use crate::app::{self, CopyNews, Purpose, Store};
use crate::config::StorePlace;
use crate::registry::CopiedStore;
use clap::Args;
use std::io::IsTerminal as _;
use std::path::PathBuf;

#[derive(Args)]
pub(super) struct Options {
    /// The configuration of the store to copy, whose storage.rootDirectory is a folder
    from: PathBuf,
    /// The configuration of the new store, whose storage.storageDriver is an empty bucket, or a bucket with an
    /// unfinished copy of the same store
    to: PathBuf,
}

pub(super) async fn run(options: &Options) -> u8 {
    let (from, to) = match (load(&options.from), load(&options.to)) {
        (Ok(from), Ok(to)) => (from.fixed, to.fixed),
        (Err(code), _) | (_, Err(code)) => return code,
    };
    let bucket = match (&from.storage, &to.storage) {
        (StorePlace::Folder(_), StorePlace::Bucket(bucket)) => bucket,
        (from @ StorePlace::Bucket(_), _) => {
            return wrong(&format!("the store to copy is {from}, {NO_FOLDER}"));
        }
        (_, to @ StorePlace::Folder(_)) => return wrong(&format!("the new store is {to}, {NO_BUCKET}")),
    };
    let mut bar = Bar::new(std::io::stderr().is_terminal());
    let stopped = interrupted();
    let making = async {
        let source = Store::open_existing(&from.storage, "copy", Purpose::Reading).await;
        let source = source.map_err(|why| why.to_string())?;
        let target = Store::open_target(bucket).await;
        let target = target.map_err(|why| why.to_string())?;
        let copied = app::copy(&source, &target, |news| show(news, &mut bar)).await;
        target.leave().await;
        copied.map_err(|why| format!("{} was not copied to {}: {why}", from.storage, to.storage))
    };
    let made = tokio::select! {
        made = making => made,
        () = stopped => Err("stopped before the copy was complete; run the same command again to copy the rest".to_owned()),
    };
    bar.end();
    match made {
        Ok(done) => report(&from.storage, &to.storage, &done),
        Err(why) => fail(&why),
    }
}

fn show(news: CopyNews, bar: &mut Bar) {
    match news {
        CopyNews::Reached(copied) => bar.show(copied.bytes, copied.of_bytes),
        CopyNews::Damage(what) => {
            bar.clear();
            say(&format!("damage: {what}"));
        }
    }
}

fn report(from: &StorePlace, to: &StorePlace, done: &CopiedStore) -> u8 {
    let CopiedStore {
        records,
        kept_records,
        blobs,
        bytes,
        kept,
        copied_bytes,
        removed,
        damages,
    } = done;
    say(&format!(
        "{to}: complete: {records} records, {kept_records} of them unchanged; {blobs} blobs of {bytes} bytes, {kept} of them unchanged; {copied_bytes} bytes copied, {removed} records removed"
    ));
    if *damages == 0 {
        return SUCCESS;
    }
    say_error(&format!(
        "error: {from} itself is damaged ({damages} findings above), so the copy lacks the same content. A registry on the copy reports these blobs as missing, and the next push of each replaces it"
    ));
    FAILED
}

fn wrong(why: &str) -> u8 {
    say_error(&format!("error: {why}"));
    WRONG
}

const NO_FOLDER: &str = "and `wharfinger copy` only copies from folders: FROM needs storage.rootDirectory";
const NO_BUCKET: &str = "and `wharfinger copy` only copies to buckets: TO needs storage.storageDriver. To copy a folder to a folder, use `wharfinger backup`";
