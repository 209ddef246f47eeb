//! Which damage `fsck --mark` marks, and when it clears a mark.

use super::*;
use rustix::io::Errno;
use wharfinger_testkit::{Failing, When};

#[tokio::test]
async fn only_what_is_damaged_for_certain_is_marked() {
    const ALWAYS: usize = usize::MAX;
    for (times, when, why, expected) in [
        (ALWAYS, When::Opened, Errno::ACCESS, Marking::Uncertain),
        (ALWAYS, When::Opened, Errno::PERM, Marking::Uncertain),
        (ALWAYS, When::Opened, Errno::MFILE, Marking::Uncertain),
        (ALWAYS, When::Opened, Errno::NOMEM, Marking::Uncertain),
        (ALWAYS, When::Opened, Errno::STALE, Marking::Uncertain),
        (ALWAYS, When::Read, Errno::TIMEDOUT, Marking::Uncertain),
        (ALWAYS, When::Read, Errno::NOTCONN, Marking::Uncertain),
        (1, When::Opened, Errno::IO, Marking::Uncertain),
        (1, When::Read, Errno::IO, Marking::Uncertain),
        (ALWAYS, When::Opened, Errno::IO, Marking::Set),
        (ALWAYS, When::Opened, Errno::LOOP, Marking::Set),
        (ALWAYS, When::Read, Errno::IO, Marking::Set),
    ] {
        let bench = whole().await;
        let failing = Failing::new(bench.store.clone());
        failing.fail_times(times, when, why).await;
        marks(&bench, &failing, &[expected]).await;
    }
    let bench = whole().await;
    let failing = Failing::new(bench.store.clone());
    failing.drop_out(Errno::IO).await;
    marks(&bench, &failing, &[Marking::Uncertain]).await;
    failing.work_again();
    let name = bench
        .registry
        .records
        .read(&keys::blob(&sha256(b"config")))
        .await
        .unwrap()
        .unwrap()
        .record
        .generation;
    bench.store.remove(&name, &Resume::default()).await.unwrap();
    marks(&bench, &failing, &[Marking::Set]).await;
}

/// The bytes could not be read when a client asked for them.
#[tokio::test]
async fn a_mark_on_good_bytes_is_shown_and_cleared() {
    let bench = whole().await;
    let failing = Failing::new(bench.store.clone());
    failing.fail(When::Opened, Errno::IO).await;
    marks(&bench, &failing, &[Marking::Set]).await;
    marks(&bench, &failing, &[]).await;
    failing.work_again();
    let key = bench.only_key("b/").await;
    let findings = bench.fsck().await.0.findings;
    let [
        Finding {
            severity: Severity::Leftover,
            key: shown,
            what,
        },
    ] = &findings[..]
    else {
        panic!("{findings:?}")
    };
    assert!(
        *shown == key && what.contains("is marked as damaged") && what.contains("fsck --mark"),
        "{findings:?}"
    );
    let digest = sha256(b"config");
    assert!(matches!(
        bench.registry.keep_blob(&read(R), &create(R), &digest).await,
        Err(Error::BlobUnknown)
    ));
    marks(&bench, &failing, &[Marking::Cleared]).await;
    marks(&bench, &failing, &[]).await;
    assert_eq!(bench.fsck().await.0.findings, []);
    bench
        .registry
        .keep_blob(&read(R), &create(R), &digest)
        .await
        .unwrap();
}

/// The store has one blob.
async fn marks(bench: &Bench, failing: &Arc<Failing>, expected: &[Marking]) {
    let registry = Registry::new(bench.store.clone(), failing.clone()).with(any_sizes());
    let mut heard = Heard::default();
    registry
        .check_and_mark(&Maintenance::by_the_stores_owner(), &mut heard)
        .await
        .unwrap();
    let key = bench.only_key("b/").await;
    let found: Vec<_> = heard
        .marked
        .iter()
        .map(|(marked, marking)| (marked == &key).then_some(*marking).unwrap())
        .collect();
    assert_eq!(found, expected, "{:?}", heard.findings);
    let suspect = bench
        .registry
        .records
        .read(&keys::blob(&sha256(b"config")))
        .await
        .unwrap()
        .unwrap()
        .record
        .suspect;
    match expected {
        [] => {}
        [marking] => assert_eq!(suspect, *marking == Marking::Set),
        _ => unreachable!(),
    }
}
