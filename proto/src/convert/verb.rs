//! What operators ask for, and what they are answered.

use rientro_types::{
    CLAIMANTS_MAX, EXPLANATION_BYTES_MAX, PLAN_PROBLEMS_MAX, PlanProblem, REASON_BYTES_MAX, Receipt, Refusal,
    SHARDS_TOLD_MAX, Service, Verb,
};

use super::{ConvertError, Inside, Problem, Put, Take, TakeWithin};
use crate::v1;

message!(v1::Receipt => Receipt {
    changes, decided, shards, mailboxes, skipped, shards_released, mailboxes_released, shards_closed,
    mailboxes_forgiven, capped, wave_shards, wave_mailboxes, shards_beside, kinds_beside,
    claims_ended, volumes_changed, mailboxes_given_up, by_name, unread, shards_passing, mailboxes_passing, shards_failing,
    mailboxes_failing,
});

oneof!(Verb in verb, verb: Verb => Verb {
    Start { plan, source },
    Revise { plan, source },
    Pause { campaign },
    Resume { campaign },
    Abort { campaign },
    Promote { campaign, wave },
    Close { selector, reason in 1..=REASON_BYTES_MAX },
    Retry { selector },
    Accept { selector, reason in 1..=REASON_BYTES_MAX },
    Prioritise { selector },
    Adopt { selector, services in 1..=Service::ALL.len(), reason in 1..=REASON_BYTES_MAX },
    Settle { selector, node, reason in 1..=REASON_BYTES_MAX },
    Except { shard, mailbox, exception, reason in 1..=REASON_BYTES_MAX },
    SetLimits { limits },
});

oneof!(Refusal in refusal, refusal: Refusal => Refusal {
    CampaignUnknown(campaign),
    CampaignExists(campaign),
    CampaignOver(campaign),
    ShardUnknown(shard),
    NodeUnknown(node),
    Plan(problems in 1..=PLAN_PROBLEMS_MAX),
    SelectorUnbounded,
    SelectorInvalid { problem in 0..=EXPLANATION_BYTES_MAX },
    NothingToDo { matched, applies_to in 0..=EXPLANATION_BYTES_MAX },
    WaveNotCurrent { wave, current },
    ReasonMissing,
    TooMany { what in 0..=EXPLANATION_BYTES_MAX, max },
    LimitInvalid { problem in 0..=EXPLANATION_BYTES_MAX },
    NotClaimed { shard, node, claimed_by in 1..=CLAIMANTS_MAX },
    ByNameOnly { node, shards in 1..=SHARDS_TOLD_MAX, total },
} cut by within_bounds);

/// Cuts explanations to what a response may carry. They are for people, and a cut one still says what is wrong.
fn within_bounds(mut refusal: Refusal) -> Refusal {
    match &mut refusal {
        Refusal::Plan(problems) => cut_problems(problems),
        Refusal::SelectorInvalid { problem } | Refusal::LimitInvalid { problem } => cut_text(problem),
        Refusal::CampaignUnknown(_)
        | Refusal::CampaignExists(_)
        | Refusal::CampaignOver(_)
        | Refusal::ShardUnknown(_)
        | Refusal::NodeUnknown(_)
        | Refusal::SelectorUnbounded
        | Refusal::NothingToDo { .. }
        | Refusal::WaveNotCurrent { .. }
        | Refusal::ReasonMissing
        | Refusal::TooMany { .. }
        | Refusal::NotClaimed { .. }
        | Refusal::ByNameOnly { .. } => {}
    }
    refusal
}

/// Cuts a list of problems, and each of them, to what a response may carry.
pub(crate) fn cut_problems(problems: &mut Vec<PlanProblem>) {
    problems.truncate(PLAN_PROBLEMS_MAX);
    for PlanProblem { field, problem } in problems {
        cut_text(field);
        cut_text(problem);
    }
}

fn cut_text(text: &mut String) {
    let whole = |end: &usize| text.is_char_boundary(*end);
    let end = (0..=EXPLANATION_BYTES_MAX.min(text.len())).rev().find(whole);
    text.truncate(end.unwrap_or_default());
}
