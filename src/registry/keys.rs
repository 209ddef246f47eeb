//! The keys of all records, and the type of the record under each key. A repository's name ends with `!`,
//! which sorts before every character of a name. So keys sort in the order of the names, and the keys of one
//! repository never begin with the prefix of another.
//!
//! | key | record |
//! |---|---|
//! | `b/<algorithm>/<2 hex>/<hex>` | a blob |
//! | `l/<algorithm>/<2 hex>/<hex>/<repository>!` | a link: the repository may serve the blob |
//! | `c/<repository>!` | the catalogue's entry |
//! | `u/<repository>!/<upload>` | an upload under way |
//! | `x/<repository>!/<algorithm>/<hex>` | a manifest is being deleted |
//! | `q/<repository>!` | the usage of a repository |
//! | `r/<repository>!/m/<algorithm>/<hex>` | a manifest |
//! | `r/<repository>!/t/<tag>` | a tag |
//! | `r/<repository>!/h/<tag>/<16 hex>` | an earlier record of a tag, by its sequence number |
//! | `r/<repository>!/k/<algorithm>/<hex>/<tag>` | an entry from a manifest to a tag that may point at it |
//! | `r/<repository>!/s/<algorithm>/<hex>/<algorithm>-<hex>` | an entry from a subject to a manifest that may refer to it |
//! | `r/<repository>!/i/<algorithm>/<hex>/<algorithm>-<hex>` | an entry from a manifest to an index that may list it |
//! | `r/<repository>!/p/<algorithm>/<hex>` | the pulls of a manifest |
//! | `g/pass` | the position of a pass of the collector |
//! | `h/pulls` | when pulls began to be recorded |
//! | `g/usage` | the usage of the whole store |
//! | `g/scrub` | the position of a walk of the scrubber |
//! | `g/collecting` | on a shared store: which process makes a pass of the collector |
//! | `g/scrubbing` | on a shared store: which process makes a walk of the scrubber |
//! | `h/probe` | an empty record for the readiness probe |
//! | [`STORE_ID`] | the store's own ID |
//! | `i/format` | the format in which a shared store is written |
//! | `i/replica/<32 hex>` | a process that has a shared store open |
//! | [`UNFINISHED`] | another store is being copied into this one |

use super::states::blob::BlobRecord;
use super::states::lease::LeaseRecord;
use super::states::link::LinkRecord;
use super::states::manifest::ManifestRecord;
use super::states::mark::Mark;
use super::states::pass::PassRecord;
use super::states::probe::Probe;
use super::states::pulls::{PullRecord, PullsBegan};
use super::states::scrub::ScrubRecord;
use super::states::session::Session;
use super::states::tag::TagRecord;
use super::states::usage::UsageRecord;
use super::upload_id::UploadId;
use crate::oci::{Algorithm, Digest, RepositoryName, Tag};
use crate::storage::{STORE_ID, UNFINISHED, replicas};
use std::fmt;
use std::marker::PhantomData;

/// The key of a record of type `T`.
pub(super) struct Key<T> {
    text: String,
    kind: PhantomData<fn() -> T>,
}

/// A prefix of the keys of records of type `T`.
pub(super) struct Prefix<T> {
    text: String,
    kind: PhantomData<fn() -> T>,
}

impl<T> Key<T> {
    pub(super) const fn new(text: String) -> Self {
        Self {
            text,
            kind: PhantomData,
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }
}

impl<T> Prefix<T> {
    pub(super) const fn new(text: String) -> Self {
        Self {
            text,
            kind: PhantomData,
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn key(&self, rest: impl fmt::Display) -> Key<T> {
        Key::new(format!("{}{rest}", self.text))
    }

    /// The part of the key after this prefix. Empty if the key has another prefix.
    pub(super) fn rest<'a>(&self, key: &'a Key<T>) -> &'a str {
        key.text.strip_prefix(&self.text).unwrap_or_default()
    }
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        Self::new(self.text.clone())
    }
}

impl<T> fmt::Display for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl<T> Clone for Prefix<T> {
    fn clone(&self) -> Self {
        Self::new(self.text.clone())
    }
}

const BLOBS: &str = "b/";
const LINKS: &str = "l/";
const CATALOG: &str = "c/";
const UPLOADS: &str = "u/";
const DELETIONS: &str = "x/";
const USAGE: &str = "q/";
const REPOSITORIES: &str = "r/";
const PASS: &str = "g/pass";
const STORE_USAGE: &str = "g/usage";
const SCRUB: &str = "g/scrub";
const COLLECTING: &str = "g/collecting";
const SCRUBBING: &str = "g/scrubbing";
const PROBE: &str = "h/probe";
const PULLS_BEGAN: &str = "h/pulls";

