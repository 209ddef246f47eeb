//! Who sends a request, as far as the registry knows: where the client is, the proxy before it, the
//! credential that the request carries, and the identity behind it once there is one.

use super::fault::Fault;
use super::proxies::Forwarded;
use super::record::{IssuedToken, Record};
use super::{ActiveRequest, App, Connection, Live, Stranger};
use crate::identity::{Failure, Identity, Presented};
use crate::source_address::SourceAddress;
use http::header::{AUTHORIZATION, ORIGIN};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use std::net::IpAddr;

/// The sender of a request, known or not.
pub(super) struct Caller {
    /// What the log will say about the request.
    pub(super) record: Record,
    /// The client's address, or that of a proxy that names no client.
    address: Option<IpAddr>,
    active: Option<ActiveRequest>,
    /// Whether a trusted proxy sent the request.
    proxied: bool,
}

/// How a request came here.
#[derive(Default)]
pub(super) struct Hop {
    pub(super) tls: bool,
    /// What a trusted proxy says about the request. Empty without a proxy.
    pub(super) forwarded: Forwarded,
}

/// Where the client of a request is. An extension of the request.
#[derive(Clone, Copy)]
struct Client {
    address: Option<IpAddr>,
    /// A trusted proxy sent the request and names no client, so the address is the proxy's.
    unnamed: bool,
}

impl Caller {
    /// Reads who is at the other end of the connection. If it is a trusted proxy, its certificate is its own,
    /// and is removed from the request before anything looks for a credential.
    pub(super) fn of(parts: &mut Parts, live: &Live, record: Record) -> (Self, Hop) {
        let mut caller = Self {
            record,
            address: None,
            active: None,
            proxied: false,
        };
        let hop = caller.nearest_hop(parts, live);
        caller.record.address = caller.address;
        parts.extensions.insert(Client {
            address: caller.address,
            unnamed: caller.proxied && hop.forwarded.client.is_none(),
        });
        (caller, hop)
    }

    fn nearest_hop(&mut self, parts: &mut Parts, live: &Live) -> Hop {
        let Some(connection) = parts.extensions.get_mut::<Connection>() else {
            return Hop::default();
        };
        let tls = connection.tls;
        let remote = connection.remote.ip();
        self.address = Some(remote);
        self.active = Some(connection.active.clone());
        // A reload may have changed this since the connection was accepted, or since its last request.
        self.proxied = live.proxies.contains(remote);
        connection.active.standing().is_proxy(self.proxied);
        if !self.proxied {
            return Hop {
                tls,
                forwarded: Forwarded::default(),
            };
        }
        self.record.ignored = connection.peer.take();
        let forwarded = Forwarded::read(&parts.headers, &live.proxies);
        self.address = forwarded.client.or(self.address);
        Hop { tls, forwarded }
    }

    /// The credential was accepted.
    pub(super) fn accepted(&mut self, identity: &Identity) {
        if !identity.is_anonymous() {
            self.active.as_ref().inspect(|active| active.identified());
        }
        self.record.identified(identity);
    }

    /// The credential was rejected, or could not be checked.
    pub(super) fn rejected(&mut self, failure: &Failure) {
        self.record.unidentified(failure);
    }

    /// Waits for an unidentified caller's turn to get an answer that holds files or much memory. The caller
    /// keeps its seat until the answer is sent.
    ///
    /// # Errors
    ///
    /// 429 when the client's address has too many requests in flight.
    pub(super) async fn take_seat(&self, app: &App) -> Result<(), Fault> {
        let Some((active, stranger)) = self.stranger(app) else {
            return Ok(());
        };
        active.sits(stranger.seat().await.map_err(Fault::crowded)?);
        Ok(())
    }

    /// Waits for an unidentified caller's turn to send a form.
    ///
    /// # Errors
    ///
    /// 429 when the client's address sends too many forms.
    pub(super) async fn sends_form(&self, app: &App) -> Result<(), Fault> {
        let Some((active, stranger)) = self.stranger(app) else {
            return Ok(());
        };
        active.sits(stranger.form().await.map_err(Fault::crowded)?);
        Ok(())
    }

    /// The request of an unidentified caller, and the address whose bounds apply: the client's, or the
    /// proxy's own if the proxy names no client.
    fn stranger(&self, app: &App) -> Option<(&ActiveRequest, Stranger)> {
        let active = self.active.as_ref().filter(|active| !active.is_identified())?;
        let known = active.standing().stranger().filter(|_| !self.proxied).cloned();
        Some((active, known.or_else(|| Some(app.strangers.at(self.address?)))?))
    }

    /// Writes the request's line into the log. `generation` is that of the configuration.
    pub(super) fn log(
        &mut self,
        status: StatusCode,
        issued: Option<&IssuedToken>,
        why: Option<String>,
        generation: u64,
    ) {
        let why = self.record.with_ignored_certificate(status, why);
        let own = self.active.as_ref().filter(|_| !self.proxied);
        let why = self
            .record
            .shortened(own.map(ActiveRequest::standing), generation, why);
        self.record.write(status, issued, why.as_deref());
    }
}

/// The source to which bounds by source apply. `None` if a proxy sent the request and names no client.
pub(super) fn source(parts: &Parts) -> Option<SourceAddress> {
    match parts.extensions.get() {
        Some(Client { unnamed: true, .. }) => None,
        Some(Client {
            address: Some(address),
            ..
        }) => Some(SourceAddress::of(*address)),
        _ => Some(SourceAddress::UNKNOWN),
    }
}

/// The credentials in the request. A certificate is an ambient credential: a browser presents it for any page
/// that sends a request.
pub(super) fn presented(parts: &Parts) -> Presented<'_> {
    let site = parts.headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let foreign = matches!(site, Some(b"cross-site" | b"same-site")) || parts.headers.contains_key(ORIGIN);
    Presented {
        authorization: parts
            .headers
            .get_all(AUTHORIZATION)
            .iter()
            .map(HeaderValue::as_bytes)
            .collect(),
        peer: parts
            .extensions
            .get::<Connection>()
            .and_then(|connection| connection.peer.as_deref()),
        ambient: !foreign,
        address: parts.extensions.get::<Client>().and_then(|client| client.address),
    }
}
