//! The development room: what tests, demo and benchmarks need around a cell, on one machine and without touching it.
//!
//! Real mail servers unpacked beside the system ([`servers`], [`dovecot`]), real messages delivered into them ([`samples`], [`corpus`], with a
//! [`ledger`] of what must be there), stores broken on purpose ([`damage`], with a [`judge`] of what is found in them) large fleets made in seconds ([`fleet`]), one's own mail as a fleet ([`own_mail`]), and a whole cell of processes ([`cell`]). Everything is decided
//! by seeds. Nothing here is used by a program that runs on a storage node.
//!
//! Functions return [`anyhow::Error`]: a harness does not react to errors, it prints them.

pub mod cell;
pub mod corpus;
pub mod damage;
pub mod dovecot;
pub mod fleet;
pub mod imap;
pub mod interrupt;
pub mod judge;
pub mod ledger;
pub mod lmtp;
pub mod own_mail;
mod process;
pub mod rng;
pub mod samples;
pub mod servers;
pub mod store;
pub mod wait;
mod wire;
