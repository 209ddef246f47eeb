//! A progress bar.

use std::io::Write as _;

/// Shows progress on a terminal, and nothing elsewhere.
pub(super) struct Bar {
    on: bool,
    shown: Option<u64>,
}

impl Bar {
    const WIDTH: u64 = 40;

    pub(super) const fn new(on: bool) -> Self {
        Self { on, shown: None }
    }

    pub(super) fn show(&mut self, done: u64, of: u64) {
        let per_mille = u64::try_from(u128::from(done) * 1000 / u128::from(of.max(1)))
            .unwrap_or(1000)
            .min(1000);
        if !self.on || self.shown == Some(per_mille) {
            return;
        }
        self.shown = Some(per_mille);
        self.write(&bar(per_mille, done, of));
    }

    /// Removes the bar before other output.
    pub(super) fn clear(&mut self) {
        if self.shown.take().is_some() {
            self.write("\r\x1b[K");
        }
    }

    pub(super) fn end(&mut self) {
        self.clear();
    }

    fn write(&self, text: &str) {
        let mut to = std::io::stderr().lock();
        drop(to.write_all(text.as_bytes()).and_then(|()| to.flush()));
    }
}

fn bar(per_mille: u64, done: u64, of: u64) -> String {
    const MIB: u64 = 1 << 20;
    let full = usize::try_from(Bar::WIDTH * per_mille / 1000).unwrap_or_default();
    let width = usize::try_from(Bar::WIDTH).unwrap_or_default();
    let marks = "#".repeat(full);
    let blanks = " ".repeat(width - full);
    format!(
        "\r[{marks}{blanks}] {:>3} %  {} of {} MiB",
        per_mille / 10,
        done / MIB,
        of / MIB
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills() {
        assert_eq!(
            bar(0, 0, 4 << 20),
            format!("\r[{}]   0 %  0 of 4 MiB", " ".repeat(40))
        );
        assert_eq!(
            bar(500, 2 << 20, 4 << 20),
            format!("\r[{}{}]  50 %  2 of 4 MiB", "#".repeat(20), " ".repeat(20))
        );
        assert_eq!(
            bar(1000, 4 << 20, 4 << 20),
            format!("\r[{}] 100 %  4 of 4 MiB", "#".repeat(40))
        );
    }
}
