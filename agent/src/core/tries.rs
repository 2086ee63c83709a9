//! Tries: begun once, durably, and never again under the same number.

use rientro_types::{
    AttemptNo, CampaignId, Digest, Order, PROBLEM_BYTES_MAX, Progress, ShardId, Task, TaskEnd, TaskFailure,
};
use rientro_wire::session::AgentMessage;

use super::{Core, Effect, Job, RunNo, Stage, TRIES_MAX, Try, running_task};
use crate::state::Fact;

type Key = (ShardId, AttemptNo);

impl Core {
    pub(super) fn start(&mut self, order: Order, task: Task, entry: Option<Digest>) {
        let key = (task.shard, task.attempt);
        let Some(mailbox_key) = self.terms.as_ref().map(|terms| terms.mailbox_key) else { return };
        if self.tries.contains_key(&key) {
            return;
        }
        let begun = self.newest_begun(&task.shard, &order);
        if begun.is_some_and(|begun| task.attempt <= begun) {
            return self.answer_old(key);
        }
        if self.tries.len() >= TRIES_MAX {
            return self.refuse_try(key, "too many tries wait on this node");
        }
        self.supersede(task.shard);
        self.effects.push(Effect::Write(Fact::Begun { order, task: running_task(&task) }));
        self.bear_witness(order, entry);
        let stage = Stage::Accepted { cancelled: false };
        self.tries.insert(key, Try { task, order, mailbox_key, stage, progress: Progress::default() });
    }

    /// The newest number begun on a shard in the order's life of the cell, durably or about to be.
    fn newest_begun(&self, shard: &ShardId, order: &Order) -> Option<AttemptNo> {
        let life = order.incarnation;
        let durable = self.facts.shards.get(shard).and_then(|facts| facts.newest_in(life));
        let accepted = self.tries_of(*shard).filter(|(_, try_)| try_.order.incarnation == life);
        durable.max(accepted.map(|(key, _)| key.1).max())
    }

    fn tries_of(&self, shard: ShardId) -> impl Iterator<Item = (Key, &Try)> {
        let numbers = (shard, AttemptNo::from_raw(0))..=(shard, AttemptNo::from_raw(u32::MAX));
        self.tries.range(numbers).map(|(key, try_)| (*key, try_))
    }

    /// A number that was begun is answered with its result, or with the word that nothing of it is left: results of an earlier
    /// life than the newest one met are void.
    pub(super) fn answer_old(&mut self, (shard, attempt): Key) {
        let kept = self.facts.shards.get(&shard).filter(|_| !self.is_life_over());
        match kept.and_then(|facts| facts.outbox.get(&attempt)).cloned() {
            Some(end) => self.tell(shard, attempt, end),
            None => self.send(AgentMessage::TaskStopped { shard, attempt }),
        }
    }

    /// Nobody waits for earlier tries of a shard once a new one begins.
    fn supersede(&mut self, shard: ShardId) {
        let earlier: Vec<_> = self.tries_of(shard).map(|(key, _)| key).collect();
        for key in earlier {
            self.cancel_try(key);
        }
    }

    /// Cancels a try that is under way; false when it is not.
    pub(super) fn cancel_try(&mut self, key: Key) -> bool {
        let Some(try_) = self.tries.get_mut(&key) else { return false };
        match try_.stage {
            Stage::Accepted { .. } => try_.stage = Stage::Accepted { cancelled: true },
            Stage::Running(run) => self.effects.push(Effect::Cancel(run)),
            Stage::Ended => {}
        }
        true
    }

    /// Its beginning is durable: it has effects from here on. A try of that number that another order began is another one.
    pub(super) fn begin(&mut self, key: Key, order: &Order) {
        let Some(try_) = self.tries.get_mut(&key).filter(|try_| try_.order == *order) else { return };
        if try_.stage == (Stage::Accepted { cancelled: true }) {
            return self.ended(key, TaskEnd::Failed(TaskFailure::Cancelled));
        }
        self.run_last = RunNo(self.run_last.0 + 1);
        let run = self.run_last;
        let (task, life, mailbox_key) = (try_.task.clone(), try_.order.incarnation, try_.mailbox_key);
        try_.stage = Stage::Running(run);
        self.runs.insert(run, key);
        let paused = self.suspended.contains_key(&task.campaign);
        let job = Box::new(Job { task, life, mailbox_key });
        self.effects.push(Effect::Begin { run, job, paused });
    }