pub(super) fn probe() -> Key<Probe> {
    Key::new(PROBE.to_owned())
}

/// How far a pass of the collector is.
pub(super) fn pass() -> Key<PassRecord> {
    Key::new(PASS.to_owned())
}

/// Since when pulls are recorded.
pub(super) fn pulls_began() -> Key<PullsBegan> {
    Key::new(PULLS_BEGAN.to_owned())
}

/// Which process of a shared store makes a pass of the collector.
pub(super) fn collecting() -> Key<LeaseRecord> {
    Key::new(COLLECTING.to_owned())
}

/// Which process of a shared store makes a walk of the scrubber.
pub(super) fn scrubbing() -> Key<LeaseRecord> {
    Key::new(SCRUBBING.to_owned())
}

/// How far a walk of the scrubber is.
pub(super) fn scrub() -> Key<ScrubRecord> {
    Key::new(SCRUB.to_owned())
}

pub(super) fn blobs() -> Prefix<BlobRecord> {
    Prefix::new(BLOBS.to_owned())
}

pub(super) fn blob(digest: &Digest) -> Key<BlobRecord> {
    blobs().key(spread(digest))
}

pub(super) fn all_links() -> Prefix<LinkRecord> {
    Prefix::new(LINKS.to_owned())
}

/// The links of all repositories to the blob.
pub(super) fn links(digest: &Digest) -> Prefix<LinkRecord> {
    Prefix::new(format!("{LINKS}{}/", spread(digest)))
}

pub(super) fn link(digest: &Digest, repository: &RepositoryName) -> Key<LinkRecord> {
    links(digest).key(format_args!("{repository}!"))
}

pub(super) fn catalog() -> Prefix<Mark> {
    Prefix::new(CATALOG.to_owned())
}

pub(super) fn in_catalog(repository: &str) -> Key<Mark> {
    catalog().key(format_args!("{repository}!"))
}

pub(super) fn all_uploads() -> Prefix<Session> {
    Prefix::new(UPLOADS.to_owned())
}

pub(super) fn uploads(repository: &RepositoryName) -> Prefix<Session> {
    Prefix::new(format!("{UPLOADS}{repository}!/"))
}

pub(super) fn upload(repository: &RepositoryName, id: &UploadId) -> Key<Session> {
    uploads(repository).key(id)
}

/// The markers of all manifests that are being deleted.
pub(super) fn all_deletions() -> Prefix<Mark> {
    Prefix::new(DELETIONS.to_owned())
}

/// The markers of this repository's manifests that are being deleted.
pub(super) fn deletions(repository: &RepositoryName) -> Prefix<Mark> {
    Prefix::new(format!("{DELETIONS}{repository}!/"))
}

pub(super) fn deletion(repository: &RepositoryName, digest: &Digest) -> Key<Mark> {
    deletions(repository).key(path(digest))
}

/// The usage of the whole store.
pub(super) fn usage_of_store() -> Key<UsageRecord> {
    Key::new(STORE_USAGE.to_owned())
}

pub(super) fn all_usage() -> Prefix<UsageRecord> {
    Prefix::new(USAGE.to_owned())
}

pub(super) fn usage(repository: &str) -> Key<UsageRecord> {
    all_usage().key(format_args!("{repository}!"))
}

/// The repository of a record that is kept by repository.
pub(super) fn repository_in(key: &str) -> Option<RepositoryName> {
    Some(of_one_repository(key.strip_prefix(REPOSITORIES)?)?.0)
}

/// Behind all records that are kept for this repository, and before those of the next one.
pub(super) fn behind(repository: &RepositoryName) -> String {
    format!("{REPOSITORIES}{repository}!0")
}

/// All records that are kept for this repository.
pub(super) fn everything_of(repository: &RepositoryName) -> Prefix<()> {
    of_repository(repository, "")
}

/// The records that are kept by repository, for all repositories.
pub(super) fn all_of_repositories<T>() -> Prefix<T> {
    Prefix::new(REPOSITORIES.to_owned())
}

pub(super) fn manifests(repository: &RepositoryName) -> Prefix<ManifestRecord> {
    of_repository(repository, "m/")
}

pub(super) fn manifest(repository: &RepositoryName, digest: &Digest) -> Key<ManifestRecord> {
    manifests(repository).key(path(digest))
}

