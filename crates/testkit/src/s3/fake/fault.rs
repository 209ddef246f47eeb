//! The faults that a test injects, and for which requests.

use super::operation::{Call, Operation};
use super::refusal::Refusal;
use http::header::{IF_MATCH, IF_NONE_MATCH};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

/// What goes wrong with a request. Its *effect* is what it does to the bucket.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The answer is this error.
    Refuse(When, Refusal),
    /// The connection ends without an answer.
    Close(When),
    /// No answer comes, and the connection stays.
    Silence(When),
    /// The connection ends without an answer. The effect comes after this many later requests had theirs, or
    /// with [`super::Fake::apply_late`].
    Late(usize),
    /// The connection ends in the middle of the answer's body.
    Torn,
    /// The answer has an entity tag that the object does not have.
    WrongTag,
    /// A later page of a list has what the bucket held when the first page was sent.
    OldPage,
    /// The request waits at the gate.
    Hold(When, Gate),
}

impl Fault {
    /// Whether a store may do this with such a request.
    fn suits(&self, call: &Call) -> bool {
        let is_conditional = || call.header(IF_MATCH).is_some() || call.header(IF_NONE_MATCH).is_some();
        let is_read = || matches!(call.operation, Operation::Get | Operation::Head);
        match self {
            Self::Refuse(_, Refusal::CONFLICT | Refusal::PRECONDITION) => is_conditional() && !is_read(),
            Self::Refuse(_, Refusal::INTERNAL_AFTER_200) => {
                matches!(call.operation, Operation::CompleteUpload | Operation::Copy)
            }
            Self::Torn => matches!(call.operation, Operation::Get | Operation::List),
            Self::OldPage => call.operation == Operation::List,
            _ => true,
        }
    }
}

/// On which side of the effect a fault comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// There is no effect, or not yet.
    Before,
    After,
}

/// Which requests have a fault: without anything else, the next one.
#[derive(Clone, Debug)]
pub struct On {
    operation: Option<Operation>,
    key: Option<String>,
    prefix: String,
    skipped: usize,
    left: usize,
}

impl On {
    #[must_use]
    pub fn any() -> Self {
        Self {
            operation: None,
            key: None,
            prefix: String::new(),
            skipped: 0,
            left: 1,
        }
    }

    #[must_use]
    pub fn operation(operation: Operation) -> Self {
        Self {
            operation: Some(operation),
            ..Self::any()
        }
    }

    #[must_use]
    pub fn key(self, key: &str) -> Self {
        Self {
            key: Some(key.to_owned()),
            ..self
        }
    }

    /// Only keys that begin so. A list counts by the prefix that it asks for.
    #[must_use]
    pub fn under(self, prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            ..self
        }
    }

    /// Not the first ones.
    #[must_use]
    pub fn skip(self, skipped: usize) -> Self {
        Self { skipped, ..self }
    }

    #[must_use]
    pub fn times(self, left: usize) -> Self {
        Self { left, ..self }
    }

    #[must_use]
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    fn concerns(&self, call: &Call) -> bool {
        let key = call.object();
        self.left > 0
            && self.operation.is_none_or(|operation| operation == call.operation)
            && self.key.as_ref().is_none_or(|own| own == key)
            && key.starts_with(&self.prefix)
    }

    /// Whether the fault comes now. Counts the request, which it concerns.
    fn strikes(&mut self) -> bool {
        let now = self.skipped == 0;
        let count = if now { &mut self.left } else { &mut self.skipped };
        *count -= 1;
        now
    }
}

/// Faults at random, each only where a store may have it, and none at STS. The same seed and the same requests for a key have the same faults, however the requests
/// for other keys are mixed with them.
#[derive(Clone, Debug)]
pub struct Chaos {
    pub seed: u64,
    /// How many of 1000 requests have a fault.
    pub per_mille: u64,
    pub faults: Vec<Fault>,
}

impl Chaos {
    fn strikes(&self, call: &Call, repetition: usize) -> Option<Fault> {
        let of = format!(
            "{} {:?} {} {repetition}",
            self.seed,
            call.operation,
            call.object()
        );
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, of.as_bytes());
        let dice = |part: usize| u64::from_be_bytes(digest.as_ref()[part * 8..][..8].try_into().unwrap());
        if dice(0) % 1000 >= self.per_mille || call.operation == Operation::AssumeRole {
            return None;
        }
        let faults: Vec<&Fault> = self.faults.iter().filter(|fault| fault.suits(call)).collect();
        let count = u64::try_from(faults.len()).unwrap();
        let chosen = dice(1).checked_rem(count)?;
        Some(faults[usize::try_from(chosen).unwrap()].clone())
    }
}

/// Requests wait here until the test opens it.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<GateState>>);

#[derive(Clone, Copy, Debug)]
struct GateState {
    arrived: usize,
    open: bool,
}

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(GateState {
            arrived: 0,
            open: false,
        })))
    }
}

impl Gate {
    /// Returns when this many requests have come to the gate since it exists.
    pub async fn arrived(&self, count: usize) {
        drop(self.0.subscribe().wait_for(|state| state.arrived >= count).await);
    }

    /// Lets all requests pass, from now on.
    pub fn open(&self) {
        self.0.send_modify(|state| state.open = true);
    }

    pub(super) async fn pass(&self) {
        self.0.send_modify(|state| state.arrived += 1);
        drop(self.0.subscribe().wait_for(|state| state.open).await);
    }
}

/// What goes wrong, and what went wrong.
#[derive(Default)]
pub(super) struct Faults {
    pub(super) rules: Vec<(On, Fault)>,
    pub(super) chaos: Option<Chaos>,
    /// How many requests had each fault.
    pub(super) struck: BTreeMap<String, usize>,
}

impl Faults {
    /// The fault of this request. The first rule that concerns it is the one that counts it. `repetition` tells
    /// how many requests of its operation for its key came before.
    pub(super) fn of(&mut self, call: &Call, repetition: impl FnOnce() -> usize) -> Option<Fault> {
        let ruled = self.rules.iter_mut().find(|(on, _)| on.concerns(call));
        let fault = match ruled {
            Some((on, fault)) => on.strikes().then(|| fault.clone()),
            None => self.chaos.as_ref()?.strikes(call, repetition()),
        }?;
        *self.struck.entry(format!("{fault:?}")).or_default() += 1;
        Some(fault)
    }
}
