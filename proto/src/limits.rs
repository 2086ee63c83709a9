//! Sizes of messages and pages. Every receiver sets these; none is left to a default.
//!
//! A page is as long as its largest elements allow: the number of elements is the message limit divided by the size of the
//! largest possible element, and tests encode the largest page of each kind against its limit.

/// Largest message of a session, in bytes. A session carries orders and heartbeats, so that an abort waits for at most one
/// such message in each direction.
pub const SESSION_BYTES_MAX: usize = 64 << 10;
/// Largest message of a bulk call, in bytes: large enough that framing costs nothing, small enough to buffer one per agent.
pub const BULK_BYTES_MAX: usize = 1 << 20;
/// Largest request of an operator, in bytes: a plan that names as many shards as it may.
pub const OPERATOR_REQUEST_BYTES_MAX: usize = 1 << 20;
/// Largest response to an operator, in bytes: a campaign with its plan and as many waves as it may have, several times over.
pub const OPERATOR_RESPONSE_BYTES_MAX: usize = 4 << 20;
/// Largest journal entry and largest snapshot record, in bytes, encoded. The largest single record is a campaign's beginning,
/// whose plan came in one request of at most [`OPERATOR_REQUEST_BYTES_MAX`];
/// etcd, which may hold the journal, takes requests of up to 1.5 MiB by default.
pub const JOURNAL_ENTRY_BYTES_MAX: usize = 1 << 20;
