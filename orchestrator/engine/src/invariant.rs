//! The rules that never break, as predicates.
//!
//! Each has an *incremental* form over what a step touched, checked after every step, and a *full* form over the whole
//! state, run at once by the simulator and in slices while a cell works. Rules that are about what leaves the engine (R4: nothing before it is
//! durable; R8: an abort reaches every agent; R12: every campaign ends) are watched from outside, by the driver's tests and
//! the simulator; of R8 the table has what stands in the state. The full form of R4, that a replay of the records gives exactly
//! the live durable state, needs the records, which no engine keeps: the simulator compares the live engine with one that
//! follows the journal (`Monitor::same`), and the engine's tests with one that replays it and one that takes in its snapshot
//! (`assert_replays`). R5, R9, R10, R13 and R14 get their meaning with several leaders, with gates and with approvals.
//!
//! | id | rule checked here |
//! | --- | --- |
//! | R1 | no service is open unless the shard is vouched for: a standing verification that passed, an acceptance, an adoption |
//! | R2 | what nodes and failure domains are booked with is what their budgets count, and no start exceeded one, nor the number of shards that a campaign opens at once |
//! | R3 | no shard is being opened before its wave has started, and no wave starts before the one below it has passed |
//! | R6 | what is held by a circumstance, or has failed, counts against its wave; a wave's loss is the sum of those |
//! | R7 | what is verified has passed the policy in force, or was accepted; what goes on from there met every mailbox known |
//! | R8 | of an aborted campaign no shard is under way; of a paused one no try was started after the pause |
//! | R11 | every decision names its actor |
//! | R12 | every member of a campaign that has ended is open, closed by a named decision, failed, or held with a reason |

use std::fmt;

use rientro_types::{
    CampaignState, Charge, Decision, Phase, Policy, Record, ServiceSet, ShardId, ShardState, TaskKind,
    WaveState,
};

use crate::engine::Engine;
use crate::index::is_moving;
use crate::state::{CampaignIx, NodeIx, Shard, ShardIx};

/// A rule that was broken, on what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Id of the rule, such as `R1`.
    pub rule: &'static str,
    /// What was found.
    pub found: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} broken: {}", self.rule, self.found)
    }
}

/// Shards audited at each housekeeping, beside those that steps touch: less than a thousandth of a core, and a million shards
/// are through in 17 minutes.
const SAMPLE: usize = 1_000;
/// Different violations that are kept. A program with a bug may break a rule at every step.
const BROKEN_MAX: usize = 100;

fn violation(rule: &'static str, found: String) -> Violation {
    Violation { rule, found }
}

impl Engine {
    /// Checks every rule over the whole state. Empty when all hold.
    #[must_use]
    pub fn audit(&self) -> Vec<Violation> {
        let state = &self.state;
        let mut broken: Vec<_> = state.shard_ixs().filter_map(|ix| self.audit_shard(ix)).collect();
        broken.extend(state.node_ixs().filter_map(|ix| self.audit_node(ix)));
        broken.extend(state.campaign_ixs().filter_map(|ix| self.audit_campaign(ix)));
        broken
    }

    /// The incremental form, over what this step touched. A debug build stops at once; a release build counts.
    pub(crate) fn audit_touched(&mut self) {
        let mut broken: Vec<_> = self.state.touched.iter().filter_map(|ix| self.audit_shard(*ix)).collect();
        broken.extend(self.step.decisions.iter().filter_map(|d| self.audit_decision(d)));
        self.note_broken(broken);
    }

    /// The full form in slices: [`SAMPLE`] shards at each housekeeping, and what is counted over all of them once they are
    /// through. Finds what no step has touched.
    pub(crate) fn audit_sample(&mut self) {
        let total = self.state.shards.len();
        let end = self.audited.saturating_add(SAMPLE).min(total);
        let slice = (self.audited.min(end)..end).map(ShardIx::for_len);
        let mut broken: Vec<_> = slice.filter_map(|ix| self.audit_shard(ix)).collect();
        self.audited = end;
        if end == total {
            self.audited = 0;
            broken.extend(self.state.node_ixs().filter_map(|ix| self.audit_node(ix)));
            let live = |ix: &CampaignIx| self.state.campaign(*ix).state.is_live();
            broken.extend(self.state.campaign_ixs().filter(live).filter_map(|ix| self.audit_campaign(ix)));
        }
        self.note_broken(broken);
    }

