//! Known histories, and random ones of a register that is linear by construction.

use super::*;

#[test]
fn linear_histories_are_accepted_and_others_are_not() {
    let some = |text: &str| Some(text.to_owned());
    let event = |act: Act, begun: u64, ended: u64| Event {
        act,
        begun,
        ended: Some(ended).filter(|ended| *ended > 0),
    };
    let write = |text: &str| Act::Write(some(text));
    let read = |text: &str| Act::Read(some(text));
    let remove = |text: &str| Act::Remove(text.to_owned());
    let cases = [
        ("nothing happened", true, vec![event(Act::Read(None), 1, 2)]),
        (
            "what was written is there",
            true,
            vec![event(write("a"), 1, 2), event(read("a"), 3, 4)],
        ),
        (
            "the written value is lost",
            false,
            vec![event(write("a"), 1, 2), event(Act::Read(None), 3, 4)],
        ),
        (
            "no client wrote it",
            false,
            vec![event(write("a"), 1, 2), event(read("b"), 3, 4)],
        ),
        (
            "of two writes at once, either may win",
            true,
            vec![
                event(write("a"), 1, 4),
                event(write("b"), 2, 3),
                event(read("a"), 5, 6),
            ],
        ),
        (
            "an old value comes back",
            false,
            vec![
                event(write("a"), 1, 2),
                event(write("b"), 3, 4),
                event(read("a"), 5, 6),
            ],
        ),
        (
            "a reader sees a write before the write ends",
            true,
            vec![
                event(write("a"), 1, 6),
                event(read("a"), 2, 3),
                event(read("a"), 4, 5),
            ],
        ),
        (
            "a seen value disappears",
            false,
            vec![
                event(write("a"), 1, 6),
                event(read("a"), 2, 3),
                event(Act::Read(None), 4, 5),
            ],
        ),
        (
            "an unanswered write happened",
            true,
            vec![event(write("a"), 1, 0), event(read("a"), 5, 6)],
        ),
        (
            "an unanswered write did not happen",
            true,
            vec![event(write("a"), 1, 0), event(Act::Read(None), 5, 6)],
        ),
        (
            "a value that was seen once is lost",
            false,
            vec![
                event(write("a"), 1, 0),
                event(read("a"), 2, 3),
                event(Act::Read(None), 4, 5),
            ],
        ),
        (
            "a value is seen before its write began",
            false,
            vec![event(read("a"), 1, 2), event(write("a"), 3, 0)],
        ),
        (
            "a value is removed",
            true,
            vec![
                event(write("a"), 1, 2),
                event(remove("a"), 3, 4),
                event(Act::Read(None), 5, 6),
            ],
        ),
        (
            "a value is removed while it is written",
            true,
            vec![
                event(write("a"), 1, 4),
                event(remove("a"), 2, 3),
                event(Act::Read(None), 5, 6),
            ],
        ),
        (
            "a removed value is still there",
            false,
            vec![
                event(write("a"), 1, 2),
                event(remove("a"), 3, 4),
                event(read("a"), 5, 6),
            ],
        ),
        (
            "a value stays if another one is removed",
            true,
            vec![
                event(write("a"), 1, 2),
                event(remove("b"), 3, 4),
                event(read("a"), 5, 6),
            ],
        ),
        (
            "a write and a removal without results emptied the register",
            true,
            vec![
                event(write("a"), 1, 2),
                event(write("b"), 3, 0),
                event(remove("b"), 4, 0),
                event(Act::Read(None), 5, 6),
            ],
        ),
        (
            "a deletion without a result happens between two reads",
            true,
            vec![
                event(write("a"), 1, 2),
                event(Act::Write(None), 3, 0),
                event(read("a"), 4, 5),
                event(Act::Read(None), 6, 7),
            ],
        ),
        (
            "a deletion without a result happens once only",
            false,
            vec![
                event(write("a"), 1, 2),
                event(Act::Write(None), 3, 0),
                event(Act::Read(None), 4, 5),
                event(write("b"), 6, 7),
                event(Act::Read(None), 8, 9),
            ],
        ),
        (
            "a write without a result takes effect after two others",
            true,
            vec![
                event(write("late"), 1, 0),
                event(write("a"), 2, 3),
                event(write("b"), 4, 5),
                event(read("b"), 6, 7),
                event(read("late"), 8, 9),
            ],
        ),
        (
            "a list shows a written value",
            true,
            vec![event(write("a"), 1, 2), event(Act::Present(true), 3, 4)],
        ),
        (
            "a list lacks a written value",
            false,
            vec![event(write("a"), 1, 2), event(Act::Present(false), 3, 4)],
        ),
        (
            "two readers disagree about the order",
            false,
            vec![
                event(write("a"), 1, 20),
                event(write("b"), 2, 20),
                event(read("a"), 3, 4),
                event(read("b"), 5, 6),
                event(read("a"), 7, 8),
            ],
        ),
    ];
    for (what, linear, events) in cases {
        assert_eq!(fault(&None, &events).is_none(), linear, "{what}");
    }
}

