//! JWT-SVIDs that a real SPIRE issued (`testdata/spire`).

use super::*;
use std::str::FromStr;

struct Cluster {
    name: &'static str,
    bundle: &'static str,
    svid: &'static str,
    two_audiences: &'static str,
    issuer: Option<&'static str>,
}

macro_rules! cluster {
    ($name:literal, $issuer:expr) => {
        Cluster {
            name: $name,
            bundle: include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/testdata/spire/",
                $name,
                "/bundle.json"
            )),
            svid: include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/testdata/spire/",
                $name,
                "/jwt-svid.txt"
            )),
            two_audiences: include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/testdata/spire/",
                $name,
                "/jwt-svid-two-audiences.txt"
            )),
            issuer: $issuer,
        }
    };
}

const CLUSTERS: [Cluster; 3] = [
    cluster!("cluster-a.example", Some("https://oidc.cluster-a.example")),
    cluster!("cluster-b.example", Some("https://oidc.cluster-b.example")),
    cluster!("cluster-c.example", None),
];

/// A time after they were issued, and a time after they expire.
const ISSUED: Timestamp = Timestamp::from_secs(1_795_320_119);
const EXPIRY: Timestamp = Timestamp::from_secs(1_950_120_119);

fn bundle(cluster: &Cluster) -> KeySet {
    let parsed = jwks::parse(cluster.bundle.as_bytes(), UseRule::SpiffeBundle).unwrap();
    assert_eq!(
        (parsed.skipped.len(), parsed.value.len()),
        (0, 1),
        "the X.509 authority is ignored without a report"
    );
    parsed.value
}

async fn judge(
    token: &str,
    domain: &Cluster,
    keys: &Cluster,
    now: Timestamp,
) -> Result<VerifiedJwt, Failure> {
    let rules = SvidRules {
        hosts: Vec::new(),
        trust_domain: TrustDomain::from_str(domain.name).unwrap(),
        audiences: vec!["registry.example.com".into()],
        clock_skew: Duration::from_secs(30),
        single_audience: false,
    };
    verify_svid(
        &Unverified::parse(token.trim_end())?,
        &rules,
        &authorities(bundle(keys)),
        now,
    )
    .await
}

#[tokio::test]
async fn each_svid_is_accepted_in_its_own_trust_domain() {
    for cluster in &CLUSTERS {
        for token in [cluster.svid, cluster.two_audiences] {
            let verified = judge(token, cluster, cluster, NOW).await.unwrap();
            let id = format!("spiffe://{}/ns/flux-system/sa/source-controller", cluster.name);
            assert_eq!((verified.subject(), verified.issuer()), (&*id, cluster.issuer));
            assert_eq!(verified.spiffe_id().unwrap().as_str(), id);
            assert_eq!(verified.valid_until(), EXPIRY);
        }
        let one = judge(cluster.svid, cluster, cluster, NOW).await.unwrap();
        assert_eq!(one.claims()["aud"], json!(["registry.example.com"]));
        let two = judge(cluster.two_audiences, cluster, cluster, NOW).await.unwrap();
        assert_eq!(
            two.claims()["aud"],
            json!(["other.example.com", "registry.example.com"])
        );
    }
}

#[tokio::test]
async fn no_svid_is_accepted_in_another_trust_domain_or_by_its_keys() {
    for own in &CLUSTERS {
        for other in CLUSTERS.iter().filter(|other| other.name != own.name) {
            for keys in [own, other] {
                let why = judge(own.svid, other, keys, NOW).await.unwrap_err();
                assert!(
                    matches!(why, Failure::Rejected(Rejected::TrustDomain { .. })),
                    "{why}"
                );
            }
            let why = judge(own.svid, own, other, NOW).await.unwrap_err();
            assert!(
                matches!(why, Failure::Rejected(Rejected::UnknownKey { .. })),
                "{why}"
            );
        }
    }
}

#[tokio::test]
async fn each_credential_is_accepted_from_its_issue_to_its_expiry() {
    let skew = Duration::from_secs(30);
    for cluster in &CLUSTERS {
        for good in [
            ISSUED.minus(skew),
            ISSUED,
            EXPIRY,
            EXPIRY.plus(skew).minus(Duration::from_millis(1)),
        ] {
            judge(cluster.svid, cluster, cluster, good).await.unwrap();
        }
        let early = judge(
            cluster.svid,
            cluster,
            cluster,
            ISSUED.minus(skew).minus(Duration::from_millis(1)),
        )
        .await
        .unwrap_err();
        assert!(
            matches!(
                early,
                Failure::Rejected(Rejected::NotYetValid { claim: "iat", .. })
            ),
            "{early}"
        );
        let late = judge(cluster.svid, cluster, cluster, EXPIRY.plus(skew))
            .await
            .unwrap_err();
        assert!(
            matches!(late, Failure::Rejected(Rejected::Expired { .. })),
            "{late}"
        );
    }
}
