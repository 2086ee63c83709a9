//! The shell over real sockets: what is durable before what, what is lost and what is not, and what bad input does.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    reason = "tests panic, spawn, and look at the variants that they are about"
)]

mod addresses;
mod agent;
mod bad_input;
mod cell;
mod disk;
mod durable;
mod findings;
mod full_disk;
mod idlers;
mod journal_calls;
mod killed;
mod lost;
mod process;
mod racing;
mod reached;
mod revised;
mod rolled_back;
mod script;
mod served;
mod sessions;
mod settings;
mod told;
mod watching;
