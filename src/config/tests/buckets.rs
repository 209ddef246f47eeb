//! `storage.storageDriver`

use super::*;
use crate::http::Redirects;
use crate::secret::Secret;
use crate::storage::bucket::{Credentials, Parts, Provider, Settings, Tls};

/// A file with this driver and all that a bucket needs.
fn driven(driver: Value) -> Value {
    let mut document = with(&[
        ("/storage", json!({"storageDriver": driver})),
        ("/stateDirectory", json!("/state")),
    ]);
    document["http"]["auth"]["token"] = json!({"signingKeyFile": "keys.pem"});
    document
}

fn amazon() -> Value {
    json!({"name": "s3", "region": "eu-central-1", "bucket": "images"})
}

/// Amazon's driver with these keys changed.
pub(super) fn changed(changes: Value) -> Value {
    let mut driver = amazon();
    for (key, value) in changes.as_object().unwrap() {
        driver[key] = value.clone();
    }
    driven(driver)
}

fn place(document: &Value) -> BucketPlace {
    match load(document).unwrap().fixed.storage {
        StorePlace::Bucket(place) => *place,
        place @ StorePlace::Folder(_) => panic!("{place:?}"),
    }
}

pub(super) fn bucket(document: &Value) -> Settings {
    place(document).settings
}

