//! What is wrong with a PEM file.

use crate::shell::quoted;
use std::path::Path;

/// Explains why a file is not PEM. The library would print the bytes that it found as a list of numbers.
#[must_use]
pub const fn pem_words(why: &pki_types::pem::Error) -> &'static str {
    use pki_types::pem::Error;
    match why {
        Error::MissingSectionEnd { .. } => "a section's end marker is missing; the file may be cut off",
        Error::IllegalSectionStart { .. } => "a section's begin marker is malformed",
        Error::Base64Decode(_) => "a section is not base64",
        Error::NoItemsFound => "it has no section",
        Error::SectionTooLarge => "a section is too large",
        _ => "it cannot be read",
    }
}

/// Whether PEM has a private key that needs a passphrase, in PKCS#8 or in OpenSSL's older format.
#[must_use]
pub fn is_encrypted(pem: &[u8]) -> bool {
    let has = |mark: &[u8]| pem.windows(mark.len()).any(|window| window == mark);
    has(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || has(b"\nProc-Type: 4,ENCRYPTED")
}

/// Returns how to decrypt such a file.
#[must_use]
pub fn decrypt(file: &Path) -> String {
    format!(
        "decrypt it with `openssl pkey -in {} -out FILE`, and let only the owner read FILE",
        quoted(file)
    )
}
