//! Answers the operator's questions on the control socket.

use crate::control::{self, Answers};
use crate::file_error::FileError;
use std::path::PathBuf;

/// Never ends. If the socket cannot be opened, the registry still serves.
pub(super) async fn answer_operator(state_directory: PathBuf, answers: Answers) {
    let commands = answers.commands();
    let Err(why) = control::serve(&state_directory, answers).await;
    let error = FileError::new(&state_directory, &why);
    tracing::warn!(state.directory = %state_directory.display(), "the control socket is not available, so {commands} cannot reach this server: {error}");
    std::future::pending().await
}
