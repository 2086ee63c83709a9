//! The agent of a storage node: it looks at the shards on the node's volumes when it is ordered to, and says what it saw.
//!
//! It dials the orchestrator, keeps what it must not forget in a state directory, and works on through any absence of the
//! orchestrator. It never writes into a mail store; enrolling a volume is an operator's own command.
//!
//! - [`core`]: what is decided, without IO. [`state`]: what is durable, and [`scribe`], which makes it so.
//! - [`runner`]: tasks at work, and [`hung`], for those that do not end. [`roots`] and [`inventory`]: where shards are, and [`question`], for disks that hang. [`findings`]: what was seen,
//!   on disk, and [`baselines`]: what shards are compared with.
//! - [`session`] and [`bulk`]: the two lines to the orchestrator. [`daemon`]: the loop that ties it all together.
//! - [`cli`]: the command line, with the same work offline.

pub mod baselines;
pub mod bulk;
pub mod cli;
pub mod core;
pub mod daemon;
pub mod durable;
pub mod findings;
pub mod hung;
pub mod inventory;
mod named_file;
pub mod question;
pub mod roots;
pub mod runner;
pub mod scribe;
pub mod session;
pub mod settings;
pub mod state;
