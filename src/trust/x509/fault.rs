//! Errors of the path builder, without what the client wrote into its certificate.

use webpki::Error;

/// Removes the parts of the client's certificate from an error, since rejections are cached.
pub(super) fn without_context(why: Error) -> Error {
    #[expect(
        deprecated,
        reason = "the newer ones repeat object identifiers as long as the certificate"
    )]
    match why {
        Error::RequiredEkuNotFoundContext(_) => Error::RequiredEkuNotFound,
        Error::UnsupportedSignatureAlgorithmContext(_) => Error::UnsupportedSignatureAlgorithm,
        Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            Error::UnsupportedSignatureAlgorithmForPublicKey
        }
        why => why,
    }
}
