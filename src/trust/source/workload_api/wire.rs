//! The messages of `workload.proto` that a verifier needs, written by hand.
//!
//! <https://github.com/spiffe/spiffe/blob/main/standards/workloadapi.proto>

use std::collections::BTreeMap;

/// By the trust domain's SPIFFE ID, `spiffe://td` (W-13).
pub(super) type ByDomain = BTreeMap<String, Vec<u8>>;

/// `X509BundlesRequest` and `JWTBundlesRequest` alike.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Request {}

/// Field 1 (`crl`) is not read: SPIRE fills none (W-14).
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

/// A message that says the whole state of one kind of key.
pub(super) trait State: prost::Message + Default + 'static {
    /// The stream's name, and the path it is called by.
    const METHOD: &'static str;
    const PATH: &'static str;
    fn bundles(self) -> ByDomain;
}

impl State for X509BundlesResponse {
    const METHOD: &'static str = "FetchX509Bundles";
    const PATH: &'static str = "/SpiffeWorkloadAPI/FetchX509Bundles";

    fn bundles(self) -> ByDomain {
        self.bundles
    }
}

impl State for JwtBundlesResponse {
    const METHOD: &'static str = "FetchJWTBundles";
    const PATH: &'static str = "/SpiffeWorkloadAPI/FetchJWTBundles";

    fn bundles(self) -> ByDomain {
        self.bundles
    }
}
