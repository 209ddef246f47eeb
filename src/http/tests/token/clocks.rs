//! Registries on one store whose machines have wrong clocks. One registry stands for all: its own clock is moved
//! between the issue and the use of a token.

use super::*;

const SESSION: u64 = 3600;
const TEN_MINUTES: i64 = 600;

/// A registry whose tokens are dated by a clock of the store.
fn site(session_lifetime: u64) -> (Site, Clock, ManualClock) {
    let mut site = Site::new();
    let (clock, hand) = Clock::manual(Timestamp::from_secs(NOW));
    site.app.tokens = site.app.tokens.clone().shared(Some(clock.clone()));
    site.endpoint = Endpoint::new(site.app.clone());
    let issuer = site.issuer(Mapping::compile(&MappingSettings::default()).unwrap());
    let terms = site.terms(session_lifetime);
    site.authenticate_with(vec![issuer], vec![], &terms);
    (site, clock, hand)
}

impl Site {
    /// Works as a registry whose clock differs from the store's by these seconds.
    fn becomes(&self, store: &Clock, off: i64) {
        self.hand.set(Timestamp::from_secs(store.now().as_secs() + off));
    }

    /// A token for a credential that outlives any wrong clock.
    async fn long_minted(&self, expires: i64) -> String {
        let credential = self.signer.token(&json!({
            "iss": ISSUER, "sub": "builder", "aud": "registry", "iat": NOW - 3600, "exp": expires,
        }));
        access(
            &self
                .token_for(&format!("scope={PULL}"), &format!("Bearer {credential}"))
                .await,
        )
    }

    async fn accepts(&self, minted: &str) -> bool {
        let answer = self.with_token(Method::GET, TAGS, minted).await;
        // The repository does not exist.
        assert!([404, 401].contains(&answer.status.as_u16()), "{}", answer.text());
        answer.status == StatusCode::NOT_FOUND
    }
}

#[tokio::test]
async fn a_token_of_a_registry_with_a_wrong_clock_is_good_at_all_others() {
    for issued_at in [-TEN_MINUTES, 0, TEN_MINUTES] {
        for used_at in [-TEN_MINUTES, 0, TEN_MINUTES] {
            let (site, store, hand) = site(SESSION);
            site.becomes(&store, issued_at);
            let minted = site.long_minted(NOW + 7200).await;
            site.becomes(&store, used_at);
            assert!(site.accepts(&minted).await, "{issued_at} {used_at}");
            assert_eq!(claims(&minted)["iat"], json!(NOW));
            assert_eq!(claims(&minted)["exp"], json!(NOW + 3600));

            // It ends for all at once, although its identity was cached.
            hand.advance(Duration::from_secs(SESSION - 1));
            site.becomes(&store, used_at);
            assert!(site.accepts(&minted).await, "{issued_at} {used_at}");
            hand.advance(Duration::from_secs(1));
            site.becomes(&store, used_at);
            assert!(!site.accepts(&minted).await, "{issued_at} {used_at}");
        }
    }
}

#[tokio::test]
async fn without_sessions_a_token_ends_when_its_credential_has_expired_by_either_clock() {
    let (site, store, hand) = site(0);
    let minted = site.long_minted(NOW + 900).await;
    for off in [-TEN_MINUTES, 0, TEN_MINUTES] {
        site.becomes(&store, off);
        assert!(site.accepts(&minted).await, "{off}");
    }
    site.becomes(&store, 901);
    assert!(
        !site.accepts(&minted).await,
        "expired by the clock of the machine"
    );
    hand.advance(Duration::from_secs(901));
    site.becomes(&store, -TEN_MINUTES);
    assert!(!site.accepts(&minted).await, "expired by the clock of the store");
}
