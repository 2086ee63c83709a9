//! Words that records, messages and views share.

use proptest::collection::vec;
use proptest::prelude::{BoxedStrategy, Just, Strategy};
use rientro_types::{
    Action, Actor, ActorKind, Authentication, CampaignKind, Claim, Class, Coverage, DomainCap, Exception,
    Finding, FindingKind, FindingKinds, FleetLimits, HeldReason, Level, LocatedFinding, Opening, Order,
    Outcome, Pace, Placement, Plan, PlanProblem, Policy, PolicyBreach, Progress, Promotion, Schedule,
    Selector, ShardState, Share, Tally, Task, TaskEnd, TaskFailure, TaskKind, Tries, UnknownCause, Verdict,
    Verification, Waves, Witness,
};

use super::{Generate, Variants, mailboxes, path, services, some, some_labels, word};

generate_enum! {
    ActorKind { Operator, Agent, Orchestrator }
    Authentication { Internal, Loopback, UnixPeer }
    Exception { Closed, Accepted }
    Level { Presence, Structure, Baseline }
    TaskKind { Verify, Confirm }
    UnknownCause { Empty, Incomplete, LevelUnavailable }
    Outcome { Clean, Damaged, Unreadable, Unknown(cause) }
    CampaignKind { Restore }
    Promotion { Automatic, Manual }
    Coverage { All, Labels(labels = some_labels()), Shards(shards = some()) }
    Share { Mailboxes(part), Shards(count), Rest }
    Schedule { List(shares = some()), Growth { first, percent, max } }
    PolicyBreach {
        Level { found, wanted },
        Coverage { found, wanted },
        Damaged { messages_damaged, messages, per_million_max },
        Broken { mailboxes_broken, mailboxes_max },
        Unreadable { mailboxes_unreadable, mailboxes_max },
        Unknown,
    }
    HeldReason {
        Policy(breach),
        Unknown(cause),
        NodeSilent { node, silent_for },
        NodeStuck { node, places, unanswered_for },
        DomainStuck { label, value, places, unanswered_for },
        OpeningOverdue { node, unconfirmed_for },
        VolumeWrong { expected, found },
        ShardMissing { node },
        MailboxesMissing { known, shown, unlisted },
        Contested { holder, claimant, volume },
        Disagreement { journal, node },
    }
    Action { Verify { level }, Confirm { stat_walk } }
    TaskFailure {
        VolumeWrong { found },
        ShardMissing,
        Changed,
        Interrupted,
        Cancelled,
        TimedOut,
        Stalled,
        Reimaged,
        Agent { problem },
    }
    TaskEnd { Verified { verification, damaged }, Confirmed, Failed(failure) }
}

generate_struct! {
    Actor { kind, id = word(), authentication }
    Order { cell, incarnation, epoch, seq }
    Witness { order, entry }
    Placement { no, node, volume }
    Claim { shard, volume, mailboxes = mailboxes(), services, second }
    Progress { mailboxes, messages, bytes, findings }
    FleetLimits { verifies_per_node, confirms_per_node, verifies_per_domain, silence }
    Selector { all, campaign, wave, labels, states, findings, shards }
    Finding { kind, mailbox = path(), path = path(), detail }
    LocatedFinding { mailbox_id, address = proptest::option::of(path()), finding }
    Pace { bytes_per_second, readers }
    Task { shard, attempt, campaign, volume, action, pace }
    Tally {
        mailboxes = mailboxes(), messages, bytes, messages_damaged, messages_unreadable,
        mailboxes_damaged = mailboxes(), mailboxes_broken = mailboxes(), mailboxes_unreadable = mailboxes(), findings, kinds,
    }
    Verdict { outcome, level, coverage, tally }
    Verification { verdict, stat_walk, findings, volume }
    Class { covers, weight }
    DomainCap { label, max }
    Waves { schedule, domain_caps, promotion, bake, error_budget_canary, error_budget }
    Policy {
        level, coverage_min, damaged_per_million_max, broken_mailboxes_max, unreadable_mailboxes_max,
        verified_age_max,
    }
    Tries {
        attempts_max, backoff_first, backoff_max, verify_timeout, confirm_timeout, stall_timeout, open_timeout,
    }
    Opening { steps = vec(services(), 1..4), in_flight_max }
    Plan { name, kind, covers, classes, seed, waves, policy, tries, opening, pace }
    PlanProblem { field, problem }
}

impl Generate for ShardState {
    fn any() -> BoxedStrategy<Self> {
        proptest::sample::select(&Self::ALL[..]).boxed()
    }
}

impl Generate for FindingKind {
    fn any() -> BoxedStrategy<Self> {
        proptest::sample::select(Self::ALL).boxed()
    }
}

impl Generate for FindingKinds {
    fn any() -> BoxedStrategy<Self> {
        let all = 1_u64 << FindingKind::ALL.len();
        (0..all).prop_map(|bits| Self::from_bits(bits).expect("a bit for each kind")).boxed()
    }
}
