//! `wharfinger backup FILE TO`: copies the store. A running registry makes the copy itself; otherwise this
//! process does.

use super::bar::Bar;
use super::{FAILED, SUCCESS, fail, interrupted, load, say, say_error};
use crate::app;
use crate::control::{BACKUP, BackupMessage, BackupRequest, SOCKET};
use crate::storage::local::{BackedUp, Copied, Local, OpenError};
use clap::Args;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

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
        match Local::open_existing(&config.fixed.storage) {
            Ok(store) => app::back_up(Arc::new(store), request, |copied| show(copied, &mut bar)).await,
            Err(why @ OpenError::InUse { .. }) => {
                ask(&config.fixed.state_directory, &request, &why, |copied| {
                    show(copied, &mut bar)
                })
                .await
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

/// Asks the registry that holds the store to make the backup.
async fn ask(
    state_directory: &Path,
    request: &BackupRequest,
    in_use: &OpenError,
    mut show: impl FnMut(Copied),
) -> Result<BackedUp, String> {
    let socket = state_directory.join(SOCKET);
    let unasked = |why: &dyn std::fmt::Display| {
        format!(
            "{in_use}. The request to make the backup, sent to {}, failed: {why}. If that process is a registry, check that it uses this configuration, and run this command as its user.",
            socket.display()
        )
    };
    if !socket.exists() {
        return Err(unasked(&"there is no such socket"));
    }
    let Some(body) = request.encode() else {
        return Err(format!("{}: the path is not text in UTF-8", request.to.display()));
    };
    let client = reqwest::Client::builder()
        .unix_socket(socket.clone())
        .read_timeout(PATIENCE)
        .no_proxy()
        .tls_certs_only([])
        .build();
    let client = client.map_err(|why| unasked(&why))?;
    let answer = client
        .post(format!("http://wharfinger{BACKUP}"))
        .body(body)
        .send()
        .await;
    let mut answer = answer
        .and_then(reqwest::Response::error_for_status)
        .map_err(|why| unasked(&why))?;
    let mut text = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|why| cut_short(&why))? {
        text.extend_from_slice(&chunk);
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            match BackupMessage::decode(&line) {
                Some(BackupMessage::Progress(copied)) => show(copied),
                Some(BackupMessage::Done(done)) => return Ok(done),
                Some(BackupMessage::Failed(why)) => return Err(why),
                None => {
                    return Err(
                        "the registry has another version than this command; use the wharfinger binary that the registry runs".to_owned(),
                    );
                }
            }
        }
    }
    Err(cut_short(&"its answer ended"))
}

fn cut_short(why: &dyn std::fmt::Display) -> String {
    format!(
        "the registry stopped before the backup was complete ({why}); run the same command again to copy the rest"
    )
}

/// How long the registry may be silent. It reports progress every two seconds.
const PATIENCE: Duration = Duration::from_secs(60);
