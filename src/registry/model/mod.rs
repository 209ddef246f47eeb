//! A model of the records' protocol. It runs a few actors on one store in every order of their requests, and
//! checks the invariants in every state. The transitions of the records are the registry's own code
//! ([`steps`]). The order of an actor's requests is written here a second time, in a form that can be
//! interrupted anywhere. `docs/design/protocol.md` describes what is searched and how.

mod actors;
mod blobs;
mod cases;
mod explorer;
mod faults;
mod invariants;
mod io;
mod linear;
mod manifests;
mod options;
mod phase;
mod scenario;
mod seen;
mod steps;
mod uploads;
mod values;
mod world;

use cases::{CASES, Case, FAULTS};
use explorer::{Explored, explore};

const PROTOCOL: &str = include_str!("../../../docs/design/protocol.md");

fn is_full() -> bool {
    std::env::var_os("WHARFINGER_MODEL_FULL").is_some()
}

/// Searches every `of`th case, starting with case number `part`, so that several tests share the work.
fn search(part: usize, of: usize) {
    for Case { make, states, .. } in CASES
        .iter()
        .skip(part)
        .step_by(of)
        .filter(|case| is_full() || !case.is_large)
    {
        let scenario = make();
        match explore(&scenario) {
            Explored::Clean { states: found, ends } => {
                assert!(ends > 0, "{}: no run ends", scenario.name);
                assert_eq!(
                    found, *states,
                    "{}: the number of states, also in docs/design/protocol.md",
                    scenario.name
                );
            }
            Explored::Violation { what, trace, states } => {
                panic!("{} after {states} states: {what}\n{trace}", scenario.name)
            }
        }
    }
}

#[test]
fn every_scenario_is_clean() {
    search(0, 2);
}

#[test]
fn every_other_scenario_is_clean() {
    search(1, 2);
}

#[test]
fn every_planted_fault_is_found() {
    for (fault, make) in FAULTS {
        let scenario = make().with(*fault);
        if let Explored::Clean { states, .. } = explore(&scenario) {
            panic!(
                "{fault:?} is not found in the {states} states of {}",
                scenario.name
            );
        }
    }
}

#[test]
fn a_trace_leads_to_its_violation() {
    let scenario = blobs::deletion_of_a_blob().with(faults::Fault::BlindBlobDeletion);
    let Explored::Violation { trace, .. } = explore(&scenario) else {
        panic!("it is found")
    };
    let last = trace.lines().last().unwrap();
    assert!(
        last.contains("Manifest(1) = Com") && !last.contains("Link(1)"),
        "{trace}"
    );
}

#[test]
fn the_protocols_page_has_every_scenario_and_every_fault() {
    for Case { make, states, .. } in CASES {
        let row = format!("| {} | {} |", make().name, thousands(*states));
        assert!(PROTOCOL.contains(&row), "docs/design/protocol.md lacks {row}");
    }
    for (fault, make) in FAULTS {
        let row = format!("| {fault:?} | {} |", make().name);
        assert!(PROTOCOL.contains(&row), "docs/design/protocol.md lacks {row}");
    }
}

/// 1234567 as 1,234,567.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
