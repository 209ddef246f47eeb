//! Converts the fixture, a store of format 1. Everything on its list is served, and its uploads continue.

use super::fsck::Heard;
use super::*;
use crate::access::Maintenance;
use crate::storage::local::{self, Convert, Converted, Local, Unconverted};
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A day after the store's last record. Uploads without more time have expired.
const NOW: Timestamp = Timestamp::from_secs(1_790_100_000);

struct Records;

impl Convert for Records {
    fn convert(&mut self, key: &str, value: &Bytes) -> Result<Vec<Converted>, Unconverted> {
        Ok(convert(key, value, NOW)?)
    }

    fn keeps(&self, key: &str) -> bool {
        keeps_unconverted(key)
    }

    fn progress(&mut self, _: u64, _: u64) {}
}

/// A converted copy of the fixture.
struct Fixture {
    _folder: TempDir,
    store: Arc<Local>,
    registry: Registry,
    facts: Facts,
}

/// The lines of the list: the kind of each line, and its words.
struct Facts(Vec<(String, Vec<String>)>);

impl Facts {
    fn read() -> Self {
        let list = fs::read_to_string("tests/fixtures/format-1.txt").unwrap();
        let lines = list.lines().filter(|line| !line.starts_with('#'));
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        Self(
            lines
                .map(|line| line.split_once(' ').unwrap())
                .map(|(kind, rest)| (kind.to_owned(), words(rest)))
                .collect(),
        )
    }

    /// The first `N` words of each line of a kind.
    fn of<const N: usize>(&self, kind: &str) -> Vec<[&str; N]> {
        let lines: Vec<_> = self.0.iter().filter(|(found, _)| found == kind).collect();
        assert!(!lines.is_empty(), "no {kind} is on the list");
        lines
            .iter()
            .map(|(_, words)| std::array::from_fn(|n| words[n].as_str()))
            .collect()
    }

    /// Uploads that continue: repository, name, offset, digest, owner, and the bytes that are missing.
    fn uploads(&self) -> Vec<(&str, UploadId, u64, Digest, Principal, String)> {
        let lines = self
            .0
            .iter()
            .filter(|(kind, _)| kind == "upload")
            .map(|(_, words)| words);
        lines
            .map(|words| {
                let (owner, rest) =
                    words[4..].split_at(words[4..].iter().position(|word| word == "|").unwrap());
                let owner = principal(&owner.join(" "));
                (
                    words[0].as_str(),
                    words[1].parse().unwrap(),
                    words[2].parse().unwrap(),
                    words[3].parse().unwrap(),
                    owner,
                    rest[1..].join(" "),
                )
            })
            .collect()
    }
}

fn principal(text: &str) -> Principal {
    let oidc = || Principal::Oidc {
        issuer: "https://issuer.example.org".into(),
        entry: None,
        subject: "repo:team/app ref".into(),
    };
    [alice(), oidc(), Principal::Anonymous]
        .into_iter()
        .find(|principal| principal.to_string() == text)
        .unwrap_or_else(|| panic!("{text}"))
}

impl Fixture {
    fn converted() -> Self {
        Self::converted_after(|_| ())
    }

    /// Converts a copy after this change to the table of format 1.
    fn converted_after(change: impl FnOnce(&Connection)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(Path::new("tests/fixtures/format-1"), folder.path());
        let table = folder.path().join("records.sqlite3");
        change(&Connection::open(&table).unwrap());
        let then = std::time::UNIX_EPOCH + std::time::Duration::from_millis(NOW.as_millis().unsigned_abs());
        fs::File::options()
            .write(true)
            .open(&table)
            .unwrap()
            .set_modified(then)
            .unwrap();
        assert!(local::convert(folder.path(), NOW, &mut Records).unwrap());
        let (clock, _) = Clock::manual(NOW);
        let store =
            Arc::new(Local::open_with(folder.path(), local::Settings { clock, commit: false }).unwrap());
        let registry = Registry::new(store.clone(), store.clone()).with(any_sizes());
        Self {
            _folder: folder,
            store,
            registry,
            facts: Facts::read(),
        }
    }

    async fn findings(&self) -> Vec<Finding> {
        let mut heard = Heard::default();
        self.registry
            .check(&Maintenance::by_the_stores_owner(), &mut heard)
            .await
            .unwrap();
        heard.findings
    }

    async fn damages(&self) -> Vec<String> {
        let findings = self.findings().await.into_iter();
        findings.filter(is_damage).map(|finding| finding.key).collect()
    }

