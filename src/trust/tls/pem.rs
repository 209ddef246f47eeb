//! What is wrong with a PEM file.

use crate::shell::quoted;
use std::path::Path;

/// Why a file is no PEM. The library prints the bytes that it met as a list of numbers.
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

/// Whether PEM holds a private key that only a passphrase opens: PKCS#8, or as OpenSSL wrote it before.
#[must_use]
pub fn is_encrypted(pem: &[u8]) -> bool {
    let has = |mark: &[u8]| pem.windows(mark.len()).any(|window| window == mark);
    has(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || has(b"\nProc-Type: 4,ENCRYPTED")
}

/// What to do about such a file.
#[must_use]
pub fn decrypt(file: &Path) -> String {
    format!(
        "decrypt it with `openssl pkey -in {} -out FILE`, and let only the owner read FILE",
        quoted(file)
    )
}
