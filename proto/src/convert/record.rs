//! What the journal holds.

use rientro_types::{
    Decision, LABELS_MAX, PassCause, REASON_BYTES_MAX, Record, SHARDS_PER_RECORD_MAX, Service,
};

use super::{ConvertError, Inside, Problem, Put, Take, TakeWithin};
use crate::v1;

choices!(v1::PassCause => PassCause { Baked, Promoted });

message!(v1::Decision => Decision { actor, record });

oneof!(Record in record, record: Record => Record {
    CellFounded { cell, incarnation, mailbox_key as mailbox_key_digest },
    CellRestored { incarnation },
    LeaderTook { epoch },
    Absent { span as span_ms },
    ClockMarked,
    LimitsSet { limits },
    NodeEnrolled { node, incarnation, labels in 0..=LABELS_MAX },
    NodeSilent { node, silent_for as silent_for_ms },
    NodeHeard { node },
    ShardMet { node, claim },
    ShardMeasured { shard, mailboxes },
    ShardPlaced { shard, placement },
    ShardHeld { shard, reason },
    ShardReleased { shard },
    ShardUnlisted { shard, unlisted },
    CampaignStarted { plan, source, seed },
    WaveFormed { campaign, wave, shards in 1..=SHARDS_PER_RECORD_MAX },
    CampaignReady { campaign },
    CampaignRevised { revision, plan, source },
    CampaignPaused { campaign, cause },
    CampaignResumed { campaign },
    CampaignAborted { campaign },
    CampaignEnded { campaign },
    WaveStarted { campaign, wave },
    WaveSettled { campaign, wave },
    WaveUnsettled { campaign, wave },
    WavePassed { campaign, wave, cause },
    TaskStarted { shard, kind, attempt, node, timeout as timeout_ms },
    TaskEnded { shard, attempt, end, backoff as backoff_ms, waited },
    TaskReleased { node, shard, attempt },
    VerificationExpired { shard },
    StepOpening { shard, services in 1..=Service::ALL.len(), timeout as timeout_ms },
    OpeningOverdue { shard },
    ServicesSeen { shard, services },
    ShardOpened { shard },
    Settled { selector, node, reason in 1..=REASON_BYTES_MAX },
    Closed { selector, reason in 1..=REASON_BYTES_MAX },
    Retried { selector },
    Accepted { selector, reason in 1..=REASON_BYTES_MAX },
    Prioritised { selector },
    Adopted { selector, services in 1..=Service::ALL.len(), reason in 1..=REASON_BYTES_MAX },
    ExceptionSet { shard, mailbox, exception, reason in 1..=REASON_BYTES_MAX },
});
