//! Copies the running program into a folder, for the kubelet on a node. The image of the plugin has no other program
//! that could do it.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use wharfinger_base::file_error::FileError;

/// Replaces the file at once, so a kubelet that starts the plugin meanwhile runs the old program or the new one. Returns
/// its path.
pub(crate) fn install(folder: &Path) -> Result<PathBuf, String> {
    let installed = folder.join(NAME);
    let unfinished = folder.join(format!(".{NAME}.new"));
    let program = std::env::current_exe().map_err(|why| format!("this program cannot be found: {why}"))?;
    copy(&program, &unfinished, &installed)
        .map(|()| installed)
        .map_err(|why| {
            format!(
                "{NAME} cannot be installed in {}: {}",
                folder.display(),
                FileError::new(folder, &why)
            )
        })
}

fn copy(program: &Path, unfinished: &Path, installed: &Path) -> io::Result<()> {
    fs::copy(program, unfinished)?;
    fs::set_permissions(unfinished, Permissions::from_mode(0o755))?;
    File::open(unfinished)?.sync_all()?;
    fs::rename(unfinished, installed)
}

const NAME: &str = "wharfinger-credential-provider";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_replaced_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(NAME), "an older version").unwrap();
        let installed = install(folder.path()).unwrap();
        let own = std::env::current_exe().unwrap();
        assert_eq!(installed.metadata().unwrap().len(), own.metadata().unwrap().len());
        assert_eq!(installed.metadata().unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let said = install(Path::new("/there/is/no/folder")).unwrap_err();
        assert!(
            said.starts_with("wharfinger-credential-provider cannot be installed in /there/is/no/folder: "),
            "{said}"
        );
    }
}
