//! A small seeded generator (splitmix64), so that a seed names one and the same corpus, fleet and damage on every machine.

/// A stream of numbers decided by its seed alone.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The stream of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below the bound.
    ///
    /// # Panics
    /// When the bound is zero.
    pub fn below(&mut self, bound: usize) -> usize {
        assert!(bound > 0, "nothing is below zero");
        let wide = u128::from(self.bits()) * bound as u128;
        usize::try_from(wide >> 64).expect("below a usize")
    }

    /// A number from `first` to `last`, both included.
    pub fn within(&mut self, first: usize, last: usize) -> usize {
        first + self.below(last - first + 1)
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of the items.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// A size between the bounds whose *magnitude* is evenly spread: as many messages between 1 and 2 KiB as between 64 and 128 KiB.
    pub fn size(&mut self, least: usize, most: usize) -> usize {
        let doublings = (most / least).max(1).ilog2() as usize;
        let floor = least << self.below(doublings.max(1));
        self.within(floor, (floor * 2).min(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_names_one_stream() {
        let (mut one, mut same, mut other) = (Rng::new(7), Rng::new(7), Rng::new(8));
        let drawn: Vec<u64> = (0..4).map(|_| one.bits()).collect();
        assert_eq!(drawn, (0..4).map(|_| same.bits()).collect::<Vec<_>>());
        assert_ne!(drawn, (0..4).map(|_| other.bits()).collect::<Vec<_>>());
        assert!((0..1000).all(|_| (100..=5000).contains(&one.size(100, 5000))));
    }
}
