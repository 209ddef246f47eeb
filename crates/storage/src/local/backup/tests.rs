//! Backups of a store with records in plain words that refer to files.

mod damage;

use super::super::values::LARGE;
use super::super::{Local, OpenError};
use super::*;
use crate::{BlobStore, RecordStore, Resume, Show, Version};
use bytes::Bytes;
use std::fmt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

const ID: &str = "5f1e0c9a77b0d3e45f1e0c9a77b0d3e4";

/// Reads records such as `sealed 5 <name>`. A test may hook in after the records have been copied and before
/// their files are.
#[derive(Default)]
struct Plain<'a>(Mutex<Option<Box<dyn FnOnce() + Send + 'a>>>);

impl fmt::Debug for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plain")
    }
}

impl Names for Plain<'_> {
    fn prefixes(&self) -> Vec<String> {
        vec!["b/".to_owned()]
    }

    fn named(
        &self,
        _: &str,
        value: &Bytes,
    ) -> Result<Option<Named>, Box<dyn std::error::Error + Send + Sync>> {
        let happens = self.0.lock().unwrap().take();
        happens.into_iter().for_each(|it| it());
        let text = str::from_utf8(value)?;
        let [kind, size, name] = text.split(' ').collect::<Vec<_>>()[..] else {
            return Err("not three words".into());
        };
        let kind = match kind {
            "sealed" => Kind::Sealed,
            "unsealed" => Kind::Unsealed,
            _ => Kind::Spare,
        };
        Ok(Some(Named {
            name: name.to_owned(),
            size: size.parse()?,
            kind,
        }))
    }
}

struct Store {
    folder: TempDir,
    local: Arc<Local>,
    /// The folder for its backups.
    elsewhere: TempDir,
}

impl Store {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let local = Arc::new(Local::open(folder.path()).unwrap());
        Self {
            folder,
            local,
            elsewhere: tempfile::tempdir().unwrap(),
        }
    }

    /// A store with a sealed blob `a`, an upload `b` whose first five bytes are kept, and a large value.
    async fn with_files() -> Self {
        let store = Self::new();
        store.blob("a", "alpha", "sealed").await;
        store.write("b", "bravo and more").await;
        store.record("b/b", &format!("unsealed 5 {}", name("b"))).await;
        store.local.create("r/large", large('1')).await.unwrap();
        store
    }

    async fn write(&self, short: &str, bytes: &str) {
        let chunks = vec![Bytes::copy_from_slice(bytes.as_bytes())];
        self.local
            .write(&name(short), 0, &Resume::default(), chunks, Box::new(|_| ()))
            .await
            .unwrap();
    }

    async fn blob(&self, short: &str, bytes: &str, kind: &str) {
        self.write(short, bytes).await;
        self.local
            .seal(&name(short), bytes.len() as u64, &Resume::default())
            .await
            .unwrap();
        self.record(
            &format!("b/{short}"),
            &format!("{kind} {} {}", bytes.len(), name(short)),
        )
        .await;
    }

    async fn record(&self, key: &str, text: &str) -> Version {
        self.local
            .create(key, Bytes::copy_from_slice(text.as_bytes()).into())
            .await
            .unwrap()
    }

    async fn delete(&self, key: &str) {
        let version = self.local.get(key).await.unwrap().unwrap().version;
        self.local.delete(key, &version).await.unwrap();
    }

    fn to(&self) -> PathBuf {
        self.elsewhere.path().join("backup")
    }

    fn back_up(&self) -> Result<BackedUp, BackupError> {
        self.back_up_while(|_| ())
    }

    /// Backs up, and runs `then` after the records were copied.
    fn back_up_while(&self, happens: impl FnOnce(&Progress) + Send) -> Result<BackedUp, BackupError> {
        let progress = Progress::default();
        let names = Plain(Mutex::new(Some(Box::new(|| happens(&progress)))));
        let backup = Backup {
            to: &self.to(),
            hard_link: false,
            store_id: ID,
            names: &names,
        };
        self.local.back_up(backup, &progress)
    }

    fn link(&self) -> Result<BackedUp, BackupError> {
        let backup = Backup {
            to: &self.to(),
            hard_link: true,
            store_id: ID,
            names: &Plain::default(),
        };
        self.local.back_up(backup, &Progress::default())
    }

    fn back_up_to(&self, to: &Path, store_id: &str) -> Result<BackedUp, BackupError> {
        self.local.back_up(
            Backup {
                to,
                hard_link: false,
                store_id,
                names: &Plain::default(),
            },
            &Progress::default(),
        )
    }

    /// The file of a blob in the store.
    fn bytes(&self, short: &str) -> PathBuf {
        bytes(self.folder.path(), short)
    }

    /// The same in the backup.
    fn copy(&self, short: &str) -> PathBuf {
        bytes(&self.to(), short)
    }
}

