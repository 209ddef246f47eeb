//! The networks that the server believes.

use crate::config::LiveSettings;
use crate::server::Networks;

pub(super) fn networks(settings: &LiveSettings) -> Networks {
    Networks {
        trusted_proxies: settings.proxies.clone(),
        proxy_protocol: settings.proxy_protocol.clone(),
    }
}
