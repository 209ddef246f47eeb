//! A report of the collector as a table: one line for each repository and reason.

use crate::registry::collect::{Amount, Report, Section};
use std::fmt::Display;
use std::fmt::Write as _;

const HEAD: [&str; 5] = ["REPOSITORY", "", "COUNT", "BYTES", "WHAT"];
/// Numbers are aligned to the right.
const NUMBERS: [bool; 5] = [false, false, true, true, false];

type Row = [String; 5];

/// The table, and a line with the sums. It does not end with a newline.
pub(super) fn table(report: &Report, is_complete: bool, store: &dyn Display) -> String {
    let mut rows = vec![(HEAD.map(str::to_owned), None)];
    for (name, section) in &report.repositories {
        rows.extend(part(name, section));
    }
    let others = format!("({} more repositories)", report.omitted_repositories);
    rows.extend(part(&others, &report.others));
    rows.extend(part("(the store)", &report.store));
    let mut widths = [0; HEAD.len()];
    for (row, _) in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    if rows.len() > 1 {
        for (row, note) in rows {
            let cells: Vec<_> = row
                .iter()
                .zip(widths)
                .zip(NUMBERS)
                .map(|((cell, width), is_number)| {
                    if is_number {
                        format!("{cell:>width$}")
                    } else {
                        format!("{cell:width$}")
                    }
                })
                .collect();
            let _ = writeln!(text, "{}", cells.join("  ").trim_end());
            if let Some(note) = note {
                let _ = writeln!(text, "    {note}");
            }
        }
        text.push('\n');
    }
    let _ = write!(text, "{store}: {}", sums(report, is_complete));
    text
}

/// The rows of a section. The first row has the section's name.
fn part(name: &str, section: &Section) -> Vec<(Row, Option<String>)> {
    let Section {
        goes,
        stays,
        stopped,
        exceeds,
        given_up,
    } = section;
    let row = |what: &str, amount: &Amount, why: &str| {
        let count = amount.count.to_string();
        let bytes = amount.bytes.to_string();
        (
            [String::new(), what.to_owned(), count, bytes, why.to_owned()],
            None,
        )
    };
    let goes = goes.iter().map(|(why, amount)| row("goes", amount, why.words()));
    let stays = stays
        .iter()
        .map(|(why, amount)| row("stays", amount, why.words()));
    let mut rows: Vec<(Row, Option<String>)> = goes.chain(stays).collect();
    let mut note = |what: &str, why: String, note: String| {
        let empty = String::new;
        let row = [empty(), what.to_owned(), empty(), empty(), why];
        rows.push((row, Some(note)));
    };
    if let Some(why) = stopped {
        let what = "everything, because a manifest cannot be read".to_owned();
        note("stays", what, why.clone());
    }
    for (why, names) in given_up {
        note("of these", why.clone(), names.join("\n    "));
    }
    if let Some(why) = exceeds {
        let what = "tags and manifests, in a scheduled pass".to_owned();
        note("stays", what, why.clone());
    }
    if let Some(([first, ..], _)) = rows.first_mut() {
        name.clone_into(first);
    }
    rows
}

fn sums(report: &Report, is_complete: bool) -> String {
    let going = report.going();
    let staying = report.staying();
    let bytes = report.freed_bytes();
    let complete = if is_complete { "complete" } else { "INCOMPLETE" };
    if report.dry_run {
        let more = report.retention_would_free.map_or_else(String::new, |more| {
            format!("; without storage.retention.dryRun, {more} more bytes to free")
        });
        format!("dry run {complete}: {going} to remove, {bytes} bytes to free, {staying} to keep{more}")
    } else {
        format!("{complete}: {going} removed, {bytes} bytes freed, {staying} kept")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::collect::{Goes, Stays};

    #[test]
    fn the_table_is_aligned_and_names_what_stopped() {
        let amount = |count, bytes| Amount { count, bytes };
        let mut report = Report::default();
        assert_eq!(
            table(&report, true, &"/s"),
            "/s: complete: 0 removed, 0 bytes freed, 0 kept"
        );
        let app = report.repositories.entry("team/app".into()).or_default();
        app.goes.insert(Goes::UnneededLink, amount(12, 3400));
        app.stays.insert(Stays::Young, amount(1, 5));
        app.goes.insert(Goes::ExpiredTag, amount(2, 0));
        app.given_up.insert(
            "storage.retention.policies[0].keepTags[0]: none of its rules keeps the tag".into(),
            vec!["v1".into(), "v2".into()],
        );
        app.exceeds = Some("60 of 100 tags".into());
        report.repositories.entry("b".into()).or_default().stopped = Some("m/b is damaged".into());
        report.store.goes.insert(Goes::UnlinkedBlob, amount(3, 700));
        report.dry_run = true;
        report.retention_would_free = Some(9);
        let wanted = "\
REPOSITORY             COUNT  BYTES  WHAT
b            stays                   everything, because a manifest cannot be read
    m/b is damaged
team/app     goes          2      0  tags that no rule of keepTags keeps
             goes         12   3400  blobs that no manifest of the repository needs
             stays         1      5  younger than the grace period
             of these                storage.retention.policies[0].keepTags[0]: none of its rules keeps the tag
    v1
    v2
             stays                   tags and manifests, in a scheduled pass
    60 of 100 tags
(the store)  goes          3    700  blobs that no repository has

/s: dry run INCOMPLETE: 17 to remove, 700 bytes to free, 1 to keep; without storage.retention.dryRun, 9 more bytes to free";
        assert_eq!(table(&report, false, &"/s"), wanted);
    }
}
