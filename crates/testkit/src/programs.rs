//! Which programs a test can start.

use std::io::Write as _;

/// Whether a program is installed. Prints a message if not, and fails if tests must not be skipped.
#[must_use]
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    let required = std::env::var_os("WHARFINGER_REQUIRE_CLIENTS").is_some();
    assert!(
        installed || !required,
        "{program} is not installed, and WHARFINGER_REQUIRE_CLIENTS is set"
    );
    if !installed {
        // A macro's output is shown for failed tests only.
        drop(writeln!(std::io::stderr(), "skipped: {program} is not installed"));
    }
    installed
}
