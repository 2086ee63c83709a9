//! Which pairs of a shard's state and an event can be met.
use super::Happens;
use rientro_types::ShardState;
/// x
pub(super) const CONSEQUENCES: [&str; 0] = [];
const PAIRS: [(Happens, &[ShardState]); 0] = [];
/// Every pair that can be met.
pub fn reachable() -> impl Iterator<Item = (ShardState, Happens)> {
    PAIRS.iter().flat_map(|(what, states)| states.iter().map(move |state| (*state, *what)))
}
