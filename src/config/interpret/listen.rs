//! The addresses to listen on, and the answers to browsers and Prometheus.

use super::Interpreter;
use crate::config::raw;
use crate::config::settings::Listen;
use crate::config::values::{OneOrMany, TextOrNumber};
use crate::http::{Cors, is_route};
use std::net::IpAddr;

impl Interpreter<'_> {
    pub(super) fn listen(
        &mut self,
        key: &str,
        address: Option<String>,
        port: Option<&TextOrNumber>,
        default: Option<u16>,
    ) -> Listen {
        let port = match port {
            None => default,
            Some(port) => port.port(),
        };
        if port.is_none() {
            self.mistake(format!("{key}.port"), "must be a port from 0 to 65535");
        }
        let address = address
            .filter(|address| !address.is_empty())
            .unwrap_or_else(|| "127.0.0.1".to_owned());
        let bare = address
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .filter(|inner| inner.contains(':'))
            .unwrap_or(&address);
        if bare.parse::<IpAddr>().is_err() && !is_host_name(bare) {
            self.mistake(
                format!("{key}.address"),
                format!("must be an IP address such as 0.0.0.0 or ::, or a host name, not {address:?}"),
            );
        }
        Listen {
            address: bare.to_owned(),
            port: port.unwrap_or(0),
        }
    }

    /// `http.allowOrigin`. `logins` means that browsers may send a password.
    pub(super) fn cors(&mut self, given: Option<OneOrMany>, logins: bool) -> Cors {
        let given = given.map(OneOrMany::into_list).unwrap_or_default();
        let mut origins = Vec::new();
        for origin in given
            .iter()
            .flat_map(|text| text.split(','))
            .map(str::trim)
            .filter(|origin| !origin.is_empty())
        {
            let bare = origin.strip_suffix('/').unwrap_or(origin);
            let host = bare
                .strip_prefix("https://")
                .or_else(|| bare.strip_prefix("http://"));
            if bare != "*"
                && host
                    .is_none_or(|host| host.is_empty() || host.contains(['/', '?', '#', '@', '*', ' ', '"']))
            {
                self.mistake(
                    "http.allowOrigin",
                    format!("must be * or origins such as https://ui.example.org, not {origin:?}"),
                );
            }
            origins.push(bare.to_owned());
        }
        Cors::new(origins, logins)
    }

    /// `extensions.metrics`
    pub(super) fn metrics(&mut self, extensions: Option<raw::Extensions>) -> Option<String> {
        let metrics = extensions
            .and_then(|extensions| extensions.metrics)
            .unwrap_or_default();
        let path = metrics
            .prometheus
            .and_then(|prometheus| prometheus.path)
            .unwrap_or_else(|| "/metrics".to_owned());
        let plain = path
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte));
        if !path.starts_with('/') || path.starts_with("/v2/") || is_route(&path) || !plain {
            self.mistake(
                "extensions.metrics.prometheus.path",
                format!("must be an unused path such as /metrics, of letters, digits and -._~, not {path:?}"),
            );
        }
        metrics.enable.unwrap_or(true).then_some(path)
    }

    /// Warns about settings that mean something else in zot.
    pub(super) fn advise_zots(&mut self, listen: &Listen) {
        if self.around.mentions.empty_address {
            let Listen { address, .. } = listen;
            self.warn(
                "http.address",
                format!("is empty: the registry listens on {address} only, but zot listens on every address; write 0.0.0.0 if this is intended"),
            );
        }
        if !self.around.mentions.zots {
            return;
        }
        let relative: Vec<String> = self
            .around
            .relative
            .borrow()
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let here = std::env::current_dir()
            .and_then(|folder| folder.canonicalize())
            .ok();
        if !relative.is_empty()
            && here.is_none_or(|here| self.around.folder.canonicalize().ok() != Some(here))
        {
            let paths = relative.join(", ");
            let folder = self.around.folder.display();
            self.warn(
                "",
                format!("relative paths start from the file's folder {folder}, but in zot from the working directory; write these as absolute paths: {paths}"),
            );
        }
    }
}

/// Whether the text is a host name of letters, digits and hyphens. If its last label were a number, it would
/// be a bad address.
fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253 && text.split('.').all(label) && !last.bytes().all(|byte| byte.is_ascii_digit())
}
