//! What a run has met: which kinds of fault, and what happened to shards in which state.

use std::collections::{BTreeMap, BTreeSet};

use rientro_engine::Event;
use rientro_types::{Outcome, Record, Selector, ShardId, ShardState, TaskEnd, TaskFailure, Verb};

use crate::monitor::Monitor;

/// Something that can happen to a shard.
pub type Happens = &'static str;

/// Pairs of a shard's state and what happened to it, with how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs(BTreeMap<(ShardState, Happens), u64>);

impl Pairs {
    /// Notes one pair.
    pub fn note(&mut self, state: ShardState, what: Happens) {
        *self.0.entry((state, what)).or_default() += 1;
    }

    /// Adds what another run has met.
    pub fn add(&mut self, other: &Self) {
        for (pair, count) in &other.0 {
            *self.0.entry(*pair).or_default() += count;
        }
    }

    /// All pairs, in order.
    pub fn iter(&self) -> impl Iterator<Item = ((ShardState, Happens), u64)> {
        self.0.iter().map(|(pair, count)| (*pair, *count))
    }

    /// How many different pairs.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// What a run has met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// States and events.
    pub pairs: Pairs,
    /// Kinds of fault, with how often.
    pub faults: BTreeMap<&'static str, u64>,
}

impl Coverage {
    /// Adds what another run has met.
    pub fn add(&mut self, other: &Self) {
        self.pairs.add(&other.pairs);
        for (fault, count) in &other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
    }

    /// Notes a fault.
    pub fn fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }

    /// How many kinds of fault struck, without what they led to.
    #[must_use]
    pub fn kinds_struck(&self) -> usize {
        crate::faults::KINDS.iter().filter(|(kind, _)| self.faults.contains_key(kind)).count()
    }
}

mod reachable;

pub use reachable::{is_impossible, reachable};

/// Faults and pairs that can be met and were not.
#[must_use]
pub fn missing(coverage: &Coverage) -> Vec<String> {
    let faults = crate::faults::KINDS.iter().map(|(kind, _)| *kind);
    let faults = faults.chain(reachable::CONSEQUENCES.iter().copied());
    let mut missing: Vec<String> = faults
        .filter(|kind| !coverage.faults.contains_key(kind))
        .map(|kind| format!("fault {kind}"))
        .collect();
    let met: BTreeSet<_> = coverage.pairs.iter().map(|(pair, _)| pair).collect();
    missing.extend(
        reachable().filter(|pair| !met.contains(pair)).map(|(state, what)| format!("{what} while {state}")),
    );
    missing
}

/// For every state, how many of the pairs that have to be met were met, and how many there are.
#[must_use]
pub fn by_state(coverage: &Coverage) -> BTreeMap<ShardState, (usize, usize)> {
    let met: BTreeSet<_> = coverage.pairs.iter().map(|(pair, _)| pair).collect();
    let mut states = BTreeMap::new();
    for pair in reachable() {
        let (of_state, all) = states.entry(pair.0).or_insert((0, 0));
        *of_state += usize::from(met.contains(&pair));
        *all += 1;
    }
    states
}

/// What a record that is about one shard does to it; what an event leads to at once is noted as that event instead.
#[must_use]
pub fn of_record(record: &Record) -> Option<(ShardId, Happens)> {
    match record {
        Record::TaskEnded { shard, end, .. } => Some((*shard, of_end(end))),
        Record::TaskReleased { shard, .. } => Some((*shard, "released")),
        Record::VerificationExpired { shard } => Some((*shard, "expired")),
        Record::OpeningOverdue { shard } => Some((*shard, "overdue")),
        Record::ServicesSeen { shard, .. } => Some((*shard, "seen")),
        Record::ShardHeld { shard, reason } => Some((*shard, of_hold(reason))),
        Record::ShardReleased { shard } => Some((*shard, "circumstance-over")),
        Record::ShardPlaced { shard, .. } => Some((*shard, "placed")),
        Record::ShardMeasured { shard, .. } => Some((*shard, "measured")),
        Record::ShardUnlisted { shard, .. } => Some((*shard, "list-kept")),
        Record::ExceptionSet { shard, .. } => Some((*shard, "except")),
        _ => None,
    }
}

fn of_hold(reason: &rientro_types::HeldReason) -> Happens {
    use rientro_types::HeldReason as Held;
    match reason {
        Held::VolumeWrong { .. } => "volume-wrong",
        Held::ShardMissing { .. } => "missing",
        Held::MailboxesMissing { .. } => "mailboxes-missing",
        Held::Contested { .. } => "contested",
        Held::Disagreement { .. } => "disagreement",
        Held::NodeStuck { .. } | Held::DomainStuck { .. } => "stuck",
        Held::Policy(_) | Held::Unknown(_) | Held::NodeSilent { .. } | Held::OpeningOverdue { .. } => "held",
    }
}