    async fn serves_manifest(
        &self,
        repository: &str,
        reference: &Reference,
        digest: &str,
    ) -> Result<StoredManifest, Error> {
        let found = self.registry.manifest(&read(repository), reference).await?;
        let digest: Digest = digest.parse().unwrap();
        assert_eq!(
            (&found.digest, &digest_of(digest.algorithm(), &found.bytes)),
            (&digest, &digest),
            "{repository}"
        );
        Ok(found)
    }
}

/// Damage other than the one index of the fixture that lacks a child: earlier versions let clients delete it.
fn is_damage(finding: &Finding) -> bool {
    finding.severity == Severity::Damage && !finding.what.starts_with("lists the manifest ")
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let path = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&path).unwrap();
            copy(&entry.path(), &path);
        } else {
            fs::copy(entry.path(), path).unwrap();
        }
    }
}

#[tokio::test]
async fn manifests_and_tags_of_a_converted_store_are_served() {
    let fixture = Fixture::converted();
    let facts = &fixture.facts;
    for [repository, digest, size, media_type] in facts.of("manifest") {
        let reference = Reference::Digest(digest.parse().unwrap());
        let found = fixture
            .serves_manifest(repository, &reference, digest)
            .await
            .unwrap_or_else(|why| panic!("{repository} {digest}: {why}"));
        assert_eq!(
            (found.bytes.len().to_string(), &*found.media_type),
            (size.to_owned(), media_type)
        );
    }
    let mut tags: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for [repository, name, digest] in facts.of("tag") {
        fixture
            .serves_manifest(repository, &tag(name), digest)
            .await
            .unwrap_or_else(|why| panic!("{repository} {name}: {why}"));
        tags.entry(repository).or_default().insert(name.to_owned());
    }
    for (repository, tags) in tags {
        let listed = fixture.registry.tags(&read(repository), "", 100).await.unwrap();
        assert_eq!(
            listed.entries,
            tags.into_iter().collect::<Vec<_>>(),
            "{repository}"
        );
    }
    for [repository, digest] in facts.of("no-manifest") {
        let found = fixture
            .registry
            .manifest(&read(repository), &Reference::Digest(digest.parse().unwrap()))
            .await;
        assert!(
            matches!(found, Err(Error::ManifestUnknown)),
            "{digest}: {found:?}"
        );
    }
    for [repository, name] in facts.of("no-tag") {
        let found = fixture.registry.manifest(&read(repository), &tag(name)).await;
        assert!(matches!(found, Err(Error::ManifestUnknown)), "{name}: {found:?}");
    }
}

#[tokio::test]
async fn blobs_referrers_and_repositories_of_a_converted_store_are_served() {
    let fixture = Fixture::converted();
    let facts = &fixture.facts;
    for [repository, digest, size] in facts.of("blob") {
        let digest: Digest = digest.parse().unwrap();
        let bytes = content(&fixture.registry, repository, &digest)
            .await
            .unwrap_or_else(|why| panic!("{repository} {digest}: {why}"));
        assert_eq!(
            (bytes.len().to_string(), digest_of(digest.algorithm(), &bytes)),
            (size.to_owned(), digest)
        );
    }
    for [repository, digest] in facts.of("no-blob") {
        let found = content(&fixture.registry, repository, &digest.parse().unwrap()).await;
        assert!(matches!(found, Err(Error::BlobUnknown)), "{digest}: {found:?}");
    }
    let mut referrers: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for [repository, subject, digest] in facts.of("referrer") {
        referrers
            .entry((repository, subject))
            .or_default()
            .insert(digest.to_owned());
    }
    for ((repository, subject), expected) in referrers {
        let listed = fixture
            .registry
            .referrers(&read(repository), &subject.parse().unwrap(), None, None)
            .await
            .unwrap();
        let listed: BTreeSet<_> = listed
            .manifests
            .iter()
            .map(|referrer| referrer.digest.to_string())
            .collect();
        assert_eq!(listed, expected, "{subject}");
    }
    let policy = crate::access::Policy::everything_to_authenticated();
    let identity = crate::identity::Identity::for_test("alice", &[], alice());
    let listed = fixture
        .registry
        .catalog(&crate::access::Reader::new(&policy, &identity), "", 100)
        .await
        .unwrap();
    let mut expected: BTreeSet<_> = facts
        .of("repository")
        .into_iter()
        .map(|[name]| name.to_owned())
        .collect();
    expected.insert("odd/empty".to_owned());
    assert_eq!(listed.entries, expected.into_iter().collect::<Vec<_>>());
    let [[id]] = facts.of("store-id")[..] else {
        panic!("a store has one name")
    };
    assert_eq!(crate::exchange::store_id(&*fixture.store).await.unwrap(), id);
    fixture.registry.check_storage().await.unwrap();
}

