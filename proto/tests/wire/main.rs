//! The wire crate as other rooms use it: its limits, its refusals, and the journal's golden bytes.

#![allow(clippy::unwrap_used, reason = "all of this is test code")]

mod fixtures;
mod golden;
mod limits;
mod refusals;