/// Each mistake or warning of the file, as text.
pub(super) fn said(document: &Value) -> Vec<String> {
    match load(document) {
        Ok(config) => config.warnings.iter().map(ToString::to_string).collect(),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_bucket_at_amazon_needs_three_keys() {
    let document = driven(amazon());
    assert_eq!(said(&document), [""; 0]);
    assert_eq!(
        bucket(&document),
        Settings {
            provider: Provider::S3,
            bucket: "images".into(),
            root: String::new(),
            region: Some("eu-central-1".into()),
            endpoint: None,
            path_style: false,
            tls: Tls::default(),
            parts: Parts::default(),
            credentials: Credentials::Found,
        }
    );
}

#[test]
fn the_keys_of_zot_and_distribution_mean_the_same() {
    // As zot's users write it for a service on their own machine.
    let document = driven(json!({
        "name": "s3", "rootdirectory": "/zot/", "region": "us-east-2", "regionendpoint": "localhost:9000",
        "bucket": "zot-storage", "secure": "false", "skipverify": "false", "forcepathstyle": "true",
        "accesskey": "minioadmin", "secretkey": 12345678, "v4auth": true,
    }));
    assert_eq!(said(&document), [""; 0]);
    assert_eq!(
        bucket(&document),
        Settings {
            provider: Provider::S3,
            bucket: "zot-storage".into(),
            root: "zot".into(),
            region: Some("us-east-2".into()),
            endpoint: Some("http://localhost:9000".into()),
            path_style: true,
            tls: Tls {
                plain: true,
                ..Tls::default()
            },
            parts: Parts::default(),
            credentials: Credentials::Given {
                access_key: "minioadmin".into(),
                secret_key: Secret::new("12345678"),
                session_token: None,
            },
        }
    );
    for (changes, endpoint, path_style) in [
        (
            json!({"regionendpoint": "s3.example.org"}),
            Some("https://s3.example.org"),
            true,
        ),
        (
            json!({"regionendpoint": "https://s3.example.org/", "forcepathstyle": false}),
            Some("https://s3.example.org"),
            false,
        ),
        (
            json!({"regionendpoint": "http://127.0.0.1:9000"}),
            Some("http://127.0.0.1:9000"),
            true,
        ),
        (
            json!({"regionendpoint": "http://[::1]:9000"}),
            Some("http://[::1]:9000"),
            true,
        ),
        (json!({"regionendpoint": ""}), None, false),
        (json!({"bucket": "images.example.org"}), None, true),
    ] {
        let document = changed(changes);
        assert_eq!(said(&document), [""; 0], "{document}");
        let found = bucket(&document);
        assert_eq!(
            (found.endpoint.as_deref(), found.path_style),
            (endpoint, path_style),
            "{document}"
        );
    }
    let without_region = json!({"name": "s3", "bucket": "b", "REGIONENDPOINT": "https://s3.example.org"});
    assert_eq!(bucket(&driven(without_region)).region, None);
    let private = place(&changed(
        json!({"certificateAuthorityFile": "ca.pem", "singleReplica": "true", "equalParts": 1}),
    ));
    assert_eq!(
        private.settings.tls.authorities,
        Some("/etc/wharfinger/ca.pem".into())
    );
    assert!(private.single_replica && private.settings.parts.equal);
}

#[test]
fn mistakes_in_a_driver_name_the_key_and_the_fix() {
    for (changes, expected) in [
        (
            json!({"bucket": null}),
            "storage.storageDriver.bucket: is missing: name the bucket, which must exist",
        ),
        (
            json!({"bucket": "images/production"}),
            "storage.storageDriver.bucket: must be the name of a bucket, not",
        ),
        (
            json!({"region": null}),
            "storage.storageDriver.region: is missing: name the bucket's region",
        ),
        (
            json!({"rootdirectory": "a//b"}),
            "storage.storageDriver.rootdirectory: must be a path such as",
        ),
        (
            json!({"rootdirectory": "a/../b"}),
            "storage.storageDriver.rootdirectory: must be a path such as",
        ),
        (
            json!({"regionendpoint": "ftp://s3.example.org"}),
            "storage.storageDriver.regionendpoint: must be a URL",
        ),
        (
            json!({"accesskey": "AKIA"}),
            "storage.storageDriver.secretkey: is missing, but accesskey is set",
        ),
        (
            json!({"secretkey": "s"}),
            "storage.storageDriver.accesskey: is missing, but secretkey is set",
        ),
        (
            json!({"sessiontoken": "s"}),
            "storage.storageDriver.sessiontoken: needs accesskey and secretkey",
        ),
        (
            json!({"name": "swift"}),
            "storage.storageDriver.name: must be one of s3, gcs, azure, not \"swift\"",
        ),
        (json!({"name": null}), "storage.storageDriver.name: is missing"),
        (
            json!({"regionendpont": "https://s3"}),
            "storage.storageDriver.regionendpont: is not a key here; did you mean regionendpoint?",
        ),
        (
            json!({"secure": "perhaps"}),
            "storage.storageDriver.secure: must be true or false, not text",
        ),
        (
            json!({"container": "images"}),
            "storage.storageDriver.container: is a key of the driver azure, and name says s3: remove it",
        ),
        (
            json!({"encrypt": true}),
            "storage.storageDriver.encrypt: is not supported yet, and it would restrict or protect something",
        ),
        (
            json!({"keyid": "k"}),
            "storage.storageDriver.keyid: is not supported yet, and it would restrict or protect something",
        ),
        (
            json!({"usefipsendpoint": "true"}),
            "storage.storageDriver.usefipsendpoint: is not supported yet",
        ),
    ] {
        let document = changed(changes);
        let mistakes: Vec<_> = load(&document)
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        assert!(mistakes[0].starts_with(expected), "{mistakes:?}");
    }
}

#[test]
fn keys_that_change_nothing_are_warnings() {
    for (changes, expected) in [
        (
            json!({"chunksize": 5_242_880}),
            "storage.storageDriver.chunksize: ignored: the registry chooses",
        ),
        (
            json!({"storageclass": "STANDARD_IA"}),
            "storage.storageDriver.storageclass: ignored: objects get",
        ),
        (
            json!({"v4auth": false}),
            "storage.storageDriver.v4auth: ignored: requests are always signed",
        ),
        (
            json!({"secure": false}),
            "storage.storageDriver.secure: ignored: Amazon S3 is always reached by HTTPS",
        ),
        (
            json!({"skipverify": true}),
            "storage.storageDriver.skipverify: true: the service's certificate is not verified",
        ),
        (
            json!({"regionendpoint": "http://s3.example.org"}),
            "storage.storageDriver.regionendpoint: all content is sent to s3.example.org in clear text",
        ),
        (
            json!({"regionendpoint": "http://localhost:9000", "secure": true}),
            "storage.storageDriver.secure: true, but regionendpoint begins with http://",
        ),
        (
            json!({"accesskey": "AKIA", "secretkey": "s", "sessiontoken": "t"}),
            "storage.storageDriver.sessiontoken: expires",
        ),
    ] {
        let document = changed(changes);
        let warnings = load(&document).unwrap().warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].to_string().starts_with(expected), "{warnings:?}");
    }
    for nothing in [
        json!({"encrypt": "false"}),
        json!({"keyid": ""}),
        json!({"accelerate": "0"}),
    ] {
        assert_eq!(said(&changed(nothing)), [""; 0]);
    }
}

#[test]
fn no_secret_of_a_driver_is_printed() {
    let secrets = json!({"accesskey": "AKIA", "secretkey": "hunter2", "sessiontoken": "hunter2"});
    let config = load(&changed(secrets.clone())).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    for (key, value) in [
        ("accesskey", json!(null)),
        ("secretkey", json!(["hunter2"])),
        ("bucket", json!(null)),
    ] {
        let mut secrets = secrets.clone();
        secrets[key] = value;
        let text = said(&changed(secrets)).join(" ");
        assert!(!text.is_empty() && !text.contains("hunter2"), "{text}");
    }
    let with_user = said(&changed(
        json!({"regionendpoint": "https://admin:hunter2@s3.example.org"}),
    ))
    .join(" ");
    assert!(
        !with_user.is_empty() && !with_user.contains("hunter2"),
        "{with_user}"
    );
    let azure =
        driven(json!({"name": "azure", "container": "c", "accountname": "a", "accountkey": "hunter2"}));
    assert!(!format!("{:?}", load(&azure).unwrap()).contains("hunter2"));
}

