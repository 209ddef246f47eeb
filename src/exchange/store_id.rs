//! The store's id, which is in the issuer of its tokens. It is generated once and is the same for every
//! replica.

use crate::storage::{Failure, RecordStore, STORE_ID};
use bytes::Bytes;
use std::fmt::Write as _;
use std::sync::Arc;

/// Returns the id, and generates it if there is none: 128 random bits as 32 hexadecimal characters.
pub async fn store_id(records: &dyn RecordStore) -> Result<String, Failure> {
    loop {
        if let Some(found) = records.get(STORE_ID).await? {
            return String::from_utf8(found.value.into()).map_err(|why| Failure::Io(Arc::new(why)));
        }
        match records
            .create(
                STORE_ID,
                Bytes::from(random().map_err(|why| Failure::Io(Arc::new(why)))?).into(),
            )
            .await
        {
            // Another replica was faster, so its id is used.
            Ok(_) | Err(Failure::Conflict) => {}
            Err(why) => return Err(why),
        }
    }
}

/// Returns 32 random hexadecimal characters.
pub(super) fn random() -> Result<String, aws_lc_rs::error::Unspecified> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes)?;
    Ok(bytes.iter().fold(String::with_capacity(32), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::memory::Memory;

    #[tokio::test]
    async fn a_store_keeps_its_id() {
        let store = Memory::new();
        let other = Memory::new();
        let id = store_id(&store).await.unwrap();
        assert_eq!(store_id(&store).await.unwrap(), id);
        assert_eq!(
            (id.len(), id.bytes().all(|byte| byte.is_ascii_hexdigit())),
            (32, true)
        );
        assert_ne!(store_id(&other).await.unwrap(), id);
    }
}
