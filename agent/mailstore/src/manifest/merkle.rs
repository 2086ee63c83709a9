//! Merkle tree hashes, by which a list of any length is one digest, and a member's place in it can be proven.
//!
//! The tree is that of RFC 9162, section 2.1.1, over BLAKE3: a leaf is the hash of a zero byte and its data, a node that of a
//! one byte and its two children, and the left side of a tree has the largest power of two of leaves that is less than all.

use rientro_types::Digest;

/// Builds the root of a list whose leaves come one by one; keeps one hash for each level.
#[derive(Debug, Default)]
pub(super) struct Tree {
    leaves: u64,
    /// Roots of whole subtrees, the largest first.
    peaks: Vec<Digest>,
}

impl Tree {
    /// Adds a leaf.
    pub(super) fn push(&mut self, data: &[u8]) {
        let mut node = leaf(data);
        self.leaves += 1;
        for _ in 0..self.leaves.trailing_zeros() {
            if let Some(left) = self.peaks.pop() {
                node = join(&left, &node);
            }
        }
        self.peaks.push(node);
    }

    /// The root; of no leaf, the hash of nothing.
    pub(super) fn root(&self) -> Digest {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return Digest::of(b"") };
        peaks.fold(*last, |right, left| join(left, &right))
    }
}

fn leaf(data: &[u8]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[0]).update(data);
    Digest::from_raw(hasher.finalize().into())
}

fn join(left: &Digest, right: &Digest) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[1]).update(left.raw()).update(right.raw());
    Digest::from_raw(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of RFC 9162, word for word.
    fn expected(leaves: &[Vec<u8>]) -> Digest {
        match leaves {
            [] => Digest::of(b""),
            [one] => leaf(one),
            more => {
                let split = more.len().next_power_of_two() / 2;
                join(&expected(&more[..split]), &expected(&more[split..]))
            }
        }
    }

    #[test]
    fn roots_are_those_of_the_definition() {
        let leaves: Vec<_> = (0..70_u8).map(|number| vec![number; usize::from(number)]).collect();
        let mut tree = Tree::default();
        for count in 0..leaves.len() {
            assert_eq!(tree.root(), expected(&leaves[..count]), "{count} leaves");
            tree.push(&leaves[count]);
        }
    }
}
