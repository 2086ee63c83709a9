//! A cell in virtual time: the real engine, with everything around it made up, and made to fail.
//!
//! # What it proves
//! A run has two phases. In the *safety* phase faults strike and operators ask for things at random moments, while a watch
//! ([`monitor`]) checks the engine's rules on what was journaled, commanded and really done. In the *liveness* phase the
//! faults stop, everything heals, and every campaign must end (R12). Everything follows from one seed.
//!
//! # What it never does
//! It never looks into the engine to decide what is right, never waits for real time, and never hides a seed: a run that
//! breaks a rule prints the line that repeats it.
//!
//! # Where to look
//! | module | is |
//! | --- | --- |
//! | `world`, `driver` | the virtual time, the wire and the orchestrator's process |
//! | `agent`, `work`, `truth`, `log` | the model agents, what is really so, and what really happened |
//! | `journal` | the model journal |
//! | `faults`, `operator`, `plans`, `healing` | what goes wrong, what is asked for, and how it becomes well again |
//! | `monitor` | the rules |
//! | `coverage`, `run` | what a run has met, and many runs |
//! | `script` | worlds without chance, for scenarios |

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the watch picks out what it is about; that all is decided on is the engine's duty"
)]

pub mod agent;
pub mod coverage;
pub mod driver;
pub mod faults;
pub mod healing;
pub mod journal;
mod lists;
pub mod log;
pub mod monitor;
pub mod names;
pub mod operator;
pub mod plans;
pub mod rng;
pub mod run;
pub mod script;
pub mod transcript;
pub mod truth;
mod wire;
pub mod work;
pub mod world;

/// Makes the engines of a world: the real one, or one with a mutant.
pub type Make = std::sync::Arc<dyn Fn() -> rientro_engine::Engine + Send + Sync>;
