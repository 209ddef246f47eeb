//! `http.auth.token`

use super::Interpreter;
use crate::config::raw;
use crate::config::settings::TokenKeys;
use std::path::Path;
use std::time::Duration;

impl Interpreter<'_> {
    /// The keys, and how long a session lasts.
    pub(super) fn token(
        &mut self,
        token: Option<raw::Token>,
        state_directory: &Path,
    ) -> (TokenKeys, Duration) {
        let token = token.unwrap_or_default();
        let key = "http.auth.token.sessionLifetime";
        let lifetime = self.duration(
            key.to_owned(),
            token.session_lifetime.as_deref(),
            SESSION_LIFETIME,
        );
        if !lifetime.is_zero() && lifetime < SHORTEST {
            self.mistake(key, "clients take a token to be good for at least 60s: give 2m or more, or 0 for no longer than the credential");
        }
        self.advise_session(lifetime);
        let file = token
            .signing_key_file
            .map(|file| TokenKeys::File(self.around.path(&file)));
        (
            file.unwrap_or_else(|| TokenKeys::Folder(state_directory.to_owned())),
            lifetime,
        )
    }
}

const SESSION_LIFETIME: Duration = Duration::from_secs(3600);
/// What clients assume a token to last at least, and some time to use it.
const SHORTEST: Duration = Duration::from_secs(120);
