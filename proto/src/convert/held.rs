//! Reasons why something may not go on.

use rientro_types::{HeldReason, Hold, PauseCause, PolicyBreach};

use super::{ConvertError, Inside, Problem, Put, Take};
use crate::v1;

oneof!(PolicyBreach in policy_breach, breach: Breach => PolicyBreach {
    Level { found, wanted },
    Coverage { found as found_ppm, wanted as wanted_ppm },
    Damaged { messages_damaged, messages, per_million_max },
    Broken { mailboxes_broken, mailboxes_max },
    Unreadable { mailboxes_unreadable, mailboxes_max },
    Unknown,
});

oneof!(HeldReason in held_reason, reason: Reason => HeldReason {
    Policy(breach),
    Unknown(cause),
    NodeSilent { node, silent_for as silent_for_ms },
    NodeStuck { node, places, unanswered_for as unanswered_for_ms },
    DomainStuck { label, value, places, unanswered_for as unanswered_for_ms },
    OpeningOverdue { node, unconfirmed_for as unconfirmed_for_ms },
    VolumeWrong { expected, found },
    ShardMissing { node },
    MailboxesMissing { known, shown, unlisted },
    Contested { holder, claimant, volume },
    Disagreement { journal, node },
});

message!(v1::Hold => Hold { reason, since as since_unix_ms });

oneof!(PauseCause in pause_cause, cause: Cause => PauseCause {
    Operator,
    Restored,
    ErrorBudget { wave, mailboxes_lost, mailboxes, budget as budget_ppm },
});