    fn note_broken(&mut self, found: Vec<Violation>) {
        for violation in found {
            if self.broken.len() < BROKEN_MAX && !self.broken.contains(&violation) {
                self.broken.push(violation);
            }
        }
        debug_assert!(
            self.broken.is_empty() || self.state.mutant != crate::Mutant::None,
            "an invariant is broken: {}",
            self.broken[0]
        );
    }

    /// Rules found broken since this engine was made, each once; at most 100. Empty unless there is a bug.
    #[must_use]
    pub fn broken(&self) -> &[Violation] {
        &self.broken
    }

    fn audit_shard(&self, ix: ShardIx) -> Option<Violation> {
        let shard = self.state.shard(ix);
        let id = shard.id;
        let serving = shard.services != ServiceSet::NONE;
        let adopted = matches!(shard.phase, Phase::Open { adopted: true });
        if serving && !adopted && !(shard.is_vouched() && self.passes(ix)) {
            return Some(violation(
                "R1",
                format!("shard {id} serves {} and nothing vouches for it", shard.services),
            ));
        }
        if serving && !matches!(shard.phase, Phase::Open { .. } | Phase::Opening { .. }) {
            return Some(violation(
                "R1",
                format!("shard {id} serves {} while it is {}", shard.services, shard.state()),
            ));
        }
        if matches!(shard.phase, Phase::Verified) && !(shard.is_vouched() && self.passes(ix)) {
            return Some(violation("R7", format!("shard {id} counts as verified and has not passed")));
        }
        if matches!(shard.phase, Phase::Verified) && shard.blocked.is_none() && shard.is_short() {
            return Some(violation("R7", format!("shard {id} goes on without all its mailboxes")));
        }
        if matches!(shard.phase, Phase::Confirming { .. } | Phase::Opening { .. }) {
            let campaign = self.state.campaign_of(shard)?;
            let started = shard.wave().is_some_and(|wave| campaign.wave_started(wave));
            if !started {
                return Some(violation(
                    "R3",
                    format!("shard {id} is {} before its wave has started", shard.state()),
                ));
            }
        }
        if let Some(stopped) = self.audit_stopped(shard) {
            return Some(stopped);
        }
        let ended = self.state.campaign_of(shard).is_some_and(|c| c.state == CampaignState::Ended);
        if ended && is_moving(shard.state()) {
            return Some(violation(
                "R12",
                format!("shard {id} is {} in a campaign that has ended", shard.state()),
            ));
        }
        let lost =
            matches!(shard.phase, Phase::Failed { .. } | Phase::Held { .. }) || shard.blocked.is_some();
        (lost && shard.is_under_way() && !shard.is_charged())
            .then(|| violation("R6", format!("shard {id} is {} and not counted as lost", shard.state())))
    }

    /// A step of opening is no try: one that another campaign left unfinished may come into a paused one.
    fn audit_stopped(&self, shard: &Shard) -> Option<Violation> {
        let (id, campaign) = (shard.id, self.state.campaign_of(shard)?);
        if campaign.state == CampaignState::Aborted && shard.is_under_way() {
            let found = format!("shard {id} of aborted {} is {}", campaign.id, shard.state());
            return Some(violation("R8", found));
        }
        let since =
            campaign.paused.filter(|pause| shard.current_attempt().is_some() && shard.since > pause.since);
        since.map(|_| {
            violation("R8", format!("a try of shard {id} was started though {} is paused", campaign.id))
        })
    }

    /// Whether the standing verification passes the policy it was judged by, or a person stands in for it. A shard in
    /// service keeps the verification it was opened on, whatever a later revision of the plan asks for; one that waits to
    /// open was judged by the plan in force.
    fn passes(&self, ix: ShardIx) -> bool {
        let shard = self.state.shard(ix);
        let Some(standing) = shard.standing.as_deref() else { return shard.accepted.is_some() };
        let passed = standing.policy.judge(&standing.verification.verdict).is_ok();
        shard.accepted.is_some() || (passed && self.is_judged_anew(shard, standing.policy))
    }

    fn is_judged_anew(&self, shard: &Shard, by: Policy) -> bool {
        let in_force = self.state.campaign_of(shard).filter(|campaign| {
            // Between a revision and its end, shards are still judged by the plan before it.
            campaign.state.is_live() && campaign.state != CampaignState::Forming
        });
        let in_service = matches!(shard.phase, Phase::Open { .. } | Phase::Opening { .. });
        in_service || in_force.is_none_or(|campaign| campaign.plan.policy == by)
    }

