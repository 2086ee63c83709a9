//! What operators, agents and the orchestrator say to each other.

use proptest::collection::vec;
use proptest::prelude::{BoxedStrategy, Just, Strategy};
use rientro_types::{
    Advice, CLAIMANTS_MAX, CampaignView, CellView, MailboxGone, MailboxView, NodeId, NodeView, Receipt,
    Refusal, ShardState, ShardView, StateCounts, Twin, Verb, WaitingOn, WaveForecast, WaveView,
};

use super::{Generate, Variants, path, services, some, word};
use crate::bulk::{FindingsPart, InventoryPart, MailboxesPart};
use crate::operator::{
    Act, ActAnswer, BackupEnd, BackupHeader, BackupPart, CellAnswer, Decided, FindingsAnswer, FindingsGap,
    FindingsQuery, ForecastPart, JournalCheck, Lagged, MailboxAnswer, MailboxQuery, ShardAnswer, ShardsQuery,
    TailedEntry, WatchEvent, WatchQuery,
};
use crate::session::{
    AgentMessage, Hello, OrchestratorMessage, RefuseReason, RunningTask, ServedShard, Welcome,
};

generate_enum! {
    Verb {
        Start { plan, source },
        Revise { plan, source },
        Pause { campaign },
        Resume { campaign },
        Abort { campaign },
        Promote { campaign, wave },
        Close { selector, reason = word() },
        Retry { selector },
        Accept { selector, reason = word() },
        Prioritise { selector },
        Adopt { selector, services = services(), reason = word() },
        Settle { selector, node, reason = word() },
        Except { shard, mailbox, exception, reason = word() },
        SetLimits { limits },
    }
    Refusal {
        CampaignUnknown(campaign),
        CampaignExists(campaign),
        CampaignOver(campaign),
        ShardUnknown(shard),
        NodeUnknown(node),
        Plan(problems = some()),
        SelectorUnbounded,
        SelectorInvalid { problem },
        NothingToDo { matched, applies_to },
        WaveNotCurrent { wave, current },
        ReasonMissing,
        TooMany { what, max },
        LimitInvalid { problem },
        NotClaimed { shard, node, claimed_by = vec(NodeId::any(), 1..=CLAIMANTS_MAX) },
        ByNameOnly { node, shards = some(), total },
    }
    WaitingOn {
        NodeBudget { node, busy, max },
        DomainBudget { label, value, busy, max, silent },
        NodeOffline { node, unheard_for, silent_in },
        Turn,
        Wave { wave, current, promotion, earlier },
        OpeningBudget { busy, max },
        Backoff { left },
        Task { running, progress },
        Resume { campaign },
        Operator,
        Campaign,
    }
    AgentMessage {
        Hello(hello),
        Running(tasks),
        Served(shards),
        HelloDone,
        Heartbeat,
        TaskProgress { shard, attempt, progress },
        TaskResult { shard, attempt, end },
        TaskStopped { shard, attempt },
        ServicesSeen { shard, services, order },
    }
    RefuseReason { NodeIdTaken, IncarnationRetired, Protocol, NotLeader, LabelsInvalid, JournalBehind, Twin }
    OrchestratorMessage {
        Welcome(welcome),
        Refused { reason, text },
        Heartbeat,
        StartTask { order, task, entry },
        CancelTask { order, shard, attempt },
        SuspendCampaign { order, campaign },
        ContinueCampaign { order, campaign },
        SetServices { order, shard, services, entry },
        SetPace { order, campaign, pace },
        Acknowledge { shard, attempt },
        SendFindings { request_id, shard, attempt, max_findings, kinds, with_addresses, or_earlier },
        SendInventory,
    }
    InventoryPart { Header { node, incarnation }, Page { claims, complete, inventory } }
    MailboxesPart { Header { node, incarnation }, Page { shard, mailboxes, complete } }
    FindingsPart {
        Header { node, incarnation, request_id, shard, attempt, available },
        Page(findings),
        End { findings_total },
    }
    MailboxQuery { Address(address = path().prop_filter("is empty", |path| !path.is_empty())), Mailbox(mailbox) }
    ForecastPart { Problems(problems = some()), Wave(wave) }
    ActAnswer { Receipt(receipt), Refusal(refusal) }
    FindingsGap { NodeOffline, Forgotten, TimedOut, Altered }
    FindingsAnswer {
        Page { shard, node, attempt, findings, dropped },
        Missing { shard, node, gap },
        End { findings_total, findings_shown },
    }
    WatchEvent { Cell(cell), Campaign(campaign), Decided(decided), Lagged(lagged) }
    JournalCheck { Intact { entries, records, seq_first, seq_last, chain, key_problem }, Broken { entries, seq, problem } }
    BackupPart { Header(header), Chunk(bytes = path()), End(end) }
}

generate_struct! {
    Receipt {
        changes, decided, shards, mailboxes, skipped, shards_released, mailboxes_released, shards_closed,
        mailboxes_forgiven, capped, wave_shards, wave_mailboxes, shards_beside, kinds_beside,
        claims_ended, volumes_changed, mailboxes_given_up, by_name, unread, shards_passing, mailboxes_passing, shards_failing,
    mailboxes_failing,
    }
    ShardView { shard, waiting_on }
    MailboxGone { listed, missed, served, shard }
    MailboxView { mailbox, exception, open, since, listed, shard }
    NodeView {
        node, incarnation, labels, connected, heard_ago, silent, verifying, confirming, counts,
        twin,
    }
    Twin { since, last, knocks, serves, inside, quiet }
    WaveView { wave, state, counts, mailboxes_lost, mailboxes_returning, mailboxes_lost_max }
    CampaignView {
        campaign, revision, plan, source, state, started, ended, wave, counts, bytes_verified, shards_gone, waves,
    }
    CellView {
        cell, incarnation, epoch, seq_next, at, limits, nodes, nodes_connected, nodes_silent,
        nodes_twinned, counts,
        shards_contested, shards_impaired, campaigns_live, leading_since,
    }
    WaveForecast { wave, shards, mailboxes, bytes }
    Hello { protocol, build = word(), node, incarnation, labels, newest, inventory, witness, boot }
    RunningTask { shard, attempt, kind }
    ServedShard { shard, services = services() }
    Welcome {
        cell, incarnation, epoch, heartbeat, silence, mailbox_key, session_bytes_max, bulk_bytes_max,
        inventory_known,
    }
    CellAnswer { cell, build, trouble, nodes_ahead }
    ShardsQuery { selector, after, max }
    MailboxAnswer { mailbox, views, gone }
    ShardAnswer { shard, missing, missing_known }
    Act { actor = word(), verb, dry_run }
    FindingsQuery { selector, kinds, max, with_addresses }
    WatchQuery { campaign, include_decisions }
    Decided { seq, at, decisions }
    Lagged { missed }
    TailedEntry { entry, digest }
    BackupHeader { cell, incarnation, seq_next, chain }
    BackupEnd { bytes, digest, key_problem }
    Advice { what, next }
}

impl Generate for StateCounts {
    fn any() -> BoxedStrategy<Self> {
        type Counts = [u64; ShardState::ALL.len()];
        proptest::prelude::any::<(Counts, Counts)>()
            .prop_map(|(shards, mailboxes)| Self { shards, mailboxes })
            .boxed()
    }
}
