//! `wharfinger fsck FILE`: checks every record, reference and byte of the store that a configuration names.

use super::bar::Bar;
use super::{FAILED, SUCCESS, fail, load, registry_on, say};
use crate::access::Maintenance;
use crate::app::{Purpose, Store};
use crate::config::{Config, StorePlace};
use crate::registry::collect::{self, Options};
use crate::registry::{BrokenImage, Checked, Finding, Marking, Progress, Registry, Severity};
use crate::storage::Failure;
use crate::storage::local::Local;
use serde_json::json;
use std::io::IsTerminal;
use std::path::Path;

pub(super) async fn run(file: &Path, as_json: bool, mark: bool) -> u8 {
    let config = match load(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let purpose = if mark { Purpose::Changing } else { Purpose::Reading };
    let store = match Store::open_existing(&config.fixed.storage, "fsck", purpose).await {
        Ok(store) => store,
        Err(why) => return fail(&why.to_string()),
    };
    let bar = Bar::new(!as_json && std::io::stderr().is_terminal());
    let mut report = Report {
        as_json,
        bar,
        damages: 0,
        leftovers: 0,
        marked: 0,
        cleared: 0,
        not_marked: 0,
    };
    if let Some(folder) = store.folder()
        && let Err(why) = report.check_files(folder)
    {
        return fail(&why.to_string());
    }
    let registry = registry_on(&store, &config.fixed);
    let owner = Maintenance::by_the_stores_owner();
    let checked = if mark {
        registry.check_and_mark(&owner, &mut report).await
    } else {
        registry.check(&owner, &mut report).await
    };
    report.bar.end();
    let collectable = collectable(&registry, &config, &owner).await;
    store.leave().await;
    match checked {
        Ok(checked) => report.end(&config.fixed.storage, checked, collectable.as_ref()),
        Err(why) => fail(&format!("the check failed before it was complete: {why}")),
    }
}

/// What a collection would remove. `None` if that cannot be found out.
async fn collectable(registry: &Registry, config: &Config, owner: &Maintenance) -> Option<collect::Report> {
    let options = Options {
        dry_run: true,
        ..config.fixed.collecting.by_hand(config.live.rules(), false)
    };
    registry.collect(owner, &options, &mut ()).await.ok()
}

struct Report {
    as_json: bool,
    bar: Bar,
    damages: u64,
    leftovers: u64,
    /// Counts of blobs.
    marked: u64,
    cleared: u64,
    not_marked: u64,
}

impl Report {
    /// Checks the table and the files of a folder, which the registry does not know.
    fn check_files(&mut self, folder: &Local) -> Result<(), Failure> {
        let (wrong, left_over) = folder.check()?;
        for what in wrong {
            self.found(Finding {
                severity: Severity::Damage,
                key: "records".into(),
                what,
            });
        }
        for _ in 0..left_over {
            let what = "a large value without a record".into();
            self.found(Finding {
                severity: Severity::Leftover,
                key: "v".into(),
                what,
            });
        }
        Ok(())
    }

    fn end(&self, store: &StorePlace, checked: Checked, collectable: Option<&collect::Report>) -> u8 {
        let Self {
            damages,
            leftovers,
            marked,
            cleared,
            not_marked,
            ..
        } = self;
        if self.as_json {
            let summary = json!({
                "damages": damages,
                "leftovers": leftovers,
                "marked": marked,
                "cleared": cleared,
                "notMarked": not_marked,
                "checked": checked,
                "collectableBytes": collectable.map(collect::Report::freed_bytes),
            });
            say(&summary.to_string());
        } else {
            let Checked {
                blobs,
                bytes,
                links,
                manifests,
                tags,
                uploads,
            } = checked;
            let verdict = if *damages == 0 { "clean" } else { "DAMAGED" };
            let counted = [
                (marked, "blobs marked"),
                (cleared, "marks cleared"),
                (not_marked, "blobs not marked, since the error may be temporary"),
            ];
            let marked: String = counted
                .iter()
                .filter(|(count, _)| **count > 0)
                .map(|(count, what)| format!(", {count} {what}"))
                .collect();
            let free = collectable
                .map(collect::Report::freed_bytes)
                .filter(|bytes| *bytes > 0);
            let free = free.map_or_else(String::new, |bytes| {
                format!("; a collection would free {bytes} bytes")
            });
            say(&format!(
                "{store}: {verdict}: {damages} damaged, {leftovers} left over{marked}; checked {manifests} manifests, {tags} tags, {blobs} blobs of {bytes} bytes, {links} links and {uploads} uploads{free}"
            ));
        }
        if *damages == 0 { SUCCESS } else { FAILED }
    }
}

impl Progress for Report {
    fn found(&mut self, finding: Finding) {
        self.bar.clear();
        match finding.severity {
            Severity::Damage => self.damages += 1,
            Severity::Leftover => self.leftovers += 1,
        }
        match serde_json::to_string(&finding) {
            Ok(line) if self.as_json => say(&line),
            _ => say(&finding.to_string()),
        }
    }

    fn marked(&mut self, key: &str, marking: Marking) {
        self.bar.clear();
        let (count, name, title, what) = match marking {
            Marking::Set => {
                let what =
                    "the registry now reports this blob as missing, and its next push replaces the bytes";
                (&mut self.marked, "marked", "marked", what)
            }
            Marking::Cleared => (
                &mut self.cleared,
                "cleared",
                "cleared",
                "its bytes are good, and the registry serves it again",
            ),
            Marking::Uncertain => {
                let what = "this error may be temporary and does not prove damage; fix the cause and run the same command again";
                (&mut self.not_marked, "notMarked", "not marked", what)
            }
            Marking::Kept => return,
        };
        *count += 1;
        if self.as_json {
            say(&json!({name: key}).to_string());
        } else {
            say(&format!("{title}: {key}: {what}"));
        }
    }

    fn must_be_pushed(&mut self, image: &BrokenImage) {
        self.bar.clear();
        if self.as_json {
            say(&json!({"pushAgain": image}).to_string());
        } else {
            say(&image.to_string());
        }
    }

    fn hashed(&mut self, done: u64, of: u64) {
        self.bar.show(done, of);
    }
}
