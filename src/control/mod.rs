//! The operator's view of the running registry: metrics, and a unix socket that only the registry's user and
//! root may open. Over the socket the registry reports trust, makes backups and collects garbage. The socket
//! can change nothing else.
//!
//! The type that implements [`Question`] defines what its command sends, what the server reports while it
//! works, and what it answers. [`Answers`] has a server's handlers, and [`ask()`] is the command's side.

mod answers;
mod ask;
mod backup;
mod collect;
mod gauges;
mod question;
mod report;
mod socket;
mod table;
mod trust;

pub use answers::{Answers, Updates};
pub use ask::{AskError, ask};
pub use backup::BackupRequest;
pub use collect::{CollectRequest, Collected};
pub use gauges::gauges;
pub use question::{Question, Reason};
pub use report::{CertificateReport, KeyReport, Report, SourceReport, Trusted, Verifies, What};
pub use socket::{SOCKET, serve};
pub use table::table;
pub use trust::TrustRequest;

#[cfg(test)]
mod tests;
