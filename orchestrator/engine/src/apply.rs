//! The one way durable state changes, live and in replay.
//!
//! Applying decides nothing: what a record does follows from the record and the durable state alone. A record that does not
//! fit the state is an error of whoever wrote the journal, and stops the reader.

use std::collections::BTreeMap;
use std::fmt;

use rientro_types::{
    AttemptNo, CampaignId, CellTime, Charge, Claim, CloseCause, Decision, HeldReason, LabelKey, LabelValue,
    NodeId, NodeIncarnation, Phase, Placement, PlacementNo, Record, Seq, ServiceSet, ShardId, Span,
    TaskFailure,
};

use crate::mutant::Mutant;
use crate::state::{CampaignIx, Cell, Node, NodeIx, Shard, ShardIx, State};

/// A record that does not fit the state it is applied to: the journal was not written by this program, or there is a bug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inconsistent {
    /// The record's number.
    pub seq: Seq,
    /// What does not fit.
    pub problem: String,
}

impl fmt::Display for Inconsistent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "journal record {} does not fit the state before it: {}", self.seq, self.problem)
    }
}

impl std::error::Error for Inconsistent {}

/// Earlier lives of a node that are remembered, the latest ones: a greeting of one of them is refused. The oldest is forgotten
/// when one more ends, and would be taken for another new life; no node is reimaged so often while an agent of its first life
/// still runs.
const RETIRED_MAX: usize = 16;

type Applied = Result<(), String>;

impl State {
    /// Applies one decision made at `at`.
    ///
    /// # Errors
    /// [`Inconsistent`] when the record names something that does not exist, or does not fit.
    pub(crate) fn apply(&mut self, at: CellTime, decision: &Decision) -> Result<(), Inconsistent> {
        let seq = self.seq_next;
        self.at = self.at.max(at);
        self.apply_record(decision).map_err(|problem| Inconsistent { seq, problem })?;
        self.seq_next = seq.next();
        Ok(())
    }

    fn apply_record(&mut self, decision: &Decision) -> Applied {
        match &decision.record {
            Record::CellFounded { cell, incarnation, mailbox_key } => {
                self.found(*cell, *incarnation, *mailbox_key)
            }
            Record::CellRestored { incarnation } => self.restored(*incarnation),
            Record::LeaderTook { epoch } => self.cell_mut().map(|cell| cell.epoch = *epoch),
            Record::Absent { span } => {
                self.absent(*span);
                Ok(())
            }
            Record::ClockMarked => Ok(()),
            Record::LimitsSet { limits } => {
                self.limits = limits.clone();
                self.dirty_nodes.extend(self.node_ixs());
                self.dirty_campaigns.extend(self.campaign_ixs());
                Ok(())
            }
            Record::NodeEnrolled { node, incarnation, labels } => {
                self.enrol(*node, *incarnation, labels);
                Ok(())
            }
            Record::NodeSilent { node, silent_for } => self.silence(*node, *silent_for),
            Record::NodeHeard { node } => self.hear(*node),
            Record::ShardMet { node, claim } => self.meet(*node, claim),
            Record::ShardMeasured { shard, mailboxes } => self.edit(*shard, |s| s.mailboxes = *mailboxes),
            Record::ShardPlaced { shard, placement } => self.place(*shard, *placement),
            Record::ShardHeld { shard, reason } => {
                let at = self.at;
                self.edit(*shard, |s| s.hold(reason.clone(), at))
            }
            Record::ShardReleased { shard } if self.mutant == Mutant::ForgiveTwice => {
                self.edit(*shard, |s| {
                    let charge = s.charge;
                    s.release();
                    s.charge = charge;
                })
            }
            Record::ShardReleased { shard } => self.edit(*shard, Shard::release),
            Record::ShardUnlisted { shard, unlisted } => self.edit(*shard, |s| s.unlisted = *unlisted),
            Record::CampaignStarted { .. }
            | Record::WaveFormed { .. }
            | Record::CampaignReady { .. }
            | Record::CampaignRevised { .. }
            | Record::CampaignPaused { .. }
            | Record::CampaignResumed { .. }
            | Record::CampaignAborted { .. }
            | Record::CampaignEnded { .. }
            | Record::WaveStarted { .. }
            | Record::WaveSettled { .. }
            | Record::WaveUnsettled { .. }
            | Record::WavePassed { .. } => self.apply_campaign(&decision.record),
            Record::TaskStarted { .. }
            | Record::TaskEnded { .. }
            | Record::TaskReleased { .. }
            | Record::VerificationExpired { .. }
            | Record::StepOpening { .. }
            | Record::OpeningOverdue { .. }
            | Record::ServicesSeen { .. }
            | Record::ShardOpened { .. } => self.apply_progress(&decision.record),
            Record::Settled { .. }
            | Record::Closed { .. }
            | Record::Retried { .. }
            | Record::Accepted { .. }
            | Record::Prioritised { .. }
            | Record::Adopted { .. }
            | Record::ExceptionSet { .. } => self.apply_verb(decision),
        }
    }

