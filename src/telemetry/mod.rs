//! Metrics and how they are read. Code measures through the macros of the `metrics` crate. `families` lists
//! every metric, and the reference in `docs/` is made from it, so that every metric is documented. Labels
//! have few values, and never one that a caller chose.
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
