//! `http.auth.token`

use super::Interpreter;
use crate::config::raw;
use crate::config::settings::TokenKeys;
use std::path::Path;
use std::time::Duration;

impl Interpreter<'_> {
    /// The keys, and the lifetime of a session. With `shared`, other registries must accept these tokens too.
    pub(super) fn token(
        &mut self,
        token: Option<raw::Token>,
        state_directory: &Path,
        shared: bool,
    ) -> (TokenKeys, Duration) {
        let token = token.unwrap_or_default();
        let key = "http.auth.token.sessionLifetime";
        let lifetime = self.duration(
            key.to_owned(),
            token.session_lifetime.as_deref(),
            SESSION_LIFETIME,
        );
        if !lifetime.is_zero() && lifetime < SHORTEST {
            self.mistake(key, "clients assume that a token is valid for at least 60s: use 2m or more, or 0 for the credential's own lifetime");
        }
        self.advise_session(lifetime);
        if shared && token.signing_key_file.is_none() {
            self.mistake(
                "http.auth.token.signingKeyFile",
                "is missing: several registries may use a bucket, and each must accept the tokens of the others. Make a key with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`, and give every registry the same file. If there is only one, set storage.storageDriver.singleReplica: true",
            );
        }
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
/// The lifetime that clients assume at least, plus some time to use the token.
const SHORTEST: Duration = Duration::from_secs(120);
