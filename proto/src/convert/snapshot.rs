//! Durable state as a stream.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use rientro_types::{
    ACTOR_ID_BYTES_MAX, Acceptance, Busy, CampaignSnapshot, CampaignState, CellSnapshot, Charge, CloseCause,
    DAMAGED_MAILBOXES_MAX, EXCEPTIONS_MAX, Exception, LABELS_MAX, MailboxId, Membership, NodeSnapshot, Pause,
    Phase, REASON_BYTES_MAX, ShardSnapshot, Standing, WAVES_MAX, WaveSnapshot, WaveState,
};

use super::{ConvertError, Inside, Problem, Put, Take, TakeWithin};
use crate::limits::JOURNAL_ENTRY_BYTES_MAX;
use crate::v1;

/// Most elements of a list that only the size of its record bounds: each takes at least two bytes.
const ELEMENTS_MAX: usize = JOURNAL_ENTRY_BYTES_MAX / 2;

choices!(v1::Charge => Charge { None, Lost, Forgiven });
choices!(v1::CloseCause => CloseCause { FirstMet, Operator, Aborted, Released });

message!(v1::CellSnapshot => CellSnapshot {
    cell,
    incarnation,
    mailbox_key as mailbox_key_digest,
    epoch,
    seq_next,
    at as at_unix_ms,
    limits,
});

message!(v1::NodeSnapshot => NodeSnapshot {
    node,
    incarnation,
    retired in 0..=ELEMENTS_MAX,
    labels in 0..=LABELS_MAX,
    silent as silent_unix_ms,
    busy in 0..=ELEMENTS_MAX,
});

message!(v1::Busy => Busy { shard, attempt, kind });

message!(v1::CampaignSnapshot => CampaignSnapshot {
    plan,
    source,
    revision,
    seed,
    state,
    started as started_unix_ms,
    ended as ended_unix_ms,
    paused,
    clock_behind as clock_behind_ms,
    shards_gone,
    waves in 0..=WAVES_MAX,
});

message!(v1::Pause => Pause { since as since_unix_ms, cause });

oneof!(CampaignState in campaign_state, state: State => CampaignState {
    Forming,
    Running,
    Paused(cause),
    Ended,
    Aborted,
});

message!(v1::WaveSnapshot => WaveSnapshot { state });

oneof!(WaveState in wave_state, state: State => WaveState {
    Waiting,
    Opening,
    Baking { until as until_unix_ms },
    Passed,
});

message!(v1::ShardSnapshot => ShardSnapshot {
    shard,
    placement,
    mailboxes,
    bytes,
    services,
    services_since as services_since_unix_ms,
    seen,
    phase,
    since as since_unix_ms,
    blocked,
    unlisted,
    doubted,
    attempt,
    failures,
    charge,
    member,
    standing,
    accepted,
    exceptions in 0..=EXCEPTIONS_MAX,
});

message!(v1::Membership => Membership { campaign, wave, rank });
message!(v1::Standing => Standing {
    verification,
    at as at_unix_ms,
    attempt,
    policy,
    damaged in 0..=DAMAGED_MAILBOXES_MAX,
});
message!(v1::Acceptance => Acceptance { by in 1..=ACTOR_ID_BYTES_MAX, reason in 1..=REASON_BYTES_MAX });

impl Put<Vec<v1::MailboxException>> for BTreeMap<MailboxId, Exception> {
    fn put(self) -> Vec<v1::MailboxException> {
        let element = |(mailbox, exception): (MailboxId, Exception)| v1::MailboxException {
            mailbox: mailbox.put(),
            exception: exception.put(),
        };
        self.into_iter().map(element).collect()
    }
}

impl TakeWithin<Vec<v1::MailboxException>> for BTreeMap<MailboxId, Exception> {
    fn take_within(
        wire: Vec<v1::MailboxException>,
        bound: &RangeInclusive<usize>,
    ) -> Result<Self, ConvertError> {
        let pairs = Vec::<(MailboxId, Exception)>::take_within(wire, bound)?;
        let count = pairs.len();
        let map: Self = pairs.into_iter().collect();
        if map.len() == count { Ok(map) } else { Err(Problem::Repeated.into()) }
    }
}

impl Take<v1::MailboxException> for (MailboxId, Exception) {
    fn take(wire: v1::MailboxException) -> Result<Self, ConvertError> {
        let mailbox = Take::take(wire.mailbox).inside("mailbox")?;
        Ok((mailbox, Take::take(wire.exception).inside("exception")?))
    }
}

oneof!(Phase in phase, phase: Phase => Phase {
    Closed { cause },
    Waiting,
    Verifying { attempt, deadline as deadline_active_ms },
    Backoff { until as until_active_ms, last },
    Verified,
    Confirming { attempt, deadline as deadline_active_ms },
    Opening { step, deadline as deadline_active_ms },
    Open { adopted },
    Held { reason },
    Failed { last },
});