#[test]
fn the_form_of_distribution_is_answered_with_the_right_one() {
    let s3 = json!({"s3": {"region": "eu-central-1", "bucket": "images", "regoin": "x"}});
    let document = with(&[("/storage", s3), ("/stateDirectory", json!("/state"))]);
    let mut document = document;
    document["http"]["auth"]["token"] = json!({"signingKeyFile": "keys.pem"});
    assert_eq!(
        said(&document),
        [
            "storage.s3: is the form of another registry: write these keys as storage.storageDriver, with `name: s3` among them",
            "storage.storageDriver.regoin: is not a key here; did you mean region?",
        ]
    );
    let filesystem = with(&[(
        "/storage",
        json!({"filesystem": {"rootdirectory": "/var/lib/registry"}}),
    )]);
    assert_eq!(
        said(&filesystem),
        ["storage.filesystem: is the form of another registry: write the folder as storage.rootDirectory"]
    );
}

#[test]
fn the_other_services_are_experimental() {
    let gcs = driven(json!({"name": "gcs", "bucket": "images", "credentialsFile": "key.json"}));
    let azure = driven(
        json!({"name": "azure", "container": "images", "accountname": "a", "serviceurl": "http://127.0.0.1:10000/a"}),
    );
    for document in [&gcs, &azure] {
        let warnings = said(document);
        assert!(
            warnings.len() == 1
                && warnings[0].starts_with("storage.storageDriver.name: this driver is experimental"),
            "{warnings:?}"
        );
    }
    let key_file = Some("/etc/wharfinger/key.json".into());
    assert_eq!(bucket(&gcs).provider, Provider::Gcs { key_file });
    let azure = bucket(&azure);
    assert_eq!(azure.endpoint.as_deref(), Some("http://127.0.0.1:10000/a"));
    let account = "a".into();
    assert_eq!(azure.provider, Provider::Azure { account, key: None });
    assert_eq!(
        keys(&driven(json!({"name": "azure"}))),
        [
            "storage.storageDriver.container",
            "storage.storageDriver.accountname"
        ]
    );
}

#[test]
fn a_shared_store_needs_a_state_directory_of_its_own_and_shared_signing_keys() {
    let both = ["stateDirectory", "http.auth.token.signingKeyFile"];
    let storage = |single: bool| {
        let mut driver = amazon();
        driver["singleReplica"] = single.into();
        // zot's files name a folder for its cache.
        with(&[(
            "/storage",
            json!({"rootDirectory": "/var/lib/zot", "storageDriver": driver}),
        )])
    };
    assert_eq!(keys(&storage(false)), both);
    assert_eq!(keys(&storage(true)), ["stateDirectory"]);
    let mut open = storage(false);
    open["stateDirectory"] = "/state".into();
    open["http"] = json!({});
    assert_eq!(load(&open).map(drop), Ok(()), "nobody logs in");
}

#[test]
fn redirects_are_for_buckets_only_and_off_unless_asked_for() {
    let redirecting = |storage: Value| {
        let mut document = driven(amazon());
        for (key, value) in storage.as_object().unwrap() {
            document["storage"][key] = value.clone();
        }
        document
    };
    for (storage, expected) in [
        (json!({}), None),
        (json!({"redirectBlobURL": "false", "redirectMinSize": 0}), None),
        (json!({"redirectBlobURL": true}), Some((1 << 20, 600))),
        (
            json!({"redirectBlobURL": "true", "redirectMinSize": "8MiB", "redirectLifetime": "90s"}),
            Some((8 << 20, 90)),
        ),
    ] {
        let found = load(&redirecting(storage)).unwrap().live.redirects;
        let expected = expected.map(|(min_size, seconds)| Redirects {
            min_size,
            lifetime: Duration::from_secs(seconds),
        });
        assert_eq!(found, expected);
    }
    for (storage, key) in [
        (json!({"redirectMinSize": "big"}), "storage.redirectMinSize"),
        (json!({"redirectLifetime": "0"}), "storage.redirectLifetime"),
        (json!({"redirectLifetime": "2h"}), "storage.redirectLifetime"),
    ] {
        assert_eq!(keys(&redirecting(storage)), [key]);
    }
    let folder = load(&with(&[("/storage/redirectBlobURL", json!(true))])).unwrap();
    assert_eq!(folder.live.redirects, None);
    assert_eq!(folder.warnings[0].key, "storage.redirectBlobURL");
}
