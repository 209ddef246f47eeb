//! Skeleton.
use super::jwks::{KeySet, Parsed};
use super::x509::X509Authorities;
use std::time::Duration;

#[derive(Clone, Debug, Default)]
pub struct Bundle {
    pub x509: X509Authorities,
    pub jwt: KeySet,
    pub sequence: Option<u64>,
    pub refresh_hint: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBundle {
    #[error("no bundle")]
    Empty,
}

#[allow(clippy::unimplemented)]
pub fn parse_spiffe(_bytes: &[u8]) -> Result<Parsed<Bundle>, InvalidBundle> {
    unimplemented!()
}

#[allow(clippy::unimplemented)]
pub fn parse_pem(_bytes: &[u8]) -> Result<Parsed<X509Authorities>, InvalidBundle> {
    unimplemented!()
}

#[allow(clippy::unimplemented)]
pub fn parse_der(_concatenated: &[u8]) -> Result<Parsed<X509Authorities>, InvalidBundle> {
    unimplemented!()
}
