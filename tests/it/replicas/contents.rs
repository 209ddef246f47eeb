//! What a bucket holds, and what its records name.

use super::inspector::Inspector;
use serde_json::Value;
use std::collections::BTreeMap;

/// The size of the object that stays where a record was removed.
const TOMBSTONE: u64 = 16;

pub(crate) struct Contents {
    /// The objects with records, and what they say of a blob. Records of uploads and of pulls, and what processes
    /// noted of their own work, are not among them.
    pub(crate) records: BTreeMap<String, Option<Blob>>,
    /// The objects of open uploads.
    pub(crate) uploads: Vec<String>,
    /// The objects with bytes, by key, with their sizes.
    pub(super) bytes: BTreeMap<String, u64>,
    /// The keys of unfinished multipart uploads.
    pub(crate) unfinished: Vec<String>,
    pub(crate) tombstones: usize,
}

/// What a record says of its blob's bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Blob {
    /// The key of the bytes.
    pub(super) key: String,
    pub(super) size: u64,
}

impl Contents {
    pub(crate) async fn of(inspector: &Inspector) -> Self {
        let mut contents = Self {
            records: BTreeMap::new(),
            uploads: Vec::new(),
            bytes: BTreeMap::new(),
            unfinished: inspector.uploads().await,
            tombstones: 0,
        };
        for (object, size) in inspector.objects().await {
            if object.starts_with("d/") {
                contents.bytes.insert(object, size);
                continue;
            }
            let Some(key) = object.strip_prefix("records/") else {
                // A probe that was killed leaves an object, which a probe removes after a day.
                assert!(
                    object.starts_with("probe/"),
                    "no object of the registry has the name {object}"
                );
                continue;
            };
            let of_processes = ["g._", "h._", "i._replica"];
            let is_of_processes =
                of_processes.iter().any(|start| key.starts_with(start)) || key.contains("!._p._");
            if size == TOMBSTONE {
                contents.tombstones += 1;
            } else if key.starts_with("u._") {
                contents.uploads.push(object);
            } else if key.starts_with("b._") {
                let blob = Blob::read(&inspector.object(&object).await);
                contents.records.insert(object, Some(blob));
            } else if !is_of_processes {
                contents.records.insert(object, None);
            }
        }
        contents
    }

    /// Checks that the bytes and the unfinished multipart uploads are exactly those that blobs and open uploads
    /// name.
    pub(crate) fn check(&self) {
        let blobs = self.records.values().flatten();
        for blob in blobs.clone() {
            let found = self.bytes.get(&blob.key);
            assert_eq!(found, Some(&blob.size), "{blob:?}");
        }
        let keys: Vec<&String> = blobs.map(|blob| &blob.key).collect();
        let is_of_an_upload = |key: &str| {
            let name = key.rsplit('/').next().unwrap().split('.').next().unwrap();
            self.uploads.iter().any(|upload| upload.ends_with(name))
        };
        let unnamed: Vec<&String> = self
            .bytes
            .keys()
            .chain(&self.unfinished)
            .filter(|key| !keys.contains(key) && !is_of_an_upload(key))
            .collect();
        assert!(
            unnamed.is_empty(),
            "neither a blob nor an upload has these bytes: {unnamed:?}"
        );
    }

    /// The size of each blob, by the object with its record.
    fn sizes(&self) -> BTreeMap<&String, Option<u64>> {
        let records = self.records.iter();
        records
            .map(|(object, blob)| (object, blob.as_ref().map(|blob| blob.size)))
            .collect()
    }

    /// Checks that both hold the same records and blobs.
    pub(crate) fn must_equal(&self, fresh: &Self) {
        let ours = self.sizes();
        let theirs = fresh.sizes();
        let only = |these: &BTreeMap<&String, Option<u64>>, those: &BTreeMap<&String, Option<u64>>| {
            let these = these
                .iter()
                .filter(|(object, size)| those.get(*object) != Some(size));
            these.map(|(object, _)| (*object).clone()).collect::<Vec<_>>()
        };
        assert_eq!(
            (only(&ours, &theirs), only(&theirs, &ours)),
            (Vec::new(), Vec::new()),
            "on the left what only the used store has, on the right what only a fresh one has"
        );
    }

    /// The bytes of all blobs.
    pub(crate) fn size(&self) -> u64 {
        self.records.values().flatten().map(|blob| blob.size).sum()
    }
}

impl Blob {
    /// Reads the second line of a record. Padding follows it.
    fn read(record: &str) -> Self {
        let (_, line) = record.split_once('\n').unwrap();
        let mut values = serde_json::Deserializer::from_str(line).into_iter();
        let blob: Value = values.next().unwrap().unwrap();
        assert_eq!(blob["state"], "live", "{blob}");
        assert_eq!(blob["trash"], Value::Null, "{blob}");
        let name = blob["generation"].as_str().unwrap();
        Self {
            key: format!("d/{}/{name}", &name[..2]),
            size: blob["size"].as_u64().unwrap(),
        }
    }
}
