//! Names of the world's things.

use rientro_types::{
    Actor, ActorKind, Authentication, CampaignId, CellId, LabelKey, LabelValue, NodeId, ShardId, VolumeId,
};

const VALID: &str = "names made here use letters, digits and dashes only, and are short";

/// Node `n<at>`.
///
/// # Panics
/// When the name is not one: it is written in this crate.
#[must_use]
pub fn node(at: usize) -> NodeId {
    NodeId::new(&format!("n{at}")).expect(VALID)
}

/// Shard `s<at>`.
///
/// # Panics
/// When the name is not one: it is written in this crate.
#[must_use]
pub fn shard(at: usize) -> ShardId {
    ShardId::new(&format!("s{at:03}")).expect(VALID)
}

/// Volume `fs:<at>`.
///
/// # Panics
/// When the name is not one: it is written in this crate.
#[must_use]
pub fn volume(at: usize) -> VolumeId {
    VolumeId::new(&format!("fs:{at}")).expect(VALID)
}

/// Campaign `return-<at>`.
///
/// # Panics
/// When the name is not one: it is written in this crate.
#[must_use]
pub fn campaign(at: usize) -> CampaignId {
    CampaignId::new(&format!("return-{at}")).expect(VALID)
}

/// The simulated cell.
///
/// # Panics
/// When the name is not one: it is written in this crate.
#[must_use]
pub fn cell() -> CellId {
    CellId::new("sim").expect(VALID)
}

/// A label's name, such as `rack`.
///
/// # Panics
/// When the name is not one: it is written in this crate.
#[must_use]
pub fn label(key: &str) -> LabelKey {
    LabelKey::new(key).expect(VALID)
}

/// A label's value, such as `r1`.
///
/// # Panics
/// When the name is not one: it is written in this crate.
#[must_use]
pub fn value(value: &str) -> LabelValue {
    LabelValue::new(value).expect(VALID)
}

/// The operator.
#[must_use]
pub fn operator() -> Actor {
    Actor { kind: ActorKind::Operator, id: "anna".to_owned(), authentication: Authentication::UnixPeer }
}
