//! The keys of our own tokens: where they come from.

use super::store::Store;
use crate::clock::{Clock, Timestamp};
use crate::config::{FixedSettings, Mistake, TokenKeys};
use crate::exchange::{InvalidKeys, SigningKeys, Tokens, store_id};
use std::sync::Arc;
use std::time::Duration;

/// Checks that a key file exists and is valid. Creates nothing.
pub(super) fn check(keys: &TokenKeys, now: Timestamp) -> Result<(), Mistake> {
    match keys {
        TokenKeys::Folder(_) => Ok(()),
        TokenKeys::File(path) => SigningKeys::from_file(path, now)
            .map(drop)
            .map_err(|why| mistake(keys, &why)),
    }
}

pub(super) async fn open(
    fixed: &FixedSettings,
    store: &Store,
    session_lifetime: Duration,
    clock: &Clock,
) -> Result<Tokens, Mistake> {
    let keys = &fixed.token_keys;
    let now = clock.now();
    let id = store_id(store.records())
        .await
        .map_err(|why| Mistake::new("storage", why.to_string()))?;
    let opened = match keys {
        TokenKeys::Folder(folder) => SigningKeys::in_folder(folder, session_lifetime, now),
        TokenKeys::File(path) => SigningKeys::from_file(path, now),
    };
    let opened = Arc::new(opened.map_err(|why| mistake(keys, &why))?);
    let shared = fixed.storage.is_shared();
    Ok(Tokens::new(&id, opened).shared(shared.then(|| store.clock(clock))))
}

fn mistake(keys: &TokenKeys, why: &InvalidKeys) -> Mistake {
    let key = match keys {
        TokenKeys::Folder(_) => "stateDirectory",
        TokenKeys::File(_) => "http.auth.token.signingKeyFile",
    };
    Mistake::new(key, why.to_string())
}
