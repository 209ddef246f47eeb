//! How bytes are cut into parts. A service accepts 10,000 parts, of which all but the last have 5 MiB or more.

/// The size of the smallest part, unless it is the last.
pub(super) const LEAST: u64 = 5 << 20;
/// The most parts of one upload.
pub(super) const MOST_PARTS: usize = 10_000;
/// The size of the largest part.
pub(super) const LARGEST: u64 = 64 << 20;
/// The size of the first parts.
const FIRST: u64 = 8 << 20;
/// How many parts are of that size. They hold 8 GiB, and the larger ones after them 560 GiB.
const FIRST_PARTS: usize = 1_000;
/// The size of every part where all have one size. They hold 156 GiB.
const EQUAL: u64 = 16 << 20;

/// The sizes of parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Whether all parts but the last must have one size.
    pub equal: bool,
}

impl Plan {
    /// The size of a part. Numbers begin with 0.
    pub(super) const fn size_of(self, number: usize) -> u64 {
        match number {
            _ if self.equal => EQUAL,
            ..FIRST_PARTS => FIRST,
            _ => LARGEST,
        }
    }

    /// Whether a smaller part of this size may be followed by others.
    pub(super) const fn may_be(self, number: usize, size: u64) -> bool {
        // Later ones would use up the numbers.
        !self.equal && number < FIRST_PARTS && size >= LEAST
    }

    /// The smallest chunk that becomes a part by itself.
    pub(super) const fn least(self) -> u64 {
        if self.equal { EQUAL } else { LEAST }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_so_that_a_large_blob_fits() {
        let plan = Plan { equal: false };
        let sizes = |plan: Plan| (0..MOST_PARTS).map(|number| plan.size_of(number)).sum::<u64>();
        assert_eq!(
            (plan.size_of(0), plan.size_of(999), plan.size_of(1_000)),
            (8 << 20, 8 << 20, 64 << 20)
        );
        assert!(sizes(plan) > 500 << 30);
        assert!(plan.may_be(999, LEAST) && !plan.may_be(999, LEAST - 1) && !plan.may_be(1_000, LEAST));
        let equal = Plan { equal: true };
        assert_eq!(equal.size_of(0), equal.size_of(9_999));
        assert!(sizes(equal) > 150 << 30 && !equal.may_be(0, LEAST));
    }
}
