//! The budget of signature checks for one credential. webpki's own budget cannot be configured and applies to
//! each call separately. Six authorities with one name already use up its 100 checks.

use crate::limits::SIGNATURE_CHECKS;
use pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Shared by all verifications of one credential, over all authorities and entries.
#[derive(Debug, Default)]
pub(super) struct Budget {
    asked: AtomicUsize,
}

impl Budget {
    /// Takes one check. Returns `false` if the budget is used up.
    fn spend(&self) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed) < SIGNATURE_CHECKS
    }

    /// Whether a signature was not checked for lack of budget.
    pub(super) fn is_exceeded(&self) -> bool {
        self.asked.load(Ordering::Relaxed) > SIGNATURE_CHECKS
    }

    /// Returns webpki's algorithms. Each check is counted here.
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
