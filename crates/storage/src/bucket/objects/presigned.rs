//! URLs that read an object without another credential, and how long they work.

use super::Objects;
use std::time::Duration;
use wharfinger_base::clock::{Clock, Timestamp};
use wharfinger_base::secret::Secret;

impl Objects {
    /// A URL that reads the object for this time, without another credential. It ends earlier if the keys that
    /// sign it do. `None` if they end so soon that a client could be too late.
    pub(in crate::bucket) async fn presigned(
        &self,
        key: &str,
        lifetime: Duration,
    ) -> object_store::Result<Option<Secret>> {
        let path = self.path(key)?;
        let left = self.keys.left().await?;
        let lifetime = left.map_or(lifetime, |left| lifetime.min(left));
        if left.is_some_and(|left| left < SOON) {
            return Ok(None);
        }
        let Some(written) = written_lifetime(lifetime, Clock::system().now(), self.now()) else {
            return Ok(None);
        };
        let url = self.service.signed_url(http::Method::GET, &path, written).await?;
        Ok(Some(Secret::new(url)))
    }
}

/// What a URL must say so that it works for `lifetime` by the store's clock. It is dated by this machine's clock,
/// which may be wrong. `None` if no such URL can be written.
fn written_lifetime(lifetime: Duration, own: Timestamp, store: Timestamp) -> Option<Duration> {
    if own.since(store).max(store.since(own)) < NOISE {
        return Some(lifetime);
    }
    let written = store.plus(lifetime).since(own);
    (Duration::from_secs(1)..=LONGEST)
        .contains(&written)
        .then_some(written)
}

/// A client needs this time to follow a redirect.
const SOON: Duration = Duration::from_secs(10);
/// Smaller differences between the clocks do not matter: the store tells its time in whole seconds.
const NOISE: Duration = Duration::from_secs(5);
/// The longest lifetime that S3 accepts.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_works_for_its_lifetime_by_the_clock_of_the_store() {
        let seconds = Duration::from_secs;
        for (own, lifetime, written) in [
            (1000, 600, Some(600)),
            (1003, 600, Some(600)),
            (400, 600, Some(1200)),
            (1600, 900, Some(300)),
            (1600, 600, None),
            (-700_000, 600, None),
        ] {
            let own = Timestamp::from_secs(own);
            let found = written_lifetime(seconds(lifetime), own, Timestamp::from_secs(1000));
            assert_eq!(found, written.map(seconds), "{own} {lifetime}");
        }
    }
}
