//! Short fingerprints of keys. The registry's own tokens contain them, so that the registry notices when a
//! key has been withdrawn.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Returns 128 bits of SHA-256, as 22 characters of base64url.
pub(crate) fn fingerprint(bytes: &[u8]) -> String {
    shortened(digest(&SHA256, bytes).as_ref())
}

/// Returns the fingerprint that belongs to this SHA-256 digest.
pub(crate) fn fingerprint_of_digest(digest: &[u8; 32]) -> String {
    shortened(digest)
}

/// Parses a SHA-256 digest in the form of RFC 7638.
pub(crate) fn digest_of_base64url(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

fn shortened(digest: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest.get(..16).unwrap_or_default())
}
