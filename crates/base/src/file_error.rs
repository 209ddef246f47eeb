//! Explains why a file or a folder cannot be used: which folder is missing, or who owns the file and which
//! user this process runs as.

use std::fmt;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The system's error for a path. The text does not repeat the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    kind: ErrorKind,
    why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Why {
    /// The topmost missing folder above the path, if any.
    Missing {
        folder: Option<PathBuf>,
    },
    Denied {
        us: u32,
        about: Option<Owned>,
    },
    Other {
        text: String,
    },
}

/// The file or folder that denies access, and its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    path: PathBuf,
    owner: u32,
    mode: u32,
}

impl FileError {
    /// Looks up the details that `error` does not have.
    #[must_use]
    pub fn new(path: &Path, error: &io::Error) -> Self {
        let why = match error.kind() {
            ErrorKind::NotFound => Why::Missing {
                folder: missing_folder(path),
            },
            ErrorKind::PermissionDenied => Why::Denied {
                us: rustix::process::geteuid().as_raw(),
                about: decisive(path),
            },
            _ => Why::Other {
                text: without_number(&error.to_string()).to_owned(),
            },
        };
        Self {
            kind: error.kind(),
            why,
        }
    }

    #[must_use]
    pub const fn is_missing(&self) -> bool {
        matches!(self.kind, ErrorKind::NotFound)
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Why::Missing { folder: None } => f.write_str("it does not exist"),
            Why::Missing { folder: Some(folder) } => {
                write!(f, "the folder {} does not exist", folder.display())
            }
            Why::Denied { us, about: None } => {
                write!(f, "permission denied: this process runs as uid {us}")
            }
            Why::Denied {
                us,
                about: Some(Owned { path, owner, mode }),
            } if us == owner => {
                write!(
                    f,
                    "permission denied, although {} belongs to uid {us} as this process does: check its mode ({mode:04o}), and SELinux or AppArmor",
                    path.display()
                )
            }
            Why::Denied {
                us,
                about: Some(Owned { path, owner, mode }),
            } => {
                write!(
                    f,
                    "permission denied: this process runs as uid {us}, and {} belongs to uid {owner} with mode {mode:04o}; change its owner (chown) or its mode, or run as another user",
                    path.display()
                )
            }
            Why::Other { text } => f.write_str(text),
        }
    }
}

impl std::error::Error for FileError {}

/// For callers that know only the kind of error.
impl From<ErrorKind> for FileError {
    fn from(kind: ErrorKind) -> Self {
        Self::new(Path::new(""), &kind.into())
    }
}

fn missing_folder(path: &Path) -> Option<PathBuf> {
    let above = path
        .ancestors()
        .skip(1)
        .filter(|folder| !folder.as_os_str().is_empty());
    above
        .take_while(|folder| {
            folder
                .symlink_metadata()
                .is_err_and(|why| why.kind() == ErrorKind::NotFound)
        })
        .last()
        .map(Path::to_owned)
}

/// The path itself, or the nearest path above it that can be inspected.
fn decisive(path: &Path) -> Option<Owned> {
    let of = |path: &Path| {
        path.metadata()
            .map(|about| Owned {
                path: path.to_owned(),
                owner: about.uid(),
                mode: about.mode() & 0o7777,
            })
            .ok()
    };
    path.ancestors()
        .filter(|path| !path.as_os_str().is_empty())
        .find_map(of)
}

/// `No such device (os error 19)` without the number.
fn without_number(text: &str) -> &str {
    text.find(" (os error ")
        .and_then(|at| text.get(..at))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_the_missing_folder() {
        let folder = tempfile::tempdir().unwrap();
        let said = |path: &str| {
            let path = folder.path().join(path);
            FileError::new(&path, &std::fs::read(&path).unwrap_err()).to_string()
        };
        assert_eq!(said("file"), "it does not exist");
        assert_eq!(
            said("a/b/file"),
            format!("the folder {} does not exist", folder.path().join("a").display())
        );
        assert_eq!(said(""), "Is a directory");
    }

    #[test]
    fn a_denial_names_the_user_and_the_owner() {
        let folder = tempfile::tempdir().unwrap();
        let us = rustix::process::geteuid().as_raw();
        let denied = |path: &Path| FileError::new(path, &ErrorKind::PermissionDenied.into()).to_string();
        let own = denied(&folder.path().join("a/b"));
        assert!(
            own.contains(&format!(
                "{} belongs to uid {us} as this process does",
                folder.path().display()
            )),
            "{own}"
        );
        let other = FileError {
            kind: ErrorKind::PermissionDenied,
            why: Why::Denied {
                us: 65532,
                about: Some(Owned {
                    path: "/data".into(),
                    owner: 0,
                    mode: 0o755,
                }),
            },
        };
        let said = other.to_string();
        assert!(
            said.starts_with("permission denied: this process runs as uid 65532, and /data belongs to uid 0 with mode 0755; "),
            "{said}"
        );
    }
}
