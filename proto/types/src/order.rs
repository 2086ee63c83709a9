//! The order of commands: which of two commands for the same shard is the newer one, whoever sent it.

use crate::{CellId, Digest, Epoch, Incarnation, Seq};

/// Stamp of every command. A receiver keeps the newest it acted on, per shard and on its disk, and refuses any other.
///
/// Derives its comparison from the field order: a restored cell (higher incarnation) is newer than anything before it, then
/// a later leader, then a later record. Orders of different cells have no meaning to each other: see [`Order::supersedes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order {
    /// The cell that decided.
    pub cell: CellId,
    /// Life of that cell.
    pub incarnation: Incarnation,
    /// Leadership term in which the command was sent.
    pub epoch: Epoch,
    /// The journal record that decided it.
    pub seq: Seq,
}

/// An order that was obeyed, with the journal entry that its record is in. The chain of entries makes it a witness of one history:
/// another journal that reaches as far has another entry there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The order.
    pub order: Order,
    /// Digest of the entry that holds its record.
    pub entry: Digest,
}

impl Order {
    /// Whether a receiver that acted on `held` may act on this one: same cell, and strictly newer.
    #[must_use]
    pub fn supersedes(&self, held: &Self) -> bool {
        self.cell == held.cell && self > held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(cell: &str, incarnation: u32, epoch: u64, seq: u64) -> Order {
        Order {
            cell: CellId::new(cell).unwrap(),
            incarnation: Incarnation::from_raw(incarnation),
            epoch: Epoch::from_raw(epoch),
            seq: Seq::from_raw(seq),
        }
    }

    #[test]
    fn newer_means_incarnation_then_epoch_then_record() {
        let held = order("c", 2, 5, 100);
        assert!(order("c", 2, 5, 101).supersedes(&held));
        assert!(order("c", 2, 6, 1).supersedes(&held));
        assert!(order("c", 3, 1, 1).supersedes(&held));
        assert!(!held.supersedes(&held));
        assert!(!order("c", 2, 4, 999).supersedes(&held));
        assert!(!order("d", 9, 9, 999).supersedes(&held));
    }
}
