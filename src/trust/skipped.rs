//! Elements of key sets and bundles that cannot be used, as they are told to people.

use std::fmt;

/// An element that verifies nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Which one, as in `keys[2] (kid abc)`.
    pub element: String,
    pub why: String,
    /// A standard says to ignore such an element, as one for encryption or of a newer type of key: nothing is
    /// wrong with it.
    pub ignored: bool,
}

impl Skipped {
    pub(in crate::trust) fn new(element: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            element: element.into(),
            why: why.into(),
            ignored: false,
        }
    }

    /// To the log, as an element of this source.
    pub(in crate::trust) fn log(&self, source: &str) {
        if self.ignored {
            tracing::info!(source, "ignored, as the standard asks: {self}");
        } else {
            tracing::warn!(source, "skipped, the other keys are used: {self}");
        }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.element, self.why)
    }
}

/// Where no element is usable, those that would be ignored beside a good one are what is wrong.
pub(in crate::trust) fn promote(skipped: &mut [Skipped]) {
    for one in skipped {
        one.ignored = false;
    }
}

/// What is wrong with each, for a document in which nothing is usable.
pub(in crate::trust) struct Reasons<'a>(pub(in crate::trust) &'a [Skipped]);

impl fmt::Display for Reasons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, one) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}{one}", if index == 0 { "" } else { "; " })?;
        }
        match self.0.len().checked_sub(SHOWN) {
            Some(more) if more > 0 => write!(f, "; and {more} more"),
            _ => Ok(()),
        }
    }
}

const SHOWN: usize = 4;
