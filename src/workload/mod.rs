//! The workload's side: where a workload's own token comes from, and how it is handed to clients that know
//! only passwords. It serves no registry; the commands that run beside clients are made of it.
//!
//! [`Surroundings`] is what a process can see of where it runs, [`Settings`] what a file says, and
//! [`Workload::token`] gets the token for one registry. [`docker`] and [`kubelet`] speak the two protocols.
//! Nothing is ever written to disk.

mod clients;
pub mod docker;
mod fetch;
mod github;
mod handed;
mod host;
pub mod kubelet;
pub mod login_check;
mod printable;
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
pub use withheld::Withheld;
