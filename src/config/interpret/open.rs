//! Files without a login. zot then allows everything to everyone, and half of its users' files are like this.
//! Here such a file is served on loopback, and elsewhere only if the operator allows it. The file must not
//! even mention a login or rules.

use super::Interpreter;
use crate::config::Warning;
use crate::config::mentions::Mentions;
use crate::config::settings::{Listen, Opened};
use crate::http::{Cors, is_at_loopback, is_loopback};

/// The callers that a file may admit.
pub(super) struct Reach<'a> {
    pub(super) listen: &'a Listen,
    pub(super) external_urls: &'a [String],
    pub(super) cors: &'a Cors,
    /// Whether `http.trustedProxies` or `http.proxyProtocol` is set.
    pub(super) proxied: bool,
}

impl Reach<'_> {
    /// Callers other than programs on this machine, if there are any.
    fn others(&self) -> Option<String> {
        let Listen { address, port } = self.listen;
        let outside = |url: &&String| !is_at_loopback(url);
        match () {
            () if !is_loopback(address) => Some(format!("everyone who reaches {address}:{port}")),
            () if self.proxied => {
                Some("everyone behind http.trustedProxies and http.proxyProtocol".to_owned())
            }
            () => self
                .external_urls
                .iter()
                .find(outside)
                .map(|url| format!("everyone who reaches {url}")),
        }
    }
}

impl Interpreter<'_> {
    /// Handles a file without a login and without access control.
    pub(super) fn open(&mut self, mentions: &Mentions, reach: &Reach<'_>) -> Option<Opened> {
        if mentions.auth {
            self.mistake(
                "http.auth",
                "configures no login: add htpasswd, an issuer, a trust domain or a certificate authority, or remove http.auth to allow \
                 everything to everyone",
            );
            return None;
        }
        if mentions.client_certificates {
            self.mistake(
                "http.tls",
                "has an empty cacert, or clientAuth without a trusted authority: name the authority, or remove both keys to allow everything \
                 to everyone",
            );
            return None;
        }
        let others = reach.others();
        let opened = match (self.around.environment.open, &others) {
            (true, _) => Opened::ByOperator,
            (false, None) => Opened::OnLoopback,
            (false, Some(others)) => {
                self.mistake(
                    "http.auth",
                    format!(
                        "is missing: {others} could read, push and delete everything; add a login, listen on 127.0.0.1 only, or start with --open \
                         (WHARFINGER_OPEN=1) if this is intended"
                    ),
                );
                return None;
            }
        };
        let why = match opened {
            Opened::OnLoopback => "served because it listens on loopback",
            Opened::ByOperator => "served because of --open or WHARFINGER_OPEN",
        };
        let everyone = others.unwrap_or_else(|| match opened {
            Opened::OnLoopback => reach
                .cors
                .named()
                .fold("every program on this machine".to_owned(), |all, origin| format!("{all} and every page of {origin}")),
            Opened::ByOperator => {
                "every program on this machine, every page in a browser on it and everyone behind a proxy on it".to_owned()
            }
        });
        if opened == Opened::OnLoopback && reach.cors.is_for_all() {
            self.warn(
                "http.allowOrigin",
                "has *, which has no effect: an open registry rejects requests from the pages of other sites; list their origins",
            );
        }
        self.warnings.push(Warning::always_logged("http.auth", format!("THIS REGISTRY IS OPEN because there is no login: {everyone} may read, push and delete everything; credentials are ignored; {why}")));
        Some(opened)
    }
}

/// The policy of an `accessControl` without content.
pub(super) const EMPTY: &str = "is empty: zot treats this as no access control and allows everything, but here it grants nothing: \
                                write rules, or remove the key";
