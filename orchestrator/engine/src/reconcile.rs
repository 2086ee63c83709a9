//! Agrees with agents on what is so: after every connection in full, and whenever they report.
//!
//! An agent's word is believed on what it does and holds, never on what is allowed: a try it runs that is not the present
//! one is cancelled, a service it serves that the journal has not opened is closed. Between a restored journal and a node,
//! neither is believed before a person has decided (T29).

use std::collections::{BTreeMap, BTreeSet};

use rientro_types::{
    Action, AttemptNo, Busy, CampaignState, NodeId, NodeIncarnation, Phase, Record, ServiceSet, ShardId,
    Task, TaskEnd, TaskFailure, TaskKind,
};

use crate::contract::{Command, Hello, OrderKind, Turnaway};
use crate::engine::Engine;
use crate::mutant::Mutant;
use crate::state::{NodeIx, ShardIx};
use crate::twin::Boots;

impl Engine {
    pub(crate) fn hello(&mut self, hello: Hello) {
        if let Some(turnaway) = self.turnaway(&hello) {
            self.note_twin(&hello, turnaway);
            self.step.commands.push(Command::Refuse { session: hello.session, turnaway });
            return;
        }
        let Hello { session, node, incarnation, boot, labels, running, served } = hello;
        let ix = self.admit(node, incarnation, labels);
        self.forget_session(ix);
        let now = self.now;
        let state = self.state.node_mut(ix);
        state.session = Some(session);
        state.let_in(boot, served.len() as u64, now);
        self.step.commands.push(Command::Welcome { session, node });
        if self.state.node(ix).silent.is_some() {
            self.decide(Record::NodeHeard { node });
        }
        self.tell_campaigns(ix);
        self.reconcile_services(ix, &served);
        self.reconcile_tasks(ix, &running);
        self.state.dirty_nodes.insert(ix);
        let campaigns = self.state.campaign_ixs();
        self.state.dirty_campaigns.extend(campaigns);
    }

    /// A name belongs to one life of a node at a time, and that life to one process: a second agent under it is an error, a copy
    /// or an impostor.
    fn turnaway(&self, hello: &Hello) -> Option<Turnaway> {
        let ix = *self.state.node_ix.get(&hello.node)?;
        let node = self.state.node(ix);
        if node.incarnation == hello.incarnation {
            let taken = node.is_taken(hello.boot, self.now, self.state.limits.silence)
                && self.state.mutant != Mutant::AdmitTwin;
            return taken.then_some(Turnaway::Twin { node: hello.node });
        }
        let holder = node.incarnation;
        if node.retired.contains(&hello.incarnation) {
            return Some(Turnaway::IncarnationRetired { holder });
        }
        let heard = node.heard.is_some_and(|heard| self.now.since(heard) < self.state.limits.silence);
        (node.session.is_some() && heard).then_some(Turnaway::NodeIdTaken { holder })
    }

    fn note_twin(&mut self, hello: &Hello, turnaway: Turnaway) {
        let (Turnaway::Twin { node }, now) = (turnaway, self.now) else { return };
        if let Some(ix) = self.state.node_ix.get(&node).copied() {
            self.state.node_mut(ix).knocked(hello.boot, hello.served.len() as u64, now);
        }
    }

    /// Enrols a node that is new, reimaged or relabelled. The tries of an earlier life are void.
    fn admit(
        &mut self,
        node: NodeId,
        incarnation: NodeIncarnation,
        labels: BTreeMap<rientro_types::LabelKey, rientro_types::LabelValue>,
    ) -> NodeIx {
        let before = self.state.node_ix.get(&node).copied();
        let same = before.is_some_and(|ix| {
            let known = self.state.node(ix);
            known.incarnation == incarnation && known.labels == labels
        });
        if same && let Some(ix) = before {
            return ix;
        }
        let reimaged = before.filter(|ix| self.state.node(*ix).incarnation != incarnation);
        self.decide(Record::NodeEnrolled { node, incarnation, labels });
        if let Some(ix) = reimaged {
            self.void_tries(ix);
            self.state.node_mut(ix).boots = Boots::default();
        }
        self.state.node_ix[&node]
    }

    fn void_tries(&mut self, ix: NodeIx) {
        let tries: Vec<_> = self.state.node(ix).busy.keys().copied().collect();
        for (shard, attempt) in tries {
            if self.state.is_current(ix, shard, attempt) {
                self.end_task(shard, attempt, TaskEnd::Failed(TaskFailure::Reimaged));
            } else {
                self.release(ix, shard, attempt);
            }
        }
    }