    /// Its beginning could not be made durable. Nobody asks for one that is void meanwhile.
    pub(super) fn not_begun(&mut self, key: Key, order: &Order, why: &str) {
        if self.tries.get(&key).is_some_and(|try_| try_.order == *order) {
            self.refuse_try(key, why);
        }
    }

    /// A try that cannot begin is answered at once. Nothing of it was durable, so the answer is not kept: whoever misses it
    /// sends the try again.
    pub(super) fn refuse_try(&mut self, key: Key, why: &str) {
        self.tries.remove(&key);
        let end = TaskEnd::Failed(TaskFailure::Agent { problem: problem(why) });
        self.send(AgentMessage::TaskResult { shard: key.0, attempt: key.1, end });
    }

    /// A run that is not known was voided by a new life of the cell.
    pub(super) fn run_ended(&mut self, run: RunNo, end: TaskEnd) {
        if let Some(key) = self.runs.remove(&run) {
            self.ended(key, end);
        }
    }

    fn ended(&mut self, (shard, attempt): Key, end: TaskEnd) {
        let void = self.is_life_over();
        if let Some(try_) = self.tries.get_mut(&(shard, attempt)) {
            try_.stage = Stage::Ended;
            // Written behind the new life, a result would be one of a try of that.
            if !void {
                self.effects.push(Effect::Write(Fact::Ended { shard, attempt, end }));
            }
        }
    }

    /// A new life of the cell begins its own tries: those of earlier lives end, and leave no result.
    pub(super) fn void_tries(&mut self) {
        let Some(life) = self.facts.fence.map(|fence| fence.incarnation) else { return };
        let earlier: Vec<_> =
            self.tries.iter().filter(|(_, t)| t.order.incarnation < life).map(|(key, _)| *key).collect();
        for key in earlier {
            self.cancel_try(key);
            self.tries.remove(&key);
            self.runs.retain(|_, of| *of != key);
            self.send(AgentMessage::TaskStopped { shard: key.0, attempt: key.1 });
        }
        self.unwritten.retain(|fact| !matches!(fact, Fact::Ended { .. } | Fact::Settled { .. }));
    }

    pub(super) fn running_of(&self, campaign: CampaignId) -> Vec<RunNo> {
        let of = |key| self.tries.get(key).is_some_and(|try_: &Try| try_.task.campaign == campaign);
        self.runs.iter().filter(|(_, key)| of(*key)).map(|(run, _)| *run).collect()
    }

    /// Tells how far tries are, where that changed; writes again what could not be written; ends doubt about suspensions.
    pub(super) fn tick(&mut self, progress: Vec<(RunNo, Progress)>) {
        for (run, progress) in progress {
            let Some((shard, attempt)) = self.runs.get(&run).copied() else { continue };
            let Some(try_) = self.tries.get_mut(&(shard, attempt)) else { continue };
            if try_.progress != progress {
                try_.progress = progress;
                self.send(AgentMessage::TaskProgress { shard, attempt, progress });
            }
        }
        self.write_again();
        let mut over = Vec::new();
        for (campaign, doubt) in &mut self.suspended {
            match doubt {
                Some(0) => over.push(*campaign),
                Some(ticks) => *ticks -= 1,
                None => {}
            }
        }
        if self.terms.is_some() {
            over.into_iter().for_each(|campaign| self.go_on(campaign));
        }
    }
}

/// Cuts an explanation to its bound.
pub(crate) fn problem(why: &str) -> String {
    let end = (0..=PROBLEM_BYTES_MAX.min(why.len())).rev().find(|at| why.is_char_boundary(*at));
    why[..end.unwrap_or(0)].to_owned()
}