    pub(crate) fn edit(&mut self, shard: ShardId, edit: impl FnOnce(&mut Shard)) -> Applied {
        let ix = self.find_shard(shard)?;
        self.change(ix, edit);
        Ok(())
    }

    pub(crate) fn find_shard(&self, shard: ShardId) -> Result<ShardIx, String> {
        self.shard_ix.get(&shard).copied().ok_or_else(|| format!("there is no shard {shard}"))
    }

    pub(crate) fn find_node(&self, node: NodeId) -> Result<NodeIx, String> {
        self.node_ix.get(&node).copied().ok_or_else(|| format!("there is no node {node}"))
    }

    pub(crate) fn find_campaign(&self, campaign: CampaignId) -> Result<CampaignIx, String> {
        self.campaign_ix.get(&campaign).copied().ok_or_else(|| format!("there is no campaign {campaign}"))
    }

    fn cell_mut(&mut self) -> Result<&mut Cell, String> {
        self.cell.as_mut().ok_or_else(|| "the cell is not founded".to_owned())
    }

    fn found(
        &mut self,
        id: rientro_types::CellId,
        incarnation: rientro_types::Incarnation,
        mailbox_key: rientro_types::Digest,
    ) -> Applied {
        if self.cell.is_some() {
            return Err("the cell is founded already".to_owned());
        }
        self.cell = Some(Cell { id, incarnation, mailbox_key, epoch: rientro_types::Epoch::default() });
        Ok(())
    }

    /// T29: a new life. Nothing the nodes serve is believed or undone before they have told.
    fn restored(&mut self, incarnation: rientro_types::Incarnation) -> Applied {
        self.cell_mut()?.incarnation = incarnation;
        let (floor, at) = (self.first_attempt(), self.at);
        for ix in self.shard_ixs() {
            self.change(ix, |shard| {
                shard.doubted = true;
                shard.attempt = shard.attempt.max(floor);
                shard.forget_before(at);
            });
        }
        Ok(())
    }

    /// The number before the first attempt of a shard met in this life of the cell. Results of attempts that a restored journal
    /// does not know of may still arrive. A later life has the number of the second in which it began, and no shard has an
    /// attempt for every second that passes: what was counted from earlier on never comes as far.
    pub(crate) fn first_attempt(&self) -> AttemptNo {
        let life = self.cell.as_ref().map_or(1, |cell| cell.incarnation.raw());
        AttemptNo::from_raw(if life > 1 { life } else { 0 })
    }

    /// Paused campaigns do not move: their pause covers the absence.
    fn absent(&mut self, span: Span) {
        for ix in self.campaign_ixs() {
            let campaign = self.campaign_mut(ix);
            if campaign.paused.is_none() && campaign.state.is_live() {
                campaign.clock_behind = campaign.clock_behind.plus(span);
            }
        }
    }

    fn enrol(&mut self, id: NodeId, incarnation: NodeIncarnation, labels: &BTreeMap<LabelKey, LabelValue>) {
        let ix = match self.node_ix.get(&id) {
            Some(ix) => *ix,
            None => self.add_node(id, incarnation),
        };
        let node = self.node_mut(ix);
        if node.incarnation != incarnation {
            node.retired.push(node.incarnation);
            let over = node.retired.len().saturating_sub(RETIRED_MAX);
            node.retired.drain(..over);
            node.incarnation = incarnation;
        }
        self.relabel(ix, labels.clone());
    }

    fn add_node(&mut self, id: NodeId, incarnation: NodeIncarnation) -> NodeIx {
        let ix = NodeIx::for_len(self.nodes.len());
        self.nodes.push(Node::new(id, incarnation));
        self.node_ix.insert(id, ix);
        ix
    }

