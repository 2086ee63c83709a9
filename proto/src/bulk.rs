//! What agents send in bulk, on a connection of its own: inventories, lists of mailboxes, findings.
//!
//! Each call is a header and then pages. A page never says how large the whole is: the receiver keeps its own bounds.

use rientro_types::{AttemptNo, Claim, Digest, LocatedFinding, MailboxId, NodeId, NodeIncarnation, ShardId};

use crate::convert::{ConvertError, Inside, Problem, Put, Take, TakeWithin};
use crate::limits::{CLAIMS_PER_PAGE_MAX, FINDINGS_PER_PAGE_MAX, MAILBOXES_PER_PAGE_MAX};
use crate::v1;

/// Part of an inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InventoryPart {
    /// Who sends; first.
    Header {
        /// The node.
        node: NodeId,
        /// Life of its state directory; that of its session.
        incarnation: NodeIncarnation,
    },
    /// Claims, in the order of their shards.
    Page {
        /// At most [`CLAIMS_PER_PAGE_MAX`].
        claims: Vec<Claim>,
        /// Whether this is the last page.
        complete: bool,
        /// Digest of the whole inventory; on the last page.
        inventory: Option<Digest>,
    },
}

/// Part of the lists of mailboxes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailboxesPart {
    /// Who sends; first.
    Header {
        /// The node.
        node: NodeId,
        /// Life of its state directory; that of its session.
        incarnation: NodeIncarnation,
    },
    /// Mailboxes of one shard, ascending, after those of the page before when that was of the same shard.
    Page {
        /// The shard.
        shard: ShardId,
        /// At most [`MAILBOXES_PER_PAGE_MAX`].
        mailboxes: Vec<MailboxId>,
        /// Whether this is the shard's last page.
        complete: bool,
    },
}

/// Part of an answer to a request for findings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FindingsPart {
    /// What is answered; first.
    Header {
        /// The node.
        node: NodeId,
        /// Life of its state directory; that of its session.
        incarnation: NodeIncarnation,
        /// The request.
        request_id: u64,
        /// The shard.
        shard: ShardId,
        /// Which try.
        attempt: AttemptNo,
        /// Whether the findings of that try are still there. When they are not, nothing follows.
        available: bool,
    },
    /// Findings, in the order of the findings file; at most [`FINDINGS_PER_PAGE_MAX`].
    Page(Vec<LocatedFinding>),
    /// The end; without it the answer is not whole.
    End {
        /// Findings of that try that were asked for, those beyond the most wanted included.
        findings_total: u64,
    },
}

oneof!(ReportInventoryRequest in report_inventory_request, part: Part => InventoryPart {
    Header { node, incarnation },
    Page { claims in 0..=CLAIMS_PER_PAGE_MAX, complete, inventory },
});

oneof!(ReportMailboxesRequest in report_mailboxes_request, part: Part => MailboxesPart {
    Header { node, incarnation },
    Page { shard, mailboxes in 0..=MAILBOXES_PER_PAGE_MAX, complete },
});

oneof!(UploadFindingsRequest in upload_findings_request, part: Part => FindingsPart {
    Header { node, incarnation, request_id, shard, attempt, available },
    Page(findings in 0..=FINDINGS_PER_PAGE_MAX),
    End { findings_total },
});
