//! Applies the records of tasks and openings.

use rientro_types::{
    AttemptNo, CellTime, Charge, HeldReason, MailboxId, NodeId, Outcome, Phase, PolicyBreach, Ppm, Record,
    ServiceSet, ShardId, Span, Standing, TaskEnd, TaskFailure, TaskKind, Verification,
};

use crate::mutant::Mutant;
use crate::state::{NodeIx, Shard, ShardIx, State};

type Applied = Result<(), String>;

/// The reason a shard is held for when its verification breaches the policy.
pub(crate) fn held_for(breach: PolicyBreach, outcome: Outcome) -> Box<HeldReason> {
    Box::new(match (breach, outcome) {
        (PolicyBreach::Unknown, Outcome::Unknown(cause)) => HeldReason::Unknown(cause),
        (breach, _) => HeldReason::Policy(breach),
    })
}

impl State {
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "the caller's match lists every record and sends only these here"
    )]
    pub(crate) fn apply_progress(&mut self, record: &Record) -> Applied {
        match record {
            Record::TaskStarted { shard, kind, attempt, node, timeout } => {
                self.start(*shard, *kind, *attempt, *node, *timeout)
            }
            Record::TaskEnded { shard, attempt, end, backoff, waited } => {
                self.end(*shard, *attempt, end, (*backoff, *waited))
            }
            Record::TaskReleased { node, shard, attempt } => {
                let node = self.find_node(*node)?;
                let shard = self.find_shard(*shard)?;
                self.unbook(node, shard, *attempt);
                self.touched.push(shard);
                Ok(())
            }
            Record::VerificationExpired { shard } => {
                let at = self.at;
                self.edit(*shard, |s| {
                    s.standing = None;
                    s.enter(Phase::Waiting, at);
                })
            }
            Record::StepOpening { shard, services, timeout } => self.open_step(*shard, *services, *timeout),
            Record::OpeningOverdue { shard } => {
                let (at, node) = (self.at, self.node(self.shard(self.find_shard(*shard)?).node).id);
                self.edit(*shard, |s| {
                    let unconfirmed_for = at.since(s.since);
                    s.hold(HeldReason::OpeningOverdue { node, unconfirmed_for }, at);
                })
            }
            Record::ServicesSeen { shard, services } => self.edit(*shard, |s| {
                s.seen = *services;
                s.doubted = false;
            }),
            Record::ShardOpened { shard } => {
                let at = self.at;
                self.edit(*shard, |s| {
                    s.charge = Charge::None;
                    s.failures = 0;
                    s.enter(Phase::Open { adopted: false }, at);
                })
            }
            other => Err(format!("not a record of a task: {other:?}")),
        }
    }

    fn start(
        &mut self,
        shard: ShardId,
        kind: TaskKind,
        attempt: AttemptNo,
        node: NodeId,
        timeout: Span,
    ) -> Applied {
        let ix = self.find_shard(shard)?;
        let node = self.find_node(node)?;
        let at = self.at;
        let s = self.shard(ix);
        if attempt <= s.attempt {
            return Err(format!("attempt {attempt} of shard {shard} was used before"));
        }
        let campaign = self.campaign_of(s).ok_or_else(|| format!("shard {shard} is in no campaign"))?;
        let deadline = campaign.active(at) + timeout;
        self.book(node, ix, attempt, kind);
        self.change(ix, |s| {
            s.attempt = attempt;
            match kind {
                TaskKind::Verify => {
                    s.standing = None;
                    s.enter(Phase::Verifying { attempt, deadline }, at);
                }
                TaskKind::Confirm => s.enter(Phase::Confirming { attempt, deadline }, at),
            }
        });
        Ok(())
    }

    fn end(
        &mut self,
        shard: ShardId,
        attempt: AttemptNo,
        end: &TaskEnd,
        (backoff, waited): (Span, bool),
    ) -> Applied {
        let ix = self.find_shard(shard)?;
        let node = self.shard(ix).node;
        if self.shard(ix).current_attempt() != Some(attempt) {
            return Err(format!("attempt {attempt} of shard {shard} is not under way"));
        }
        match end {
            TaskEnd::Verified { verification, damaged } => {
                self.unbook(node, ix, attempt);
                let made = if waited { self.shard(ix).since } else { self.at };
                self.verified(ix, (attempt, made), verification, damaged)
            }
            TaskEnd::Confirmed => {
                self.unbook(node, ix, attempt);
                self.enter(ix, Phase::Verified);
                Ok(())
            }
            TaskEnd::Failed(failure) => {
                if !failure.leaves_node_busy() {
                    self.unbook(node, ix, attempt);
                }
                self.failed(ix, node, failure, backoff)
            }
        }
    }

    fn verified(
        &mut self,
        ix: ShardIx,
        (attempt, made): (AttemptNo, CellTime),
        verification: &Verification,
        damaged: &[MailboxId],
    ) -> Applied {
        let at = self.at;
        let campaign = self.campaign_of(self.shard(ix)).ok_or("the shard is in no campaign")?;
        let verdict = &verification.verdict;
        let policy = campaign.plan.policy;
        let judged = policy.judge(verdict);
        let blind = match judged {
            Err(PolicyBreach::Unknown) => self.mutant == Mutant::PassUnknown,
            _ => self.mutant == Mutant::OpenUnverified,
        };
        let next = match judged {
            _ if blind => Phase::Verified,
            Ok(()) => Phase::Verified,
            Err(breach) => Phase::Held { reason: held_for(breach, verdict.outcome) },
        };
        let standing = Standing {
            verification: verification.clone(),
            at: made,
            attempt,
            policy,
            damaged: damaged.to_vec(),
        };
        self.change(ix, |s| {
            if verdict.coverage == Ppm::ONE {
                s.bytes = verdict.tally.bytes;
            }
            if matches!(next, Phase::Held { .. }) {
                s.lose();
            }
            s.standing = Some(Box::new(standing));
            s.hold_if_short(at);
            s.enter(next, at);
        });
        Ok(())
    }

    /// A failed try is followed by another one, until all are spent. What is not there is held instead: trying again would
    /// not bring it back.
    fn failed(&mut self, ix: ShardIx, node: NodeIx, failure: &TaskFailure, backoff: Span) -> Applied {
        let at = self.at;
        let node = self.node(node).id;
        let campaign = self.campaign_of(self.shard(ix)).ok_or("the shard is in no campaign")?;
        let until = campaign.active(at) + backoff;
        let attempts_max = campaign.plan.tries.attempts_max;
        self.change(ix, |s| {
            s.failures = s.failures.saturating_add(1);
            if matches!(failure, TaskFailure::Changed) {
                s.standing = None;
                s.accepted = None;
            }
            if s.blocked.is_none()
                && let Some(reason) = s.missing(failure, node)
            {
                s.hold(reason, at);
            }
            let spent = s.failures >= attempts_max && s.blocked.is_none();
            if spent || (s.blocked.is_some() && !s.is_charged()) {
                s.lose();
            }
            let last = failure.clone();
            s.enter(if spent { Phase::Failed { last } } else { Phase::Backoff { until, last } }, at);
        });
        Ok(())
    }

    fn open_step(&mut self, shard: ShardId, services: ServiceSet, timeout: Span) -> Applied {
        let ix = self.find_shard(shard)?;
        let at = self.at;
        let campaign = self.campaign_of(self.shard(ix)).ok_or("the shard is in no campaign")?;
        let deadline = campaign.active(at) + timeout;
        self.change(ix, |s| {
            let step = if let Phase::Opening { step, .. } = s.phase { step.saturating_add(1) } else { 0 };
            s.services = services;
            s.enter(Phase::Opening { step, deadline }, at);
        });
        Ok(())
    }
}

impl Shard {
    /// The circumstance behind a failure, when the data is not where it should be.
    fn missing(&self, failure: &TaskFailure, node: NodeId) -> Option<HeldReason> {
        match failure {
            TaskFailure::VolumeWrong { found } => {
                Some(HeldReason::VolumeWrong { expected: self.volume, found: *found })
            }
            TaskFailure::ShardMissing => Some(HeldReason::ShardMissing { node }),
            TaskFailure::Changed
            | TaskFailure::Interrupted
            | TaskFailure::Cancelled
            | TaskFailure::TimedOut
            | TaskFailure::Stalled
            | TaskFailure::Reimaged
            | TaskFailure::Agent { .. } => None,
        }
    }
}
