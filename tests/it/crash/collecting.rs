//! Kills the registry again and again, while collectors without a grace period and retention policies delete.
//! At the end the store holds only the content that is left.

use super::left::{self, Left, lenient};
use super::rounds::Rounds;
use super::server::{Kill, Server, Shim};
use super::shared::Shared;
use super::{dice, seconds};
use crate::harness::{Setup, eventually};
use serde_json::{Value, json};

fn setup() -> Setup {
    let mut setup = lenient();
    let storage = &mut setup.config["storage"];
    storage["gcDelay"] = json!("0");
    storage["gcInterval"] = json!("1ms");
    storage["retention"] = json!({"delay": "0", "maxShare": 1, "policies": [
        {"repositories": ["client/**"], "deleteUntagged": false, "keepTags": [{"patterns": ["^t"]}]},
        {"repositories": ["crowd/**"], "deleteReferrers": true, "keepTags": [
            {"patterns": ["^k"]}, {"patterns": ["^r"], "mostRecentlyPushedCount": 2},
        ]},
    ]});
    setup
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_collectors_without_grace_and_kills_of_everything_nothing_acknowledged_is_lost() {
    let Some(shim) = Shim::build() else { return };
    let mut rounds = Rounds::new(Server::with(shim, setup()), dice(), Shared::beside_collectors());
    rounds.run(seconds(10)).await;

    let http = rounds.finish().await;
    for client in &mut rounds.clients {
        client.delete_half(&http).await.expect("no test kills it now");
    }
    for client in &mut rounds.crowd {
        client.delete_half(&http).await.expect("no test kills it now");
    }
    assert!(!rounds.server.stop().await, "the registry was not killed");

    // Uploads whose names no client knows expire.
    rounds.server.let_a_day_pass();
    let pass = rounds.server.collect(&[]);
    assert_eq!(pass["complete"], true, "{pass:#}");
    let second = rounds.server.collect(&["--dry-run"]);
    assert!(removed(&second).is_empty(), "one pass is enough: {second:#}");
    let said = rounds.server.fsck();
    assert!(
        said.contains(": clean: 0 damaged, 0 left over;") && !said.contains("would free"),
        "{said}"
    );

    let [blobs, large, table, fresh] = compare(&mut rounds).await;
    let seen = rounds.server.collected();
    let acknowledged = rounds.sum(|done| done.acknowledged)
        + rounds.crowd.iter().map(|client| client.acknowledged).sum::<u64>();
    eprintln!(
        "{} rounds, {acknowledged} acknowledged changes, none lost; killed: the registry {} times, `gc` {} times, clients {} times; \
         {} complete passes by command ({} failed), {} of the registry's own that found something; {} things removed with {} bytes, \
         {} tags deleted by policies; left: {blobs} bytes of blobs, {large} of large records, a table of {table} bytes ({fresh} if fresh)",
        rounds.rounds,
        rounds.deaths,
        rounds.commands.killed,
        rounds.abandoned,
        rounds.commands.complete,
        rounds.commands.failed,
        seen.passes,
        seen.items,
        seen.bytes,
        seen.tags,
    );
    assert_eq!(seen.wrong, [""; 0]);
    assert!(acknowledged > 0 && rounds.deaths > 0 && seen.items > 0);
}

/// Compares everything with what the clients remember, and the store with a fresh one of the same content.
async fn compare(rounds: &mut Rounds) -> [u64; 4] {
    rounds.server.configure(|config| {
        config["storage"]["gc"] = json!(false);
        config["storage"]["retention"] = Value::Null;
    });
    rounds.compare().await;
    let address = rounds.server.start(Kill::Never).await.unwrap();
    let http = super::Http::new(address);
    let mut left = Left::default();
    for client in &rounds.clients {
        client.what_is_left(&mut left);
    }
    for client in &rounds.crowd {
        client
            .what_is_left(&http, &mut left)
            .await
            .expect("no test kills it now");
    }
    rounds
        .shared
        .what_is_left(&http, &mut left)
        .await
        .expect("no test kills it now");
    let mut fresh = lenient().start().await;
    left.copy(&http, &super::Http::new(fresh.address))
        .await
        .expect("no test kills it now");
    // The table gives pages back at a bounded pace while hardly anything is written.
    let table = rounds.server.store().join("records.sqlite3");
    let limit = fresh.store().join("records.sqlite3").metadata().unwrap().len() + (6 << 20);
    eventually("the table shrinks", async || {
        (table.metadata().unwrap().len() <= limit).then_some(())
    })
    .await;
    assert!(!rounds.server.stop().await, "the registry was not killed");
    fresh.signal(rustix::process::Signal::TERM);
    assert!(fresh.ended().await.success());
    left::compare(&rounds.server.store(), &fresh.store())
}

/// What the pass removed, by reason.
fn removed(report: &Value) -> Vec<String> {
    let repositories = report["repositories"].as_object().unwrap().values();
    let sections = repositories.chain([&report["store"], &report["others"]]);
    sections
        .flat_map(|section| section["goes"].as_object().unwrap())
        .map(|(why, amount)| format!("{why}: {amount}"))
        .collect()
}
