//! The map from errors to statuses and codes.

use super::*;
use crate::http::fault::{ChallengeError, Fault};
use crate::identity::{Busy, Evidence, Failure, Refusal, Refused};
use crate::limits::MESSAGE_BYTES;
use crate::registry::Error;
use crate::storage;
use wharfinger_testkit::{Hook, Hooked};

async fn answer_to(fault: impl Into<Fault>) -> Answer {
    Answer::read(fault.into().response()).await
}

#[tokio::test]
async fn every_error_of_the_core_has_its_status_and_code() {
    let digest: Digest = sha256("x").parse().unwrap();
    let io = storage::Failure::Io(Arc::new(std::io::Error::other("the disk at /secret/path broke")));
    for (error, status, code) in [
        (Error::BlobUnknown, 404, "BLOB_UNKNOWN"),
        (Error::UploadUnknown, 404, "BLOB_UPLOAD_UNKNOWN"),
        (Error::UploadBusy, 416, "BLOB_UPLOAD_INVALID"),
        (Error::UploadTakenOver { offset: 5 }, 416, "BLOB_UPLOAD_INVALID"),
        (Error::TooManyUploads { most: 1 }, 429, "TOOMANYREQUESTS"),
        (Error::RangeMismatch { offset: 5 }, 416, "BLOB_UPLOAD_INVALID"),
        (Error::SizeMismatch, 400, "SIZE_INVALID"),
        (
            Error::DigestMismatch {
                expected: digest.clone(),
                found: digest.clone(),
            },
            400,
            "DIGEST_INVALID",
        ),
        (Error::ManifestUnknown, 404, "MANIFEST_UNKNOWN"),
        (Error::RepositoryUnknown, 404, "NAME_UNKNOWN"),
        (
            Error::MissingReferences(vec![digest.clone(), digest]),
            404,
            "MANIFEST_BLOB_UNKNOWN",
        ),
        (Error::TooLarge, 413, "SIZE_INVALID"),
        (Error::TagExists, 403, "DENIED"),
        (Error::TagMissing, 403, "DENIED"),
        (Error::ConditionFailed { found: None }, 412, "DENIED"),
        (Error::Referenced, 405, "DENIED"),
        (
            Error::Listed {
                index: sha256("index").parse().unwrap(),
            },
            405,
            "DENIED",
        ),
        (
            Error::MayBeListed {
                index: sha256("index").parse().unwrap(),
            },
            405,
            "DENIED",
        ),
        (Error::Interrupted, 400, "BLOB_UPLOAD_INVALID"),
        (Error::Stalled, 408, "BLOB_UPLOAD_INVALID"),
        (Error::Storage(storage::Failure::Conflict), 503, "UNKNOWN"),
        (Error::Storage(storage::Failure::Busy), 503, "UNKNOWN"),
        (Error::Storage(storage::Failure::Full), 507, "UNKNOWN"),
        (Error::Storage(storage::Failure::Missing), 500, "UNKNOWN"),
        (Error::Storage(storage::Failure::Stopped), 503, "UNKNOWN"),
        (
            Error::Storage(storage::Failure::Barred("upgraded".into())),
            503,
            "UNKNOWN",
        ),
        (Error::Storage(io), 500, "UNKNOWN"),
    ] {
        let what = format!("{error:?}");
        let answer = answer_to(error).await;
        assert_eq!(answer.error(), (status, code.into()), "{what}");
        assert_eq!(
            answer.header("retry-after").is_empty(),
            status != 503 && status != 429,
            "{what}"
        );
        assert!(
            !answer.text().contains("/secret/path"),
            "details of the storage are only for the log"
        );
    }
}

#[tokio::test]
async fn each_missing_digest_is_an_error_of_its_own_and_the_answer_stays_small() {
    let digests: Vec<Digest> = (0..40_000)
        .map(|layer| sha256(format!("layer {layer}")).parse().unwrap())
        .collect();
    let answer = answer_to(Error::MissingReferences(digests.clone())).await;
    assert!(answer.text().len() < 50_000, "{} bytes", answer.text().len());
    let errors = answer.json()["errors"].as_array().unwrap().clone();
    assert_eq!(errors.len(), 101);
    for (error, digest) in errors.iter().zip(&digests[..100]) {
        assert_eq!(error["code"], "MANIFEST_BLOB_UNKNOWN");
        assert_eq!(error["detail"], json!({"digest": digest.as_str()}));
        assert!(error["message"].as_str().unwrap().contains(digest.as_str()));
    }
    assert_eq!(errors[100]["detail"], json!({"more": 39_900}));
    assert!(
        Error::MissingReferences(digests)
            .to_string()
            .ends_with(", and 39900 more")
    );
}

