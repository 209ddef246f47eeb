//! `wharfinger backup FILE TO`: copies a store in a folder. A running registry makes the copy itself; otherwise
//! this process does.

use super::bar::Bar;
use super::holder::Holder;
use super::{FAILED, SUCCESS, WRONG, fail, interrupted, load, say, say_error};
use crate::app;
use crate::config::StorePlace;
use crate::control::{AskError, BackupRequest};
use crate::storage::Copied;
use crate::storage::local::{BackedUp, Local, OpenError};
use clap::Args;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Args)]
pub(super) struct Options {
    /// The configuration, in YAML or JSON
    file: PathBuf,
    /// The folder of the backup. It is new, empty, or an earlier backup of the same store to update
    to: PathBuf,
    /// Hard-link blobs instead of copying them. This takes no space, but a damaged file is damaged in both. The
    /// folder must be on the store's file system
    #[arg(long)]
    hard_link: bool,
}

pub(super) async fn run(options: &Options) -> u8 {
    let config = match load(&options.file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let folder = match &config.fixed.storage {
        StorePlace::Folder(folder) => folder,
        place @ StorePlace::Bucket(_) => {
            say_error(&format!(
                "error: the store is the bucket {place}, and {NOT_A_FOLDER}"
            ));
            return WRONG;
        }
    };
    let to = match std::path::absolute(&options.to) {
        Ok(to) => to,
        Err(why) => return fail(&format!("{}: {why}", options.to.display())),
    };
    let request = BackupRequest {
        to: to.clone(),
        hard_link: options.hard_link,
    };
    let mut bar = Bar::new(std::io::stderr().is_terminal());
    let show = |copied: Copied, bar: &mut Bar| bar.show(copied.bytes, copied.of_bytes);
    let stopped = interrupted();
    let making = async {
        match Local::open_existing(folder) {
            Ok(store) => {
                let made = app::back_up(Arc::new(store), request, |copied| show(copied, &mut bar));
                made.await.map_err(|why| why.to_string())
            }
            Err(OpenError::InUse { .. }) if to.to_str().is_none() => {
                Err(format!("{}: {}", to.display(), AskError::NotText))
            }
            Err(why @ OpenError::InUse { .. }) => {
                let holder = Holder {
                    state_directory: &config.fixed.state_directory,
                    in_use: &why,
                    work: "backup",
                    again: "copy the rest",
                };
                holder.ask(&request, |copied| show(copied, &mut bar)).await
            }
            Err(why) => Err(why.to_string()),
        }
    };
    let made = tokio::select! {
        made = making => made,
        () = stopped => Err("stopped before the backup was complete; run the same command again to copy the rest".to_owned()),
    };
    bar.end();
    match made {
        Ok(done) => report(&to, &done),
        Err(why) => fail(&why),
    }
}

fn report(to: &Path, done: &BackedUp) -> u8 {
    for what in &done.damaged {
        say(&format!("damage: {what}"));
    }
    let BackedUp {
        files,
        bytes,
        kept,
        linked,
        cloned,
        copied,
        copied_bytes,
        removed,
        damages,
        ..
    } = done;
    say(&format!(
        "{}: complete: {files} files of {bytes} bytes; {copied} copied ({copied_bytes} bytes), {cloned} cloned, {linked} linked, {kept} unchanged, {removed} removed",
        to.display()
    ));
    if *damages == 0 {
        return SUCCESS;
    }
    say_error(&format!(
        "error: the store itself is damaged ({damages} findings above), so the backup lacks the same content; check the store with `wharfinger fsck`"
    ));
    FAILED
}

const NOT_A_FOLDER: &str = "`wharfinger backup` only copies folders: turn on versioning for the bucket, and replicate it with the tools of its provider (docs/how-to/back-up.md#a-bucket)";
