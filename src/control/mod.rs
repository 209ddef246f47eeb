//! What the registry tells its own operator: on a unix socket that only its own user may open, and as metrics. It answers questions
//! and changes nothing.

mod gauges;
mod report;
mod socket;
mod table;

pub use gauges::gauges;
pub use report::{CertificateReport, KeyReport, Report, SourceReport, Trusted, Verifies, What};
pub use socket::{Answers, SOCKET, serve};
pub use table::table;
