//! Real stores, started as programs on loopback. `.ci/run` installs them.

mod moto;
mod program;
mod seaweedfs;

pub use moto::Moto;
#[cfg(test)]
pub(super) use program::ask;
pub use seaweedfs::SeaweedFs;
