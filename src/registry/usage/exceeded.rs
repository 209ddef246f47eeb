//! The error of a push that exceeds a quota.

use std::fmt;

/// A push that exceeds a quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaExceeded {
    /// The repository pattern, or [`TOTAL`].
    pub quota: String,
    /// In bytes, as the others.
    pub used: u64,
    pub allowed: u64,
    /// How many bytes the push adds. 0 for an upload that has not begun.
    pub needed: u64,
}

/// The name of the quota of the whole store. No repository pattern is written like this.
pub const TOTAL: &str = "(total)";

impl fmt::Display for QuotaExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            quota,
            used,
            allowed,
            needed,
        } = self;
        match quota.as_str() {
            TOTAL => f.write_str("the quota of the whole registry")?,
            pattern => write!(f, "the quota of the repositories {pattern}")?,
        }
        write!(
            f,
            " is used up: {} of {} are used",
            Readable(*used),
            Readable(*allowed)
        )?;
        if *needed > 0 {
            write!(f, ", and this push needs {} more", Readable(*needed))?;
        }
        f.write_str("; delete images that are no longer needed, or ask the registry's operator for more")
    }
}

impl std::error::Error for QuotaExceeded {}

/// An amount of bytes for people, with one decimal place, in the units of the configuration.
struct Readable(u64);

impl fmt::Display for Readable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [
            (1 << 40, "TiB"),
            (1 << 30, "GiB"),
            (1 << 20, "MiB"),
            (1 << 10, "KiB"),
        ];
        let Some((unit, name)) = units.into_iter().find(|(unit, _)| self.0 >= *unit) else {
            return write!(f, "{} bytes", self.0);
        };
        let whole = self.0 / unit;
        let tenths = (self.0 % unit) * 10 / unit;
        write!(f, "{whole}.{tenths} {name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_says_what_is_used_allowed_and_needed() {
        let exceeded = |quota: &str, needed| QuotaExceeded {
            quota: quota.to_owned(),
            used: 1023,
            allowed: 50 << 30,
            needed,
        };
        assert_eq!(
            exceeded("team-a/**", (3 << 20) + (1 << 19)).to_string(),
            "the quota of the repositories team-a/** is used up: 1023 bytes of 50.0 GiB are used, and this push \
             needs 3.5 MiB more; delete images that are no longer needed, or ask the registry's operator for more"
        );
        assert!(exceeded(TOTAL, 0).to_string().starts_with(
            "the quota of the whole registry is used up: 1023 bytes of 50.0 GiB are used; delete"
        ));
        for (bytes, text) in [
            (1024, "1.0 KiB"),
            ((1 << 40) - 1, "1023.9 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(Readable(bytes).to_string(), text);
        }
    }
}
