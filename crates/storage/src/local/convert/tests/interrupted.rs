//! A killed conversion continues, and notices what an older program wrote meanwhile.

use super::*;

#[tokio::test]
async fn records_in_the_log_of_a_killed_process_are_converted_too() {
    let folder = old_store();
    let db = Connection::open(folder.path().join("records.sqlite3")).unwrap();
    db.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    let write = |value: &str| {
        db.execute(
            "UPDATE records SET value = CAST(?1 AS BLOB) WHERE key = 'two/good'",
            [value],
        )
        .unwrap()
    };
    write("old one, which is replaced below");
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    write("old two");
    let killed = copy(folder.path());
    assert!(
        killed
            .path()
            .join("records.sqlite3-wal")
            .metadata()
            .unwrap()
            .len()
            > 0
    );
    convert_all(killed.path()).unwrap();
    check(killed.path(), "killed").await;
}

/// The state that a kill leaves at each step, and the files in the folder while the next step runs.
#[tokio::test]
async fn a_conversion_that_is_killed_at_any_step_continues() {
    let folder = old_store();
    let mut left = Vec::new();
    let mut keep = |done, of| left.push((done, of, copy(folder.path())));
    convert(
        folder.path(),
        NOW,
        &mut Mapping {
            at_each_step: Some(&mut keep),
        },
    )
    .unwrap();
    check(folder.path(), "not killed").await;
    assert!(
        left.len() > 6,
        "several batches and the last steps: {}",
        left.len()
    );
    assert!(
        left.windows(2).all(|pair| pair[0].0 <= pair[1].0),
        "no batch is converted twice"
    );
    for (step, (done, of, folder)) in left.iter().enumerate() {
        let before = contents(folder.path());
        let refused = Local::open(folder.path()).unwrap_err();
        assert!(
            matches!(refused, OpenError::Older { .. } | OpenError::Unfinished { .. }),
            "{step}: {refused}"
        );
        assert_eq!(
            contents(folder.path()),
            before,
            "{step}: a read-only command changes nothing"
        );
        let mut first = None;
        let mut note = |done, _| first = first.or(Some(done));
        assert!(
            convert(
                folder.path(),
                NOW,
                &mut Mapping {
                    at_each_step: Some(&mut note)
                }
            )
            .unwrap()
        );
        if done < of {
            assert_eq!(
                first,
                Some(left[step + 1].0),
                "{step}: it continues where it stopped"
            );
        }
        check(folder.path(), &format!("killed at step {step}")).await;
    }
}

#[tokio::test]
async fn records_changed_by_an_older_program_since_are_converted_again() {
    for whole in [false, true] {
        let folder = old_store();
        let mut left = Vec::new();
        let mut keep = |_, _| left.push(copy(folder.path()));
        convert(
            folder.path(),
            NOW,
            &mut Mapping {
                at_each_step: Some(&mut keep),
            },
        )
        .unwrap();
        let stopped = left.iter().rfind(|left| {
            left.path()
                .join(if whole { CONVERTED } else { CONVERTING })
                .exists()
                && fs::read_to_string(left.path().join("format")).unwrap() == "wharfinger store 1\n"
        });
        let stopped = stopped.unwrap().path();
        // Open the records as a program of format 1 does.
        let db = Connection::open(stopped.join("records.sqlite3")).unwrap();
        db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
            .unwrap();
        db.execute(
            "UPDATE records SET value = CAST('old later' AS BLOB) WHERE key = 'many/00'",
            [],
        )
        .unwrap();
        drop(db);
        convert_all(stopped).unwrap();
        let store = Local::open(stopped).unwrap();
        assert_eq!(
            store.get("many/00").await.unwrap().unwrap().value,
            "new later",
            "{whole}"
        );
    }
}

#[tokio::test]
async fn another_table_is_not_mistaken_for_the_one_being_converted() {
    for folder in steps(&old_store()).iter().filter(|left| {
        fs::read_to_string(left.path().join("format"))
            .unwrap()
            .contains('1')
    }) {
        let restored = folder.path().join("restored");
        db(folder)
            .execute("VACUUM INTO ?1", [restored.to_str().unwrap()])
            .unwrap();
        let other = Connection::open(&restored).unwrap();
        other.execute_batch("UPDATE records SET value = CAST('old other' AS BLOB) WHERE key = 'many/00'; PRAGMA user_version = 0").unwrap();
        drop(other);
        fs::rename(&restored, folder.path().join("records.sqlite3")).unwrap();
        convert_all(folder.path()).unwrap();
        let store = Local::open(folder.path()).unwrap();
        assert_eq!(store.get("many/00").await.unwrap().unwrap().value, "new other");
    }
}

#[tokio::test]
async fn values_of_a_lost_batch_and_old_values_are_removed() {
    let left = steps(&old_store());
    let begun = left
        .iter()
        .find(|left| left.path().join(CONVERTING).exists())
        .unwrap();
    let lost = begun.path().join("v/0f/0f00000000000001");
    fs::create_dir_all(lost.parent().unwrap()).unwrap();
    fs::write(&lost, "x".repeat(3_000_000)).unwrap();
    let mut first = true;
    let mut removed = |_, _| assert!(!std::mem::take(&mut first) || !lost.exists());
    // Room for everything except the lost file.
    let room = |_: &Space| Ok(Some(500_000));
    convert_if_room(
        begun.path(),
        NOW,
        &mut Mapping {
            at_each_step: Some(&mut removed),
        },
        &room,
    )
    .unwrap();
    check(begun.path(), "lost batch").await;

    // The state after a kill when the new table has replaced the old one.
    fs::write(&lost, "of the old table").unwrap();
    fs::write(begun.path().join(CONVERTING), "").unwrap();
    assert!(convert_all(begun.path()).unwrap());
    assert!(!lost.exists());
    check(begun.path(), "old values left").await;
}
