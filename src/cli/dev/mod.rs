//! `wharfinger dev`: serves a registry with a temporary trust domain, and pushes and pulls one image with SVIDs.

mod folder;
mod folder_error;
mod image;
mod ledger;
mod pki;
mod report;
mod round_trip;

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
    /// The folder for the trust domain, the configuration and the store. The next start reuses it
    #[arg(long, default_value = "wharfinger-dev")]
    folder: PathBuf,
    /// The address to listen on. In a container use 0.0.0.0, which means every IPv4 address
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// The port to listen on. 0 chooses a free port
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
        return fail(&format!("cannot start the thread that writes the log: {why}"));
    }
    let registrar = match Registrar::open(config, None, clock.clone()).await {
        Ok(registrar) => registrar,
        Err(mistakes) => return not_opened(&file, mistakes),
    };
    let Ok(listening) = registrar.address() else {
        return fail("cannot read the listener's address");
    };
    let address = called(listening);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(registrar.run(async {
        // A message and a dropped sender both stop the server.
        drop(stopped.await);
    }));
    let code = match round_trip::round_trip(&folder, address).await {
        Ok(done) => {
            let ready: Duration = clock.now().since(began);
            report::tell(&folder, address, &done, ready);
            if !options.once {
                // Catch signals before the output mentions Ctrl-C.
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

/// The address that clients on this machine use.
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

/// `dev` wrote the configuration itself, so a mistake about the address or port names the command's options.
fn not_opened(file: &Path, mistakes: Vec<Mistake>) -> u8 {
    let option = |mistake: &Mistake| match mistake.key.as_str() {
        "http.port" => Some("choose another port with --port, or a free one with --port 0"),
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
