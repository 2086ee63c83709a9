//! The words of Rientro.
//!
//! Every other room speaks in these types: ids, orders, findings, verdicts, plans and the records of the journal. They hold
//! no IO, no clock, no async and no protobuf; the wire crate turns them into messages and back.

mod actor;
mod advice;
mod digest;
mod finding;
mod held;
mod id;
mod order;
mod plain;
mod plan;
mod quantity;
mod record;
mod refusal;
mod selector;
mod service;
mod snapshot;
mod task;
mod time;
mod verb;
mod verdict;
mod view;

pub use actor::*;
pub use advice::{Advice, says_the_same};
pub use digest::{Digest, DigestError};
pub use finding::*;
pub use held::*;
pub use id::*;
pub use order::{Order, Witness};
pub use plain::is_plain;
pub use plan::*;
pub use quantity::*;
pub use record::*;
pub use refusal::*;
pub use selector::*;
pub use service::*;
pub use snapshot::*;
pub use task::*;
pub use time::*;
pub use verb::*;
pub use verdict::*;
pub use view::*;
