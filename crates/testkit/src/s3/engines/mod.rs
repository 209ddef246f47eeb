//! Real stores, started as programs on loopback. `.ci/run` installs them.

mod moto;
mod program;
mod seaweedfs;
mod sts;

pub use moto::Moto;
pub use seaweedfs::SeaweedFs;
