//! The certificates that the server presents, from files and the Workload API, and the check of client
//! certificates in the handshake.

use crate::clock::Clock;
use crate::config::Mistake;
use crate::http::Shared;
use crate::identity::{Failure, Peer, Presented, Refusal};
use crate::server::{ChainCheck, InvalidTls, NotAccepted, Prepared, Tls, TlsSettings};
use crate::trust::source::{OwnSvid, OwnSvids, check_address};
use futures_util::FutureExt;
use std::sync::Arc;

pub(super) fn prepare(settings: TlsSettings) -> Result<Prepared, Vec<Mistake>> {
    Prepared::read(settings).map_err(|mistakes| mistakes.iter().map(mistake).collect())
}

pub(super) fn mistake(why: &InvalidTls) -> Mistake {
    Mistake::new("http.tls", why.to_string())
}

/// Whether a chain gives an identity, for `clientAuth: required`. The check never waits.
pub(super) fn chain_check(live: Shared, clock: Clock) -> ChainCheck {
    Arc::new(move |chain| {
        let peer = Peer::new(chain.to_vec());
        let presented = Presented {
            authorization: Vec::new(),
            peer: Some(&peer),
            ambient: true,
            address: None,
        };
        let live = live.load_full();
        let failure = match live
            .authenticator
            .authenticate(&presented, clock.now())
            .now_or_never()
        {
            Some(Ok(_)) => return Ok(()),
            Some(Err(failure)) => failure,
            None => {
                return Err(NotAccepted {
                    reason: "it cannot be checked without waiting".to_owned(),
                    evidence: Box::new(peer.evidence()),
                });
            }
        };
        let reason = match &failure {
            Failure::Refused(Refusal { reason, .. }) => reason.to_string(),
            Failure::Undecidable { why, .. } => why.to_string(),
            Failure::Busy { .. } => failure.to_string(),
        };
        Err(NotAccepted {
            reason,
            evidence: Box::new(peer.evidence()),
        })
    })
}

/// The stream of the registry's own X.509-SVIDs, if the registry presents them.
#[derive(Debug, Default)]
pub(super) struct Own {
    following: Option<(String, OwnSvids)>,
}

impl Own {
    /// Whether `address` could be followed.
    pub(super) fn check(address: &str) -> Result<(), Mistake> {
        check_address(address).map_err(|why| Mistake::new("http.auth.spiffe.workloadAPI", why.to_string()))
    }

    /// Follows `address` from now on, or stops if it is `None`. A running stream for the same address
    /// continues.
    pub(super) fn follow(&mut self, address: Option<&str>, tls: &Tls) {
        if self.following.as_ref().map(|(known, _)| known.as_str()) == address {
            return;
        }
        self.following = None;
        let Some(address) = address else { return };
        let tls = tls.clone();
        let present = move |svid: Option<OwnSvid>| {
            if let Err(why) = tls.present(svid.map(|svid| (svid.chain, svid.key))) {
                tracing::error!("the server keeps presenting the previous certificate: {why}");
            }
        };
        match OwnSvids::follow(address, present) {
            Ok(svids) => self.following = Some((address.to_owned(), svids)),
            Err(why) => tracing::error!("{why}"),
        }
    }
}