    fn audit_decision(&self, decision: &Decision) -> Option<Violation> {
        if decision.actor.id.is_empty() {
            return Some(violation("R11", format!("nobody is named for {:?}", decision.record)));
        }
        #[allow(clippy::wildcard_enum_match_arm, reason = "few records have a rule of their own")]
        match &decision.record {
            Record::TaskStarted { shard, kind, node, .. } => {
                self.audit_start(*shard, *kind, *self.state.node_ix.get(node)?)
            }
            Record::CampaignEnded { campaign } => self.audit_end(*self.state.campaign_ix.get(campaign)?),
            _ => None,
        }
    }

    /// The incremental form of R12 for those that the step has not touched, from what is counted of them.
    fn audit_end(&self, ix: CampaignIx) -> Option<Violation> {
        let campaign = self.state.campaign(ix);
        let moving = ShardState::ALL.into_iter().filter(|state| is_moving(*state));
        let left: u64 = moving.map(|state| campaign.counts.shards_in(state)).sum();
        let ended = campaign.state == CampaignState::Ended;
        (ended && left > 0).then(|| {
            violation("R12", format!("campaign {} ends with {left} shards on their way", campaign.id))
        })
    }

    /// The budgets count what this step has started: none may be exceeded after a start.
    fn audit_start(&self, shard: ShardId, kind: TaskKind, ix: NodeIx) -> Option<Violation> {
        let node = self.state.node(ix);
        let limits = &self.state.limits;
        let (what, busy) = match kind {
            TaskKind::Verify => ("verification", node.verifying),
            TaskKind::Confirm => ("confirmation", node.confirming),
        };
        let max = limits.per_node(kind);
        if busy > max {
            let found = format!("shard {shard} started on {} as {what} {busy} of {max}", node.id);
            return Some(violation("R2", found));
        }
        if kind == TaskKind::Confirm {
            return self.audit_in_flight(shard);
        }
        let mut over = self.domains_at_limit(ix).filter(|(_, _, busy, max)| busy > max);
        let (label, value, busy, max) = over.next()?;
        Some(violation("R2", format!("shard {shard} started in {label} {value} as {what} {busy} of {max}")))
    }

    fn audit_in_flight(&self, shard: ShardId) -> Option<Violation> {
        let campaign = self.state.campaign_of(self.state.shard(*self.state.shard_ix.get(&shard)?))?;
        let (busy, max) = (campaign.in_flight, campaign.plan.opening.in_flight_max);
        let found = || format!("shard {shard} of campaign {} began to open as {busy} of {max}", campaign.id);
        (busy > max).then(|| violation("R2", found()))
    }

    fn audit_node(&self, ix: NodeIx) -> Option<Violation> {
        let node = self.state.node(ix);
        let verifying = node.busy.values().filter(|kind| **kind == TaskKind::Verify).count();
        let confirming = node.busy.len() - verifying;
        let counted = (node.verifying as usize, node.confirming as usize);
        (counted != (verifying, confirming)).then(|| {
            violation(
                "R2",
                format!("node {} is counted as {counted:?} and booked with {:?}", node.id, node.busy),
            )
        })
    }

    fn audit_campaign(&self, ix: CampaignIx) -> Option<Violation> {
        let campaign = self.state.campaign(ix);
        let passed = campaign.waves.iter().take_while(|wave| wave.state == WaveState::Passed).count();
        let begun_early = campaign.waves.iter().skip(passed + 1).any(|wave| wave.state != WaveState::Waiting);
        if begun_early {
            let found =
                format!("campaign {} has begun a wave after {passed}, which has not passed", campaign.id);
            return Some(violation("R3", found));
        }
        let mut lost = vec![(0, 0); campaign.waves.len()];
        for shard in
            self.state.shards.iter().filter(|s| s.is_charged() && s.member.is_some_and(|m| m.campaign == ix))
        {
            if let Some(of_wave) = shard.wave().and_then(|wave| lost.get_mut(wave.raw() as usize)) {
                of_wave.0 += shard.weight();
                of_wave.1 += if shard.charge == Charge::Forgiven { shard.weight() } else { 0 };
            }
        }
        let counted: Vec<_> = campaign.waves.iter().map(|wave| (wave.lost, wave.forgiven)).collect();
        let losing = campaign.losing.iter().map(|no| no.raw() as usize);
        let marked = losing.eq((0..lost.len()).filter(|at| lost[*at].0 > 0));
        (counted != lost || !marked).then(|| {
            violation(
                "R6",
                format!(
                    "campaign {} counts {counted:?} mailboxes as lost and forgiven; {lost:?} are",
                    campaign.id
                ),
            )
        })
    }
}
