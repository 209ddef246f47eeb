//! Passes that would delete too much leave a repository alone.

use super::*;

#[tokio::test]
async fn a_pass_that_would_delete_too_much_leaves_the_repository_alone() {
    let bench = started().await;
    ten_tags(&bench).await;
    let keeping = |count: u64, share: Value| {
        options(
            &json!({"maxShare": share, "policies": [{"repositories": ["**"], "keepTags": [{"mostRecentlyPushedCount": count}]}]}),
        )
    };
    let held = bench
        .registry
        .collect(
            &Maintenance::by_the_stores_owner(),
            &keeping(4, json!(null)),
            &mut (),
        )
        .await
        .unwrap();
    let why = held.repositories[R].exceeds.as_deref().unwrap();
    assert!(
        why.contains("would delete 6 of 10 tags") && why.contains("0.5"),
        "{why}"
    );
    assert_eq!((held.goes().len(), tags(&bench).await.len()), (0, 10));
    let owner = Maintenance::by_the_stores_owner();
    let half = bench
        .registry
        .collect(&owner, &keeping(5, json!(null)), &mut ())
        .await
        .unwrap();
    assert_eq!(
        (half.repositories[R].exceeds.clone(), tags(&bench).await.len()),
        (None, 5)
    );
    let mut by_hand = keeping(2, json!(0.1));
    by_hand.rules.by_hand = true;
    let report = pass(&bench, &by_hand).await;
    assert_eq!(report.repositories[R].exceeds, None, "nothing was held back");
    assert_eq!(tags(&bench).await.len(), 2);
    pass(&bench, &keeping(1, json!(0.5))).await;
    assert_eq!(tags(&bench).await.len(), 1);
    assert!(has(&bench, &sha256(&image(&sha256(b"t9"), &json!({})))).await);
}

#[tokio::test]
async fn a_pattern_that_matches_nothing_deletes_nothing_even_if_a_tag_is_pushed_each_day() {
    let bench = started().await;
    let policies = json!([{"repositories": ["**"], "keepTags": [{"patterns": ["^releases"]}]}]);
    let options = Options {
        grace: DAY,
        ..options(&json!({"policies": policies}))
    };
    for number in 0..5 {
        push_tagged(&bench, &format!("t{number}")).await;
        let report = collect(&bench, &options).await;
        assert_eq!(tags(&bench).await.len(), number + 1);
        if number > 0 {
            let why = report.repositories[R].exceeds.as_deref().unwrap();
            let expected = format!("{number} of {number} tags (not counting 1 that");
            assert!(why.contains(&expected), "{why}");
        }
        bench.hand.advance(DAY);
    }
}

/// Young tags that the policy keeps are part of the whole.
#[tokio::test]
async fn a_count_above_the_tags_of_a_day_is_not_held_back() {
    let bench = started().await;
    let policies = json!([{"repositories": ["**"], "keepTags": [{"mostRecentlyPushedCount": 4}]}]);
    let options = Options {
        grace: DAY,
        ..options(&json!({"policies": policies}))
    };
    for day in 0..5 {
        for number in 0..3 {
            push_tagged(&bench, &format!("t{day}{number}")).await;
        }
        let report = collect(&bench, &options).await;
        let section = report.repositories.get(R);
        assert_eq!(section.and_then(|section| section.exceeds.clone()), None);
        bench.hand.advance(DAY);
    }
    assert_eq!(tags(&bench).await, ["t32", "t40", "t41", "t42"]);
}

/// In tests, a hundred tags and manifests are counted.
#[tokio::test]
async fn a_scheduled_pass_leaves_alone_what_it_cannot_count_unless_it_may_delete_everything() {
    let keeping = json!({"policies": [{"repositories": ["**"], "keepTags": [{"patterns": ["^kept"]}]}], "maxShare": 0.9});
    let mut by_hand = options(&keeping);
    by_hand.rules.by_hand = true;
    let mut all = keeping.clone();
    all["maxShare"] = json!(1);
    for (options, left) in [(options(&keeping), 80), (by_hand, 20), (options(&all), 20)] {
        let bench = started().await;
        for number in 0..60 {
            push_tagged(&bench, &format!("other{number}")).await;
        }
        for number in 0..20 {
            push_tagged(&bench, &format!("kept{number}")).await;
        }
        bench.hand.advance(DAY);
        let report = collect(&bench, &options).await;
        assert_eq!(tags(&bench).await.len(), left);
        assert_eq!(bench.keys("r/team/app!/m/").await.len(), left);
        let why = report.repositories[R].exceeds.as_deref().unwrap_or_default();
        let uncounted = why.contains("at least 100 tags and manifests");
        assert_eq!(uncounted, left == 80, "{why}");
    }
}

/// Without the pass, a moved or deleted tag would cost its manifest within minutes.
#[tokio::test]
async fn between_the_passes_nothing_is_deleted_where_a_pass_would_delete_too_much() {
    let bench = started().await;
    let registry = &bench.registry;
    registry.remember_garbage();
    ten_tags(&bench).await;
    let owner = Maintenance::by_the_stores_owner();
    let keeping = |patterns: &str| {
        options(&json!({"policies": [{"repositories": ["**"], "keepTags": [{"patterns": [patterns]}]}]}))
    };
    let delete_and_check = async |name: &str, options: &Options| {
        registry.delete_manifest(&delete(R), &tag(name)).await.unwrap();
        let report = registry.collect_lately(&owner, options, &mut ()).await.unwrap();
        count(&report, Goes::UntaggedManifest)
    };
    let wrong = keeping("x");
    assert_eq!(delete_and_check("t0", &wrong).await, 1, "no pass has looked yet");
    let report = registry.collect(&owner, &wrong, &mut ()).await.unwrap();
    assert!(report.repositories[R].exceeds.is_some());
    assert_eq!(delete_and_check("t1", &wrong).await, 0);
    let mut by_hand = wrong.clone();
    by_hand.dry_run = true;
    by_hand.rules.by_hand = true;
    registry.collect(&owner, &by_hand, &mut ()).await.unwrap();
    assert_eq!(
        delete_and_check("t2", &wrong).await,
        0,
        "a dry run changes nothing"
    );

    let right = keeping("t");
    let report = registry.collect(&owner, &right, &mut ()).await.unwrap();
    assert_eq!(count(&report, Goes::UntaggedManifest), 2);
    assert_eq!(delete_and_check("t3", &right).await, 1);
}
