//! Asks the registry that holds a store to do the work of a command.

use crate::control::{self, AskError, Question};
use crate::storage::local::OpenError;
use std::path::Path;

/// The process that holds the store, which is probably the registry of this configuration.
pub(super) struct Holder<'a> {
    pub(super) state_directory: &'a Path,
    pub(super) in_use: &'a OpenError,
    /// The work that the registry is asked for, in messages.
    pub(super) work: &'static str,
    /// What running the command again will do, in messages.
    pub(super) again: &'static str,
}

impl Holder<'_> {
    /// The error is a message for the user.
    pub(super) async fn ask<Q: Question>(
        &self,
        question: &Q,
        show: impl FnMut(Q::Progress),
    ) -> Result<Q::Answer, String> {
        let Self {
            in_use, work, again, ..
        } = self;
        let asked = control::ask(self.state_directory, question, show).await;
        asked.map_err(|why| match why {
            AskError::Unreachable { socket, why } => format!(
                "{in_use}. The request for the {work}, sent to {}, failed: {why}. If that process is a registry, check that it uses this configuration, and run this command as its user.",
                socket.display()
            ),
            AskError::CutShort(why) => format!(
                "the registry stopped before the {work} was complete ({why}); run the same command again to {again}"
            ),
            AskError::NotText | AskError::OtherVersion | AskError::Failed(_) => why.to_string(),
        })
    }
}
