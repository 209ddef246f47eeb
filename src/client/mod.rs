//! A client of registries, for the commands and later for mirrors and imports.
//!
//! [`Connection`] sends single requests and returns every answer and failure as it is, so that `login_check` can
//! judge them. [`Challenge`] and [`IssuedToken`] are the token endpoint as clients use it. [`Registry`] pushes and
//! pulls.
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
