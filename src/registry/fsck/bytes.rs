//! Bytes that nothing names.

use super::Check;

/// What a name begins with: `[a-z0-9]{2}`. Names of ours are hexadecimal.
const DIGITS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

impl Check<'_> {
    /// To be called when all names are known.
    pub(super) async fn bytes(&mut self) {
        for first in DIGITS {
            for second in DIGITS {
                let begin = [*first, *second];
                match self.registry.bytes.names(begin).await {
                    Ok(names) => {
                        for name in names {
                            if !self.named.contains(&name) {
                                self.leftover(&format!("bytes {name}"), "nothing refers to them");
                            }
                        }
                    }
                    Err(why) => self.damage(&format!("bytes {}…", String::from_utf8_lossy(&begin)), format!("cannot be listed: {why}")),
                }
            }
        }
    }
}
