//! What is left after the run, when all replicas have ended and one pass of the collector was made.

use super::cluster::{Cluster, on, signing_keys};
use super::contents::Contents;
use super::inspector::Inspector;
use super::known::Known;
use crate::crash::http::Http;
use serde_json::{Value, json};
use tokio::task::block_in_place;

/// Stops the replicas, checks their store, collects its garbage without a grace period, and checks that nothing
/// else is left than a fresh store with the same images holds. `unknown` requests had no answer.
pub(super) async fn is_exact(cluster: &Cluster, known: &Known, unknown: u64) {
    let fresh = Cluster::in_the_process(1, |_| {}).await;
    let copied = known.left(cluster.address()).await;
    let to = Http::new(fresh.address());
    let done = copied.copy(&Http::new(cluster.address()), &to).await;
    done.expect("nothing is killed any more");
    cluster.stop().await;
    fresh.stop().await;
    leave_remains(cluster);
    collect(cluster).await;
    let Some(place) = cluster.place() else { return };
    let contents = Contents::of(&Inspector::new(place)).await;
    contents.check();
    // Those whose beginning or end had no answer expire after a day.
    let uploads = contents.uploads.len() as u64;
    assert!(
        uploads <= unknown,
        "{uploads} uploads are left, and {unknown} requests had no answer"
    );
    let fresh = Contents::of(&Inspector::new(fresh.place().unwrap())).await;
    contents.must_equal(&fresh);
    eprintln!(
        "the bucket has what a fresh one has: {} records, {} bytes of blobs. It also has {} tombstones, and {uploads} \
         uploads that will expire",
        contents.records.len(),
        contents.size(),
        contents.tombstones
    );
}

/// Leaves what a late request leaves: a rest of a blob that is sealed.
fn leave_remains(cluster: &Cluster) {
    if let Some(store) = cluster.store_in_the_process() {
        let objects = store.objects();
        let blob = objects
            .keys()
            .find(|key| key.starts_with("d/") && !key.contains('.'));
        store.put(&format!("{}.0123456789abcdef", blob.unwrap()), "late");
    }
}

/// Checks the stopped store, and makes one pass of the collector without a grace period. It is enough. A killed
/// replica may still hold the lease of collectors.
async fn collect(cluster: &Cluster) {
    let mut replica = cluster.replicas[0].lock().await;
    if let Some(place) = cluster.place() {
        replica.setup = on(&place, &place.endpoint, &signing_keys());
    }
    replica.setup.config["storage"]["gcDelay"] = json!("0");
    let replica = &*replica;
    let checked = block_in_place(|| replica.run("fsck", &[]));
    eprintln!("fsck: {}", checked.trim());
    let collect = |options: &[&str]| -> Value {
        let options = [&["--output", "json"], options].concat();
        serde_json::from_str(&replica.run("gc", &options)).unwrap()
    };
    let (collected, again) = block_in_place(|| (collect(&["--now"]), collect(&["--dry-run"])));
    assert_eq!(collected["complete"], json!(true), "{collected}");
    let left = again["repositories"].as_object().unwrap().values();
    for section in left.chain([&again["store"], &again["others"]]) {
        let goes = section["goes"].as_object();
        assert!(goes.is_none_or(serde_json::Map::is_empty), "{again}");
    }
}
