//! What the journal and its snapshots hold.

use proptest::prelude::{BoxedStrategy, Just, Strategy};
use rientro_types::{
    Acceptance, Busy, CampaignSnapshot, CampaignState, CellSnapshot, Charge, CloseCause, Decision, Entry,
    Hold, Membership, NodeSnapshot, PassCause, Pause, PauseCause, Phase, Record, ShardSnapshot,
    SnapshotRecord, Standing, WaveSnapshot, WaveState,
};

use super::{Generate, Variants, services, some, word};

generate_enum! {
    Charge { None, Lost, Forgiven }
    CloseCause { FirstMet, Operator, Aborted, Released }
    PassCause { Baked, Promoted }
    PauseCause { Operator, Restored, ErrorBudget { wave, mailboxes_lost, mailboxes, budget } }
    Record {
        CellFounded { cell, incarnation, mailbox_key },
        CellRestored { incarnation },
        LeaderTook { epoch },
        Absent { span },
        ClockMarked,
        LimitsSet { limits },
        NodeEnrolled { node, incarnation, labels },
        NodeSilent { node, silent_for },
        NodeHeard { node },
        ShardMet { node, claim },
        ShardMeasured { shard, mailboxes },
        ShardPlaced { shard, placement },
        ShardHeld { shard, reason },
        ShardReleased { shard },
        ShardUnlisted { shard, unlisted },
        CampaignStarted { plan, source, seed },
        WaveFormed { campaign, wave, shards = some() },
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
        TaskStarted { shard, kind, attempt, node, timeout },
        TaskEnded { shard, attempt, end, backoff, waited },
        TaskReleased { node, shard, attempt },
        VerificationExpired { shard },
        StepOpening { shard, services = services(), timeout },
        OpeningOverdue { shard },
        ServicesSeen { shard, services },
        ShardOpened { shard },
        Settled { selector, node, reason = word() },
        Closed { selector, reason = word() },
        Retried { selector },
        Accepted { selector, reason = word() },
        Prioritised { selector },
        Adopted { selector, services = services(), reason = word() },
        ExceptionSet { shard, mailbox, exception, reason = word() },
    }
    Phase {
        Closed { cause },
        Waiting,
        Verifying { attempt, deadline },
        Backoff { until, last },
        Verified,
        Confirming { attempt, deadline },
        Opening { step, deadline },
        Open { adopted },
        Held { reason },
        Failed { last },
    }
    CampaignState { Forming, Running, Paused(cause), Ended, Aborted }
    WaveState { Waiting, Opening, Baking { until }, Passed }
    SnapshotRecord { Cell(cell), Node(node), Campaign(campaign), Shard(shard) }
}

generate_struct! {
    Decision { actor, record }
    Entry { seq, epoch, at, previous, decisions = some() }
    CellSnapshot { cell, incarnation, mailbox_key, epoch, seq_next, at, limits }
    NodeSnapshot { node, incarnation, retired, labels, silent, busy }
    Busy { shard, attempt, kind }
    CampaignSnapshot {
        plan, source, revision, seed, state, started, ended, paused, clock_behind, shards_gone, waves,
    }
    WaveSnapshot { state }
    ShardSnapshot {
        shard, placement, mailboxes, bytes, services, services_since, seen, phase, since, blocked, unlisted, doubted, attempt,
        failures, charge, member, standing, accepted, exceptions,
    }
    Hold { reason, since }
    Membership { campaign, wave, rank }
    Standing { verification, at, attempt, policy, damaged }
    Pause { since, cause }
    Acceptance { by = word(), reason = word() }
}
