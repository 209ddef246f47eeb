//! Keeps a stream open for ever, and decides what the end of a stream means.

use super::client::Client;
use super::wire::Message;
use crate::trust::refresh::jittered;
use futures_util::future::BoxFuture;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tonic::{Code, Status, Streaming};

/// Receives the messages of a stream.
pub(super) trait Follower<S> {
    fn apply(&mut self, message: S);
    /// The stream is open, so its last message is still valid.
    fn confirm(&mut self);
    /// Resolves when it is time to confirm.
    fn pause(&self) -> BoxFuture<'static, ()>;
    /// The stream is not open. The last message stays in use.
    fn fail(&mut self, why: &str);
    /// The agent denies access, so the last message must not be used any more (W-7).
    fn withdraw(&mut self, why: &str);
}

/// Follows one stream for ever.
pub(super) async fn follow<S: Message, F: Follower<S>>(client: Client, follower: Arc<Mutex<F>>, pace: Pace) {
    let mut refusals = Refusals::new(pace);
    let mut logged = None;
    loop {
        // The kernel accepts connections for a frozen agent, so without a deadline this could wait for ever.
        let opened = timeout(pace.first_message, client.open::<S>()).await;
        let opened = opened.unwrap_or_else(|_| {
            Err(Status::deadline_exceeded(format!(
                "no first message within {:?}",
                pace.first_message
            )))
        });
        let (was_open, status) = match opened {
            Err(status) => (false, status),
            Ok((first, stream)) => {
                if logged.take().is_some() {
                    tracing::info!(stream = S::METHOD, "the Workload API answers again");
                }
                refusals.opened();
                locked(&follower).apply(first);
                (true, read(stream, &follower).await)
            }
        };
        let why = client.explain(S::METHOD, &status);
        let (verdict, pause) = refusals.decide(was_open, status.code(), Instant::now());
        match verdict {
            Verdict::Keep => locked(&follower).fail(&why),
            Verdict::Withdraw => {
                locked(&follower).withdraw(&format!("{why}; does the registry have a registration entry?"))
            }
        }
        // The same failure is logged once, not at every attempt.
        if logged.as_ref() != Some(&why) {
            tracing::warn!(
                stream = S::METHOD,
                "the Workload API's stream ended or did not open, and the registry keeps trying: {why}"
            );
            logged = Some(why);
        }
        tokio::time::sleep(jittered(pause)).await;
    }
}

/// Reads an open stream to its end. Returns why it ended.
async fn read<S: Message, F: Follower<S>>(mut stream: Streaming<S>, follower: &Mutex<F>) -> Status {
    loop {
        let pause = locked(follower).pause();
        tokio::select! {
            message = stream.message() => match message {
                Ok(Some(message)) => locked(follower).apply(message),
                Ok(None) => return Status::unavailable("the agent ended the stream"),
                Err(status) => return status,
            },
            () = pause => locked(follower).confirm(),
        }
    }
}

pub(super) fn locked<F>(follower: &Mutex<F>) -> MutexGuard<'_, F> {
    follower.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) shortest: Duration,
    pub(super) longest: Duration,
    /// The pause after an answer that will not change soon (W-4).
    pub(super) hopeless: Duration,
    pub(super) first_message: Duration,
    /// How long access must be denied before the bundle is withdrawn. An agent that attests again denies
    /// access for 5 s although the entry exists (measured).
    pub(super) lasting: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            shortest: Duration::from_millis(100),
            longest: Duration::from_secs(5), // as often as SPIRE's agent asks its server
            hopeless: Duration::from_secs(60),
            first_message: Duration::from_secs(10),
            lasting: Duration::from_secs(30),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Keep,
    Withdraw,
}

/// Evaluates the failures of one stream.
struct Refusals {
    pace: Pace,
    pause: Duration,
    denied_since: Option<Instant>,
}

impl Refusals {
    fn new(pace: Pace) -> Self {
        Self {
            pace,
            pause: pace.shortest,
            denied_since: None,
        }
    }

    fn opened(&mut self) {
        (self.pause, self.denied_since) = (self.pace.shortest, None);
    }

    /// Returns whether the last message stays in use, and how long to wait before the next attempt.
    fn decide(&mut self, was_open: bool, code: Code, at: Instant) -> (Verdict, Duration) {
        let pause = self.pause;
        self.pause = (pause * 2).min(self.pace.longest);
        match code {
            Code::PermissionDenied => {
                let since = *self.denied_since.get_or_insert(at);
                let lasting = at.duration_since(since) >= self.pace.lasting;
                (
                    if was_open || lasting {
                        Verdict::Withdraw
                    } else {
                        Verdict::Keep
                    },
                    pause,
                )
            }
            Code::InvalidArgument | Code::Unimplemented => {
                self.denied_since = None;
                (Verdict::Keep, self.pace.hopeless)
            }
            // A killed agent yields `Unknown`, and a missing socket yields `Unavailable`.
            _ => {
                self.denied_since = None;
                (Verdict::Keep, pause)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn w_7_a_denial_withdraws_at_once_from_an_open_stream_and_after_30_s_from_a_closed_one() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut refusals = Refusals::new(Pace::default());
        assert_eq!(
            refusals.decide(true, Code::PermissionDenied, at(0)).0,
            Verdict::Withdraw
        );

        refusals.opened();
        for (seconds, expected) in [
            (0, Verdict::Keep),
            (5, Verdict::Keep),
            (29, Verdict::Keep),
            (30, Verdict::Withdraw),
            (35, Verdict::Withdraw),
        ] {
            assert_eq!(
                refusals.decide(false, Code::PermissionDenied, at(seconds)).0,
                expected,
                "after {seconds} s"
            );
        }
    }

    #[tokio::test]
    async fn w_7_only_unbroken_denial_lasts() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut refusals = Refusals::new(Pace::default());
        refusals.decide(false, Code::PermissionDenied, at(0));
        assert_eq!(refusals.decide(false, Code::Unavailable, at(20)).0, Verdict::Keep);
        assert_eq!(
            refusals.decide(false, Code::PermissionDenied, at(40)).0,
            Verdict::Keep,
            "it starts again"
        );
        assert_eq!(
            refusals.decide(false, Code::PermissionDenied, at(70)).0,
            Verdict::Withdraw
        );
    }

    #[tokio::test]
    async fn w_4_pauses_grow_to_5_s_and_permanent_errors_wait_a_minute() {
        let now = Instant::now();
        let mut refusals = Refusals::new(Pace::default());
        let mut pause = |code| refusals.decide(false, code, now).1.as_millis();
        let grown: Vec<_> = (0..8).map(|_| pause(Code::Unavailable)).collect();
        assert_eq!(grown, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(pause(Code::Unimplemented), 60_000);
        assert_eq!(pause(Code::InvalidArgument), 60_000);
    }
}
