//! Baselines: what a shard held while it was healthy, and what became of it.
//!
//! A manifest has of every message the folder, the GUID and the identity: the hash of its plain form, which survives changes of
//! flags, moves between `new` and `cur`, and another format. Of every file it has the hash and a stamp, by which the next
//! manifest is made without reading what has not changed. All lists are in order, so that comparing two is a merge, and memory
//! does not grow with what is compared.

mod beside;
mod bytes;
mod census;
mod compare;
mod export;
mod file;
mod join;
mod merkle;
mod record;
mod row;
mod section;
mod sort;
mod spool;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use census::{Census, FileOrder, Room};
pub use compare::Comparison;
pub(crate) use compare::{Interrupted, Outcome as ComparedMailbox, compare};
pub use export::Exported;
pub(crate) use file::Entry;
pub use file::{Manifest, ManifestError, Totals};
pub(crate) use record::{Content, FileRecord, Stamp};
pub(crate) use row::Row;
pub(crate) use section::Section;
pub use write::Target;
pub(crate) use write::{Before, Ending, Part, Writer};
