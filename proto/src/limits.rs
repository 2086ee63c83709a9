//! Sizes of messages and pages. Every receiver sets these; none is left to a default.
//!
//! A page holds as many elements as fit when each is as large as it may be. Tests encode the largest page of each kind, the
//! largest plan and the largest records, and compare them with these limits.

/// Largest message of a session, in bytes. A session carries orders and heartbeats, so that an abort waits for at most one
/// such message in each direction.
pub const SESSION_BYTES_MAX: usize = 64 << 10;
/// Largest message of a bulk call, in bytes: large enough that framing costs nothing, small enough to buffer one per agent.
pub const BULK_BYTES_MAX: usize = 1 << 20;
/// Largest request of an operator, in bytes: a plan that names as many shards as it may.
pub const OPERATOR_REQUEST_BYTES_MAX: usize = 1 << 20;
/// Largest response to an operator, in bytes: a campaign with its plan and as many waves as it may have, or the largest journal
/// entry with its digest, several times over.
pub const OPERATOR_RESPONSE_BYTES_MAX: usize = 4 << 20;
/// Largest message of gRPC's health service in either direction, in bytes: the name of a service, or a status.
pub const HEALTH_BYTES_MAX: usize = 1 << 10;
/// Largest request of gRPC's reflection service, in bytes: the name of a service, a message or a file.
pub const REFLECTION_REQUEST_BYTES_MAX: usize = 4 << 10;
/// Largest answer of gRPC's reflection service, in bytes: one file's description, all of which are far below.
pub const REFLECTION_RESPONSE_BYTES_MAX: usize = 256 << 10;
/// Largest journal entry and largest snapshot record, in bytes, encoded.
///
/// The largest record is a campaign's beginning, with a plan of at most [`PLAN_BYTES_MAX`]; the rest of the entry is what one
/// durable write should carry: some thousand records. It stays under the 1.5 MiB that etcd takes in one request by default.
pub const JOURNAL_ENTRY_BYTES_MAX: usize = 1 << 20;
/// Largest plan, in bytes, encoded: all bounds of `rientro-types` met at once. 10,000 shards of 49 bytes and 65 coverages of
/// 16 labels of 100 bytes are 595,000; everything else is small.
pub const PLAN_BYTES_MAX: usize = 640 << 10;

/// Largest element of the pages of a Hello: a name, a set of services, and their tags.
const SESSION_ELEMENT_BYTES_MAX: usize = 128;
/// Most elements of one page that follows a Hello.
pub const SESSION_PAGE_MAX: usize = SESSION_BYTES_MAX / SESSION_ELEMENT_BYTES_MAX;

/// Largest claim: two names, two counts, a set of services, and their tags.
const CLAIM_BYTES_MAX: usize = 256;
/// Most claims of one page of an inventory.
pub const CLAIMS_PER_PAGE_MAX: usize = BULK_BYTES_MAX / CLAIM_BYTES_MAX;

/// Most mailboxes of one page of a shard's list: 16 bytes each, and room for the shard's name.
pub const MAILBOXES_PER_PAGE_MAX: usize = 60_000;

/// Largest finding: two paths and an address of 4096 bytes, a detail of 256, an id, and their tags.
const FINDING_BYTES_MAX: usize = 3 * 4_096 + 512;
/// Most findings of one page: 81.
pub const FINDINGS_PER_PAGE_MAX: usize = BULK_BYTES_MAX / FINDING_BYTES_MAX;

/// Largest shard as shown: 64 damaged mailboxes, 64 exceptions, a reason, and a dozen names.
const SHARD_VIEW_BYTES_MAX: usize = 8 << 10;
/// Most shards of one page of a list.
pub const SHARDS_PER_PAGE_MAX: usize = OPERATOR_RESPONSE_BYTES_MAX / SHARD_VIEW_BYTES_MAX;

/// Largest node as shown: 16 labels of two names, and ten counts.
const NODE_VIEW_BYTES_MAX: usize = 4 << 10;
/// Most nodes of one page of a list.
pub const NODES_PER_PAGE_MAX: usize = OPERATOR_RESPONSE_BYTES_MAX / NODE_VIEW_BYTES_MAX;

/// Most mailboxes that one address or id is found as: one, and a few more while volumes show up twice.
pub const MAILBOX_VIEWS_MAX: usize = 16;

/// Most missing mailboxes of a shard that are named: a line or two; whoever must look for more of them compares lists.
pub const MISSING_NAMED_MAX: usize = 5;

/// Longest run of a journal's copy in one message, in bytes: a quarter of what a response may have.
pub const BACKUP_CHUNK_BYTES_MAX: usize = OPERATOR_RESPONSE_BYTES_MAX / 4;

/// Most nodes told of that obeyed what the journal does not hold: a person needs to know that there are many, and some of them.
pub const NODES_AHEAD_MAX: usize = 256;
/// Longest text that names a build, in bytes.
pub const BUILD_BYTES_MAX: usize = 128;

/// Smallest decision in an entry: an actor of one letter and a record without fields take 15 bytes with their tags.
const DECISION_BYTES_MIN: usize = 8;
/// Most decisions of one entry; more cannot fit into its bytes.
pub const DECISIONS_PER_ENTRY_MAX: usize = JOURNAL_ENTRY_BYTES_MAX / DECISION_BYTES_MIN;
