//! Words to messages and back.
//!
//! Every message that has a word in `rientro-types` implements `From` that word, and the word `TryFrom` the message. Coming in,
//! a value is refused when it is missing, unspecified, unknown, empty where it may not be, over a bound, or no name: with the
//! path of the field, and without guessing. Going out cannot fail: words within the bounds of `rientro-types` make messages
//! that are accepted again.
//!
//! The mapping itself is written as tables, one file an area; the module `table` says how to read them. Each table takes its word apart
//! field by field, so that a field or variant added to a word does not compile until it has its place on the wire.

#[macro_use]
mod table;

mod common;
mod error;
mod field;
mod held;
mod plan;
mod record;
mod snapshot;
mod task;
mod verb;
mod view;

pub use error::{ConvertError, Problem};

pub(crate) use error::Inside;
pub(crate) use field::{Put, Take, TakeWithin};
pub(crate) use verb::cut_problems;
