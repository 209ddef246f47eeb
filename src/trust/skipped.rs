//! Elements of key sets and bundles that cannot be used, for messages.

use std::fmt;

/// An element that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Which element, as in `keys[2] (kid abc)`.
    pub element: String,
    pub why: String,
    /// A standard says to ignore such an element, for example one for encryption or with a newer type of key.
    /// Nothing is wrong with it.
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

    /// Logs it as an element of this source.
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

/// Reports ignored elements as faults, for a document in which no element is usable.
pub(in crate::trust) fn promote(skipped: &mut [Skipped]) {
    for one in skipped {
        one.ignored = false;
    }
}

/// Shows what is wrong with each element of a document in which no element is usable.
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
