//! The words of Rientro.
//!
//! Every other room speaks in these types: ids, orders, findings, verdicts, plans and the records of the journal. They hold
//! no IO, no clock, no async and no protobuf; the wire crate turns them into messages and back.

mod actor;
mod digest;
mod finding;
mod id;
mod order;
mod quantity;
mod service;
mod time;
mod verdict;

pub use actor::*;
pub use digest::{Digest, DigestError};
pub use finding::*;
pub use id::*;
pub use order::Order;
pub use quantity::*;
pub use service::*;
pub use time::*;
pub use verdict::*;