pub(super) fn tags(repository: &RepositoryName) -> Prefix<TagRecord> {
    of_repository(repository, "t/")
}

pub(super) fn tag(repository: &RepositoryName, tag: &Tag) -> Key<TagRecord> {
    tags(repository).key(tag)
}

/// The earlier records of a tag, in the order of its events.
pub(super) fn history(repository: &RepositoryName, tag: &Tag) -> Prefix<TagRecord> {
    of_repository(repository, format_args!("h/{tag}/"))
}

pub(super) fn past(repository: &RepositoryName, tag: &Tag, seq: u64) -> Key<TagRecord> {
    history(repository, tag).key(format_args!("{seq:016x}"))
}

/// The digest of the manifest under this key.
pub(super) fn manifest_of(key: &Key<ManifestRecord>) -> Option<Digest> {
    match Entry::parse(key.as_str()) {
        Some(Entry::Manifest(_, digest)) => Some(digest),
        _ => None,
    }
}

/// Entries for the tags that may point at a manifest.
pub(super) fn back_references(repository: &RepositoryName, digest: &Digest) -> Prefix<Mark> {
    of_repository(repository, format_args!("k/{}/", path(digest)))
}

pub(super) fn back_reference(repository: &RepositoryName, digest: &Digest, tag: &Tag) -> Key<Mark> {
    back_references(repository, digest).key(tag)
}

/// Entries for the manifests that may have this subject.
pub(super) fn referrers(repository: &RepositoryName, subject: &Digest) -> Prefix<Mark> {
    of_repository(repository, format_args!("s/{}/", path(subject)))
}

pub(super) fn referrer(repository: &RepositoryName, subject: &Digest, referrer: &Digest) -> Key<Mark> {
    referrers(repository, subject).key(name(referrer))
}

/// Entries for the indexes that may list this manifest.
pub(super) fn indexes(repository: &RepositoryName, child: &Digest) -> Prefix<Mark> {
    of_repository(repository, format_args!("i/{}/", path(child)))
}

pub(super) fn index(repository: &RepositoryName, child: &Digest, index: &Digest) -> Key<Mark> {
    indexes(repository, child).key(name(index))
}

pub(super) fn pulls(repository: &RepositoryName, digest: &Digest) -> Key<PullRecord> {
    of_repository(repository, "p/").key(path(digest))
}

fn of_repository<T>(repository: &RepositoryName, kind: impl fmt::Display) -> Prefix<T> {
    Prefix::new(format!("{REPOSITORIES}{repository}!/{kind}"))
}

/// A digest as two parts of a key.
fn path(digest: &Digest) -> impl fmt::Display {
    format!("{}/{}", digest.algorithm(), digest.hex())
}

/// A digest as one part of a key.
fn name(digest: &Digest) -> impl fmt::Display {
    format!("{}-{}", digest.algorithm(), digest.hex())
}

fn spread(digest: &Digest) -> String {
    let hex = digest.hex();
    format!(
        "{}/{}/{hex}",
        digest.algorithm(),
        hex.get(..2).unwrap_or_default()
    )
}

/// The repository that the last part of a key names.
pub(super) fn repository_of(rest: &str) -> Option<RepositoryName> {
    rest.strip_suffix('!')?.parse().ok()
}

/// The digest that the last part of a key names, written as `sha256-…` or as `sha256/…`.
pub(super) fn digest_of(rest: &str) -> Option<Digest> {
    let (algorithm, hex) = rest.split_once(['-', '/'])?;
    let algorithm: Algorithm = algorithm.parse().ok()?;
    format!("{algorithm}:{hex}").parse().ok()
}

/// The meaning of a key.
pub(super) enum Entry {
    Blob(Digest),
    Link(Digest, RepositoryName),
    Catalog(RepositoryName),
    Upload(RepositoryName, UploadId),
    Deletion(RepositoryName, Digest),
    Usage(RepositoryName),
    Manifest(RepositoryName, Digest),
    Tag(RepositoryName, Tag),
    /// An earlier record of a tag, and its sequence number.
    Past(RepositoryName, Tag, u64),
    /// A manifest and a tag that may point at it.
    BackReference(RepositoryName, Digest, Tag),
    /// A subject and its referrer.
    Referrer(RepositoryName, Digest, Digest),
    /// A child and its index.
    Index(RepositoryName, Digest, Digest),
    Pulls(RepositoryName, Digest),
    /// How far a pass of the collector is.
    Pass,
    /// How far a walk of the scrubber is.
    Scrub,
    /// The usage of the whole store.
    StoreUsage,
    /// The probe's record, the one about pulls, the store's ID and format, the mark of a copy, a lease, or a process
    /// that has the store open.
    Own,
}

