//! How many signatures one credential may cost. webpki's own budget cannot be set, and begins anew with each
//! call: six authorities of one name reach its 100.

use crate::limits::SIGNATURE_CHECKS;
use pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Shared by all that judges one credential: every authority of every entry.
#[derive(Debug, Default)]
pub(super) struct Budget {
    asked: AtomicUsize,
}

impl Budget {
    /// Whether one more signature may be checked.
    fn spend(&self) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed) < SIGNATURE_CHECKS
    }

    /// Whether a signature was left unchecked.
    pub(super) fn is_exceeded(&self) -> bool {
        self.asked.load(Ordering::Relaxed) > SIGNATURE_CHECKS
    }

    /// webpki's algorithms, with every check counted here.
    pub(super) fn algorithms(&self) -> Vec<Counted<'_>> {
        webpki::ALL_VERIFICATION_ALGS
            .iter()
            .map(|algorithm| Counted {
                algorithm: *algorithm,
                budget: self,
            })
            .collect()
    }
}

#[derive(Debug)]
pub(super) struct Counted<'a> {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    budget: &'a Budget,
}

impl SignatureVerificationAlgorithm for Counted<'_> {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        if !self.budget.spend() {
            return Err(InvalidSignature);
        }
        #[cfg(test)]
        super::testing::count_signature_check();
        self.algorithm.verify_signature(public_key, message, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }
}
