//! What the registry tells its own operator: on a unix socket that only its own user may open, and as
//! metrics. The socket answers questions and makes backups. Nothing else changes.

mod backup;
mod gauges;
mod report;
mod socket;
mod table;

pub use backup::{BACKUP, BackupNews, BackupRequest, MakeBackup};
pub use gauges::gauges;
pub use report::{CertificateReport, KeyReport, Report, SourceReport, Trusted, Verifies, What};
pub use socket::{Answers, SOCKET, serve};
pub use table::table;
