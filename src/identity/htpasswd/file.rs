//! Reads a password file: names and bcrypt hashes, as `htpasswd -B` writes them.

use crate::file_error::FileError;
use crate::spiffe_id::SCHEME;
use crate::trust::Generation;
use std::collections::BTreeMap;
use std::path::Path;

/// The names and hashes of one version of the file.
pub(super) struct Users {
    pub(super) generation: Generation,
    pub(super) text: String,
    pub(super) hashes: BTreeMap<String, String>,
    /// The hash to compare with if the name is not in the file, so that both cases take equally long.
    pub(super) dummy: String,
}

/// What is wrong with a password file. No message contains a hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHtpasswd {
    #[error("cannot be read: {why}")]
    Unreadable { why: FileError },
    #[error("line {line}: expected name:hash, as `htpasswd -B` writes it")]
    Line { line: usize },
    #[error(
        "line {line}: expected a bcrypt hash ($2a$, $2b$ or $2y$), found another hash; create it again with `htpasswd -B`"
    )]
    Hash { line: usize },
    #[error(
        "line {line}: expected a bcrypt cost of at most {HIGHEST_COST}, found {cost}, which keeps a processor busy for many seconds"
    )]
    Cost { line: usize, cost: u32 },
    #[error("line {line}: a name may not begin with {SCHEME}: such names are verified SPIFFE IDs")]
    SpiffeId { line: usize },
    #[error("line {line}: an earlier line has this name; remove one of the lines")]
    Twice { line: usize },
    #[error("the system's random number generator failed")]
    Random,
}

/// Returns the names and hashes of a valid file. For fuzzing.
#[doc(hidden)]
#[must_use]
pub fn passwords_read(text: &str) -> Option<BTreeMap<String, String>> {
    read(text.to_owned()).ok().map(|users| users.hashes)
}

pub(super) fn text(path: &Path) -> Result<String, Vec<InvalidHtpasswd>> {
    std::fs::read_to_string(path).map_err(|why| {
        vec![InvalidHtpasswd::Unreadable {
            why: FileError::new(path, &why),
        }]
    })
}

pub(super) fn read(text: String) -> Result<Users, Vec<InvalidHtpasswd>> {
    let mut hashes = BTreeMap::new();
    let mut invalid = Vec::new();
    let mut highest = bcrypt::DEFAULT_COST.min(10);
    for (index, content) in text
        .lines()
        .map(str::trim)
        .enumerate()
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
    {
        let line = index + 1;
        match entry(line, content) {
            Ok((user, _, _)) if hashes.contains_key(user) => invalid.push(InvalidHtpasswd::Twice { line }),
            Ok((user, hash, cost)) => {
                highest = highest.max(cost);
                hashes.insert(user.to_owned(), hash.to_owned());
            }
            Err(why) => invalid.push(why),
        }
    }
    let dummy = format!("$2b${highest:02}${}", ".".repeat(53));
    if invalid.is_empty() {
        Ok(Users {
            generation: Generation::next(),
            hashes,
            dummy,
            text,
        })
    } else {
        Err(invalid)
    }
}

/// Name, hash and cost.
fn entry(line: usize, content: &str) -> Result<(&str, &str, u32), InvalidHtpasswd> {
    let (user, hash) = content
        .split_once(':')
        .filter(|(user, _)| !user.is_empty())
        .ok_or(InvalidHtpasswd::Line { line })?;
    if user
        .get(..SCHEME.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(SCHEME))
    {
        return Err(InvalidHtpasswd::SpiffeId { line });
    }
    let parsed: bcrypt::HashParts = hash.parse().map_err(|_| InvalidHtpasswd::Hash { line })?;
    let cost = parsed.get_cost();
    let known = ["2a", "2b", "2y"]
        .iter()
        .any(|version| hash.starts_with(&format!("${version}${cost:02}$")));
    match cost {
        _ if cost > HIGHEST_COST => Err(InvalidHtpasswd::Cost { line, cost }),
        CHEAPEST.. if known => Ok((user, hash, cost)),
        // The version is one with a known bug, or the cost is out of bcrypt's range. No password would ever
        // match.
        _ => Err(InvalidHtpasswd::Hash { line }),
    }
}

const CHEAPEST: u32 = 4;
/// A cost of 14 takes about a second.
const HIGHEST_COST: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_of_a_file_is_found() {
        let good = bcrypt::hash("x", 4).unwrap();
        let cost = |cost: &str| good.replacen("$04$", &format!("${cost}$"), 1);
        let too_high = cost("31");
        let cheap = cost("03");
        let signed = cost("+4");
        let broken = good.replacen("$2b$", "$2x$", 1);
        let text = format!(
            "ann:{good}\nnobody\n:{good}\nbob:$apr1$x$y\nann:{good}\nSPIFFE://a/b:{good}\neve:{too_high}\nmal:{{SHA}}x\na:{cheap}\nb:{signed}\nc:{broken}\n"
        );
        assert_eq!(
            read(text).map(drop).unwrap_err(),
            [
                InvalidHtpasswd::Line { line: 2 },
                InvalidHtpasswd::Line { line: 3 },
                InvalidHtpasswd::Hash { line: 4 },
                InvalidHtpasswd::Twice { line: 5 },
                InvalidHtpasswd::Hash { line: 6 },
                InvalidHtpasswd::Cost { line: 7, cost: 31 },
                InvalidHtpasswd::Hash { line: 8 },
                InvalidHtpasswd::Hash { line: 9 },
                InvalidHtpasswd::Hash { line: 10 },
                InvalidHtpasswd::Hash { line: 11 },
            ]
        );
        let why = super::text(Path::new("/nowhere/htpasswd")).unwrap_err()[0].to_string();
        assert_eq!(why, "cannot be read: the folder /nowhere does not exist");
    }

    #[test]
    fn an_unknown_name_costs_as_much_as_the_most_expensive_hash() {
        let users = read(format!("ann:{}\n", bcrypt::hash("x", 11).unwrap())).unwrap();
        let dummy: bcrypt::HashParts = users.dummy.parse().unwrap();
        assert_eq!(dummy.get_cost(), 11);
        assert!(
            !bcrypt::verify("x", &users.dummy.replacen("$11$", "$04$", 1)).unwrap(),
            "it is a valid hash of an unknown password"
        );
    }
}
