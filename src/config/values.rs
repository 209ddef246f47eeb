//! Small values that have several notations.

use crate::secret::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use std::time::Duration;

/// Text or a number, such as zot's `port`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum TextOrNumber {
    Text(String),
    Number(u64),
}

impl TextOrNumber {
    /// A TCP port. Empty text means 0, and the system chooses a port.
    pub(super) fn port(&self) -> Option<u16> {
        match self {
            Self::Text(text) if text.is_empty() => Some(0),
            Self::Text(text) => text.parse().ok(),
            Self::Number(number) => u16::try_from(*number).ok(),
        }
    }
}

impl TextOrNumber {
    /// An amount of bytes: a number, optionally followed by `KiB`, `MiB`, `GiB` or `TiB` (or `Ki`, `Mi`, `Gi`,
    /// `Ti` as in Kubernetes).
    pub(super) fn bytes(&self) -> Option<u64> {
        let text = match self {
            Self::Number(number) => return Some(*number),
            Self::Text(text) => text,
        };
        let (number, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
        let factor: u64 = match unit.trim_start() {
            "" => 1,
            "KiB" | "Ki" => 1 << 10,
            "MiB" | "Mi" => 1 << 20,
            "GiB" | "Gi" => 1 << 30,
            "TiB" | "Ti" => 1 << 40,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(factor)
    }
}

/// Text that must never be printed.
#[derive(Clone, Debug)]
pub struct SecretText(Secret);

impl SecretText {
    pub(super) fn unless_empty(self) -> Option<Secret> {
        Some(self.0).filter(|secret| !secret.expose().is_empty())
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Secret::new(text)))
    }
}

/// One string or a list of strings.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(super) fn into_list(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

/// What to write instead of a number of days or weeks. Empty for other text.
pub(super) fn in_hours(text: &str) -> String {
    let hours = [("d", 24), ("w", 7 * 24)].into_iter().find_map(|(unit, hours)| {
        let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
        number.checked_mul(hours)
    });
    hours.map_or_else(String::new, |hours| format!(": write {hours}h"))
}

/// A duration in Go's notation: `30s`, `5m`, `1h30m`, `1.5h`, `250ms`. A plain `0` is zero.
pub(super) fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, behind) = rest.split_at_checked(digits)?;
        let (fraction, behind) = match behind.strip_prefix('.') {
            Some(behind) => behind.split_at_checked(behind.bytes().take_while(u8::is_ascii_digit).count())?,
            None => ("", behind),
        };
        let letters = behind.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, behind) = behind.split_at_checked(letters)?;
        let unit: u64 = match unit {
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60 * 1_000_000_000,
            "h" => 3600 * 1_000_000_000,
            _ => return None,
        };
        let number: u64 = number.parse().ok()?;
        total = total.checked_add(Duration::from_nanos(number.checked_mul(unit)?))?;
        let mut tenth = unit;
        for digit in fraction.bytes() {
            tenth /= 10;
            total = total.checked_add(Duration::from_nanos(tenth * u64::from(digit - b'0')))?;
        }
        rest = behind;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_memory() {
        let bytes = |text: &str| TextOrNumber::Text(text.into()).bytes();
        for (text, expected) in [
            ("1024", 1024),
            ("64MiB", 64 << 20),
            ("64 MiB", 64 << 20),
            ("2Gi", 2 << 30),
            ("3KiB", 3072),
            ("0", 0),
        ] {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
        for bad in [
            "",
            "MiB",
            "64MB",
            "64mib",
            "-1",
            "1.5GiB",
            "99999999999GiB",
            "64M",
            "64MiB ",
        ] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
        assert_eq!(TextOrNumber::Number(7).bytes(), Some(7));
    }

    #[test]
    fn durations_in_gos_notation() {
        for (text, milliseconds) in [
            ("30s", 30_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("0", 0),
            ("24h", 86_400_000),
            ("1.5h", 5_400_000),
            ("0.25s1.5ms", 251),
        ] {
            assert_eq!(
                duration(text).map(|found| found.as_millis()),
                Some(milliseconds),
                "{text}"
            );
        }
        for bad in [
            "",
            "5",
            "s",
            "-1s",
            "1d",
            "1.5",
            ".5h",
            "1h 30m",
            "99999999999999999999s",
        ] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