    pub(crate) fn release(&mut self, ix: NodeIx, shard: ShardIx, attempt: AttemptNo) {
        self.state.node_mut(ix).asked.remove(&(shard, attempt));
        let (node, shard) = (self.state.node(ix).id, self.state.shard(shard).id);
        self.decide_for(ix, Record::TaskReleased { node, shard, attempt });
    }

    /// What a node missed while it was away: which campaigns stand still, and how hard the others press.
    fn tell_campaigns(&mut self, ix: NodeIx) {
        let live = self.state.campaigns.iter().filter(|campaign| campaign.state.is_live());
        let told: Vec<_> =
            live.map(|c| (c.id, c.plan.pace, matches!(c.state, CampaignState::Paused(_)))).collect();
        for (campaign, pace, paused) in told {
            self.send(ix, OrderKind::Pace { campaign, pace });
            let order =
                if paused { OrderKind::Suspend { campaign } } else { OrderKind::Continue { campaign } };
            self.send(ix, order);
        }
    }

    /// A try the journal waits for and the agent does not know never arrived: it is sent again. A try the agent runs and
    /// nobody waits for is cancelled. A try neither has is over, and its place is free.
    fn reconcile_tasks(&mut self, ix: NodeIx, running: &[Busy]) {
        let mut there = BTreeSet::new();
        for busy in running {
            match self.state.shard_ix.get(&busy.shard).copied() {
                Some(shard) => {
                    there.insert((shard, busy.attempt));
                    if !self.state.is_current(ix, shard, busy.attempt) {
                        self.cancel(ix, shard, busy.attempt);
                    } else if matches!(self.state.shard(shard).phase, Phase::Verifying { .. }) {
                        // What still runs has no result that could have waited, but one that its node's disk does not take:
                        // that waits for a disk no longer than a try may take.
                        self.note_asked(ix, shard, busy.attempt);
                    }
                }
                None => self.send(ix, OrderKind::Cancel { shard: busy.shard, attempt: busy.attempt }),
            }
        }
        let booked: Vec<_> = self.state.node(ix).busy.keys().copied().collect();
        for (shard, attempt) in booked.into_iter().filter(|booked| !there.contains(booked)) {
            if self.state.is_current(ix, shard, attempt) {
                self.send_task(ix, shard);
            } else {
                self.release(ix, shard, attempt);
            }
        }
    }

    pub(crate) fn cancel(&mut self, ix: NodeIx, shard: ShardIx, attempt: AttemptNo) {
        if self.state.mutant == Mutant::AbortQuietly {
            return;
        }
        self.state.node_mut(ix).cancelled.insert((shard, attempt));
        let shard = self.state.shard(shard).id;
        self.send(ix, OrderKind::Cancel { shard, attempt });
    }

    /// Sends the try under way of a shard to its node; while the node may still serve the shard, when it has confirmed the
    /// closing. The try's clocks run meanwhile: a node that never does fails it.
    pub(crate) fn send_task(&mut self, ix: NodeIx, shard: ShardIx) {
        let s = self.state.shard(shard);
        if s.may_be_served() {
            return;
        }
        let (Some(attempt), Some(campaign)) = (s.current_attempt(), self.state.campaign_of(s)) else {
            return;
        };
        let action = if matches!(s.phase, Phase::Verifying { .. }) {
            Action::Verify { level: campaign.plan.policy.level }
        } else {
            Action::Confirm { stat_walk: s.standing.as_ref().map(|standing| standing.verification.stat_walk) }
        };
        let task = Task {
            shard: s.id,
            attempt,
            campaign: campaign.id,
            volume: s.volume,
            action,
            pace: campaign.plan.pace,
        };
        self.send(ix, OrderKind::Start(task));
    }

    fn reconcile_services(&mut self, ix: NodeIx, served: &[(ShardId, ServiceSet)]) {
        let served: BTreeMap<ShardId, ServiceSet> = served.iter().copied().collect();
        for shard in self.state.node(ix).shards.clone() {
            let services = served.get(&self.state.shard(shard).id).copied().unwrap_or(ServiceSet::NONE);
            self.reconcile_service(ix, shard, services);
        }
        for (id, services) in served.into_iter().filter(|(_, services)| !services.is_empty()) {
            let holder = self.state.shard_ix.get(&id).map(|shard| self.state.shard(*shard).node);
            if holder != Some(ix) {
                self.state.note_stranger(ix, id, services);
            }
        }
    }

