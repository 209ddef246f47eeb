//! Tests with X.509-SVIDs of a real SPIRE: each is accepted by its own trust domain's bundle only.

use super::super::testing::held;
use super::super::*;
use crate::clock::Timestamp;
use crate::trust::bundle;
use pki_types::CertificateDer;
use pki_types::pem::PemObject as _;

struct Issued {
    trust_domain: &'static str,
    svid: &'static [u8],
    json: &'static [u8],
    pem: &'static [u8],
}

macro_rules! issued {
    ($name:literal) => {
        Issued {
            trust_domain: $name,
            svid: include_bytes!(concat!("../../../../testdata/spire/", $name, "/x509-svid.pem")),
            json: include_bytes!(concat!("../../../../testdata/spire/", $name, "/bundle.json")),
            pem: include_bytes!(concat!("../../../../testdata/spire/", $name, "/bundle.pem")),
        }
    };
}

const ALL: [Issued; 3] = [
    issued!("cluster-a.example"),
    issued!("cluster-b.example"),
    issued!("cluster-c.example"),
];

impl Issued {
    fn bundles(&self) -> [X509Authorities; 2] {
        let json = bundle::parse_spiffe(self.json).unwrap();
        let pem = bundle::parse_pem(self.pem).unwrap();
        assert_eq!(
            (&json.skipped, &pem.skipped),
            (&vec![], &vec![]),
            "{}",
            self.trust_domain
        );
        [json.value.x509, pem.value]
    }

    fn judged_by(&self, authorities: X509Authorities, now: Timestamp) -> Result<VerifiedChain, Rejected> {
        let mut chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(self.svid)
            .map(Result::unwrap)
            .collect();
        let leaf = Leaf::parse(&chain.remove(0)).unwrap();
        verify_svid(&leaf, &chain, &held(authorities, Timestamp::MAX), now)
    }
}

#[test]
fn x_12_each_svid_by_its_own_bundle_and_by_no_other() {
    for issued in &ALL {
        for other in &ALL {
            for authorities in other.bundles() {
                let outcome = issued.judged_by(authorities, IN_FORCE);
                if issued.trust_domain != other.trust_domain {
                    assert!(
                        outcome.is_err(),
                        "{} by {}",
                        issued.trust_domain,
                        other.trust_domain
                    );
                    continue;
                }
                let id = format!(
                    "spiffe://{}/ns/flux-system/sa/source-controller",
                    issued.trust_domain
                );
                let verified = outcome.unwrap();
                assert_eq!(verified.spiffe_id().unwrap().as_str(), id);
                assert_eq!(verified.claims()["sub"], id);
                assert_eq!(
                    verified.claims()["x509"]["subject"]["o"],
                    serde_json::json!(["SPIRE"])
                );
                assert_eq!(
                    verified.valid_until().as_secs(),
                    verified.claims()["exp"].as_i64().unwrap()
                );
            }
        }
    }
}

#[test]
fn x_11_only_within_its_dates() {
    for issued in &ALL {
        let [authorities, _] = issued.bundles();
        assert!(matches!(
            issued.judged_by(authorities.clone(), BEFORE),
            Err(Rejected::NotYetValid { .. })
        ));
        assert!(matches!(
            issued.judged_by(authorities.clone(), AFTER),
            Err(Rejected::Expired { .. })
        ));
        assert!(issued.judged_by(authorities, IN_FORCE).is_ok());
    }
}

/// 2026-11-01, 2027-01-15 and 2032-01-01.
const BEFORE: Timestamp = Timestamp::from_secs(1_793_491_200);
const IN_FORCE: Timestamp = Timestamp::from_secs(1_800_000_000);
const AFTER: Timestamp = Timestamp::from_secs(1_956_528_000);
