//! The orchestrator: the async shell around the engine, and the journal it writes.
//!
//! One task, the driver, owns the engine and the journal; everything else brings it inputs and is told what is durable.
//!
//! | module | does |
//! | --- | --- |
//! | `driver` | steps the engine, appends, carries out; leads, loses and leads again |
//! | [`journal`] | keeps entries, snapshots and archives |
//! | [`plan`] | reads plans as operators write them |
//! | `session` | speaks with agents |
//! | `api` | serves operators |
//! | `watch` | tells readers what happens, without waiting for one |
//! | `directory`, `findings` | which shard lists a mailbox; findings on their way through |
//! | `listen`, `serve` | sockets, limits, and how everything is put together |
//! | [`settings`], `state_dir`, `named_file` | what it runs with, and where it keeps things |
//! | `metrics`, [`clock`] | what is measured; the only clock |
//!
//! Types generated from protobuf stop at `session` and `api`.

mod api;
pub mod clock;
mod directory;
mod driver;
mod findings;
pub mod journal;
mod listen;
mod metrics;
mod named_file;
pub mod plan;
#[cfg(any(test, feature = "testing"))]
pub mod rig;
mod serve;
mod session;
pub mod settings;
mod state_dir;
mod status;
mod watch;

pub use driver::{
    ACTS_MAX, Ahead, Answer, BATCH_INPUTS_MAX, Behind, DriverSettings, Handle, INBOX_MAX, LeadError, Source,
    Status, Unavailable,
};
pub use listen::{Address, AddressError, CONNECTIONS_MAX, raise_file_limit};
pub use named_file::open_named;
pub use serve::{Running, ServeError, start, start_with};
pub use session::{HEARTBEAT_EVERY, OUTGOING_MAX, SESSION_SILENCE, SESSIONS_MAX};
pub use state_dir::{LIFE_FLOOR_MAX, NewLife, Restore, StateDir, StateDirError, life_floor};
pub use watch::ENTRIES_KEPT;