fn of_end(end: &TaskEnd) -> Happens {
    match end {
        TaskEnd::Verified { verification, .. } => match verification.verdict.outcome {
            Outcome::Clean => "verified-clean",
            Outcome::Damaged => "verified-damaged",
            Outcome::Unreadable => "verified-unreadable",
            Outcome::Unknown(_) => "verified-unknown",
        },
        TaskEnd::Confirmed => "confirmed",
        TaskEnd::Failed(failure) => match failure {
            TaskFailure::VolumeWrong { .. } => "failed-volume-wrong",
            TaskFailure::ShardMissing => "failed-missing",
            TaskFailure::Changed => "failed-changed",
            TaskFailure::Interrupted => "failed-interrupted",
            TaskFailure::Cancelled => "failed-cancelled",
            TaskFailure::TimedOut => "timed-out",
            TaskFailure::Stalled => "stalled",
            TaskFailure::Reimaged => "failed-reimaged",
            TaskFailure::Agent { .. } => "failed-agent",
        },
    }
}

/// What an event is about, before it is known what it leads to.
#[must_use]
pub fn of_event(event: &Event, monitor: &Monitor) -> Vec<(ShardId, Happens)> {
    let books = &monitor.books;
    let on_node = |node, what: Happens| {
        books.shards().filter(|(_, b)| b.node == node).map(|(s, _)| (*s, what)).collect::<Vec<_>>()
    };
    match event {
        Event::Lead { .. } => books.shards().map(|(shard, _)| (*shard, "leader-took")).collect(),
        Event::Hello(hello) => match books.incarnation(hello.node) {
            Some(life) if life != hello.incarnation => on_node(hello.node, "hello-other-life"),
            _ => on_node(hello.node, "hello"),
        },
        Event::Inventory { node, claims, .. } => {
            let what = |claim: &rientro_types::Claim| match books.shard(claim.shard) {
                Some(book) if book.node != *node => "claimed-elsewhere",
                Some(book) if book.volume != claim.volume => "claimed-other-volume",
                Some(book) if claim.mailboxes < book.known => "claimed-fewer",
                _ => "claimed",
            };
            claims.iter().map(|claim| (claim.shard, what(claim))).collect()
        }
        Event::Result { shard, attempt, .. } => {
            let under_way = books.shard(*shard).and_then(|book| book.under_way);
            let current = under_way.is_some_and(|under_way| under_way.attempt == *attempt);
            vec![(*shard, if current { "result" } else { "result-stray" })]
        }
        Event::Stopped { shard, .. } => vec![(*shard, "stopped")],
        Event::Seen { shard, .. } => vec![(*shard, "seen-told")],
        Event::Unlisted { shard, .. } => vec![(*shard, "unlisted")],
        Event::Request { verb, rehearse: false, .. } => of_verb(verb, monitor),
        Event::Request { .. } | Event::Wake => Vec::new(),
    }
}

fn of_verb(verb: &Verb, monitor: &Monitor) -> Vec<(ShardId, Happens)> {
    let of_campaign = |campaign, what| {
        let selector = Selector { campaign: Some(campaign), ..Selector::default() };
        selected(&selector, what, monitor)
    };
    match verb {
        Verb::Start { plan: _, source: _ } => {
            selected(&Selector { all: true, ..Selector::default() }, "start", monitor)
        }
        Verb::Revise { plan, .. } => of_campaign(plan.name, "revise"),
        Verb::Pause { campaign } => of_campaign(*campaign, "pause"),
        Verb::Resume { campaign } => of_campaign(*campaign, "resume"),
        Verb::Abort { campaign } => of_campaign(*campaign, "abort"),
        Verb::Promote { campaign, .. } => of_campaign(*campaign, "promote"),
        Verb::Close { selector, .. } => selected(selector, "close", monitor),
        Verb::Retry { selector } => selected(selector, "retry", monitor),
        Verb::Accept { selector, .. } => selected(selector, "accept", monitor),
        Verb::Prioritise { selector } => selected(selector, "prioritise", monitor),
        Verb::Adopt { selector, .. } => selected(selector, "adopt", monitor),
        Verb::Settle { selector, .. } => selected(selector, "settle-asked", monitor),
        Verb::Except { shard, .. } => vec![(*shard, "except-asked")],
        Verb::SetLimits { .. } => Vec::new(),
    }
}

fn selected(selector: &Selector, what: Happens, monitor: &Monitor) -> Vec<(ShardId, Happens)> {
    let views = monitor.follower().shard_views(selector, None, usize::MAX);
    views.into_iter().map(|view| (view.shard.shard, what)).collect()
}
