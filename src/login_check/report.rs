//! Reports the lines in the order in which they are found, and each failure once: a registry that rejects a
//! token rejects it in every way to log in.

use super::line::{Line, Verdict};
use std::mem;

#[derive(Debug)]
pub(super) struct Report<T> {
    tell: T,
    good: bool,
    failures: Vec<Failure>,
}

/// A reported failure, and what else failed in the same way since.
#[derive(Debug)]
struct Failure {
    found: String,
    again: Vec<String>,
}

impl<T: FnMut(&Line)> Report<T> {
    pub(super) const fn to(tell: T) -> Self {
        Self {
            tell,
            good: true,
            failures: Vec::new(),
        }
    }

    pub(super) fn say(&mut self, line: Line) {
        if line.verdict == Verdict::Bad {
            self.good = false;
            let found = without_request(&line.found);
            if let Some(failure) = self.failures.iter_mut().find(|failure| failure.found == found) {
                failure.again.push(line.what);
                return;
            }
            self.failures.push(Failure {
                found: found.to_owned(),
                again: Vec::new(),
            });
        }
        (self.tell)(&line);
    }

    /// Reports what failed in the same way as something before.
    pub(super) fn repeated(&mut self) {
        for failure in &mut self.failures {
            if !failure.again.is_empty() {
                let what = mem::take(&mut failure.again).join("; ");
                (self.tell)(&Line::note(what, format!("the same failure, {}", failure.found)));
            }
        }
    }

    /// Ends the report. Returns whether there is nothing to change.
    pub(super) fn end(mut self) -> bool {
        self.repeated();
        self.good
    }
}

/// Removes the request's id, which differs each time.
fn without_request(found: &str) -> &str {
    found.split_once(" (request ").map_or(found, |(reason, _)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_reported_once_with_everything_that_failed_alike() {
        let mut lines = Vec::new();
        let mut report = Report::to(|line: &Line| lines.push(line.to_string()));
        report.say(Line::bad("bearer", "401: no (request 1)", "renew it"));
        report.say(Line::good("anonymous", "200"));
        report.say(Line::bad("password", "401: no (request 2)", "renew it"));
        report.say(Line::bad("exchange", "401: no (request 3)", "renew it"));
        report.say(Line::bad("whoami", "500", "read the log"));
        assert!(!report.end());
        assert_eq!(
            lines,
            [
                "FAIL  bearer: 401: no (request 1)\n      fix: renew it",
                "ok    anonymous: 200",
                "FAIL  whoami: 500\n      fix: read the log",
                "note  password; exchange: the same failure, 401: no",
            ]
        );
        assert!(Report::to(|_: &Line| ()).end());
    }
}
