//! What is measured, and how it is read. Anyone measures through the `metrics` crate's macros; what may be
//! measured is listed in `families`, from which the reference in `docs/` is made, so that nothing is exposed
//! that nobody can look up. Labels have few values, and never one that a stranger chose.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

mod exposition;
mod families;
mod process;
mod scrape;

pub use exposition::{UPKEEP_EVERY, install, upkeep};
pub use families::{FAMILIES, Family, Kind, reference};
pub use process::process;
pub use scrape::{CONTENT_TYPE, Samples, Scrape};
