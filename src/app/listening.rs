//! Binds the addresses that a configuration names.

use crate::config::{Listen, Mistake};
use std::io::ErrorKind;
use tokio::net::TcpListener;

pub(super) async fn bind(key: &str, Listen { address, port }: &Listen) -> Result<TcpListener, Mistake> {
    TcpListener::bind((address.as_str(), *port)).await.map_err(|why| {
        let place = if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") };
        let (name, what) = match why.kind() {
            ErrorKind::AddrInUse => ("port", "another process uses this port".to_owned()),
            ErrorKind::AddrNotAvailable => ("address", format!("this machine does not have the address {address}")),
            ErrorKind::PermissionDenied => {
                ("port", "permission denied: a port below 1024 needs root, the capability NET_BIND_SERVICE, or a lower net.ipv4.ip_unprivileged_port_start".to_owned())
            }
            _ => ("port", why.to_string()),
        };
        Mistake::new(format!("{key}.{name}"), format!("cannot listen on {place}: {what}"))
    })
}

/// Whether only programs of this machine reach the listener, whatever the configuration calls its address.
pub(super) fn is_on_loopback(listener: &TcpListener) -> bool {
    listener
        .local_addr()
        .is_ok_and(|at| at.ip().to_canonical().is_loopback())
}