impl Entry {
    /// `None` if no record has such a key.
    pub(super) fn parse(key: &str) -> Option<Self> {
        let own = [
            PROBE,
            PULLS_BEGAN,
            STORE_ID,
            UNFINISHED,
            COLLECTING,
            SCRUBBING,
            replicas::FORMAT_KEY,
        ];
        if own.contains(&key) || key.starts_with(replicas::REPLICAS) {
            return Some(Self::Own);
        }
        match key {
            PASS => return Some(Self::Pass),
            SCRUB => return Some(Self::Scrub),
            STORE_USAGE => return Some(Self::StoreUsage),
            _ => {}
        }
        let found = Self::parse_parts(key)?;
        // Only the canonical key is accepted. Otherwise two keys could mean the same record.
        (found.key() == key).then_some(found)
    }

    fn parse_parts(key: &str) -> Option<Self> {
        let (kind, rest) = key.split_at_checked(2)?;
        if kind == REPOSITORIES {
            let (repository, rest) = of_one_repository(rest)?;
            let (kind, rest) = rest.split_once('/')?;
            return Self::parse_of_repository(repository, kind, rest);
        }
        Some(match kind {
            BLOBS => Self::Blob(spread_digest_of(rest)?),
            LINKS => {
                // The repository's name may contain slashes, so it begins after the third slash.
                let end = rest.match_indices('/').nth(2)?.0;
                let (digest, repository) = rest.split_at_checked(end)?;
                Self::Link(
                    spread_digest_of(digest)?,
                    repository_of(repository.strip_prefix('/')?)?,
                )
            }
            CATALOG => Self::Catalog(repository_of(rest)?),
            USAGE => Self::Usage(repository_of(rest)?),
            UPLOADS => {
                let (repository, id) = of_one_repository(rest)?;
                Self::Upload(repository, id.parse().ok()?)
            }
            DELETIONS => {
                let (repository, digest) = of_one_repository(rest)?;
                Self::Deletion(repository, digest_of(digest)?)
            }
            _ => return None,
        })
    }

    fn parse_of_repository(repository: RepositoryName, kind: &str, rest: &str) -> Option<Self> {
        Some(match kind {
            "m" => Self::Manifest(repository, digest_of(rest)?),
            "p" => Self::Pulls(repository, digest_of(rest)?),
            "t" => Self::Tag(repository, rest.parse().ok()?),
            "h" => {
                let (tag, seq) = rest.rsplit_once('/')?;
                Self::Past(repository, tag.parse().ok()?, u64::from_str_radix(seq, 16).ok()?)
            }
            "k" => {
                let (digest, tag) = rest.rsplit_once('/')?;
                Self::BackReference(repository, digest_of(digest)?, tag.parse().ok()?)
            }
            "s" => {
                let (subject, referrer) = rest.rsplit_once('/')?;
                Self::Referrer(repository, digest_of(subject)?, digest_of(referrer)?)
            }
            "i" => {
                let (child, index) = rest.rsplit_once('/')?;
                Self::Index(repository, digest_of(child)?, digest_of(index)?)
            }
            _ => return None,
        })
    }

    /// The key with this meaning.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Blob(digest) => blob(digest).text,
            Self::Link(digest, repository) => link(digest, repository).text,
            Self::Catalog(repository) => in_catalog(repository.as_str()).text,
            Self::Upload(repository, id) => upload(repository, id).text,
            Self::Deletion(repository, digest) => deletion(repository, digest).text,
            Self::Usage(repository) => usage(repository.as_str()).text,
            Self::Manifest(repository, digest) => manifest(repository, digest).text,
            Self::Tag(repository, name) => tag(repository, name).text,
            Self::Past(repository, tag, seq) => past(repository, tag, *seq).text,
            Self::BackReference(repository, digest, tag) => back_reference(repository, digest, tag).text,
            Self::Referrer(repository, subject, digest) => referrer(repository, subject, digest).text,
            Self::Index(repository, child, digest) => index(repository, child, digest).text,
            Self::Pulls(repository, digest) => pulls(repository, digest).text,
            Self::Pass => PASS.to_owned(),
            Self::Scrub => SCRUB.to_owned(),
            Self::StoreUsage => STORE_USAGE.to_owned(),
            Self::Own => PROBE.to_owned(),
        }
    }
}

