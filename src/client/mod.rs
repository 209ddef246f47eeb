//! A client of registries, for the commands and later for mirrors and imports.
//!
//! [`Connection`] sends single requests and returns every answer and failure as it is, so that `login_check` can
//! judge them. [`Challenge`] and [`IssuedToken`] are the token endpoint as clients use it. [`Registry`] pushes and
//! pulls.
//!
//! The client suits registries that serve blobs themselves, such as Wharfinger. These limits remain:
//! * It follows no redirects. Pulls of blobs from a registry that redirects to a storage service fail.
//! * The timeout covers a request with its body and answer, so a large blob on a slow network cannot be moved.
//! * Blobs are kept in memory.
//! * [`Registry`] presents the credential that it has. It requests no token from a token endpoint.
//! * An upload that continues at another origin gets no credential. It works only if its URL needs none.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md>,
//! <https://distribution.github.io/distribution/spec/auth/token/>

mod answer;
mod challenge;
mod connection;
mod registry;
mod request;
mod token;

pub use answer::{Answer, Outcome, Unanswered};
pub use challenge::{Challenge, InvalidChallenge};
pub use connection::{Connection, InvalidConnection};
pub use registry::{ClientError, Registry};
pub use request::{Authorization, Request};
pub use reqwest::Url;
pub use token::IssuedToken;

#[cfg(test)]
mod tests;