/// The history of a register that was linear, in the order in which its events began.
fn random(dice: &mut fastrand::Rng, length: usize) -> Vec<Event> {
    let mut content: Content = None;
    let mut written: Vec<String> = Vec::new();
    let mut events: Vec<Event> = Vec::new();
    // Requests that have begun, and whether they have taken effect.
    let mut open: Vec<(usize, bool)> = Vec::new();
    // Changes whose client has given up.
    let mut late: Vec<usize> = Vec::new();
    let mut time = 0;
    while events.len() < length || !open.is_empty() {
        time += 1;
        if events.len() < length && open.len() < 8 && dice.u32(0..3) == 0 {
            let act = match dice.u32(0..10) {
                0..4 => Act::Write(Some(events.len().to_string())),
                4 => Act::Write(None),
                5 if !written.is_empty() => Act::Remove(written[dice.usize(0..written.len())].clone()),
                6 => Act::Present(false),
                _ => Act::Read(None),
            };
            if let Act::Write(Some(value)) = &act {
                written.push(value.clone());
            }
            open.push((events.len(), false));
            events.push(Event {
                act,
                begun: time,
                ended: None,
            });
        } else if !late.is_empty() && dice.u32(0..10) == 0 {
            let event = late.swap_remove(dice.usize(0..late.len()));
            content = events[event].act.after(&content).unwrap();
        } else if !open.is_empty() {
            let at = dice.usize(0..open.len());
            let (event, has_happened) = open[at];
            let is_read = matches!(events[event].act, Act::Read(_) | Act::Present(_));
            if has_happened {
                events[event].ended = Some(time);
                open.swap_remove(at);
            } else if !is_read && dice.u32(0..20) == 0 {
                late.push(event);
                open.swap_remove(at);
            } else {
                match &mut events[event].act {
                    Act::Read(seen) => *seen = content.clone(),
                    Act::Present(seen) => *seen = content.is_some(),
                    Act::Write(_) | Act::Remove(_) => {}
                }
                content = events[event].act.after(&content).unwrap();
                open[at].1 = true;
            }
        }
    }
    events
}

#[test]
fn a_stale_read_is_found_in_a_history_that_was_linear() {
    let mut planted = 0;
    for seed in 0..100 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut events = random(&mut dice, 60);
        assert_eq!(fault(&None, &events), None, "seed {seed}: {events:#?}");
        let stale = (0..events.len()).rev().find_map(|read| {
            let before = |other: &Event, than: &Event| other.ended.is_some_and(|ended| ended < than.begun);
            if !matches!(events[read].act, Act::Read(_)) {
                return None;
            }
            let writes = || {
                events
                    .iter()
                    .filter(|event| matches!(event.act, Act::Write(Some(_))))
            };
            let mut newer = writes().filter(|newer| before(newer, &events[read]));
            let older = newer.find_map(|newer| writes().find(|older| before(older, newer)))?;
            let Act::Write(value) = &older.act else {
                return None;
            };
            Some((read, value.clone()))
        });
        if let Some((read, value)) = stale {
            planted += 1;
            events[read].act = Act::Read(value);
            assert!(fault(&None, &events).is_some(), "seed {seed}: {events:#?}");
        }
    }
    assert!(planted > 60, "{planted}");
}

#[test]
fn a_long_history_with_many_unknown_results_is_decided() {
    let mut dice = fastrand::Rng::with_seed(1);
    let events = random(&mut dice, 5000);
    let unknown = events.iter().filter(|event| event.ended.is_none()).count();
    assert!(unknown > 50, "{unknown}");
    assert_eq!(fault(&None, &events), None);
}
