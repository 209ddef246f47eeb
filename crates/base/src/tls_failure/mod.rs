//! Why a TLS connection failed, in words for people. The texts of the libraries' errors contain Rust and do
//! not name the cause.

mod certificate;
mod explain;
mod failure;
mod fault;

pub use certificate::{certificate_words, path_error};
pub use explain::{explain, explain_peer};
pub use failure::Failure;
pub use fault::Fault;