    /// A node says what it serves of a shard that it has. What the node serves is what it was last told, as far as this session
    /// knows; of what is in doubt its word is taken down alone.
    pub(crate) fn reconcile_service(&mut self, ix: NodeIx, shard: ShardIx, services: ServiceSet) {
        let s = self.state.shard(shard);
        let (id, differs) = (s.id, s.seen != services && !s.doubted);
        let told = &mut self.state.shards[shard.at()];
        (told.told, told.unanswered) = (Some(services), false);
        if differs {
            self.decide_for(ix, Record::ServicesSeen { shard: id, services });
        }
        self.state.touched.push(shard);
    }

    pub(crate) fn result(
        &mut self,
        node: NodeId,
        incarnation: NodeIncarnation,
        shard: ShardId,
        attempt: AttemptNo,
        end: TaskEnd,
    ) {
        let Some(ix) = self.known(node, incarnation) else { return };
        let acknowledge = Command::Acknowledge { node, shard, attempt };
        if let Some(found) = self.state.shard_ix.get(&shard).copied() {
            if self.state.is_current(ix, found, attempt) {
                self.end_task(found, attempt, end);
            } else if self.state.node(ix).busy.contains_key(&(found, attempt)) {
                self.state.ignored.late += 1;
                self.release(ix, found, attempt);
            } else {
                self.state.ignored.duplicate += 1;
            }
        }
        self.step.commands.push(acknowledge);
    }

    pub(crate) fn stopped(&mut self, ix: NodeIx, shard: ShardId, attempt: AttemptNo) {
        let Some(shard) = self.state.shard_ix.get(&shard).copied() else { return };
        if self.state.is_current(ix, shard, attempt) {
            // The agent gave up, or forgot, what the journal waits for.
            self.end_task(shard, attempt, TaskEnd::Failed(TaskFailure::Interrupted));
        } else if self.state.node(ix).busy.contains_key(&(shard, attempt)) {
            self.release(ix, shard, attempt);
        } else {
            self.state.ignored.duplicate += 1;
        }
    }

    pub(crate) fn seen(&mut self, ix: NodeIx, shard: ShardId, services: ServiceSet) {
        let Some(found) = self.state.shard_ix.get(&shard).copied() else { return };
        let s = self.state.shard(found);
        let (seen, newest, waited) = (s.seen == services, s.services == services, s.may_be_served());
        if s.node != ix || s.doubted {
            self.state.ignored.foreign += 1;
            return;
        }
        self.state.shards[found.at()].unanswered &= !newest;
        if seen {
            self.state.ignored.duplicate += 1;
        } else if newest {
            self.decide_for(ix, Record::ServicesSeen { shard, services });
        } else {
            // An answer to an order that has been overtaken; the answer to the newest one follows.
            self.state.ignored.late += 1;
        }
        if waited && !self.state.shard(found).may_be_served() {
            self.send_task(ix, found);
        }
    }

    /// Ends the try under way of a shard, with the wait before the next one.
    pub(crate) fn end_task(&mut self, shard: ShardIx, attempt: AttemptNo, end: TaskEnd) {
        let end = self.checked(shard, end);
        let backoff = match &end {
            TaskEnd::Failed(_) => self.backoff(shard),
            TaskEnd::Verified { .. } | TaskEnd::Confirmed => rientro_types::Span::ZERO,
        };
        let node = self.state.shard(shard).node;
        let asked = self.state.node_mut(node).asked.remove(&(shard, attempt));
        let confirmed = self.is_of_now(shard, asked) && end == TaskEnd::Confirmed;
        let id = self.state.shard(shard).id;
        let waited = asked.is_none() && self.state.mutant != Mutant::DateByArrival;
        let record = Record::TaskEnded { shard: id, attempt, end, backoff, waited };
        self.decide_for(node, record);
        self.state.watches.remove(&shard);
        // An old word is believed, and followed by a confirmation that is of now.
        if confirmed {
            self.begin_opening(shard);
        }
    }

    /// An answer to another question, or about another volume, is no answer.
    fn checked(&self, shard: ShardIx, end: TaskEnd) -> TaskEnd {
        let s = self.state.shard(shard);
        let wrong = |problem: &str| TaskEnd::Failed(TaskFailure::Agent { problem: problem.to_owned() });
        let verifying = matches!(s.phase, Phase::Verifying { .. });
        let kind = if verifying { TaskKind::Verify } else { TaskKind::Confirm };
        match (end, kind) {
            (TaskEnd::Verified { verification, .. }, TaskKind::Verify) if verification.volume != s.volume => {
                TaskEnd::Failed(TaskFailure::VolumeWrong { found: Some(verification.volume) })
            }
            (TaskEnd::Verified { .. }, TaskKind::Confirm) => {
                wrong("it answered a confirmation with a verification")
            }
            (TaskEnd::Confirmed, TaskKind::Verify) => wrong("it answered a verification with a confirmation"),
            (end, _) => end,
        }
    }
}
