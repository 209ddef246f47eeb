//! `wharfinger man FOLDER`: the manual pages, made from the definitions of the commands.

use super::{SUCCESS, definition, fail, say};
use std::path::Path;

pub(super) fn run(folder: &Path) -> u8 {
    let written =
        std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(definition(), folder));
    match written {
        Ok(()) => {
            say(&format!(
                "The manual pages are in {}. Read one with: man {}/wharfinger.1",
                folder.display(),
                folder.display()
            ));
            SUCCESS
        }
        Err(why) => fail(&format!(
            "cannot write the manual pages to {}: {why}",
            folder.display()
        )),
    }
}
