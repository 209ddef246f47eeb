//! `wharfinger dev`: a registry with a throw-away trust domain, and one push and pull through it by SVID.

mod client;
mod folder;
mod folder_error;
mod image;
mod ledger;
mod pki;
mod report;

use super::{FAILED, SUCCESS, WRONG, fail, interrupted, load, logging, mistaken, say_error};
use crate::app::Registrar;
use crate::clock::Clock;
use crate::config::Mistake;
use clap::Args;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Args)]
pub(super) struct Options {
    /// Where the trust domain, the configuration and the store are kept; reused at the next start
    #[arg(long, default_value = "wharfinger-dev")]
    folder: PathBuf,
    /// The address to listen on; 0.0.0.0 is every IPv4 address, as in a container whose port is published
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// The port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 8443)]
    port: u16,
    /// Exit after the push and the pull
    #[arg(long)]
    once: bool,
}

pub(super) async fn run(options: &Options) -> u8 {
    let clock = Clock::system();
    let began = clock.now();
    let folder = match folder::prepare(&options.folder, options.address, options.port, clock.now()) {
        Ok(folder) => folder,
        Err(why) => return fail(&why.to_string()),
    };
    let file = folder.config();
    let config = match load(&file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let Err(why) = logging::start(config.fixed.level, config.fixed.log_format) {
        return fail(&format!(
            "the thread that writes the log cannot be started: {why}"
        ));
    }
    let registrar = match Registrar::open(config, None, clock.clone()).await {
        Ok(registrar) => registrar,
        Err(mistakes) => return not_opened(&file, mistakes),
    };
    let Ok(listening) = registrar.address() else {
        return fail("the listener is gone");
    };
    let address = called(listening);
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
                // Before Ctrl-C is named to anybody.
                let stopped = interrupted();
                report::tell_to_try(&folder, listening, address);
                stopped.await;
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

/// By which address clients on this machine call it.
const fn called(listening: SocketAddr) -> SocketAddr {
    match listening {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), v4.port())
        }
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            SocketAddr::new(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), v6.port())
        }
        other => other,
    }
}

/// Nobody wrote the configuration, so what is wrong with where it listens is said of the options.
fn not_opened(file: &Path, mistakes: Vec<Mistake>) -> u8 {
    let option = |mistake: &Mistake| match mistake.key.as_str() {
        "http.port" => Some("choose another port with --port; 0 takes a free one"),
        "http.address" => Some("choose another address with --address"),
        _ => None,
    };
    match mistakes.as_slice() {
        [one] if let Some(option) = option(one) => {
            say_error(&format!("error: {}; {option}", one.what));
            WRONG
        }
        _ => mistaken(file, mistakes),
    }
}
