//! Bytes that nothing names.

use super::super::Error;
use super::Check;

/// What a name begins with: `[a-z0-9]{2}`. Names of ours are hexadecimal.
const DIGITS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

impl Check<'_> {
    /// To be called when all names are known.
    pub(super) async fn bytes(&mut self) -> Result<(), Error> {
        for first in DIGITS {
            for second in DIGITS {
                for name in self.registry.bytes.names([*first, *second]).await? {
                    if !self.named.contains(&name) {
                        self.leftover(&format!("bytes {name}"), "nothing refers to them");
                    }
                }
            }
        }
        Ok(())
    }
}
