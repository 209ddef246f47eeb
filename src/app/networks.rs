//! The networks of the proxies and load balancers that the server trusts.

use crate::config::LiveSettings;
use crate::server::Networks;

pub(super) fn networks(settings: &LiveSettings) -> Networks {
    Networks {
        trusted_proxies: settings.proxies.clone(),
        proxy_protocol: settings.proxy_protocol.clone(),
    }
}
