//! Reads and verifies mail stores. Synchronous, without a network, and never writing into a store.
//!
//! A *volume* ([`volume`]) is mounted at a root and says who it is. A [`Layout`] says where on it mailboxes stand and which part
//! of the path makes a shard. [`inventory()`] lists the mailboxes of a shard. [`verify()`] looks at all of them, hands out
//! findings in a fixed order and returns a [`Report`]; [`stat_walk()`] tells later whether anything has changed since.
//! A [`Control`] is the handle on work under way.
//! [`write_baseline()`] makes a [`Manifest`] of a healthy shard, and [`verify_against()`] compares with it.
//!
//! What is read is untrusted: every parser is bounded, links are not followed, and nothing but directories and regular files
//! is opened. The one function that writes into a volume is [`volume::enrol`], for an operator's command.
//!
//! Every kind of finding comes from here; [`FindingKind::VolumeWrong`](rientro_types::FindingKind::VolumeWrong) and
//! [`FindingKind::MailboxMissing`](rientro_types::FindingKind::MailboxMissing) only when the [`Task`] says what to expect.

mod content;
mod control;
mod dbox;
mod faults;
mod fsys;
mod index;
mod inventory;
mod layout;
mod mailbox;
mod maildir;
mod manifest;
mod tools;
mod verify;
pub mod volume;

pub use control::{Control, Pace, Progress, READERS_MAX};
pub use inventory::{Inventory, Mailbox, inventory};
pub use layout::{COMPONENTS_MAX, Layout, LayoutError, SHARDS_MAX, Shard, Shards, TemplateError};
pub use maildir::ahead::OPEN_FILES_MAX;
pub use manifest::{Comparison, Exported, Manifest, ManifestError, Target, Totals};
pub use verify::{
    Baseline, Compared, DAMAGED_PATHS_MAX, Expected, Renewal, Report, StatWalkError, Task, Written,
    stat_walk, verify, verify_against, verify_without_baseline, write_baseline,
};