#[tokio::test]
async fn rejected_is_401_undecidable_is_503_and_details_are_only_in_the_log() {
    let evidence = Evidence {
        issuer: Some("https://inner.example".into()),
        ..Evidence::default()
    };
    let refused = Failure::Refused(Refusal {
        reason: Refused::Validation {
            message: "only main".into(),
        },
        evidence: evidence.clone(),
    });
    let fault = Fault::from(refused);
    assert_eq!(
        (fault.challenge, fault.log.as_deref()),
        (Some(ChallengeError::InvalidToken), Some("only main"))
    );
    let answer = answer_to(fault).await;
    assert_eq!(answer.error(), (401, "UNAUTHORIZED".into()));
    assert!(!answer.text().contains("only main") && !answer.text().contains("inner.example"));

    let why = Authorities::<jwks::KeySet>::new(vec![Slot::new("https://inner.example")])
        .view(Timestamp::MAX)
        .unwrap_err();
    for failure in [
        Failure::Undecidable {
            why,
            evidence: evidence.clone(),
        },
        Failure::Busy {
            why: Busy::Everyone,
            evidence,
        },
    ] {
        let answer = answer_to(failure).await;
        assert_eq!(answer.error(), (503, "UNKNOWN".into()));
        assert!(!answer.header("retry-after").is_empty() && !answer.text().contains("inner.example"));
    }
}

#[tokio::test]
async fn a_fault_of_the_certificate_itself_is_shown_to_the_client() {
    use crate::trust::x509::Rejected;
    let refused = |why: Rejected| {
        answer_to(Failure::Refused(Refusal {
            reason: Refused::Chain(why),
            evidence: Evidence::default(),
        }))
    };
    let answer = refused(Rejected::CriticalExtension {
        oid: "2.5.29.32".into(),
    })
    .await;
    assert_eq!(answer.error(), (401, "UNAUTHORIZED".into()));
    assert!(
        answer
            .text()
            .contains("the certificate has the critical extension certificatePolicies (2.5.29.32)"),
        "{}",
        answer.text()
    );
    let answer = refused(Rejected::NoAuthorities {
        origin: "inner.pem".into(),
    })
    .await;
    assert!(!answer.text().contains("inner.pem"), "{}", answer.text());
}

#[tokio::test]
async fn a_denial_names_the_action_and_not_the_pattern() {
    let site = Site::new();
    let answer = site.get_as("somebody", "/v2/team/a/tags/list").await;
    assert_eq!(
        answer.json()["errors"][0]["detail"],
        json!({"repository": "team/a", "action": "read"})
    );
    assert!(!answer.text().contains("team/**"));
}

#[tokio::test]
async fn a_rejection_has_the_request_id_of_its_log_line() {
    let site = Site::new();
    let denied = site.get_as("somebody", "/v2/team/a/tags/list").await;
    let bad = site
        .send(bearer(ask(Method::GET, "/v2/"), "no-token"), Body::empty())
        .await;
    for answer in [denied, bad] {
        let message = answer.json()["errors"][0]["message"].as_str().unwrap().to_owned();
        let id = answer.header("x-request-id");
        assert!(
            id.len() == 16 && message.ends_with(&format!("(request {id})")),
            "{message}"
        );
    }
    let anonymous = site.get("/v2/").await;
    assert!(
        !anonymous.text().contains("request"),
        "no credential was rejected: {}",
        anonymous.text()
    );
}

#[tokio::test]
async fn an_answer_repeats_only_a_little_of_the_request() {
    let site = Site::new();
    let request = ask(Method::PUT, "/v2/open/a/manifests/v1").header("content-type", "x".repeat(60_000));
    let refused = site.send(request, image(&sha256("{}")).to_string()).await;
    assert_eq!(refused.error(), (400, "MANIFEST_INVALID".into()));
    let message = refused.json()["errors"][0]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        message.ends_with(" more bytes)") && message.len() < MESSAGE_BYTES + 40,
        "{message}"
    );
    let long = format!("Bearer {}", "y".repeat(30_000));
    let refused = site
        .send(
            ask(Method::GET, "/v2/").header("authorization", long),
            Body::empty(),
        )
        .await;
    assert_eq!(refused.error(), (401, "UNAUTHORIZED".into()));
    assert!(refused.body.len() < MESSAGE_BYTES, "{}", refused.text());
}

/// Panics when a record is read.
struct Panics;

impl Hook for Panics {
    async fn before(&self, request: wharfinger_testkit::Request<'_>) -> Result<(), storage::Failure> {
        panic!("no {request:?} for anybody")
    }
}

#[tokio::test]
async fn a_panic_is_500_with_a_body_and_keeps_the_connection() {
    let mut site = Site::new();
    let store = Arc::new(Memory::new());
    let registry = Registry::new(Hooked::over(store.clone(), Panics), store);
    site.endpoint = Endpoint::new(App {
        registry,
        ..site.app.clone()
    });
    let answer = site.get("/v2/open/a/manifests/v1").await;
    assert_eq!(answer.error(), (500, "UNKNOWN".into()));
    assert_ne!(answer.header("x-request-id"), "");
    assert!(
        !answer.text().contains("for anybody"),
        "the cause is only for the log"
    );
    assert_eq!(
        site.get("/v2/open/a/manifests/v1").await.status,
        StatusCode::INTERNAL_SERVER_ERROR,
        "the connection still works"
    );
}
