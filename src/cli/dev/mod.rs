//! `wharfinger dev`: a registry with a throw-away trust domain on loopback, and one push and pull through it by SVID.

mod client;
mod folder;
mod pki;
mod report;

use super::{FAILED, SUCCESS, fail, interrupted, load, logging, mistaken};
use crate::app::Registrar;
use crate::clock::Clock;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Args)]
pub(super) struct Options {
    /// Where the trust domain, the configuration and the store are kept; reused at the next start
    #[arg(long, default_value = "wharfinger-dev")]
    folder: PathBuf,
    /// The port to listen on at 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 8443)]
    port: u16,
    /// Exit after the push and the pull
    #[arg(long)]
    once: bool,
}

pub(super) async fn run(options: &Options) -> u8 {
    let clock = Clock::system();
    let began = clock.now();
    let folder = match folder::prepare(&options.folder, options.port, clock.now()) {
        Ok(folder) => folder,
        Err(why) => return fail(&why.to_string()),
    };
    let file = folder.config();
    let config = match load(&file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let Err(why) = logging::start(config.level) {
        return fail(&format!("the thread that writes the log cannot be started: {why}"));
    }
    let registrar = match Registrar::open(config, None, clock.clone()).await {
        Ok(registrar) => registrar,
        Err(mistakes) => return mistaken(&file, mistakes),
    };
    let Ok(address) = registrar.address() else { return fail("the listener is gone") };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(registrar.run(async {
        // Either half ends it; a dropped sender too.
        drop(stopped.await);
    }));
    let code = match client::round_trip(&folder, address).await {
        Ok(done) => {
            let ready: Duration = clock.now().since(began);
            report::tell(&folder, address, &done, ready);
            if !options.once {
                interrupted().await;
            }
            SUCCESS
        }
        Err(why) => {
            fail(&why.to_string());
            FAILED
        }
    };
    drop(stop);
    drop(serving.await);
    code
}