fn of_one_repository(rest: &str) -> Option<(RepositoryName, &str)> {
    let (repository, rest) = rest.split_once("!/")?;
    Some((repository.parse().ok()?, rest))
}

/// Parses `<algorithm>/<2 hex>/<hex>`.
fn spread_digest_of(rest: &str) -> Option<Digest> {
    let (algorithm, rest) = rest.split_once('/')?;
    let (_, hex) = rest.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_names_do() {
        let mut names = ["a/b", "a", "a-b", "ab", "a.b", "a_b"];
        let mut keys = names.map(|name| in_catalog(name).text);
        names.sort_unstable();
        keys.sort_unstable();
        assert_eq!(keys, names.map(|name| in_catalog(name).text));
    }

    #[test]
    fn the_records_of_a_repository_end_before_those_of_the_next() {
        let name = |text: &str| text.parse::<RepositoryName>().unwrap();
        let key = |repository| tag(&name(repository), &"zzz".parse().unwrap()).text;
        assert!(key("a") < behind(&name("a")));
        for next in ["a-b", "a.b", "a/b", "ab"] {
            assert!(behind(&name("a")) < key(next), "{next}");
        }
        assert_eq!(repository_in(&key("a/b")), Some(name("a/b")));
        assert_eq!(repository_in("c/a!"), None);
    }

    #[test]
    fn keys_are_parsed_into_the_entries_that_they_name() {
        let hex = "ab".repeat(32);
        let d = || format!("sha256:{hex}").parse::<Digest>().unwrap();
        let r = || "a/b".parse::<RepositoryName>().unwrap();
        let t = || "v1".parse::<Tag>().unwrap();
        let id: UploadId = "0".repeat(32).parse().unwrap();
        for (entry, key) in [
            (Entry::Blob(d()), format!("b/sha256/ab/{hex}")),
            (Entry::Link(d(), r()), format!("l/sha256/ab/{hex}/a/b!")),
            (Entry::Catalog(r()), "c/a/b!".to_owned()),
            (Entry::Usage(r()), "q/a/b!".to_owned()),
            (Entry::Upload(r(), id), format!("u/a/b!/{}", "0".repeat(32))),
            (Entry::Deletion(r(), d()), format!("x/a/b!/sha256/{hex}")),
            (Entry::Manifest(r(), d()), format!("r/a/b!/m/sha256/{hex}")),
            (Entry::Pass, "g/pass".to_owned()),
            (Entry::Scrub, "g/scrub".to_owned()),
            (Entry::Pulls(r(), d()), format!("r/a/b!/p/sha256/{hex}")),
            (Entry::Tag(r(), t()), "r/a/b!/t/v1".to_owned()),
            (
                Entry::Past(r(), t(), 255),
                "r/a/b!/h/v1/00000000000000ff".to_owned(),
            ),
            (
                Entry::BackReference(r(), d(), t()),
                format!("r/a/b!/k/sha256/{hex}/v1"),
            ),
            (
                Entry::Referrer(r(), d(), d()),
                format!("r/a/b!/s/sha256/{hex}/sha256-{hex}"),
            ),
            (
                Entry::Index(r(), d(), d()),
                format!("r/a/b!/i/sha256/{hex}/sha256-{hex}"),
            ),
        ] {
            assert_eq!(entry.key(), key);
            let found = Entry::parse(&key).unwrap_or_else(|| panic!("{key} is not the key of an entry"));
            assert_eq!(
                (std::mem::discriminant(&found), found.key()),
                (std::mem::discriminant(&entry), key)
            );
        }
        for key in [
            PROBE,
            PULLS_BEGAN,
            STORE_ID,
            UNFINISHED,
            COLLECTING,
            SCRUBBING,
            "i/format",
            "i/replica/0",
        ] {
            assert!(matches!(Entry::parse(key), Some(Entry::Own)), "{key}");
        }
        let short = format!("r/a!/m/sha256/{}", &hex[1..]);
        let twice = format!("r/a!/m/sha256-{hex}");
        let shard = format!("b/sha256/ac/{hex}");
        for unknown in [
            "",
            "x",
            "é",
            "r/a!/x/1",
            "r/A!/t/v1",
            "c/a",
            "u/a!/1",
            "r/a!/h/v1/ff",
            &short,
            &twice,
            &shard,
        ] {
            assert!(Entry::parse(unknown).is_none(), "{unknown}");
        }
    }
}