#[tokio::test]
async fn uploads_of_a_converted_store_continue_at_their_offsets() {
    let fixture = Fixture::converted();
    let registry = &fixture.registry;
    let uploads = fixture.facts.uploads();
    assert!(
        uploads.iter().any(|(.., offset, _, _, _)| *offset == 0)
            && uploads.iter().any(|(.., offset, _, _, _)| *offset > 64)
    );
    for (repository, id, offset, digest, owner, rest) in uploads {
        let permit: Permit<Create> = Permit::for_test(repository, owner);
        assert_eq!(
            registry.upload_status(&permit, &id).await.unwrap().offset,
            offset,
            "{id}"
        );
        let (middle, end) = rest.as_bytes().split_at(rest.len() / 2);
        registry
            .append(&permit, &id, None, None, body(&[middle]))
            .await
            .unwrap();
        let finished = registry
            .finish(&blind(permit), &id, None, &digest, body(&[end]))
            .await
            .unwrap();
        let bytes = content(registry, repository, &finished).await.unwrap();
        assert_eq!(
            (digest_of(digest.algorithm(), &bytes), bytes.len() as u64),
            (digest, offset + rest.len() as u64)
        );
    }
    for [repository, id, owner] in fixture.facts.of("no-upload") {
        let status = registry
            .upload_status(
                &Permit::for_test(repository, principal(owner)),
                &id.parse().unwrap(),
            )
            .await;
        assert!(matches!(status, Err(Error::UploadUnknown)), "{id}: {status:?}");
    }
    // Only one of the uploads has expired.
    assert_eq!(registry.expire_uploads().await.unwrap(), 1);
}

#[tokio::test]
async fn a_converted_store_is_clean_but_for_what_was_left_over() {
    let fixture = Fixture::converted();
    let findings = fixture.findings().await;
    assert!(!findings.iter().any(is_damage), "{findings:#?}");
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for finding in &findings {
        *kinds.entry(&finding.what).or_default() += 1;
    }
    let child = "sha256:3196e40d8b564a681888fd65b35a1cde8ab4b1c99d40dfcf1d2a4180047557aa";
    let lists = format!("lists the manifest {child}, which the repository does not have");
    let expected = [
        ("remains of an upload that did not begin", 1),
        ("remains of an interrupted deletion", 4), // two manifests and their markers
        ("remains of an interrupted push", 4),
        (
            "remains of an interrupted push: deleting the manifest would not delete this tag",
            1,
        ),
        ("remains of an upload that has ended", 3),
        ("points to a manifest whose deletion was interrupted", 2),
        (&lists, 1),
        ("names bytes that were replaced", 1),
        ("the repository is empty", 1),
        (
            "no record names them; the collector removes them when they are old",
            1,
        ),
        ("the referrer does not exist or has another subject", 2),
        ("the tag does not point to this manifest", 1),
        ("waits for the collector", 1),
    ];
    assert_eq!(kinds, expected.into());
    assert_eq!(fixture.store.check().unwrap(), (Vec::new(), 0));
    // The next step of every start. Two manifests were being pushed, and two deleted.
    assert_eq!(fixture.registry.finish_what_a_crash_left().await.unwrap(), 4);
    let findings = fixture.findings().await;
    assert!(!findings.iter().any(is_damage), "{findings:#?}");
    assert!(
        !findings.iter().any(|finding| finding.what.contains("deletion")),
        "{findings:#?}"
    );
    assert_eq!(
        fixture
            .registry
            .tags(&read("odd/states"), "", 100)
            .await
            .unwrap()
            .entries
            .len(),
        3
    );
}

/// Entries of an index are rewritten. Any other unreadable record stays as it is: reads of it fail, and the
/// check of the store reports it.
#[tokio::test]
async fn an_unreadable_record_does_not_affect_others() {
    for (like, mended) in [
        ("b/%", false),
        ("l/%", false),
        ("r/app/web!/m/%", false),
        ("r/app/web!/t/v1", false),
        ("c/app/web!", true),
        ("r/app/web!/k/%", true),
        ("r/app/web!/s/%", true),
    ] {
        let mut damaged = String::new();
        let fixture = Fixture::converted_after(|db| {
            damaged = db
                .query_row("SELECT min(key) FROM records WHERE key LIKE ?1", [like], |row| {
                    row.get(0)
                })
                .unwrap();
            let cut =
                "UPDATE records SET value = substr(value, 1, 20) WHERE key = ?1 AND typeof(value) = 'blob'";
            assert_eq!(db.execute(cut, [&damaged]).unwrap(), 1, "{damaged}");
        });
        let kept = fixture.store.get(&damaged).await.unwrap().unwrap();
        assert_eq!(
            (kept.value.len() == 20, kept.written),
            (!mended, NOW),
            "{damaged}"
        );
        let damages = fixture.damages().await;
        assert_eq!(damages.contains(&damaged), !mended, "{damaged}: {damages:?}");
        assert!(!mended || damages.is_empty(), "{damaged}: {damages:?}");
        let mut served = 0;
        for [repository, digest] in fixture.facts.of("manifest") {
            let reference = Reference::Digest(digest.parse().unwrap());
            served += usize::from(
                fixture
                    .serves_manifest(repository, &reference, digest)
                    .await
                    .is_ok(),
            );
        }
        let lost = usize::from(like.contains("/m/"));
        assert_eq!(
            served + lost,
            fixture.facts.of::<1>("manifest").len(),
            "{damaged}"
        );
        fixture.registry.expire_uploads().await.unwrap();
        push_image(&fixture.registry, "app/web", "pushed later", &json!({})).await;
    }
}

