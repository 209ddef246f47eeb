//! Object stores that speak S3: one inside the test, whose faults the test chooses, and starters of real ones.

mod engines;
mod place;
#[cfg(test)]
mod tests;

pub use engines::{Moto, SeaweedFs};
pub use place::Place;
