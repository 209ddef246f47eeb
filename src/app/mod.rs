//! Assembles the registry: a [`Config`](crate::config::Config) becomes sources, an authenticator, a policy, a
//! store, a registry and a server. No decisions are made here.

mod backup;
mod check;
mod collect;
mod convert;
mod copy;
mod evaluate;
mod foreign_store;
mod listening;
mod live;
mod networks;
mod registrar;
mod reload;
mod roots;
mod sources;
mod starting;
mod store;
mod tasks;
mod tls;
mod tokens;

pub use backup::{NotBackedUp, back_up};
pub use check::{Checked, check};
pub use collect::{Cut, NotCollected, collect};
pub use copy::{CopyNews, NotCopied, copy};
pub use evaluate::{Evaluator, Verdict};
pub use registrar::Registrar;
pub use store::{NotOpened, NotUpgradedHere, Purpose, Store, upgrade};