#[tokio::test]
async fn an_upload_that_cannot_be_read_is_dropped() {
    let mut damaged = String::new();
    let fixture = Fixture::converted_after(|db| {
        damaged = db
            .query_row("SELECT min(key) FROM records WHERE key LIKE 'u/%'", [], |row| {
                row.get(0)
            })
            .unwrap();
        db.execute(
            "UPDATE records SET value = substr(value, 1, 20) WHERE key = ?1",
            [&damaged],
        )
        .unwrap();
    });
    let id = damaged.strip_prefix("u/").unwrap();
    let keys = fixture
        .store
        .list(Range {
            prefix: "u/",
            after: "",
            limit: 1000,
            show: Show::All,
        })
        .await
        .unwrap();
    assert!(
        !keys.is_empty() && !keys.iter().any(|key| key.contains(id)),
        "{keys:?}"
    );
    assert_eq!(fixture.damages().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_key_that_no_record_has_stays_and_is_found() {
    let fixture = Fixture::converted_after(|db| {
        db.execute(
            "INSERT INTO records VALUES ('z/unknown', 1, CAST('{}' AS BLOB))",
            [],
        )
        .unwrap();
    });
    assert_eq!(fixture.damages().await, ["z/unknown"]);
}

#[tokio::test]
async fn records_keep_their_times_and_children_know_their_indexes() {
    let fixture = Fixture::converted();
    let range = |prefix, show| Range {
        prefix,
        after: "",
        limit: 1000,
        show,
    };
    let tags = fixture
        .store
        .list_written(range("r/app/web!/t/", Show::All))
        .await
        .unwrap();
    assert!(
        tags.iter().all(|tag| tag.written < NOW)
            && tags.windows(2).any(|two| two[0].written != two[1].written),
        "{tags:?}"
    );
    let catalog = fixture.store.list_written(range("c/", Show::All)).await.unwrap();
    assert!(catalog.iter().all(|entry| entry.written == NOW));
    for [repository, name, digest] in fixture.facts.of("tag") {
        let name = name.parse().unwrap();
        let found = fixture
            .registry
            .records
            .read(&keys::tag(&repository.parse().unwrap(), &name))
            .await
            .unwrap()
            .unwrap();
        let record = found.record;
        assert_eq!(
            (record.digest.0.as_str(), record.seq, record.previous),
            (digest, 1, None)
        );
        assert_eq!(
            (record.by, record.at, record.event.len()),
            (alice().to_string(), found.written.as_millis(), 32)
        );
    }
    let mut listed = 0;
    for [repository, digest] in fixture.facts.of("manifest") {
        let repository = repository.parse().unwrap();
        let digest = digest.parse().unwrap();
        let found = fixture
            .registry
            .records
            .read(&keys::manifest(&repository, &digest))
            .await
            .unwrap()
            .unwrap();
        for child in &found.record.header.manifests {
            assert!(
                fixture
                    .registry
                    .records
                    .is_marked(&keys::index(&repository, &child.0, &digest))
                    .await
                    .unwrap(),
                "{child:?}"
            );
            listed += 1;
        }
    }
    assert!(listed > 6, "{listed}");
    // Manifests that readers must not see are hidden: two that are being pushed, one of them an index, and
    // two that are being deleted.
    assert_eq!(
        fixture
            .store
            .list(range("r/odd/states!/m/", Show::Hidden))
            .await
            .unwrap()
            .len(),
        4
    );
    assert_eq!(
        fixture
            .store
            .list(range("r/odd/states!/i/", Show::All))
            .await
            .unwrap()
            .len(),
        2,
        "of the index pushed, and of the one condemned"
    );
    assert_eq!(fixture.store.list(range("x/", Show::All)).await.unwrap().len(), 2);
}