    /// T1: every shard that is on its way on a silent node is held, and counts against its wave's error budget.
    fn silence(&mut self, node: NodeId, silent_for: Span) -> Applied {
        let ix = self.find_node(node)?;
        let at = self.at;
        self.node_mut(ix).silent = Some(at);
        for shard in self.node(ix).shards.clone() {
            let s = self.shard(shard);
            if s.is_under_way() && s.is_free_or_waits() {
                self.change(shard, |s| s.hold(HeldReason::NodeSilent { node, silent_for }, at));
            }
        }
        Ok(())
    }

    fn hear(&mut self, node: NodeId) -> Applied {
        let ix = self.find_node(node)?;
        self.node_mut(ix).silent = None;
        for shard in self.node(ix).shards.clone() {
            if matches!(self.shard(shard).held_by(), Some(HeldReason::NodeSilent { .. })) {
                self.change(shard, Shard::end_wait);
            }
        }
        self.dirty_nodes.insert(ix);
        Ok(())
    }

    fn meet(&mut self, node: NodeId, claim: &Claim) -> Applied {
        let node = self.find_node(node)?;
        if self.shard_ix.contains_key(&claim.shard) {
            return Err(format!("shard {} was met before", claim.shard));
        }
        let adopted = !claim.services.is_empty();
        let ix = ShardIx::for_len(self.shards.len());
        self.shards.push(Shard {
            id: claim.shard,
            placement_no: PlacementNo::from_raw(1),
            node,
            volume: claim.volume,
            mailboxes: claim.mailboxes,
            bytes: 0,
            services: claim.services,
            services_since: self.at,
            seen: claim.services,
            phase: if adopted {
                Phase::Open { adopted }
            } else {
                Phase::Closed { cause: CloseCause::FirstMet }
            },
            since: self.at,
            blocked: None,
            unlisted: 0,
            doubted: false,
            attempt: self.first_attempt(),
            failures: 0,
            charge: Charge::None,
            member: None,
            standing: None,
            accepted: None,
            exceptions: BTreeMap::new(),
            footprint: None,
            due: false,
            told: None,
            unanswered: false,
        });
        self.shard_ix.insert(claim.shard, ix);
        self.index(ix);
        Ok(())
    }

    /// T28: the same volume elsewhere keeps what it serves and its verification. Another volume is other data: it is closed,
    /// and verified from the start. T4: a try that the move has cut off failed, so that a volume that moves to and fro
    /// spends its shards' tries and does not begin for ever.
    pub(crate) fn place(&mut self, shard: ShardId, placement: Placement) -> Applied {
        let ix = self.find_shard(shard)?;
        let node = self.find_node(placement.node)?;
        let attempts_max = self.campaign_of(self.shard(ix)).map(|campaign| campaign.plan.tries.attempts_max);
        let at = self.at;
        self.change(ix, |s| {
            let cut_off = s.current_attempt().is_some();
            s.failures = s.failures.saturating_add(u32::from(cut_off));
            if s.volume != placement.volume {
                s.standing = None;
                s.accepted = None;
                s.bytes = 0;
            }
            if cut_off && attempts_max.is_some_and(|max| s.failures >= max) {
                s.lose();
                s.enter(Phase::Failed { last: TaskFailure::ShardMissing }, at);
            } else if s.volume != placement.volume {
                s.start_over(at);
            } else if cut_off {
                s.enter(s.resting(), at);
            }
            if s.node != node {
                s.seen = ServiceSet::NONE;
                s.forget_told();
            }
            s.placement_no = placement.no;
            s.node = node;
            s.volume = placement.volume;
            s.move_hold(at);
        });
        Ok(())
    }
}

impl Shard {
    /// Its data is not what it was: what is in service is closed, what is on its way begins anew.
    fn start_over(&mut self, at: CellTime) {
        match self.phase {
            Phase::Open { .. } | Phase::Opening { .. } => {
                self.charge = Charge::None;
                self.close(CloseCause::Operator, at);
            }
            Phase::Verifying { .. }
            | Phase::Backoff { .. }
            | Phase::Verified
            | Phase::Confirming { .. }
            | Phase::Held { .. }
            | Phase::Failed { .. } => self.enter(Phase::Waiting, at),
            Phase::Closed { .. } | Phase::Waiting => {}
        }
    }
}
