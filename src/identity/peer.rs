//! A connection's client certificates, and the cached result of their verification. The chain is verified
//! once, and the other requests of the connection use the result. An identity is valid while the keys that
//! verified it are current. A rejection is valid until a source changes or a date may change it. So a client
//! cannot make the registry verify signatures for each request.
//!
//! The DER of a rejected certificate is kept, within [`crate::limits`], so that keys that arrive later can
//! still verify it. Its parsed form is not kept.

use super::grounds::{Grounds, Known, KnownFailure};
use super::refusal::{Reason, shown};
use super::{CredentialType, Evidence, Failure, Identity, Refused};
use crate::clock::Timestamp;
use crate::trust::x509::{self, Leaf, Rejected, UnverifiedParts, VerifiedChain, X509Authorities};
use crate::trust::{Authorities, NoKeys};
use arc_swap::ArcSwapOption;
use pki_types::CertificateDer;
use std::fmt;
use std::sync::Arc;
use tokio::sync::{Mutex, MutexGuard};

/// The certificates that the client sent in the handshake, leaf first. TLS has proved only that the client
/// has the leaf's private key, and only if [`x509::provable_key`] accepts that key.
pub struct Peer {
    chain: Result<Vec<CertificateDer<'static>>, Box<TooMuch>>,
    verdict: ArcSwapOption<VerifiedChain>,
    known: ArcSwapOption<(Arc<()>, Found)>,
    /// Held during verification, so that concurrent requests do not verify the chain several times. They wait
    /// without blocking a thread.
    verifying: Mutex<()>,
}

/// A chain over a limit. It is not kept, since it can never be accepted.
struct TooMuch {
    certificates: usize,
    why: Rejected,
    evidence: Evidence,
}

enum Found {
    Identity(Known),
    Failure(KnownFailure),
}

impl Peer {
    #[must_use]
    pub fn new(chain: Vec<CertificateDer<'static>>) -> Self {
        let chain = match x509::check_chain(&chain) {
            Ok(()) => Ok(chain),
            Err(why) => {
                let evidence = chain.first().map(|leaf| evidence(leaf)).unwrap_or_default();
                Err(Box::new(TooMuch {
                    certificates: chain.len(),
                    why,
                    evidence,
                }))
            }
        };
        Self {
            chain,
            verdict: ArcSwapOption::empty(),
            known: ArcSwapOption::empty(),
            verifying: Mutex::default(),
        }
    }

