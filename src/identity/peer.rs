//! What a connection's client certificate is worth. A chain is judged once, and the verdict kept for the connection's other
//! requests as long as the keys that vouched for it are the ones that count. Only a good verdict is ever kept, and whom it names to
//! those who asked last.

use super::Identity;
use super::grounds::Known;
use crate::clock::Timestamp;
use crate::trust::x509::{self, Leaf, Rejected, VerifiedChain, X509Authorities};
use crate::trust::{Authorities, Held, NoKeys};
use arc_swap::ArcSwapOption;
use pki_types::CertificateDer;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The certificates that the client sent in the handshake, leaf first. TLS has proved that it has the leaf's key, and nothing more.
pub struct Peer {
    chain: Vec<CertificateDer<'static>>,
    leaf: OnceLock<Leaf>,
    verdict: ArcSwapOption<VerifiedChain>,
    known: ArcSwapOption<(Arc<()>, Known)>,
}

impl Peer {
    #[must_use]
    pub fn new(chain: Vec<CertificateDer<'static>>) -> Self {
        Self { chain, leaf: OnceLock::new(), verdict: ArcSwapOption::empty(), known: ArcSwapOption::empty() }
    }

    /// Whether the client sent no certificate at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chain.is_empty()
    }

    /// The first certificate, parsed and untrusted. It is parsed when somebody asks: a client with a token may never need it.
    pub(super) fn leaf(&self) -> Result<&Leaf, Rejected> {
        if let Some(leaf) = self.leaf.get() {
            return Ok(leaf);
        }
        let der = self.chain.first().map_or(&[][..], |certificate| certificate.as_ref());
        let leaf = Leaf::parse(&CertificateDer::from(der))?;
        Ok(self.leaf.get_or_init(|| leaf))
    }

    /// Whom `authenticator`, as its address names it, found lately.
    pub(super) fn known_to(&self, authenticator: &Arc<()>, now: Timestamp) -> Option<Identity> {
        let known = self.known.load();
        known.as_deref().filter(|(by, _)| Arc::ptr_eq(by, authenticator)).and_then(|(_, known)| known.identity(now))
    }

    pub(super) fn keep(&self, authenticator: &Arc<()>, known: Known) {
        self.known.store(Some(Arc::new((authenticator.clone(), known))));
    }

    /// The chain as proved by what counts now in `authorities`, which must be those of the leaf's own trust domain.
    pub(super) fn svid(&self, authorities: &Authorities<X509Authorities>, now: Timestamp) -> Result<Arc<VerifiedChain>, Verdict> {
        self.judge(x509::verify_svid, true, authorities, now)
    }

    /// The chain of a certificate that is no SVID, as proved by what counts now in `authorities`.
    pub(super) fn plain(&self, authorities: &Authorities<X509Authorities>, now: Timestamp) -> Result<Arc<VerifiedChain>, Verdict> {
        self.judge(x509::verify_plain, false, authorities, now)
    }

    #[cfg(test)]
    pub(super) fn verdict_for_test(&self) -> Option<Arc<VerifiedChain>> {
        self.verdict.load_full()
    }

    /// A generation names the state of one source, so no other authorities can take a kept verdict for theirs, not even after
    /// another configuration was loaded. As what the leaf was judged is compared too, since that depends on the configuration.
    fn judge(
        &self,
        verify: Verify,
        svid: bool,
        authorities: &Authorities<X509Authorities>,
        now: Timestamp,
    ) -> Result<Arc<VerifiedChain>, Verdict> {
        let view = authorities.view(now).map_err(Verdict::Undecidable)?;
        let counts = |kept: &Arc<VerifiedChain>| {
            kept.generation() == view.generation && kept.spiffe_id().is_some() == svid && now < kept.valid_until()
        };
        if let Some(kept) = self.verdict.load_full().filter(counts) {
            return Ok(kept);
        }
        let intermediates = self.chain.get(1..).unwrap_or_default();
        let verified = verify(self.leaf().map_err(Verdict::Rejected)?, intermediates, &view, now);
        metrics::counter!("wharfinger_certificate_judgements_total").increment(1);
        let verified = Arc::new(verified.map_err(Verdict::Rejected)?);
        self.verdict.store(Some(verified.clone()));
        Ok(verified)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

/// Why a chain does not count.
pub(super) enum Verdict {
    Rejected(Rejected),
    Undecidable(NoKeys),
}

type Verify = fn(&Leaf, &[CertificateDer<'static>], &Held<X509Authorities>, Timestamp) -> Result<VerifiedChain, Rejected>;
