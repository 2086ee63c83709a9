//! Dovecot's indexes: which messages a folder has, and what extensions say of each.
//!
//! An index is a file that is written now and then, and a log of the changes since. Both are untrusted and bounded; what
//! cannot be told from them is no evidence of anything.

pub(crate) mod file;
pub(crate) mod log;
pub(crate) mod place;
pub(crate) mod removals;
pub(crate) mod table;
