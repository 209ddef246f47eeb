//! Tests of files that change, break and come back.

use super::*;
use crate::trust::jwks::KeySet;
use crate::trust::source::testing::{UNUSABLE, eventually, jwk_set};
use crate::trust::x509::X509Authorities;
use crate::trust::{Authorities, Generation, Slot};
use std::fs;
use std::os::unix::fs::symlink;
use wharfinger_testkit::Ca;

const SPIFFE: &[u8] = include_bytes!("../../../../testdata/spire/cluster-a.example/bundle.json");

const fn at(seconds: i64) -> Timestamp {
    Timestamp::from_secs(seconds)
}

fn key_ids(slot: &Slot<KeySet>) -> Vec<String> {
    slot.held().unwrap().keys.key_ids().map(str::to_owned).collect()
}

fn roots(slot: &Slot<X509Authorities>) -> usize {
    slot.held().unwrap().keys.len()
}

fn generation(slot: &Slot<KeySet>) -> Generation {
    slot.held().unwrap().generation
}

#[test]
fn a_spiffe_bundle_and_pem_are_told_apart_by_content() {
    let pem = format!("# roots of prod\n{}{}", Ca::root("one").pem, Ca::root("two").pem);
    let keys = inline("inline bundle", pem.as_bytes(), &Format::SpiffeBundleOrPem, at(1)).unwrap();
    assert_eq!(keys.slots.x509.as_deref().map(roots), Some(2));
    assert!(
        keys.slots.jwt.is_none(),
        "PEM says nothing about JWT keys, so another source may"
    );

    let keys = inline("inline bundle", SPIFFE, &Format::SpiffeBundleOrPem, at(1)).unwrap();
    assert_eq!(keys.slots.x509.as_deref().map(roots), Some(1));
    assert_eq!(
        keys.slots
            .jwt
            .as_deref()
            .map(|slot| slot.held().unwrap().keys.len()),
        Some(1)
    );
    assert!(keys.skipped.is_empty());
    let held = keys.slots.jwt.unwrap().held().unwrap();
    assert_eq!(
        (&*held.source, held.as_of, held.usable_until),
        ("inline bundle", at(1), Timestamp::MAX)
    );
}

#[test]
fn a_jwk_set_has_no_x509_authorities_and_pem_roots_have_no_jwt_keys() {
    let keys = inline("jwks", &jwk_set(&["a", "b"]), &Format::Jwks, at(1)).unwrap();
    assert_eq!(
        keys.slots.jwt.as_deref().map(key_ids),
        Some(vec!["a".to_owned(), "b".to_owned()])
    );
    assert!(keys.slots.x509.is_none());
    assert!(matches!(
        inline("roots", SPIFFE, &Format::PemRoots, at(1)),
        Err(SourceError::Bundle { .. })
    ));
}

#[test]
fn an_issuers_key_set_without_usable_keys_is_an_error_and_an_empty_one_is_not() {
    let refused = inline("jwks", UNUSABLE, &Format::OidcJwks, at(1)).unwrap_err();
    let why = refused.to_string();
    assert!(
        why.starts_with(
            "jwks: none of its 1 keys can be used (keys[0] (kid k): expected kty `RSA`, `EC` or `OKP`"
        ),
        "{why}"
    );
    assert!(
        inline("jwks", &jwk_set(&[]), &Format::OidcJwks, at(1))
            .unwrap()
            .slots
            .jwt
            .unwrap()
            .held()
            .unwrap()
            .keys
            .is_empty()
    );
    assert_eq!(
        inline("jwks", UNUSABLE, &Format::Jwks, at(1))
            .unwrap()
            .skipped
            .len(),
        1,
        "for a trust domain it revokes"
    );
}

#[test]
fn opening_a_malformed_file_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let name: Arc<str> = format!("file {}", path.display()).into();
    let open = || {
        Watched::open(path.clone(), Format::Jwks, at(1))
            .map(|_| ())
            .unwrap_err()
    };
    fs::write(&path, b"{").unwrap();
    assert!(matches!(open(), SourceError::Jwks { .. }));
    File::create(&path).unwrap().set_len(LARGEST + 1).unwrap();
    assert_eq!(open(), SourceError::TooLarge { name, limit: LARGEST });
}

