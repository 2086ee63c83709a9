//! The shell over real sockets: what is durable before what, what is lost and what is not, and what bad input does.

#![allow(clippy::disallowed_methods, reason = "tests")]

mod agent;
mod bad_input;
mod cell;
mod durable;
mod journal_calls;
mod killed;
mod lost;
mod script;
mod sessions;
mod watching;
