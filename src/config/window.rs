//! A part of each day.

use crate::clock::Timestamp;
use std::str::FromStr;

/// A time of day in UTC, from one minute up to another. It may pass midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Minutes since midnight.
    from: i64,
    to: i64,
}

impl Window {
    #[must_use]
    pub const fn contains(&self, now: Timestamp) -> bool {
        let minute = (now.as_secs().div_euclid(60)).rem_euclid(DAY);
        if self.from < self.to {
            self.from <= minute && minute < self.to
        } else {
            self.from <= minute || minute < self.to
        }
    }
}

/// Reads zot's spelling, `22:00-04:00`.
impl FromStr for Window {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (from, to) = text.split_once('-').ok_or(())?;
        let window = Self {
            from: minute(from.trim())?,
            to: minute(to.trim())?,
        };
        if window.from == window.to {
            Err(())
        } else {
            Ok(window)
        }
    }
}

fn minute(text: &str) -> Result<i64, ()> {
    let (hours, minutes) = text.split_once(':').ok_or(())?;
    let number = |text: &str, below: i64| -> Result<i64, ()> {
        let digits = matches!(text.len(), 1 | 2) && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && *number < below);
        number.ok_or(())
    };
    if minutes.len() != 2 {
        return Err(());
    }
    Ok(number(hours, 24)? * 60 + number(minutes, 60)?)
}

/// Minutes.
const DAY: i64 = 24 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_that_pass_midnight_and_others() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        for (window, time, expected) in [
            ("01:00-02:30", "00:59:59", false),
            ("01:00-02:30", "01:00:00", true),
            ("01:00-02:30", "02:29:59", true),
            ("01:00-02:30", "02:30:00", false),
            ("22:00-04:00", "21:59:59", false),
            ("22:00-04:00", "23:00:00", true),
            ("22:00-4:00", "03:59:59", true),
            ("22:00-04:00", "04:00:00", false),
        ] {
            let window: Window = window.parse().unwrap();
            assert_eq!(
                window.contains(at(&format!("2026-11-28T{time}Z"))),
                expected,
                "{window:?} {time}"
            );
        }
        for bad in [
            "",
            "1-2",
            "24:00-01:00",
            "01:60-02:00",
            "01:00",
            "01:00-01:00",
            "+1:00-02:00",
            "01:0-02:00",
        ] {
            assert_eq!(bad.parse::<Window>(), Err(()), "{bad}");
        }
    }
}
