//! The operator's view of the running registry: a unix socket that only the registry's user and root may open, and
//! metrics. The socket reports trust and makes backups. It changes nothing else.

mod backup;
mod gauges;
mod report;
mod socket;
mod table;

pub use backup::{BACKUP, BackupMessage, BackupRequest, MakeBackup};
pub use gauges::gauges;
pub use report::{CertificateReport, KeyReport, Report, SourceReport, Trusted, Verifies, What};
pub use socket::{Answers, SOCKET, serve};
pub use table::table;
