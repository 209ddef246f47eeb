//! Where each record lies. A repository's name ends with `!`, which sorts before every character of a name: the order of the keys
//! is the order of the names, and no name is a prefix of another's keys.

use super::UploadId;
use crate::oci::{Algorithm, Digest, RepositoryName, Tag};

/// Holds nothing. It is asked for to find out whether the store works.
pub(super) const PROBE: &str = "h/probe";
/// The token service's: the store's own name.
const STORE_ID: &str = "i/store";
pub(super) const BLOBS: &str = "b/";
pub(super) const LINKS: &str = "l/";
pub(super) const CATALOG: &str = "c/";
pub(super) const UPLOADS: &str = "u/";

pub(super) fn blob(digest: &Digest) -> String {
    format!("b/{}", spread(digest))
}

/// Everyone who links the blob lies under this prefix.
pub(super) fn links(digest: &Digest) -> String {
    format!("l/{}/", spread(digest))
}

pub(super) fn link(digest: &Digest, repository: &RepositoryName) -> String {
    format!("l/{}/{repository}!", spread(digest))
}

pub(super) fn manifests(repository: &RepositoryName) -> String {
    format!("r/{repository}!/m/")
}

pub(super) fn manifest(repository: &RepositoryName, digest: &Digest) -> String {
    format!("r/{repository}!/m/{}/{}", digest.algorithm(), digest.hex())
}

pub(super) fn tags(repository: &RepositoryName) -> String {
    format!("r/{repository}!/t/")
}

pub(super) fn tag(repository: &RepositoryName, tag: &Tag) -> String {
    format!("r/{repository}!/t/{tag}")
}

/// The tags that may stand on a manifest lie under this prefix.
pub(super) fn back_references(repository: &RepositoryName, digest: &Digest) -> String {
    format!("r/{repository}!/k/{}/{}/", digest.algorithm(), digest.hex())
}

pub(super) fn back_reference(repository: &RepositoryName, digest: &Digest, tag: &Tag) -> String {
    format!("r/{repository}!/k/{}/{}/{tag}", digest.algorithm(), digest.hex())
}

/// The manifests that may have this subject lie under this prefix.
pub(super) fn referrers(repository: &RepositoryName, subject: &Digest) -> String {
    format!("r/{repository}!/s/{}/{}/", subject.algorithm(), subject.hex())
}

pub(super) fn referrer(repository: &RepositoryName, subject: &Digest, referrer: &Digest) -> String {
    format!("{}{}-{}", referrers(repository, subject), referrer.algorithm(), referrer.hex())
}

pub(super) fn catalog(repository: &str) -> String {
    format!("{CATALOG}{repository}!")
}

pub(super) fn upload(id: &UploadId) -> String {
    format!("{UPLOADS}{id}")
}

/// The repository at the end of a key of [`CATALOG`] or of [`links`].
pub(super) fn repository_of(key: &str, prefix: &str) -> Option<RepositoryName> {
    key.strip_prefix(prefix)?.strip_suffix('!')?.parse().ok()
}

/// The digest at the end of a key of [`referrers`] (`sha256-…`) or of [`manifests`] (`sha256/…`).
pub(super) fn digest_of(key: &str, prefix: &str) -> Option<Digest> {
    let (algorithm, hex) = key.strip_prefix(prefix)?.split_once(['-', '/'])?;
    let algorithm: Algorithm = algorithm.parse().ok()?;
    format!("{algorithm}:{hex}").parse().ok()
}

/// The digest at the end of a key of [`BLOBS`].
pub(super) fn spread_digest_of(key: &str, prefix: &str) -> Option<Digest> {
    let (algorithm, rest) = key.strip_prefix(prefix)?.split_once('/')?;
    let (_, hex) = rest.split_once('/')?;
    let digest: Digest = format!("{algorithm}:{hex}").parse().ok()?;
    (spread(&digest) == *key.strip_prefix(prefix)?).then_some(digest)
}

/// Of a link's key.
pub(super) fn link_of(key: &str) -> Option<(Digest, RepositoryName)> {
    // The repository may have slashes; what stands before it has three.
    let mut parts = key.strip_prefix(LINKS)?.splitn(4, '/');
    let (algorithm, _, hex, repository) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let digest: Digest = format!("{algorithm}:{hex}").parse().ok()?;
    let repository: RepositoryName = repository.strip_suffix('!')?.parse().ok()?;
    (link(&digest, &repository) == key).then_some((digest, repository))
}

