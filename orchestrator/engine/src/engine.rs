//! The engine: one owner of the state, one way in.

use rientro_types::{
    Actor, CampaignState, CellTime, Decision, Entry, Incarnation, NodeId, Order, PauseCause, Record, Seq,
    ShardId, Span, WaveState,
};

use crate::apply::Inconsistent;
use crate::contract::{Command, Event, Ignored, Observation, OrderKind, Origin, Step, WakeReason};
use crate::invariant::Violation;
use crate::mutant::Mutant;
use crate::state::{CampaignIx, NodeIx, State, Watch};
use crate::twin::Boots;

/// How often silent nodes, stalled tasks and the journal's clock are looked at.
pub const HOUSEKEEPING_EVERY: Span = Span::from_secs(1);
/// A longer time between two steps of a leader was an absence: nobody is charged for it. Ten housekeepings may be late; a
/// leader that misses them all was not listening. Before a leader takes over nobody listens, however short that is.
pub const ABSENCE_MIN: Span = Span::from_secs(10);
/// While a campaign runs, the journal learns the time at least this often, so that a crash is not taken for a long absence.
pub const CLOCK_MARK_EVERY: Span = Span::from_secs(60);

/// The core. See the crate's documentation for the contract.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) state: State,
    /// Whether this engine leads; an engine that only follows decides nothing.
    pub(crate) leading: bool,
    pub(crate) now: CellTime,
    /// From when on nodes that were never heard count as silent.
    pub(crate) listening_since: CellTime,
    /// When this leader took over.
    pub(crate) leading_since: CellTime,
    pub(crate) housekeeping_at: CellTime,
    pub(crate) marked_at: CellTime,
    /// When running tries were last looked at. Moves with every absence, which is given back to them once.
    pub(crate) judged_at: CellTime,
    pub(crate) step: Step,
    pub(crate) broken: Vec<Violation>,
    /// How far the sampled audit is in its round over all shards.
    pub(crate) audited: usize,
}

