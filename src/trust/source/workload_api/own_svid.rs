//! The registry's own X.509-SVID, which it presents as a TLS server. The key arrives over the stream and is
//! kept only in memory.

use super::client::Client;
use super::follow::{Follower, Pace, follow};
use super::wire::{X509Svid, X509SvidResponse};
use crate::clock::Timestamp;
use crate::spiffe_id::SpiffeId;
use crate::trust::bundle::split_der;
use crate::trust::source::SourceError;
use crate::trust::tasks::Task;
use crate::trust::x509::Leaf;
use futures_util::future::BoxFuture;
use pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fmt;
use std::sync::{Arc, Mutex};

/// An X.509-SVID with its key.
pub struct OwnSvid {
    pub id: SpiffeId,
    /// The leaf, then its intermediates.
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    pub not_after: Timestamp,
}

/// A stream of the registry's own X.509-SVIDs. It ends when this is dropped.
#[derive(Debug)]
#[must_use = "dropping it ends the stream"]
pub struct OwnSvids {
    _task: Task,
}

impl OwnSvids {
    /// Calls `present` with each new X.509-SVID, or with `None` if the last one was withdrawn. An unreachable
    /// agent changes nothing, since a certificate may be presented until it expires. Needs a tokio runtime.
    pub fn follow(
        address: &str,
        present: impl FnMut(Option<OwnSvid>) + Send + 'static,
    ) -> Result<Self, SourceError> {
        Self::paced(address, present, Pace::default())
    }

    pub(super) fn paced(
        address: &str,
        present: impl FnMut(Option<OwnSvid>) + Send + 'static,
        pace: Pace,
    ) -> Result<Self, SourceError> {
        let client = Client::new(address)?;
        let presenter = Arc::new(Mutex::new(Presenter::new(present)));
        Ok(Self {
            _task: Task::spawn(follow::<X509SvidResponse, _>(client, presenter, pace)),
        })
    }
}

pub(super) struct Presenter<P> {
    present: P,
    /// The chain presented last. It is empty if there is none.
    presented: Vec<u8>,
}

impl<P> Presenter<P> {
    pub(super) const fn new(present: P) -> Self {
        Self {
            present,
            presented: Vec::new(),
        }
    }
}

impl<P: FnMut(Option<OwnSvid>)> Follower<X509SvidResponse> for Presenter<P> {
    fn apply(&mut self, message: X509SvidResponse) {
        let Some(svid) = message.svids.into_iter().next() else {
            return tracing::warn!(
                "the Workload API sent no X.509-SVID, so the registry's last one stays in use"
            );
        };
        // SPIRE sends the same SVID again whenever anything else changes.
        if svid.x509_svid == self.presented {
            return;
        }
        let chain = svid.x509_svid.clone();
        match OwnSvid::read(svid) {
            Ok(svid) => {
                tracing::info!(spiffe.id = %svid.id, tls.not_after = %svid.not_after, "the registry has a new X.509-SVID of its own");
                (self.present)(Some(svid));
                self.presented = chain;
            }
            Err(why) => tracing::warn!(
                "the registry's new X.509-SVID cannot be used, so the old one stays in use: {why}"
            ),
        }
    }

    fn confirm(&mut self) {}

    fn pause(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn fail(&mut self, _why: &str) {}

    fn withdraw(&mut self, why: &str) {
        if !std::mem::take(&mut self.presented).is_empty() {
            tracing::error!("the registry's own X.509-SVID was withdrawn and is no longer presented: {why}");
            (self.present)(None);
        }
    }
}

impl OwnSvid {
    fn read(message: X509Svid) -> Result<Self, String> {
        let certificates = split_der(&message.x509_svid).map_err(|why| why.to_string())?;
        let chain: Vec<_> = certificates
            .into_iter()
            .map(|der| CertificateDer::from(der.to_vec()))
            .collect();
        let leaf = Leaf::parse_known(chain.first().ok_or("it has no certificate")?)
            .map_err(|why| why.to_string())?;
        let id = leaf.spiffe_id().map_err(|why| why.to_string())?;
        if id.as_str() != message.spiffe_id {
            return Err(format!(
                "its certificate is of {id}, and the Workload API calls it {:?}",
                message.spiffe_id
            ));
        }
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(message.x509_svid_key));
        Ok(Self {
            id,
            chain,
            key,
            not_after: leaf.not_after(),
        })
    }
}

/// Does not show the key.
impl fmt::Debug for OwnSvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnSvid")
            .field("id", &self.id)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}