    /// Whether the client sent no certificate at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chain.as_ref().is_ok_and(Vec::is_empty)
    }

    /// Returns what the first certificate says about itself for the log. It is unverified and shortened.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        match &self.chain {
            Ok(chain) => chain.first().map(|leaf| evidence(leaf)).unwrap_or_default(),
            Err(too_much) => too_much.evidence.clone(),
        }
    }

    /// Parses the first certificate for one verification. The leaf is not trusted. It limits the signature
    /// checks that its chain may use.
    pub(super) fn leaf(&self) -> Result<Leaf, Rejected> {
        let chain = self.chain.as_ref().map_err(|too_much| too_much.why.clone())?;
        Leaf::parse(chain.first().unwrap_or(&CertificateDer::from(&[][..])))
    }

    /// Returns the cached result of this authenticator, which its address identifies.
    pub(super) fn known_to(
        &self,
        authenticator: &Arc<()>,
        now: Timestamp,
    ) -> Option<Result<Identity, Failure>> {
        match self
            .known
            .load()
            .as_deref()
            .filter(|(by, _)| Arc::ptr_eq(by, authenticator))?
        {
            (_, Found::Identity(known)) => known.identity(now).map(Ok),
            (_, Found::Failure(known)) => known.failure(now).map(Err),
        }
    }

    /// Waits while another request verifies the chain.
    pub(super) async fn verifying(&self) -> MutexGuard<'_, ()> {
        match self.verifying.try_lock() {
            Ok(verifying) => verifying,
            // The handshake cannot wait. It has a chain of its own and never comes here.
            Err(_) => self.verifying.lock().await,
        }
    }

    pub(super) fn keep(
        &self,
        authenticator: &Arc<()>,
        found: Result<Identity, Failure>,
        grounds: Grounds,
        now: Timestamp,
    ) {
        let found = match found {
            Ok(identity) => Found::Identity(Known::new(identity, grounds, now)),
            Err(failure) => Found::Failure(KnownFailure::new(failure, grounds, now)),
        };
        self.known.store(Some(Arc::new((authenticator.clone(), found))));
    }

    /// Verifies an X.509-SVID's chain by `authorities`, which must be those of the leaf's own trust domain.
    pub(super) fn svid(
        &self,
        leaf: &Leaf,
        authorities: &Authorities<X509Authorities>,
        grounds: &mut Grounds,
        now: Timestamp,
    ) -> Result<Arc<VerifiedChain>, Verdict> {
        self.verify(Kind::Svid, leaf, authorities, grounds, now)
    }

    /// Verifies the chain of a plain certificate by `authorities`.
    pub(super) fn plain(
        &self,
        leaf: &Leaf,
        authorities: &Authorities<X509Authorities>,
        grounds: &mut Grounds,
        now: Timestamp,
    ) -> Result<Arc<VerifiedChain>, Verdict> {
        self.verify(Kind::Plain, leaf, authorities, grounds, now)
    }

    #[cfg(test)]
    pub(super) fn verdict_for_test(&self) -> Option<Arc<VerifiedChain>> {
        self.verdict.load_full()
    }

    /// Returns how many bytes of certificates are held.
    #[cfg(test)]
    pub(super) fn der_bytes(&self) -> usize {
        self.chain.iter().flatten().map(|der| der.len()).sum()
    }

    /// A generation belongs to one source, so a cached verdict is never used for other authorities, even
    /// after a reload. The kind of verification is compared too, since the configuration decides it.
    fn verify(
        &self,
        kind: Kind,
        leaf: &Leaf,
        authorities: &Authorities<X509Authorities>,
        grounds: &mut Grounds,
        now: Timestamp,
    ) -> Result<Arc<VerifiedChain>, Verdict> {
        let view = authorities.view(now).map_err(Verdict::Undecidable)?;
        let still_valid = |kept: &Arc<VerifiedChain>| {
            kept.generation() == view.generation
                && kept.spiffe_id().is_some() == (kind == Kind::Svid)
                && now < kept.valid_until()
        };
        if let Some(kept) = self.verdict.load_full().filter(still_valid) {
            return Ok(kept);
        }
        let intermediates = self
            .chain
            .as_ref()
            .ok()
            .and_then(|chain| chain.get(1..))
            .unwrap_or_default();
        let verified = match kind {
            Kind::Svid => x509::verify_svid(leaf, intermediates, &view, now),
            Kind::Plain => x509::verify_plain(leaf, intermediates, &view, now),
        };
        metrics::counter!("wharfinger_certificate_verifications_total").increment(1);
        let verified = verified.map_err(|why| {
            grounds.last_until(x509::next_change(leaf, intermediates, &view, now));
            Verdict::Rejected(why)
        })?;
        let verified = Arc::new(verified);
        self.verdict.store(Some(verified.clone()));
        Ok(verified)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let certificates = self
            .chain
            .as_ref()
            .map_or_else(|too_much| too_much.certificates, Vec::len);
        f.debug_struct("Peer")
            .field("certificates", &certificates)
            .finish_non_exhaustive()
    }
}

fn evidence(leaf: &CertificateDer<'_>) -> Evidence {
    let UnverifiedParts {
        subject,
        issuer,
        serial,
        uri,
        claims_spiffe,
    } = UnverifiedParts::of(leaf);
    let credential = if claims_spiffe {
        CredentialType::X509Svid
    } else {
        CredentialType::X509
    };
    let shown = |text: Option<String>| text.as_deref().map(shown);
    Evidence {
        credential: Some(credential),
        issuer: shown(issuer),
        key_id: None,
        subject: shown(uri.filter(|_| claims_spiffe).or(subject)),
        serial: shown(serial),
    }
}

/// Why a chain yields no identity.
pub(super) enum Verdict {
    Rejected(Rejected),
    Undecidable(NoKeys),
}

impl From<Verdict> for Reason {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Rejected(why) => Self::Refused(Refused::Chain(why)),
            Verdict::Undecidable(why) => Self::Undecidable(why),
        }
    }
}

/// How a certificate is verified.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Svid,
    Plain,
}
