//! Proxies between the registry and its clients, and the limits of open connections and uploads.

use super::Interpreter;
use crate::config::raw;
use crate::http::{Network, StrangerBounds, TrustedProxies};

impl Interpreter<'_> {
    pub(super) fn proxy_protocol(&mut self, networks: &[String]) -> TrustedProxies {
        let mut good = Vec::new();
        for (i, text) in networks.iter().enumerate() {
            match text.parse::<Network>() {
                Ok(network) => good.push(network),
                Err(why) => self.mistake(format!("http.proxyProtocol[{i}]"), format!("{text:?}: {why}")),
            }
            if text.ends_with("/0") {
                self.warn(
                    format!("http.proxyProtocol[{i}]"),
                    format!(
                        "{text} covers every address, so any client could pretend to have another address"
                    ),
                );
            }
        }
        good.into_iter().collect()
    }

    pub(super) fn unidentified(&mut self, raw: Option<raw::Unidentified>) -> StrangerBounds {
        let raw::Unidentified {
            connections_per_address,
            requests_per_address,
        } = raw.unwrap_or_default();
        let default = StrangerBounds::default();
        let connections = self.bound(
            "connectionsPerAddress",
            connections_per_address,
            default.connections,
        );
        let requests = self.bound("requestsPerAddress", requests_per_address, default.requests);
        StrangerBounds {
            connections,
            requests,
        }
    }

    pub(super) fn open_uploads(&mut self, given: Option<u32>) -> usize {
        /// This is more than all layers of all images that one caller pushes at the same time.
        const DEFAULT: u32 = 1000;
        if given == Some(0) {
            self.mistake(
                "http.openUploads",
                "must be at least 1, because pushes need uploads",
            );
        }
        usize::try_from(given.unwrap_or(DEFAULT)).unwrap_or(usize::MAX)
    }

    fn bound(&mut self, key: &str, given: Option<u32>, default: usize) -> usize {
        let Some(given) = given else { return default };
        if given == 0 {
            self.mistake(
                format!("http.unidentified.{key}"),
                "must be at least 1, or no client could log in",
            );
        }
        usize::try_from(given).unwrap_or(usize::MAX)
    }
}
