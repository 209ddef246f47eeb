//! A page of referrers takes a bounded amount of work, for any referrers and any filter.

use super::*;
use std::collections::BTreeSet;

const LARGE: usize = 4_000_000;

/// Pushes a referrer of `subject` and returns its digest.
async fn refer(site: &Site, subject: &str, artifact_type: &str, note: String) -> String {
    let subject = json!({"mediaType": IMAGE, "digest": subject, "size": 1});
    let extra = json!({"subject": subject, "artifactType": artifact_type, "annotations": {"note": note}});
    let pushed = site.push_image("open/a", "t", extra).await;
    assert_eq!(pushed.status, StatusCode::CREATED, "{}", pushed.text());
    pushed.header("docker-content-digest").to_owned()
}

/// The digests of each page, from the first to the last.
async fn pages(site: &Site, subject: &str, query: &str) -> Vec<Vec<String>> {
    let mut next = format!("/v2/open/a/referrers/{subject}{query}");
    let mut pages = Vec::new();
    loop {
        let page = site.get(&next).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text());
        assert_eq!(
            page.header("oci-filters-applied"),
            if query.is_empty() { "" } else { "artifactType" }
        );
        let manifests = page.json()["manifests"].as_array().unwrap().clone();
        pages.push(
            manifests
                .iter()
                .map(|found| found["digest"].as_str().unwrap().to_owned())
                .collect(),
        );
        let link = page.header("link").to_owned();
        if link.is_empty() {
            return pages;
        }
        next = link
            .strip_prefix('<')
            .and_then(|link| link.strip_suffix(">; rel=\"next\""))
            .unwrap()
            .to_owned();
    }
}

#[tokio::test]
async fn a_filter_that_matches_none_of_many_large_referrers_has_a_few_empty_pages() {
    let site = Site::new();
    let subject = sha256("subject");
    let mut others = BTreeSet::new();
    let mut wanted = BTreeSet::new();
    for number in 0..12 {
        others.insert(
            refer(
                &site,
                &subject,
                "a/other",
                format!("{number}{}", "x".repeat(LARGE)),
            )
            .await,
        );
        wanted.insert(refer(&site, &subject, "a/wanted", format!("{number}")).await);
    }
    let none = pages(&site, &subject, "?artifactType=a/none").await;
    // Each record has the annotations twice, in the manifest and for the listing. A page reads 32 MiB of
    // records.
    assert_eq!(
        none,
        vec![Vec::<String>::new(); 3],
        "each is empty, and all but the last have a link"
    );
    for _ in ["read", "in memory"] {
        let found = pages(&site, &subject, "?artifactType=a/wanted").await;
        assert_eq!(
            (found.len(), found.concat()),
            (3, Vec::from_iter(wanted.iter().cloned()))
        );
    }
    let all = pages(&site, &subject, "").await.concat();
    assert_eq!(all, Vec::from_iter(others.union(&wanted).cloned()));
    let large = pages(&site, &subject, "?artifactType=a/other").await;
    assert_eq!(large.concat(), Vec::from_iter(others));
}
