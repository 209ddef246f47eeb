//! Comparisons on a shared machine. The contenders take turns, and the order is reversed every other round.
//! The first round is a warm-up. The result is the median of the other rounds' ratios.

use super::servers::Server;
use std::fmt;

/// One measured contender, in some unit. Less is better.
pub(crate) type Contender<'a, T = f64> = Box<dyn FnMut() -> T + 'a>;

/// The result of a comparison.
pub(crate) struct Compared {
    /// Each contender's median.
    pub(crate) medians: Vec<f64>,
    /// The ratios of the first contender to each of the others.
    pub(crate) ratios: Vec<f64>,
}

impl Compared {
    /// Compares one of the figures in each sample. `rows` has one row for each round.
    pub(crate) fn by<T>(rows: &[Vec<T>], figure: impl Fn(&T) -> f64) -> Self {
        let count = rows.first().map_or(0, Vec::len);
        let of = |value: &dyn Fn(&Vec<T>) -> f64| median(rows.iter().map(value).collect());
        Self {
            medians: (0..count).map(|index| of(&|row| figure(&row[index]))).collect(),
            ratios: (1..count)
                .map(|index| of(&|row| figure(&row[0]) / figure(&row[index])))
                .collect(),
        }
    }
}

pub(crate) fn compare(rounds: usize, contenders: Vec<Contender<'_>>) -> Compared {
    Compared::by(&in_turns(rounds, contenders), |figure| *figure)
}

/// The samples of each contender in each round.
pub(crate) fn in_turns<T>(rounds: usize, mut contenders: Vec<Contender<'_, T>>) -> Vec<Vec<T>> {
    let mut rows = Vec::new();
    for round in 0..=rounds {
        let forth = 0..contenders.len();
        let order: Vec<usize> = if round % 2 == 0 {
            forth.collect()
        } else {
            forth.rev().collect()
        };
        let mut found: Vec<(usize, T)> = order
            .into_iter()
            .map(|index| (index, contenders[index]()))
            .collect();
        found.sort_unstable_by_key(|(index, _)| *index);
        if round > 0 {
            rows.push(found.into_iter().map(|(_, found)| found).collect());
        }
    }
    rows
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The CPU seconds that a server spends on `work`.
pub(crate) fn spent(server: &Server, work: impl FnOnce()) -> f64 {
    let before = server.cpu();
    work();
    (server.cpu() - before).max(0.001)
}

/// A figure and its bar.
pub(crate) struct Line {
    pub(crate) id: &'static str,
    pub(crate) what: String,
    pub(crate) found: f64,
    pub(crate) bar: Bar,
    pub(crate) absolute: String,
}

#[derive(Clone, Copy)]
pub(crate) enum Bar {
    /// A figure above the first value fails. A figure up to the second value meets the aim.
    AtMost(f64, f64),
    AtLeast(f64, f64),
    /// The figure has no bar.
    Reported,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            what,
            found,
            bar,
            absolute,
        } = self;
        let (demanded, verdict) = match *bar {
            Bar::AtMost(fail, aim) => (
                format!("≤ {fail} / {aim}"),
                verdict(*found <= fail, *found <= aim),
            ),
            Bar::AtLeast(fail, aim) => (
                format!("≥ {fail} / {aim}"),
                verdict(*found >= fail, *found >= aim),
            ),
            Bar::Reported => (String::new(), ""),
        };
        write!(
            f,
            "| {id} | {what} | {found:.2} | {demanded} | {verdict} | {absolute} |"
        )
    }
}

fn verdict(passes: bool, aims: bool) -> &'static str {
    match (passes, aims) {
        (_, true) => "aim",
        (true, false) => "pass",
        (false, false) => "MISS",
    }
}
