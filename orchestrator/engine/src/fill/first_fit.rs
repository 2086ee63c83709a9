//! Finds the first of many numbers that is small enough, without looking at those that are not.

/// A number that was taken out: greater than every bound.
const GONE: u64 = u64::MAX;

/// Numbers in a row, with the least of each part of it: a tree whose node `n` has the least of its nodes `2n` and `2n + 1`.
pub(super) struct FirstFit {
    leaves: usize,
    least: Vec<u64>,
}

impl FirstFit {
    pub(super) fn new(numbers: impl ExactSizeIterator<Item = u64>) -> Self {
        let leaves = numbers.len().next_power_of_two();
        let mut least = vec![GONE; 2 * leaves];
        least.iter_mut().skip(leaves).zip(numbers).for_each(|(leaf, number)| *leaf = number.min(GONE - 1));
        for node in (1..leaves).rev() {
            least[node] = least[2 * node].min(least[2 * node + 1]);
        }
        Self { leaves, least }
    }

    /// Takes one out.
    pub(super) fn remove(&mut self, at: usize) {
        let mut node = self.leaves + at;
        self.least[node] = GONE;
        while node > 1 {
            node /= 2;
            self.least[node] = self.least[2 * node].min(self.least[2 * node + 1]);
        }
    }

    /// The place of the first number, from `from` on, that is no greater than `most`.
    pub(super) fn first(&self, from: usize, most: u64) -> Option<usize> {
        if from >= self.leaves {
            return None;
        }
        let most = most.min(GONE - 1);
        let mut node = self.leaves + from;
        while self.least[node] > most {
            // Up from where nothing is right of it, to the part on its right; there is none right of the root.
            while node % 2 == 1 {
                node /= 2;
            }
            if node == 0 {
                return None;
            }
            node += 1;
        }
        while node < self.leaves {
            node *= 2;
            node += usize::from(self.least[node] > most);
        }
        Some(node - self.leaves)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_what_a_search_finds(
            mut numbers in proptest::collection::vec(0_u64..20, 1..40),
            asked in proptest::collection::vec((0_usize..42, 0_u64..21, 0_usize..40), 1..40),
        ) {
            let mut fit = FirstFit::new(numbers.iter().copied());
            for (from, most, gone) in asked {
                let found = (from..numbers.len()).find(|at| numbers[*at] <= most);
                prop_assert_eq!(fit.first(from, most), found);
                if let Some(number) = numbers.get_mut(gone) {
                    *number = GONE;
                    fit.remove(gone);
                }
            }
        }
    }

    #[test]
    fn the_largest_numbers_are_numbers() {
        let mut fit = FirstFit::new([u64::MAX, u64::MAX - 1].into_iter());
        assert_eq!((fit.first(0, u64::MAX - 2), fit.first(0, u64::MAX)), (None, Some(0)));
        fit.remove(0);
        fit.remove(1);
        assert_eq!(fit.first(0, u64::MAX), None);
        assert_eq!(FirstFit::new(std::iter::empty()).first(0, 1), None);
    }
}
