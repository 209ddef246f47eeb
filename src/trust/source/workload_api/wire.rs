//! The messages of `workload.proto` that a verifier needs, written by hand.
//!
//! <https://github.com/spiffe/spiffe/blob/main/standards/workloadapi.proto>

use std::collections::BTreeMap;
use std::fmt;

/// Bundles by the trust domain's SPIFFE ID, `spiffe://td` (W-13).
pub(super) type ByDomain = BTreeMap<String, Vec<u8>>;

/// Stands for `X509BundlesRequest` and `JWTBundlesRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Request {}

/// Field 1 (`crl`) is not read, since SPIRE does not fill it (W-14).
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct X509BundlesResponse {
    /// Concatenated DER certificates.
    #[prost(btree_map = "string, bytes", tag = "2")]
    pub(super) bundles: ByDomain,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct JwtBundlesResponse {
    /// JWK sets, without `use`.
    #[prost(btree_map = "string, bytes", tag = "1")]
    pub(super) bundles: ByDomain,
}

/// Fields 2 (`crl`) and 3 (`federated_bundles`) are not read, since bundles have a stream of their own.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct X509SvidResponse {
    /// The first is the default identity.
    #[prost(message, repeated, tag = "1")]
    pub(super) svids: Vec<X509Svid>,
}

/// The generated `Debug` would show the key.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub(super) struct X509Svid {
    #[prost(string, tag = "1")]
    pub(super) spiffe_id: String,
    /// Concatenated DER certificates, the leaf first.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) x509_svid: Vec<u8>,
    /// PKCS#8 in DER.
    #[prost(bytes = "vec", tag = "3")]
    pub(super) x509_svid_key: Vec<u8>,
}

impl fmt::Debug for X509Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("X509Svid")
            .field("spiffe_id", &self.spiffe_id)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct JwtSvidRequest {
    #[prost(string, repeated, tag = "1")]
    pub(super) audience: Vec<String>,
    /// Empty for all that the workload has.
    #[prost(string, tag = "2")]
    pub(super) spiffe_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct JwtSvidResponse {
    /// The first is the default identity.
    #[prost(message, repeated, tag = "1")]
    pub(super) svids: Vec<JwtSvid>,
}

/// The generated `Debug` would show the token.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub(super) struct JwtSvid {
    #[prost(string, tag = "1")]
    pub(super) spiffe_id: String,
    #[prost(string, tag = "2")]
    pub(super) svid: String,
}

impl fmt::Debug for JwtSvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtSvid")
            .field("spiffe_id", &self.spiffe_id)
            .finish_non_exhaustive()
    }
}

/// A message of an endless stream. Each message is the whole state (W-6).
pub(super) trait Message: prost::Message + Default + 'static {
    /// The stream's name, and the path of its call.
    const METHOD: &'static str;
    const PATH: &'static str;
}

impl Message for X509SvidResponse {
    const METHOD: &'static str = "FetchX509SVID";
    const PATH: &'static str = "/SpiffeWorkloadAPI/FetchX509SVID";
}

/// A message about one kind of key.
pub(super) trait State: Message {
    fn bundles(self) -> ByDomain;
}

impl Message for X509BundlesResponse {
    const METHOD: &'static str = "FetchX509Bundles";
    const PATH: &'static str = "/SpiffeWorkloadAPI/FetchX509Bundles";
}

impl State for X509BundlesResponse {
    fn bundles(self) -> ByDomain {
        self.bundles
    }
}

impl Message for JwtBundlesResponse {
    const METHOD: &'static str = "FetchJWTBundles";
    const PATH: &'static str = "/SpiffeWorkloadAPI/FetchJWTBundles";
}

impl State for JwtBundlesResponse {
    fn bundles(self) -> ByDomain {
        self.bundles
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    #[test]
    fn w_14_revocation_lists_are_ignored() {
        let with_crl = [&[0x0a, 3, 1, 2, 3][..], &[0x12, 6, 0x0a, 1, b'k', 0x12, 1, b'v']].concat();
        let read = X509BundlesResponse::decode(&with_crl[..]).unwrap();
        assert_eq!(read.bundles(), ByDomain::from([("k".to_owned(), b"v".to_vec())]));
    }
}
