//! The names of the objects that hold records.
//!
//! Keys are ordered by their bytes, but some stores (`SeaweedFS`) keep keys in folders and list them folder by
//! folder: there `a/b` comes before `a!`, although `!` is less than `/`. So the name of an object has no `/` of
//! the key: `.` is written as `.-` and `/` as `._`, which keeps the order. These stores limit the length of the
//! name of a file to 255 bytes. So after 200 bytes, the rest goes to a folder. The folder's name ends with
//! another `-`, since it must not be the name of another record.

/// The folder of all records.
const FOLDER: &str = "records/";
const PIECE: usize = 200;
const NEXT_PIECE: &str = "-/";
/// What stands for the empty key, which no object can have as its name. Lists never show the empty key.
const EMPTY: &str = ".0";

/// The name of the object with the record `key`.
pub(super) fn object(key: &str) -> String {
    if key.is_empty() {
        format!("{FOLDER}{EMPTY}")
    } else {
        prefix(key)
    }
}

/// What the names of the objects begin with whose keys begin with `start`. It is also the name of the object
/// with the key `start`, unless that is empty.
pub(super) fn prefix(start: &str) -> String {
    let mut name = String::with_capacity(FOLDER.len() + start.len() + 16);
    name.push_str(FOLDER);
    let mut piece = name.len();
    for char in start.chars() {
        if name.len() - piece >= PIECE {
            name.push_str(NEXT_PIECE);
            piece = name.len();
        }
        match char {
            '.' => name.push_str(".-"),
            '/' => name.push_str("._"),
            char => name.push(char),
        }
    }
    name
}

/// The key of the record in the object `name`. `None` if the object is not a record's.
pub(super) fn key(name: &str) -> Option<String> {
    let mut rest = name.strip_prefix(FOLDER)?;
    let mut key = String::with_capacity(rest.len());
    let mut piece = 0;
    while let Some(char) = rest.chars().next() {
        if piece >= PIECE {
            rest = rest.strip_prefix(NEXT_PIECE)?;
            piece = 0;
            if rest.is_empty() {
                return None;
            }
            continue;
        }
        let (char, length) = match char {
            '.' if rest.starts_with(".-") => ('.', 2),
            '.' if rest.starts_with("._") => ('/', 2),
            '.' | '/' => return None,
            char => (char, char.len_utf8()),
        };
        key.push(char);
        piece += length;
        rest = rest.get(length..)?;
    }
    Some(key).filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_shows_its_key() {
        assert_eq!(
            object("r/library/nginx!/t/1.25"),
            "records/r._library._nginx!._t._1.-25"
        );
        assert_eq!(
            key("records/r._library._nginx!._t._1.-25").unwrap(),
            "r/library/nginx!/t/1.25"
        );
        for foreign in [
            "d/aa/b",
            "records/",
            "records/a/b",
            "records/a.b",
            "records/.0",
            "other",
        ] {
            assert_eq!(key(foreign), None, "{foreign}");
        }
        assert_eq!(key(&object("")), None);
    }

    /// How a store with folders orders names: `/` comes before everything.
    fn by_folder(name: &str) -> Vec<&str> {
        name.split('/').collect()
    }

    #[test]
    fn names_have_the_order_of_their_keys_by_bytes_and_by_folders() {
        let mut random = fastrand::Rng::with_seed(7);
        let letters = ['!', '-', '.', '/', '0', 'a', '_', '~', 'é', '\u{10ffff}'];
        let long: String = (0..450).map(|_| random.choice(letters).unwrap()).collect();
        let mut keys = vec![
            "c/app!".to_owned(),
            "c/app/x!".to_owned(),
            "c/app-x!".to_owned(),
            "c/app.x!".to_owned(),
        ];
        for _ in 0..3000 {
            // Many keys share a long beginning, and some end where a piece ends.
            let mut key: String = long.chars().take(random.usize(0..450)).collect();
            key.extend((0..random.usize(0..4)).map(|_| random.choice(letters).unwrap()));
            keys.push(key);
        }
        keys.retain(|key| !key.is_empty());
        keys.sort();
        keys.dedup();
        for pair in keys.windows(2) {
            let one = object(&pair[0]);
            let two = object(&pair[1]);
            assert!(one < two, "{one} {two}");
            assert!(by_folder(&one) < by_folder(&two), "{one} {two}");
            assert!(!two.starts_with(&format!("{one}/")), "{one} would be a folder");
        }
        for whole in &keys {
            assert_eq!(key(&object(whole)).as_deref(), Some(whole.as_str()));
            assert!(
                object(whole)
                    .split('/')
                    .all(|piece| piece.len() <= 255 && !piece.is_empty())
            );
            for (end, _) in whole.char_indices().step_by(random.usize(20..50)) {
                assert!(object(whole).starts_with(&prefix(&whole[..end])), "{whole} {end}");
            }
        }
    }
}