#[test]
fn a_bad_file_never_replaces_a_good_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    fs::write(&path, jwk_set(&["a"])).unwrap();
    let (mut file, _) = Watched::open(path.clone(), Format::OidcJwks, at(1)).unwrap();
    let slot = file.slots.jwt.clone().unwrap();
    let first = generation(&slot);

    assert_eq!(file.reload(at(2)), Ok(false), "nothing changed");
    for bad in [&b"{\"keys\""[..], b"", UNUSABLE] {
        fs::write(&path, bad).unwrap();
        assert!(file.reload(at(3)).is_err());
        assert_eq!((key_ids(&slot), generation(&slot)), (vec!["a".to_owned()], first));
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(file.reload(at(4)), Err(SourceError::Unreadable { why, .. }) if why.is_missing()));
    assert_eq!(key_ids(&slot), ["a"]);

    assert!(slot.status().last_error.unwrap().contains("cannot be read"));
    fs::write(&path, jwk_set(&["a"])).unwrap();
    assert_eq!(file.reload(at(5)), Ok(false), "it came back as it was");
    assert_eq!((generation(&slot), slot.held().unwrap().as_of), (first, at(5)));

    fs::write(&path, jwk_set(&["b"])).unwrap();
    assert_eq!(file.reload(at(6)), Ok(true));
    assert_eq!(key_ids(&slot), ["b"]);
    assert_ne!(generation(&slot), first);

    fs::write(&path, jwk_set(&[])).unwrap();
    assert_eq!(file.reload(at(7)), Ok(true), "an empty set revokes");
    assert!(key_ids(&slot).is_empty());
}

#[tokio::test]
async fn a_missing_file_is_used_once_it_appears() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle");
    let source = file(
        &path,
        Format::SpiffeBundleOrPem,
        Clock::manual(at(1)).0,
        Duration::from_millis(10),
    )
    .unwrap();
    assert!(
        source.skipped()[0]
            .to_string()
            .contains("the file does not exist")
    );
    let x509 = source.slots.x509.clone().unwrap();
    let jwt = source.slots.jwt.clone().unwrap();
    let why = Authorities::new(vec![jwt.clone()])
        .view(at(1))
        .unwrap_err()
        .to_string();
    assert!(
        why.contains("never answered") && why.contains("cannot be read: "),
        "{why}"
    );
    source.start();
    fs::write(&path, Ca::root("one").pem).unwrap();
    eventually("it is seen", || x509.held().is_some()).await;
    assert!(
        jwt.held().is_none(),
        "PEM says nothing about JWT keys, so that another source may"
    );
    eventually("and fails at nothing", || jwt.status().last_error.is_none()).await;
    fs::write(folder.path().join("next"), SPIFFE).unwrap();
    fs::rename(folder.path().join("next"), &path).unwrap();
    eventually("the rename is seen", || jwt.held().is_some()).await;
    fs::remove_file(&path).unwrap();
    eventually("the loss is noticed", || jwt.status().last_error.is_some()).await;
    assert_eq!(key_ids(&jwt).len(), 1);
}

#[tokio::test]
async fn each_trust_domain_of_a_bundle_map_follows_its_own_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("map.json");
    let spiffe = String::from_utf8(SPIFFE.to_vec()).unwrap();
    let map = |entries: &[(&str, &str)]| {
        let entries: Vec<_> = entries
            .iter()
            .map(|(name, bundle)| format!("{name:?}:{bundle}"))
            .collect();
        fs::write(&path, format!(r#"{{"trust_domains":{{{}}}}}"#, entries.join(","))).unwrap();
    };
    map(&[("a.example", &spiffe), ("b.example", &spiffe)]);
    let source = |name: &str| {
        let source = file(
            &path,
            Format::BundleMap(name.parse().unwrap()),
            Clock::manual(at(1)).0,
            Duration::from_millis(10),
        )
        .unwrap();
        source.start();
        source
    };
    let a = source("a.example");
    let b = source("b.example");
    let absent = source("c.example");
    let keys = |source: &Source| source.slots.jwt.as_ref().unwrap().held().unwrap().keys.len();
    assert_eq!((keys(&a), keys(&b), keys(&absent)), (1, 1, 0));
    assert!(
        absent.skipped()[0]
            .to_string()
            .contains("no bundle of this trust domain")
    );
    let before = generation(a.slots.jwt.as_ref().unwrap());

    map(&[
        ("a.example", &spiffe),
        ("c.example", &spiffe),
        ("b.example", "{}"),
    ]);
    eventually("the new one is seen", || keys(&absent) == 1).await;
    eventually("the faulty one is noticed", || {
        b.slots.jwt.as_ref().unwrap().status().last_error.is_some()
    })
    .await;
    assert_eq!(keys(&b), 1, "a malformed bundle replaces nothing");
    map(&[("a.example", &spiffe)]);
    eventually("a missing trust domain is withdrawn", || {
        keys(&b) == 0 && keys(&absent) == 0
    })
    .await;
    assert_eq!(
        generation(a.slots.jwt.as_ref().unwrap()),
        before,
        "and no other trust domain is affected"
    );
}

#[test]
fn a_bundle_that_becomes_pem_loses_its_jwt_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle");
    fs::write(&path, SPIFFE).unwrap();
    let (mut file, _) = Watched::open(path.clone(), Format::SpiffeBundleOrPem, at(1)).unwrap();
    fs::write(&path, format!("{}{}", Ca::root("one").pem, Ca::root("two").pem)).unwrap();
    assert_eq!(file.reload(at(2)), Ok(true));
    assert_eq!(roots(file.slots.x509.as_deref().unwrap()), 2);
    assert!(key_ids(file.slots.jwt.as_deref().unwrap()).is_empty());
}

