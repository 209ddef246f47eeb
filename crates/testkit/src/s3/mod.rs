//! Object stores that speak S3: one inside the test, whose faults the test chooses, and starters of real ones.

mod engines;
mod fake;
mod place;
mod policy;
#[cfg(test)]
mod tests;

pub use engines::{Moto, SeaweedFs};
pub use fake::{
    Chaos, Conditions, Exchange, Fake, Fault, Gate, Listing, Object, On, Operation, Refusal, Rules, Seen,
    Upload, When, in_a_row,
};
pub use place::Place;
pub use policy::documented_policy;