/// What a key leads to, for whoever reads all of them.
pub(super) enum Entry {
    Manifest(RepositoryName, Digest),
    Tag(RepositoryName, Tag),
    /// From a manifest to a tag that is on it.
    BackReference(RepositoryName, Digest, Tag),
    /// A subject and its referrer.
    Referrer(RepositoryName, Digest, Digest),
    Catalog,
    /// A blob, a link, an upload, the probe, or the store's name.
    Other,
}

impl Entry {
    pub(super) fn parse(key: &str) -> Option<Self> {
        if [PROBE, STORE_ID].contains(&key) || [BLOBS, LINKS, UPLOADS].iter().any(|prefix| key.starts_with(prefix)) {
            return Some(Self::Other);
        }
        if key.starts_with(CATALOG) {
            return repository_of(key, CATALOG).map(|_| Self::Catalog);
        }
        let (repository, rest) = key.strip_prefix("r/")?.split_once("!/")?;
        let repository: RepositoryName = repository.parse().ok()?;
        let (kind, rest) = rest.split_once('/')?;
        let pair = |text: &str| {
            let (algorithm, hex) = text.split_once('/')?;
            format!("{algorithm}:{hex}").parse::<Digest>().ok()
        };
        match kind {
            "m" => Some(Self::Manifest(repository, pair(rest)?)),
            "t" => Some(Self::Tag(repository, rest.parse().ok()?)),
            "k" => {
                let (digest, tag) = rest.rsplit_once('/')?;
                Some(Self::BackReference(repository, pair(digest)?, tag.parse().ok()?))
            }
            "s" => {
                let (subject, _) = rest.rsplit_once('/')?;
                let subject = pair(subject)?;
                let referrer = digest_of(key, &referrers(&repository, &subject))?;
                Some(Self::Referrer(repository, subject, referrer))
            }
            _ => None,
        }
    }
}

fn spread(digest: &Digest) -> String {
    let hex = digest.hex();
    format!("{}/{}/{hex}", digest.algorithm(), hex.get(..2).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_names_do() {
        let mut names = ["a/b", "a", "a-b", "ab", "a.b", "a_b"];
        let mut keys = names.map(catalog);
        names.sort_unstable();
        keys.sort_unstable();
        assert_eq!(keys, names.map(catalog));
    }

    #[test]
    fn keys_lead_back_to_their_names() {
        let (repository, digest): (RepositoryName, Digest) =
            ("a/b".parse().unwrap(), format!("sha256:{}", "ab".repeat(32)).parse().unwrap());
        assert_eq!(repository_of(&link(&digest, &repository), &links(&digest)), Some(repository.clone()));
        assert_eq!(repository_of(&catalog("a/b"), CATALOG), Some(repository.clone()));
        assert_eq!(digest_of(&referrer(&repository, &digest, &digest), &referrers(&repository, &digest)), Some(digest.clone()));
        assert_eq!(digest_of(&manifest(&repository, &digest), &manifests(&repository)), Some(digest.clone()));
        assert_eq!(blob(&digest), format!("b/sha256/ab/{}", "ab".repeat(32)));
        assert_eq!(spread_digest_of(&blob(&digest), BLOBS), Some(digest.clone()));
        assert_eq!(link_of(&link(&digest, &repository)), Some((digest.clone(), repository.clone())));
        let v1: Tag = "v1".parse().unwrap();
        assert!(matches!(Entry::parse(&manifest(&repository, &digest)), Some(Entry::Manifest(r, d)) if r == repository && d == digest));
        assert!(matches!(Entry::parse(&tag(&repository, &v1)), Some(Entry::Tag(r, t)) if r == repository && t == v1));
        let back = back_reference(&repository, &digest, &v1);
        assert!(matches!(Entry::parse(&back), Some(Entry::BackReference(r, d, t)) if r == repository && d == digest && t == v1));
        let refers = referrer(&repository, &digest, &digest);
        assert!(matches!(Entry::parse(&refers), Some(Entry::Referrer(r, s, d)) if r == repository && s == digest && d == digest));
        assert!(matches!(Entry::parse(&catalog("a/b")), Some(Entry::Catalog)));
        for key in [PROBE, STORE_ID] {
            assert!(matches!(Entry::parse(key), Some(Entry::Other)), "{key}");
        }
        for unknown in ["", "x", "r/a!/x/1", "r/A!/t/v1", "c/a", "r/a!/m/sha256/short"] {
            assert!(Entry::parse(unknown).is_none(), "{unknown}");
        }
    }
}
