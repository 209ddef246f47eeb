//! Everything that the store knows. One request has its effect at a time.

use super::access::{Access, Grant};
use super::bucket::{Bucket, Manner};
use super::fault::{Fault, Faults};
use super::log::Log;
use super::operation::{Call, Operation};
use super::refusal::Refusal;
use super::requests;
use super::rules::{Conditions, Rules};
use super::sts::Sts;
use crate::s3::Place;
use bytes::Bytes;
use http::Response;
use wharfinger_base::clock::{Clock, Timestamp};

pub(super) struct State {
    pub(super) clock: Clock,
    pub(super) bucket: Bucket,
    pub(super) rules: Rules,
    pub(super) faults: Faults,
    pub(super) access: Access,
    pub(super) sts: Sts,
    pub(super) log: Log,
    /// Whether connections end without an answer.
    pub(super) unreachable: bool,
    late: Vec<LateCall>,
}

/// A call without its effect.
struct LateCall {
    number: usize,
    call: Call,
    /// How many other calls come before it.
    wait: usize,
}

impl State {
    pub(super) fn new(clock: Clock) -> Self {
        let mut access = Access::default();
        let grant = Grant {
            session: None,
            expires: Timestamp::MAX,
        };
        access.grant(Place::ACCESS_KEY, grant);
        Self {
            clock,
            bucket: Bucket::default(),
            rules: Rules::default(),
            faults: Faults::default(),
            access,
            sts: Sts::default(),
            log: Log::default(),
            unreachable: false,
            late: Vec::new(),
        }
    }

    /// The fault of a request, before the log has it.
    pub(super) fn fault(&mut self, call: &Call) -> Option<Fault> {
        let log = &self.log;
        self.faults.of(call, || log.repetition(call))
    }

    /// Has the effect of a request and of all that are due after it.
    pub(super) fn apply(&mut self, number: usize, call: &Call, checks: bool, old: bool) -> Response<Bytes> {
        let response = self.effect(number, call, checks, old);
        for late in &mut self.late {
            late.wait = late.wait.saturating_sub(1);
        }
        self.apply_due();
        response
    }

    pub(super) fn postpone(&mut self, number: usize, call: Call, wait: usize) {
        self.late.push(LateCall { number, call, wait });
    }

    /// Has all effects that are late.
    pub(super) fn apply_late(&mut self) {
        for late in &mut self.late {
            late.wait = 0;
        }
        self.apply_due();
    }

    fn apply_due(&mut self) {
        let due: Vec<LateCall> = self.late.extract_if(.., |late| late.wait == 0).collect();
        for LateCall { number, call, .. } in due {
            let checks = self.rules.conditions != Conditions::Ignored;
            self.effect(number, &call, checks, false);
        }
    }

    fn effect(&mut self, number: usize, call: &Call, checks: bool, old_pages: bool) -> Response<Bytes> {
        let now = self.clock.now();
        let manner = Manner {
            rules: &self.rules,
            now,
            checks,
            old_pages,
        };
        let response = match call.operation {
            Operation::AssumeRole => {
                let session = self.rules.session;
                self.sts.answer(call, &mut self.access, session, now)
            }
            _ if call.bucket == Place::BUCKET => requests::apply(&mut self.bucket, call, manner),
            operation => Refusal::NO_SUCH_BUCKET.response_to(operation),
        };
        self.log.effect(number, response.status().as_u16());
        response
    }
}
