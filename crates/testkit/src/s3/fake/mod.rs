//! An S3 in the process, with one bucket in memory. It speaks what the registry's client sends: objects with
//! conditions, ranges, lists, multipart uploads and presigned URLs
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/>). Signatures are not checked.
//!
//! A test sets its clock, injects faults, and reads what was asked and what is stored.

mod access;
mod bucket;
mod conditions;
mod fault;
mod log;
mod object;
mod operation;
mod refusal;
mod requests;
mod rules;
mod serve;
mod snapshots;
mod state;
mod sts;
mod xml;

pub use bucket::Upload;
pub use fault::{Chaos, Fault, Gate, On, When};
pub use log::{Seen, in_a_row};
pub use object::Object;
pub use operation::Operation;
pub use refusal::Refusal;
pub use rules::{Conditions, Listing, Rules};
pub use sts::Exchange;

use super::Place;
use crate::{Ca, site};
use bytes::Bytes;
use state::State;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use wharfinger_base::clock::Clock;

/// It serves until it is dropped.
pub struct Fake {
    place: Place,
    state: Arc<Mutex<State>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Fake {
    pub async fn start() -> Self {
        Self::start_at(Clock::system()).await
    }

    /// `Date`, `Last-Modified` and what expires follow this clock.
    pub async fn start_at(clock: Clock) -> Self {
        Self::serve(clock, None).await
    }

    /// Its certificate is from this authority, for `127.0.0.1`.
    pub async fn start_with_tls(ca: &Ca) -> Self {
        let tls = site::acceptor(&ca.der_server(), None);
        Self::serve(Clock::system(), Some(tls)).await
    }

    async fn serve(clock: Clock, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let place = Place::first(format!("{scheme}://{}", listener.local_addr().unwrap()));
        let state = Arc::new(Mutex::new(State::new(clock)));
        let serving = tokio::spawn(serve::serve(listener, tls, state.clone()));
        Self {
            place,
            state,
            serving,
        }
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Changes how the store differs from what S3 promises.
    pub fn set_rules(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.state().rules);
    }

    /// Requests that `on` names have this fault. A request that several name belongs to the first of them.
    pub fn inject(&self, on: On, fault: Fault) {
        self.state().faults.rules.push((on, fault));
    }

    /// Requests that no injected fault concerns have faults at random.
    pub fn inject_at_random(&self, chaos: Chaos) {
        self.state().faults.chaos = Some(chaos);
    }

    /// Removes all faults that were injected.
    pub fn heal(&self) {
        let mut state = self.state();
        state.faults.rules.clear();
        state.faults.chaos = None;
    }

    /// How many requests had this fault.
    pub fn struck(&self, fault: &Fault) -> usize {
        let state = self.state();
        let count = state.faults.struck.get(&format!("{fault:?}"));
        count.copied().unwrap_or_default()
    }

    /// Has the effects of all requests that [`Fault::Late`] holds back.
    pub fn apply_late(&self) {
        self.state().apply_late();
    }

    /// While `unreachable`, requests end without an answer and without an effect.
    pub fn set_unreachable(&self, unreachable: bool) {
        self.state().unreachable = unreachable;
    }

    /// From now on, the access key of [`Fake::place`] or of STS is unknown.
    pub fn revoke(&self, access_key: &str) {
        assert!(
            self.state().access.revoke(access_key),
            "{access_key} is not known"
        );
    }

    /// From now on, the access key is good for nothing because it expired.
    pub fn expire(&self, access_key: &str) {
        let mut state = self.state();
        let now = state.clock.now();
        state.access.expire(access_key, now);
    }

    /// All requests since the start or since [`Fake::forget_requests`], in the order in which they began.
    pub fn requests(&self) -> Vec<Seen> {
        self.state().log.seen.clone()
    }

    pub fn forget_requests(&self) {
        self.state().log.forget();
    }

    /// How many of the requests are of this operation.
    pub fn count(&self, operation: Operation) -> usize {
        let state = self.state();
        let same = |seen: &&Seen| seen.operation == operation;
        state.log.seen.iter().filter(same).count()
    }

    pub fn objects(&self) -> BTreeMap<String, Object> {
        self.state().bucket.objects.clone()
    }

    pub fn object(&self, key: &str) -> Option<Object> {
        self.state().bucket.objects.get(key).cloned()
    }

    /// Writes an object without a request.
    pub fn put(&self, key: &str, body: impl Into<Bytes>) {
        let mut state = self.state();
        let object = Object::new(body.into(), state.clock.now());
        state.bucket.objects.insert(key.to_owned(), object);
    }

    /// Removes an object without a request.
    pub fn remove(&self, key: &str) -> Option<Object> {
        self.state().bucket.objects.remove(key)
    }

    /// The open uploads, by their ids.
    pub fn uploads(&self) -> BTreeMap<String, Upload> {
        self.state().bucket.uploads.clone()
    }

    /// What was asked of the STS, which answers at [`Place::endpoint`].
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.state().sts.exchanges.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}