#[tokio::test]
async fn watching_sees_a_symlink_swap() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (version, key) in [("v1", "a"), ("v2", "b")] {
        fs::create_dir(path(version)).unwrap();
        fs::write(path(version).join("keys.json"), jwk_set(&[key])).unwrap();
    }
    symlink("v1", path("data")).unwrap();
    let source = file(
        path("data").join("keys.json"),
        Format::Jwks,
        Clock::manual(at(1)).0,
        Duration::from_millis(10),
    )
    .unwrap();
    let slot = source.slots.jwt.clone().unwrap();
    source.start();
    symlink("v2", path("next")).unwrap();
    fs::rename(path("next"), path("data")).unwrap();
    eventually("the swap is seen", || key_ids(&slot) == ["b"]).await;
}

#[tokio::test]
async fn reload_now_does_not_wait_for_the_next_look() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    fs::write(&path, jwk_set(&["a"])).unwrap();
    let source = file(
        &path,
        Format::Jwks,
        Clock::manual(at(1)).0,
        Duration::from_secs(3600),
    )
    .unwrap();
    let slot = source.slots.jwt.clone().unwrap();
    source.start();
    fs::write(&path, jwk_set(&["b"])).unwrap();
    source.reload();
    eventually("the reload is seen", || key_ids(&slot) == ["b"]).await;
}

#[test]
fn a_changed_file_is_used_once_it_is_stable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roots.pem");
    let one = Ca::root("one").pem;
    let two = Ca::root("two").pem;
    fs::write(&path, format!("{one}{two}")).unwrap();
    let (mut file, _) = Watched::open(path.clone(), Format::PemRoots, at(1)).unwrap();
    let roots = |file: &Watched| roots(file.slots.x509.as_deref().unwrap());
    // Three authorities are written in place. The first part is well-formed PEM of one.
    fs::write(&path, &two).unwrap();
    assert_eq!((file.look(at(2)), roots(&file)), (Ok(false), 2));
    fs::write(&path, format!("{two}{one}{}", Ca::root("three").pem)).unwrap();
    assert_eq!(
        (file.look(at(3)), roots(&file)),
        (Ok(false), 2),
        "it differs from the last read"
    );
    assert_eq!((file.look(at(4)), roots(&file)), (Ok(true), 3));
    assert_eq!(file.look(at(5)), Ok(false));

    fs::write(&path, &one).unwrap();
    assert_eq!((file.look(at(6)), roots(&file)), (Ok(false), 3));
    assert_eq!(
        (file.reload(at(7)), roots(&file)),
        (Ok(true), 1),
        "on SIGHUP it is used at once"
    );
    fs::write(&path, "-----BEGIN CERTIFICATE-----\nMIIC").unwrap();
    assert_eq!(
        file.look(at(8)),
        Ok(false),
        "a half-written certificate may be complete at the next read"
    );
    assert!(file.look(at(9)).is_err() && file.look(at(10)).is_err());
    fs::write(&path, &one).unwrap();
    assert_eq!(
        (file.look(at(11)), file.failing.is_none()),
        (Ok(false), true),
        "it is as it was"
    );
}

#[test]
fn an_emptied_file_of_plain_authorities_withdraws_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roots.pem");
    fs::write(&path, Ca::root("one").pem).unwrap();
    let (mut file, _) = Watched::open(path.clone(), Format::PemRoots, at(1)).unwrap();
    for (moment, nothing) in (2..).zip(["", "\n", "# withdrawn on 3 May\r\n"]) {
        fs::write(&path, nothing).unwrap();
        assert_eq!(file.reload(at(moment)), Ok(true), "{nothing:?}");
        assert_eq!(roots(file.slots.x509.as_deref().unwrap()), 0);
    }
    let (_, skipped) = Watched::open(path.clone(), Format::PemRoots, at(9)).unwrap();
    assert!(
        skipped[0]
            .to_string()
            .contains("all its authorities are withdrawn"),
        "and the registry starts with it, and warns"
    );
    fs::write(
        &path,
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    )
    .unwrap();
    assert!(
        file.reload(at(10)).is_err(),
        "other content than certificates is an error"
    );
    assert!(
        inline("bundle", b"", &Format::SpiffeBundleOrPem, at(1)).is_err(),
        "a trust domain's bundle says it by `\"keys\": []`"
    );
}
