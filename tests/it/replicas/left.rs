//! What is left after the run, when all replicas have ended and one pass of the collector was made.

use super::cluster::Cluster;
use super::inspector::Inspector;
use serde_json::{Value, json};

/// The size of the object that stays where a record was removed.
const TOMBSTONE: u64 = 16;

/// Checks the stopped store, collects its garbage without a grace period, and checks that nothing else is
/// left. `unknown` requests had no answer.
pub(super) async fn is_clean(cluster: &Cluster, unknown: u64) {
    let mut replica = cluster.replicas[0].lock().await;
    replica.setup.config["storage"]["gcDelay"] = json!("0");
    let replica = &*replica;
    let checked = tokio::task::block_in_place(|| replica.run("fsck", &[]));
    eprintln!("fsck: {}", checked.trim());
    let collect = |options: &[&str]| -> Value {
        let options = [&["--output", "json"], options].concat();
        serde_json::from_str(&replica.run("gc", &options)).unwrap()
    };
    let (collected, again) = tokio::task::block_in_place(|| (collect(&[]), collect(&["--dry-run"])));
    assert_eq!(collected["complete"], json!(true), "{collected}");
    let left = again["repositories"].as_object().unwrap().values();
    for section in left.chain([&again["store"], &again["others"]]) {
        let goes = section["goes"].as_object();
        assert!(goes.is_none_or(serde_json::Map::is_empty), "{again}");
    }
    let Some(place) = cluster.place() else { return };
    let inspector = Inspector::new(place);
    let objects = inspector.objects().await;
    let (tombstones, live): (Vec<_>, Vec<_>) = objects
        .iter()
        .partition(|(key, size)| key.starts_with("records/") && *size == TOMBSTONE);
    let under = |prefix: &'static str| {
        let keys = live.iter().map(|(key, _)| key);
        keys.filter(move |key| key.starts_with(prefix))
    };
    // An upload keeps its bytes until it expires.
    let mut named: String = under("records/u._").map(|key| format!("{key}\n")).collect();
    for key in under("records/b._") {
        named.push_str(&inspector.object(key).await);
    }
    let name = |key: &str| {
        let name = key.rsplit('/').next().unwrap();
        name.split('.').next().unwrap().to_owned()
    };
    let open = inspector.uploads().await;
    let unnamed: Vec<&String> = under("d/")
        .chain(&open)
        .filter(|key| !named.contains(&name(key)))
        .collect();
    assert!(
        unnamed.is_empty(),
        "neither a blob nor an upload has these bytes: {unnamed:?}"
    );
    // Those whose beginning or end had no answer expire after a day.
    let uploads = under("records/u._").count() as u64;
    assert!(
        uploads <= unknown,
        "{uploads} uploads are left, and {unknown} requests had no answer"
    );
    eprintln!(
        "the bucket has {} objects, {} with the bytes of blobs and {} tombstones; {uploads} uploads will expire",
        objects.len(),
        under("d/").count(),
        tombstones.len()
    );
}