impl Default for Engine {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine {
    /// An engine that knows nothing yet: replay a snapshot and entries into it, then lead.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::new(),
            leading: false,
            now: CellTime::default(),
            listening_since: CellTime::default(),
            leading_since: CellTime::default(),
            housekeeping_at: CellTime::default(),
            marked_at: CellTime::default(),
            judged_at: CellTime::default(),
            step: Step::default(),
            broken: Vec::new(),
            audited: 0,
        }
    }

    /// An engine that breaks one invariant on purpose.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn with_mutant(mutant: Mutant) -> Self {
        let mut engine = Self::new();
        engine.state.mutant = mutant;
        engine
    }

    /// Applies one journal entry: replay, and following a leader.
    ///
    /// # Errors
    /// [`Inconsistent`] when the entry is not the next one, or a record does not fit the state.
    pub fn replay(&mut self, entry: &Entry) -> Result<(), Inconsistent> {
        let seq = self.state.seq_next;
        if entry.seq != seq {
            return Err(Inconsistent { seq, problem: format!("the entry begins with record {}", entry.seq) });
        }
        for decision in &entry.decisions {
            self.state.apply(entry.at, decision)?;
        }
        self.now = self.state.at;
        self.forget_touched();
        Ok(())
    }

    /// Number of the next record.
    #[must_use]
    pub fn seq_next(&self) -> Seq {
        self.state.seq_next
    }

    /// The cell's time: that of the last step or entry.
    #[must_use]
    pub fn now(&self) -> CellTime {
        self.now
    }

    /// Events that changed nothing, counted by reason.
    #[must_use]
    pub fn ignored(&self) -> Ignored {
        self.state.ignored
    }

    /// Takes in something seen. Changes no durable state.
    pub fn observe(&mut self, now: CellTime, observation: Observation) {
        let now = now.max(self.now);
        match observation {
            Observation::Heard { node } => {
                if let Some(ix) = self.state.node_ix.get(&node).copied() {
                    self.state.node_mut(ix).hear(now);
                }
            }
            Observation::Lost { node, session } => {
                let Some(ix) = self.state.node_ix.get(&node).copied() else { return };
                if self.state.node(ix).session == Some(session) {
                    self.forget_session(ix);
                }
            }
            Observation::Progress { node, shard, attempt, progress } => {
                self.observe_progress(now, node, shard, attempt, progress);
            }
        }
    }

    /// T4: only an advance moves the progress clock, never a restart that begins from zero.
    fn observe_progress(
        &mut self,
        now: CellTime,
        node: NodeId,
        shard: ShardId,
        attempt: rientro_types::AttemptNo,
        progress: rientro_types::Progress,
    ) {
        let (Some(node), Some(shard)) =
            (self.state.node_ix.get(&node).copied(), self.state.shard_ix.get(&shard).copied())
        else {
            return;
        };
        if !self.state.is_current(node, shard, attempt) {
            return;
        }
        let fresh = Watch { attempt, progress, advanced: now };
        let watch = self.state.watches.entry(shard).or_insert(fresh);
        let seen = watch.progress;
        if watch.attempt != attempt || (progress.bytes, progress.messages) > (seen.bytes, seen.messages) {
            *watch = fresh;
        }
    }

    /// Handles one event: decides, applies its own decisions, and says what to do.
    ///
    /// The caller makes the decisions durable before it carries out any command. Time that goes backwards is taken as
    /// standing still.
    pub fn step(&mut self, now: CellTime, event: Event) -> Step {
        let now = now.max(self.now);
        if !self.leading && !matches!(event, Event::Lead { .. }) {
            self.state.ignored.not_leading += 1;
            return Step::default();
        }
        self.note_absence(now, &event);
        self.now = now;
        self.handle(event);
        self.housekeep();
        self.run();
        let mut step = std::mem::take(&mut self.step);
        step.wake_at = self.next_wake();
        self.audit_touched();
        self.forget_touched();
        step
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Lead { epoch, origin } => self.lead(epoch, origin),
            Event::Hello(hello) => self.hello(hello),
            Event::Inventory { node, incarnation, first, claims, last } => {
                if let Some(ix) = self.known(node, incarnation) {
                    self.inventory(ix, first, &claims, last);
                }
            }
            Event::Unlisted { node, incarnation, shard, unlisted } => {
                if let Some(ix) = self.known(node, incarnation) {
                    self.unlisted(ix, shard, unlisted);
                }
            }
            Event::Result { node, incarnation, shard, attempt, end } => {
                self.result(node, incarnation, shard, attempt, end);
            }
            Event::Stopped { node, incarnation, shard, attempt } => {
                if let Some(ix) = self.known(node, incarnation) {
                    self.stopped(ix, shard, attempt);
                }
            }
            Event::Seen { node, incarnation, shard, services } => {
                if let Some(ix) = self.known(node, incarnation) {
                    self.seen(ix, shard, services);
                }
            }
            Event::Request { request, actor, verb, rehearse, seed } => {
                let answer = self.request(&actor, *verb, rehearse, seed);
                self.step.commands.push(Command::Reply { request, answer });
            }
            Event::Wake => {}
        }
    }

    /// The node of this name, in this life, with a session that has reconciled.
    pub(crate) fn known(
        &mut self,
        node: NodeId,
        incarnation: rientro_types::NodeIncarnation,
    ) -> Option<NodeIx> {
        let ix = self.state.node_ix.get(&node).copied();
        let known = ix.filter(|ix| self.state.node(*ix).incarnation == incarnation);
        match known {
            Some(ix) => self.state.node_mut(ix).hear(self.now),
            None => self.state.ignored.foreign += 1,
        }
        known
    }

    fn lead(&mut self, epoch: rientro_types::Epoch, origin: Origin) {
        self.leading = true;
        self.listening_since = self.now;
        self.leading_since = self.now;
        self.housekeeping_at = self.now;
        self.marked_at = self.now;
        self.judged_at = self.now;
        for ix in self.state.node_ixs() {
            let node = self.state.node_mut(ix);
            (node.heard, node.boots) = (None, Boots::default());
            node.unanswered.clear();
            self.forget_session(ix);
        }
        match (origin, self.state.cell.as_ref().map(|cell| cell.incarnation)) {
            (Origin::Founded { cell, mailbox_key }, None) => {
                let incarnation = Incarnation::from_raw(1);
                self.decide(Record::CellFounded { cell, incarnation, mailbox_key });
            }
            (Origin::Restored { above }, Some(held)) => {
                let incarnation = life_above(held.max(above.unwrap_or_default()), self.now);
                self.decide(Record::CellRestored { incarnation });
            }
            (Origin::Founded { .. } | Origin::Continued | Origin::Restored { .. }, _) => {}
        }
        self.decide(Record::LeaderTook { epoch });
        self.finish_forming();
        if matches!(origin, Origin::Restored { .. }) {
            self.pause_restored();
        }
        self.state.dirty_campaigns.extend(self.state.campaign_ixs());
    }

    /// T29: after a restore nothing goes on before a person has looked at what the journal does not know.
    fn pause_restored(&mut self) {
        let going: Vec<_> = self.state.campaign_ixs().filter(|ix| self.state.goes_on(*ix)).collect();
        for ix in going {
            let campaign = self.state.campaign(ix).id;
            self.decide(Record::CampaignPaused { campaign, cause: PauseCause::Restored });
        }
    }

    /// T27, R6: time in which nobody listened is given back to whoever had a deadline. Until a leader takes over nobody
    /// listens, however short that is; one that leads may be late by less than [`ABSENCE_MIN`].
    fn note_absence(&mut self, now: CellTime, event: &Event) {
        let last = if self.leading { self.now } else { self.state.at };
        let gap = now.since(last);
        self.now = now;
        let founding = matches!(event, Event::Lead { origin: Origin::Founded { .. }, .. });
        let taking_over = matches!(event, Event::Lead { .. }) && gap > Span::ZERO;
        let absent = taking_over || gap >= ABSENCE_MIN;
        if !absent || founding || self.state.mutant == Mutant::ChargeAbsence {
            return;
        }
        self.listening_since = self.listening_since + gap;
        self.judged_at = self.judged_at + gap;
        for ix in self.state.node_ixs() {
            let node = self.state.node_mut(ix);
            // What the nodes have answered meanwhile has waited for this.
            node.asked.clear();
            // What is heard at the end of the absence was heard now, not later.
            node.heard = node.heard.map(|heard| (heard + gap).min(now));
            for since in node.unanswered.values_mut() {
                *since = *since + gap;
            }
        }
        for watch in self.state.watches.values_mut() {
            watch.advanced = watch.advanced + gap;
        }
        if self.state.campaigns.iter().any(|campaign| campaign.state.is_live()) {
            self.decide(Record::Absent { span: gap });
        }
    }

    /// Decides on the orchestrator's own account.
    pub(crate) fn decide(&mut self, record: Record) {
        self.decide_as(&Actor::orchestrator(), record);
    }

    /// Decides on an agent's word.
    pub(crate) fn decide_for(&mut self, node: NodeIx, record: Record) {
        let id = self.state.node(node).id.as_str().to_owned();
        let authentication = rientro_types::Authentication::Loopback;
        self.decide_as(&Actor { kind: rientro_types::ActorKind::Agent, id, authentication }, record);
    }

    /// Decides: the record is applied at once, and becomes durable with the step.
    ///
    /// # Panics
    /// When the engine decides something that does not fit its own state: a bug.
    pub(crate) fn decide_as(&mut self, actor: &Actor, record: Record) {
        let decision = Decision { actor: actor.clone(), record };
        if let Err(inconsistent) = self.state.apply(self.now, &decision) {
            panic!("the engine decided what does not fit: {inconsistent}");
        }
        self.step.decisions.push(decision);
    }

    /// The place of a command among all: that of the newest record, which is durable before the command is sent.
    pub(crate) fn order(&self) -> Option<Order> {
        let cell = self.state.cell.as_ref()?;
        let seq = Seq::from_raw(self.state.seq_next.raw() - 1);
        Some(Order { cell: cell.id, incarnation: cell.incarnation, epoch: cell.epoch, seq })
    }

    /// Sends an order to a node that has a session.
    pub(crate) fn send(&mut self, ix: NodeIx, order_kind: OrderKind) {
        let node = self.state.node(ix);
        if let (Some(_), Some(order)) = (node.session, self.order()) {
            self.step.commands.push(Command::Send { node: node.id, order, order_kind });
        }
    }

    /// Sends an order to every node that has a session.
    pub(crate) fn broadcast(&mut self, order_kind: &OrderKind) {
        for ix in self.state.node_ixs() {
            self.send(ix, order_kind.clone());
        }
    }

    /// What was learned in the session of a node, which is over.
    pub(crate) fn forget_session(&mut self, ix: NodeIx) {
        let node = self.state.node_mut(ix);
        node.session = None;
        node.cancelled.clear();
        node.asked.clear();
        node.listing = None;
        node.listed = None;
        for shard in node.shards.clone() {
            self.state.shards[shard.at()].forget_told();
        }
        self.state.forget_strangers(ix);
    }

    pub(crate) fn forget_touched(&mut self) {
        self.state.touched.clear();
        if !self.leading {
            self.state.dirty_nodes.clear();
            self.state.dirty_campaigns.clear();
        }
    }

    fn next_wake(&self) -> Option<(CellTime, WakeReason)> {
        let running = self.state.campaigns.iter().filter(|campaign| campaign.is_running());
        let timers = running.clone().filter_map(|campaign| {
            campaign.timers.first().map(|(at, _)| (campaign.real(*at), WakeReason::Deadline))
        });
        let bakes = running.filter_map(|campaign| match campaign.wave(campaign.current_wave()?)?.state {
            WaveState::Baking { until } => Some((until, WakeReason::Bake)),
            WaveState::Waiting | WaveState::Opening | WaveState::Passed => None,
        });
        let housekeeping = std::iter::once((self.housekeeping_at, WakeReason::Housekeeping));
        // A bake that is over may wait for an operator: nothing to wake up for.
        timers.chain(bakes.filter(|(at, _)| *at > self.now)).chain(housekeeping).min()
    }

    /// Whether a campaign runs, stands or is over.
    pub(crate) fn campaign_state(&self, ix: CampaignIx) -> CampaignState {
        self.state.campaign(ix).state
    }
}

/// The number of a life that begins after another one: the second, counted from 1970, so that two that begin from one backup are
/// two lives, though nothing in the backup tells of the first.
fn life_above(before: Incarnation, now: CellTime) -> Incarnation {
    let second = u32::try_from(now.unix_ms() / 1_000).unwrap_or(u32::MAX);
    before.next().max(Incarnation::from_raw(second))
}
