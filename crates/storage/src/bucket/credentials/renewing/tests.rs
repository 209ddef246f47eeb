//! Renewal under paused time, with exchanges whose outcome a test sets.

use super::*;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Exchanges that are counted.
#[derive(Clone, Default)]
struct Exchanges {
    count: Arc<AtomicUsize>,
    fail: Arc<AtomicBool>,
}

const LIFE: Duration = Duration::from_secs(900);

impl Exchanges {
    fn renewing(&self) -> Renewing {
        let exchanges = self.clone();
        Renewing::new(move || {
            let exchanges = exchanges.clone();
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(10)).await;
                let number = exchanges.count.fetch_add(1, Ordering::SeqCst) + 1;
                if exchanges.fail.load(Ordering::SeqCst) {
                    return Err(failure());
                }
                let keys = AwsCredential {
                    key_id: number.to_string(),
                    secret_key: String::new(),
                    token: None,
                };
                Ok(Session {
                    keys: Arc::new(keys),
                    life: LIFE,
                })
            })
        })
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    fn fail(&self, fail: bool) {
        self.fail.store(fail, Ordering::SeqCst);
    }
}

fn failure() -> ExchangeError {
    ExchangeError::Unreachable {
        endpoint: "https://sts.example.org/".to_owned(),
        why: "down".to_owned(),
    }
}

async fn key(renewing: &Renewing) -> Result<String, String> {
    let keys = renewing.get_credential().await;
    keys.map(|keys| keys.key_id.clone())
        .map_err(|why| why.to_string())
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn keys_are_renewed_before_they_expire_and_without_a_request() {
    let exchanges = Exchanges::default();
    let renewing = exchanges.renewing();
    assert_eq!(key(&renewing).await.unwrap(), "1");
    pass(LIFE.as_secs() * 59 / 100).await;
    assert_eq!(
        (key(&renewing).await.unwrap().as_str(), exchanges.count()),
        ("1", 1)
    );
    pass(LIFE.as_secs() * 9 / 100).await;
    assert_eq!(exchanges.count(), 2, "no request waited for it");
    assert_eq!(key(&renewing).await.unwrap(), "2");
}

#[tokio::test(start_paused = true)]
async fn many_requests_without_keys_wait_for_one_exchange() {
    let exchanges = Exchanges::default();
    let renewing = exchanges.renewing();
    let all = futures_util::future::join_all((0..32).map(|_| key(&renewing))).await;
    assert!(all.iter().all(|key| key.as_deref() == Ok("1")), "{all:?}");
    assert_eq!(exchanges.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn requests_go_on_with_the_old_keys_until_these_expire() {
    let exchanges = Exchanges::default();
    let renewing = exchanges.renewing();
    assert_eq!(key(&renewing).await.unwrap(), "1");
    exchanges.fail(true);
    let begun = Instant::now();
    while begun.elapsed() < LIFE - Duration::from_secs(1) {
        assert_eq!(key(&renewing).await.unwrap(), "1");
        pass(1).await;
    }
    let tried = exchanges.count() - 1;
    assert!((5..20).contains(&tried), "{tried} attempts, later each time");
    pass(2).await;
    assert!(key(&renewing).await.unwrap_err().contains("down"));
    exchanges.fail(false);
    pass(LONGEST_PAUSE.as_secs() * 2).await;
    let number = exchanges.count().to_string();
    assert_eq!(key(&renewing).await, Ok(number));
}

#[tokio::test(start_paused = true)]
async fn requests_do_not_flood_an_sts_that_fails() {
    let exchanges = Exchanges::default();
    let renewing = exchanges.renewing();
    exchanges.fail(true);
    for _ in 0..100 {
        assert!(key(&renewing).await.is_err());
    }
    assert_eq!(exchanges.count(), 1);
    exchanges.fail(false);
    pass(2).await;
    assert_eq!(key(&renewing).await.unwrap(), "2");
}

#[tokio::test(start_paused = true)]
async fn keys_that_the_store_rejects_are_renewed_once() {
    let exchanges = Exchanges::default();
    let renewing = exchanges.renewing();
    key(&renewing).await.unwrap();
    pass(60).await;
    let began = Instant::now();
    assert!(renewing.renew(began).await);
    assert!(renewing.renew(began).await, "another request of that time");
    assert_eq!(exchanges.count(), 2);
    assert!(!renewing.renew(Instant::now()).await, "new keys are rejected too");
    assert_eq!(exchanges.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_exchange_goes_on_when_its_request_was_cancelled() {
    let exchanges = Exchanges::default();
    let renewing = exchanges.renewing();
    let cancelled = tokio::time::timeout(Duration::from_millis(5), key(&renewing)).await;
    assert!(cancelled.is_err());
    assert_eq!(key(&renewing).await.unwrap(), "1");
    assert_eq!(exchanges.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn renewal_ends_with_the_store() {
    let exchanges = Exchanges::default();
    let renewing = exchanges.renewing();
    key(&renewing).await.unwrap();
    drop(renewing);
    pass(LIFE.as_secs() * 2).await;
    assert_eq!(exchanges.count(), 1);
}
