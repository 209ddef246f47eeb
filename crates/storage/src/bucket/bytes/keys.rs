//! Where the bytes of a blob are.

use crate::Failure;
use crate::contract::check_name;

/// All bytes are below this prefix.
pub(super) const ALL: &str = "d/";

/// The key of the blob `name`.
pub(super) fn blob(name: &str) -> Result<String, Failure> {
    check_name(name)?;
    Ok(format!("{ALL}{}/{name}", name.get(..2).unwrap_or_default()))
}

/// The key of a new rest of the blob at `blob`. No other rest has it.
pub(super) fn new_rest(blob: &str) -> String {
    format!("{}{:032x}", rests(blob), fastrand::u128(..))
}

/// The prefix of the rests of the blob at `blob`.
pub(super) fn rests(blob: &str) -> String {
    format!("{blob}.")
}

/// The name of the blob that the object at this key belongs to: its bytes, or a rest of it. `None` for a key that
/// is not of this store.
pub(super) fn name_at(key: &str) -> Option<&str> {
    let blob_key = key.split_once('.').map_or(key, |(blob_key, _)| blob_key);
    let (_, name) = blob_key.rsplit_once('/')?;
    (blob(name).ok()? == blob_key).then_some(name)
}

/// The key behind which the keys of all names after this one are. A name may be cut off.
pub(super) fn behind(name: &str) -> String {
    match name.get(..2) {
        // The rests of a whole name belong to it.
        Some(folder) if name.len() == 32 => format!("{ALL}{folder}/{name}.~"),
        Some(folder) if name.len() > 2 => format!("{ALL}{folder}/{name}"),
        _ => format!("{ALL}{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_the_name_unless_it_is_of_something_else() {
        let key = blob("0123456789abcdef0123456789abcdef").unwrap();
        assert_eq!(key, "d/01/0123456789abcdef0123456789abcdef");
        assert_eq!(name_at(&key), Some("0123456789abcdef0123456789abcdef"));
        assert_eq!(name_at(&new_rest(&key)), name_at(&key));
        assert!(behind("0123456789abcdef0123456789abcdef") > new_rest(&key));
        assert!(
            behind("0123456789abcdef0123456789abcdef") < blob("0123456789abcdef0123456789abcdeg").unwrap()
        );
        for other in ["d/02/0123456789abcdef0123456789abcdef", "d/01/x", "d/01/", ""] {
            assert_eq!(name_at(other), None, "{other}");
        }
        assert_ne!(new_rest(&key), new_rest(&key));
    }
}
