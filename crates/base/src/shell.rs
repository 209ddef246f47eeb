//! Quotes words for commands that a user pastes into a shell.

use std::path::Path;

/// The path as one word of a POSIX shell, quoted where it must be.
#[must_use]
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_shell_reads_every_path_as_one_word() {
        for path in [
            "/tmp/a",
            "/tmp/my files/a",
            "it's",
            "$HOME/`x`",
            "a\"b",
            "~/a",
            "*",
            "",
            "a\\b",
        ] {
            let word = quoted(Path::new(path));
            // As the commands use them: bare, and in a substitution within double quotes.
            for script in [
                format!("printf %s {word}"),
                format!("printf %s \"$(printf %s {word})\""),
            ] {
                let output = Command::new("sh").arg("-c").arg(&script).output().unwrap();
                assert_eq!(String::from_utf8(output.stdout).unwrap(), path, "{script}");
            }
        }
        assert_eq!(quoted(Path::new("/tmp/a-b_c.d")), "/tmp/a-b_c.d");
    }
}
