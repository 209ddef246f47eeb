//! Skeleton.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    #[error("not an X.509 certificate in DER")]
    Malformed,
}
