//! The core of Rientro: decides what is verified, what opens, when and why.
//!
//! # What it is
//! A state machine without IO, clock, randomness or protobuf. The driver hands it events with the time; it answers with
//! *records* to make durable and *commands* to carry out after that. The simulator and the forecast run this same code.
//!
//! # How it is used
//! 1. [`Engine::restore`] a snapshot if there is one, then [`Engine::replay`] the entries after it.
//! 2. [`Engine::step`] with [`Event::Lead`], then with whatever happens; [`Engine::observe`] what is seen and not journaled.
//! 3. Make [`Step::decisions`] durable. Only then carry out [`Step::commands`], answer, and show anything to anyone (R4).
//!    When that fails the engine is dropped whole, and rebuilt by replay.
//!
//! # What it never does
//! It never opens a shard on a guess: what is unknown holds. It never believes an agent about what is allowed, only about
//! what it does and holds. It never counts time against anyone in which no leader listened.
//!
//! # Where to look
//! | module | decides |
//! | --- | --- |
//! | `contract` | what goes in and out |
//! | `shard` | the life of a shard: all transitions |
//! | `schedule` | what starts now, within which budgets; deadlines, silence, stalls |
//! | `stuck` | who waits for a place that nobody frees, and why no wait is for ever |
//! | `waves` | when a wave settles, passes or pauses its campaign |
//! | `forming`, `covering`, `caps`, `fill` | how a fleet is cut into waves |
//! | `checks` | what is wrong with a plan |
//! | `reconcile` | what agents say of themselves: sessions, results |
//! | `agree` | what is served, and what is in doubt after a restore |
//! | `claims` | inventories: which node has a shard, and what two claims on it mean |
//! | `missing` | what becomes of a closed shard that shows fewer mailboxes than were known |
//! | `requests`, `sweep`, `forward`, `settle` | what operators ask for |
//! | `apply`, `apply_campaign`, `progress` | what each record does to durable state |
//! | `index`, `state` | the state, and what is derived from it |
//! | `invariant` | rules that never break |
//! | `view`, `snapshot` | what is shown, and what is kept |

mod agree;
mod apply;
mod apply_campaign;
mod caps;
mod checks;
mod claims;
mod contract;
mod covering;
mod engine;
mod fill;
mod forming;
mod forward;
mod index;
mod invariant;
mod missing;
mod mutant;
mod progress;
mod reconcile;
mod requests;
mod schedule;
mod settle;
mod shard;
mod snapshot;
mod state;
mod stuck;
mod sweep;
mod twin;
mod view;
mod waves;

pub use apply::Inconsistent;
pub use checks::check_values;
pub use contract::{
    Command, Event, Hello, Ignored, Observation, OrderKind, Origin, RequestNo, SessionNo, Step, Turnaway,
    WakeReason,
};
pub use engine::{ABSENCE_MIN, CLOCK_MARK_EVERY, Engine, HOUSEKEEPING_EVERY};
pub use invariant::Violation;
pub use mutant::Mutant;
pub use twin::{QUIET_MIN, TWIN_KEPT, TWIN_QUIET_MIN};
