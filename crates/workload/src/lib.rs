//! The workload's side: finding a workload's own token, and giving it to clients that support only passwords.
//! Two small programs run beside clients and use it; the registry does not.
//!
//! [`Surroundings`] are the process's environment, [`Settings`] are the settings file, and
//! [`Workload::token`] fetches the token for one registry. [`docker`] and [`kubelet`] implement the two
//! protocols. No token is ever written to disk.

mod clients;
pub mod docker;
mod fetch;
mod github;
mod handed;
mod host;
mod install;
pub mod kubelet;
mod printable;
pub mod programs;
mod settings;
mod source;
mod source_error;
mod surroundings;
mod token;
mod withheld;

pub use handed::{Asker, Found, Handed, Workload};
pub use host::{InvalidHost, RegistryHost};
pub use printable::printable;
pub use settings::{InvalidSettings, PresentAs, Settings};
pub use source::Source;
pub use source_error::SourceError;
pub use surroundings::Surroundings;
pub use token::Token;
pub use withheld::{Audiences, Withheld};
