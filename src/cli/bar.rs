//! A progress bar.

use std::io::Write as _;

/// Shows progress on a terminal, and nothing elsewhere.
pub(super) struct Bar {
    on: bool,
    /// The part and the share of it that are on the screen.
    shown: Option<(&'static str, u64)>,
}

impl Bar {
    const WIDTH: u64 = 40;

    pub(super) const fn new(on: bool) -> Self {
        Self { on, shown: None }
    }

    /// Shows how many bytes are done.
    pub(super) fn show(&mut self, done: u64, of: u64) {
        const MIB: u64 = 1 << 20;
        self.draw("", (done, of), || format!("{} of {} MiB", done / MIB, of / MIB));
    }

    /// Shows how much of a named part is done.
    pub(super) fn show_part(&mut self, part: &'static str, done: u64, of: u64) {
        self.draw(part, (done, of), || part.to_owned());
    }

    fn draw(&mut self, part: &'static str, (done, of): (u64, u64), what: impl FnOnce() -> String) {
        let per_mille = u64::try_from(u128::from(done) * 1000 / u128::from(of.max(1)))
            .unwrap_or(1000)
            .min(1000);
        if !self.on || self.shown == Some((part, per_mille)) {
            return;
        }
        self.shown = Some((part, per_mille));
        self.write(&format!("{}\x1b[K", bar(per_mille, &what())));
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

fn bar(per_mille: u64, what: &str) -> String {
    let full = usize::try_from(Bar::WIDTH * per_mille / 1000).unwrap_or_default();
    let width = usize::try_from(Bar::WIDTH).unwrap_or_default();
    let marks = "#".repeat(full);
    let blanks = " ".repeat(width - full);
    format!("\r[{marks}{blanks}] {:>3} %  {what}", per_mille / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills() {
        assert_eq!(
            bar(0, "0 of 4 MiB"),
            format!("\r[{}]   0 %  0 of 4 MiB", " ".repeat(40))
        );
        assert_eq!(
            bar(500, "2 of 4 MiB"),
            format!("\r[{}{}]  50 %  2 of 4 MiB", "#".repeat(20), " ".repeat(20))
        );
        assert_eq!(bar(1000, "blobs"), format!("\r[{}] 100 %  blobs", "#".repeat(40)));
    }
}