/// A name in the folder of that letter.
fn name(short: &str) -> String {
    format!("{short:x<32}")
}

fn bytes(folder: &Path, short: &str) -> PathBuf {
    let name = name(short);
    folder.join("d").join(&name[..2]).join(name)
}

fn large(letter: char) -> crate::Value {
    Bytes::from(letter.to_string().repeat(LARGE + 1)).into()
}

/// Runs a future to its end in the middle of a backup.
fn wait(work: impl Future) {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(work));
}

async fn text_of(store: &Local, short: &str) -> String {
    let file = BlobStore::open(store, &name(short)).await.unwrap();
    String::from_utf8(file.read(0, 100).await.unwrap().to_vec()).unwrap()
}

async fn keys(store: &Local) -> Vec<String> {
    store
        .list(crate::Range {
            prefix: "",
            after: "",
            limit: 100,
            show: Show::All,
        })
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_a_store_with_everything_the_records_refer_to() {
    let store = Store::with_files().await;
    store.blob("c", "nobody's", "sealed").await;
    store.delete("b/c").await;
    store.record("b/spare", &format!("spare 5 {}", name("d"))).await;
    let done = store.back_up().unwrap();
    let bytes = 10 + LARGE as u64 + 1;
    assert_eq!(
        (
            done.files,
            done.bytes,
            done.copied + done.cloned,
            done.kept,
            done.damages
        ),
        (3, bytes, 3, 0, 0),
        "{done:?}"
    );
    for name in ["format", "backup", "records.sqlite3", "d"] {
        let mode = store.to().join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}: {mode:o}");
    }
    assert_eq!(
        store.copy("a").metadata().unwrap().mtime(),
        store.bytes("a").metadata().unwrap().mtime()
    );
    let restored = Local::open(&store.to()).unwrap();
    assert_eq!(keys(&restored).await, ["b/a", "b/b", "b/spare", "r/large"]);
    for key in ["b/a", "r/large"] {
        assert_eq!(
            restored.get(key).await.unwrap(),
            store.local.get(key).await.unwrap()
        );
    }
    assert_eq!(
        (
            text_of(&restored, "a").await.as_str(),
            text_of(&restored, "b").await.as_str()
        ),
        ("alpha", "bravo")
    );
    assert!(!store.copy("c").exists());
    assert_eq!(restored.check().unwrap(), (Vec::new(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_removed_meanwhile_are_in_the_backup_and_gone_afterwards() {
    let store = Store::with_files().await;
    let version = store.local.get("r/large").await.unwrap().unwrap().version;
    let done = store.back_up_while(|_| {
        wait(async {
            store.delete("b/a").await;
            store.local.remove(&name("a"), &Resume::default()).await.unwrap();
            store.local.remove(&name("b"), &Resume::default()).await.unwrap();
            assert!(
                BlobStore::open(&*store.local, &name("a")).await.is_err(),
                "the store cannot read it any more"
            );
            store.local.swap("r/large", &version, large('2')).await.unwrap();
            store.blob("c", "later", "sealed").await;
        });
    });
    assert_eq!(done.unwrap().damaged, [""; 0]);
    assert!(
        !store.bytes("a").exists()
            && !store.folder.path().join("d/held").exists()
            && !store.folder.path().join("v/held").exists()
    );
    assert_eq!(
        store.local.check().unwrap(),
        (Vec::new(), 0),
        "the old value is gone"
    );
    let restored = Local::open(&store.to()).unwrap();
    assert_eq!(keys(&restored).await, ["b/a", "b/b", "r/large"]);
    assert_eq!(
        (
            text_of(&restored, "a").await.as_str(),
            text_of(&restored, "b").await.as_str()
        ),
        ("alpha", "bravo")
    );
    assert_eq!(
        restored.get("r/large").await.unwrap().unwrap().value,
        large('1').bytes
    );
    assert_eq!(restored.check().unwrap(), (Vec::new(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_backup_cannot_be_opened_and_the_next_run_finishes_it() {
    let store = Store::with_files().await;
    assert!(matches!(
        store.back_up_while(Progress::stop),
        Err(BackupError::Stopped)
    ));
    for opened in [Local::open(&store.to()), Local::open_existing(&store.to())] {
        assert!(
            matches!(opened, Err(OpenError::UnfinishedBackup { .. })),
            "{opened:?}"
        );
    }
    // The first file was copied completely, the second one in part.
    let whole = store.bytes("a");
    std::fs::create_dir_all(store.copy("a").parent().unwrap()).unwrap();
    std::fs::create_dir_all(store.copy("b").parent().unwrap()).unwrap();
    std::fs::copy(&whole, store.copy("a")).unwrap();
    let time = whole.metadata().unwrap().modified().unwrap();
    std::fs::File::options()
        .write(true)
        .open(store.copy("a"))
        .unwrap()
        .set_modified(time)
        .unwrap();
    std::fs::write(store.copy("b").with_extension("part"), "br").unwrap();
    let done = store.back_up().unwrap();
    assert_eq!((done.files, done.kept), (3, 1), "{done:?}");
    let names: Vec<_> = std::fs::read_dir(store.copy("b").parent().unwrap())
        .unwrap()
        .map(|one| one.unwrap().file_name())
        .collect();
    assert_eq!(names, [name("b").as_str()]);
    Local::open(&store.to()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_backup_is_brought_up_to_date_and_usable_until_then() {
    let store = Store::with_files().await;
    store.back_up().unwrap();
    store.delete("b/a").await;
    store.local.remove(&name("a"), &Resume::default()).await.unwrap();
    store.blob("c", "charlie", "sealed").await;
    assert!(matches!(
        store.back_up_while(Progress::stop),
        Err(BackupError::Stopped)
    ));
    let earlier = Local::open_existing(&store.to()).unwrap();
    assert_eq!(
        (keys(&earlier).await, text_of(&earlier, "a").await.as_str()),
        (["b/a", "b/b", "r/large"].map(str::to_owned).into(), "alpha")
    );
    drop(earlier);
    let done = store.back_up().unwrap();
    assert_eq!((done.files, done.kept, done.removed), (3, 2, 1), "{done:?}");
    let now = Local::open_existing(&store.to()).unwrap();
    assert_eq!(
        (keys(&now).await, text_of(&now, "c").await.as_str()),
        (["b/b", "b/c", "r/large"].map(str::to_owned).into(), "charlie")
    );
    assert!(!store.copy("a").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_continued_is_copied_again() {
    let store = Store::with_files().await;
    store.back_up().unwrap();
    // Bytes after the first five were not kept.
    store.delete("b/b").await;
    let chunks = vec![Bytes::from_static(b" brings")];
    store
        .local
        .write(&name("b"), 5, &Resume::default(), chunks, Box::new(|_| ()))
        .await
        .unwrap();
    store
        .local
        .seal(&name("b"), 12, &Resume::default())
        .await
        .unwrap();
    store.record("b/b", &format!("sealed 12 {}", name("b"))).await;
    store.back_up().unwrap();
    assert_eq!(std::fs::read_to_string(store.copy("b")).unwrap(), "bravo brings");
}

#[tokio::test(flavor = "multi_thread")]
async fn hard_links_are_made_of_files_that_are_never_written_again() {
    let store = Store::with_files().await;
    let done = store.link().unwrap();
    assert_eq!((done.linked, done.copied + done.cloned), (2, 1), "{done:?}");
    let inode = |path: PathBuf| path.metadata().unwrap().ino();
    assert_eq!(inode(store.copy("a")), inode(store.bytes("a")));
    assert_ne!(inode(store.copy("b")), inode(store.bytes("b")));
    // Later changes of the store do not change the backup.
    store.local.remove(&name("a"), &Resume::default()).await.unwrap();
    let version = store.local.get("r/large").await.unwrap().unwrap().version;
    store.local.swap("r/large", &version, large('2')).await.unwrap();
    let restored = Local::open_existing(&store.to()).unwrap();
    assert_eq!(text_of(&restored, "a").await, "alpha");
    assert_eq!(
        restored.get("r/large").await.unwrap().unwrap().value,
        large('1').bytes
    );
    drop(restored);
    store.delete("b/a").await;
    let done = store.link().unwrap();
    assert_eq!((done.linked, done.kept, done.removed), (1, 1, 2), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_the_backup_and_not_the_deletion() {
    let store = Store::with_files().await;
    let done = store.back_up_while(|_| {
        wait(async {
            store.local.remove(&name("a"), &Resume::default()).await.unwrap();
            store.local.space.fill();
        });
    });
    assert!(matches!(done, Err(BackupError::HoldBroken)), "{done:?}");
    assert!(!store.folder.path().join("d/held").exists() && !store.bytes("a").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_backup_at_a_time() {
    let store = Store::with_files().await;
    let done = store.back_up_while(|_| assert!(matches!(store.back_up(), Err(BackupError::Running))));
    done.unwrap();
    store.back_up().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn unsuitable_folders_are_rejected_and_left_unchanged() {
    let store = Store::with_files().await;
    let inside = store.folder.path().join("x/backup");
    let around = store.folder.path().parent().unwrap().to_owned();
    let link = store.elsewhere.path().join("link");
    std::os::unix::fs::symlink(store.folder.path(), &link).unwrap();
    for to in [store.folder.path().to_owned(), inside, around, link.join("x")] {
        let refused = store.back_up_to(&to, ID);
        assert!(
            matches!(refused, Err(BackupError::Overlap { .. })),
            "{}: {refused:?}",
            to.display()
        );
    }
    assert!(!store.folder.path().join("x").exists());
    let other = store.elsewhere.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("thesis"), "").unwrap();
    let refused = store.back_up_to(&other, ID);
    assert!(
        matches!(&refused, Err(BackupError::NotABackup { found, .. }) if found == "`thesis`"),
        "{refused:?}"
    );
    assert_eq!(
        std::fs::read_dir(&other).unwrap().count(),
        1,
        "nothing is written there"
    );
    std::fs::rename(other.join("thesis"), other.join("backup")).unwrap();
    let refused = store.back_up_to(&other, ID);
    assert!(
        matches!(&refused, Err(BackupError::NotABackup { found, .. }) if found == "a `backup` of another program"),
        "{refused:?}"
    );
    std::fs::remove_file(other.join("backup")).unwrap();
    std::fs::create_dir(other.join("lost+found")).unwrap();
    store.back_up_to(&other, ID).unwrap();
    let refused = store.back_up_to(&other, "another");
    assert!(
        matches!(&refused, Err(BackupError::OtherStore { found, .. }) if found == ID),
        "{refused:?}"
    );
    // A check leaves it a backup. Serving it makes it a store.
    let checking = Local::open_existing(&other).unwrap();
    let refused = store.back_up_to(&other, ID);
    assert!(
        matches!(&refused, Err(BackupError::Target(OpenError::InUse { .. }))),
        "{refused:?}"
    );
    drop(checking);
    store.back_up_to(&other, ID).unwrap();
    drop(Local::open(&other).unwrap());
    let refused = store.back_up_to(&other, ID);
    assert!(matches!(&refused, Err(BackupError::AStore { .. })), "{refused:?}");
}

/// Without these locks, another program that reads the records would take itself for the only user, and
/// delete the log of the running registry.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_leaves_sqlites_locks_in_place() {
    let store = Store::with_files().await;
    let locks = || {
        let table = std::fs::read_to_string("/proc/locks").unwrap();
        let held = |name: &str| {
            let inode = std::fs::metadata(store.folder.path().join(name)).unwrap().ino();
            let of_this = format!(":{inode} ");
            table.lines().filter(|line| line.contains(&of_this)).count()
        };
        [held("records.sqlite3"), held("records.sqlite3-shm")]
    };
    let before = locks();
    assert!(before.iter().all(|held| *held > 0), "{before:?}");
    store.back_up().unwrap();
    assert_eq!(locks(), before, "after a backup that copies");
    store.link().unwrap();
    assert_eq!(locks(), before, "after a backup that links");
}
