//! A running try on a model agent: reads what is really there, at its own speed, and comes to an honest end.

use rientro_types::{
    Action, Digest, Outcome, Ppm, Progress, Task, TaskEnd, TaskFailure, UnknownCause, Verification,
};

use crate::agent::Scene;
use crate::truth::{Condition, Found, Host};

/// One running try.
#[derive(Clone, Debug)]
pub struct Work {
    /// What was ordered.
    pub task: Task,
    generation: Option<u64>,
    messages: u64,
    done_ms: u64,
    total_ms: u64,
}

impl Work {
    /// Begins: how long it takes follows from how much there is to read.
    pub fn new(task: Task, host: Host, scene: &mut Scene<'_>) -> Self {
        let (generation, messages) = match scene.truth.find(host, task.shard, task.volume) {
            Found::Here(content) => (Some(content.generation), content.messages),
            Found::Missing | Found::Wrong(_) => (None, 0),
        };
        let total_ms = match task.action {
            Action::Verify { .. } => messages * 20 + scene.rng.between(500, 15_000),
            Action::Confirm { .. } => scene.rng.between(100, 2_500),
        };
        Self { task, generation, messages, done_ms: 0, total_ms }
    }

    /// Whether it reads the whole shard.
    #[must_use]
    pub fn is_verification(&self) -> bool {
        self.task.action.kind() == rientro_types::TaskKind::Verify
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let messages = self.messages * self.done_ms.min(self.total_ms) / self.total_ms.max(1);
        // What is not read message by message still moves: bytes stand for all of it.
        Progress { mailboxes: 0, messages, bytes: messages * 4096 + self.done_ms, findings: 0 }
    }

    /// Goes on; the end, if it has come.
    pub fn advance(&mut self, ms: u64, host: Host, scene: &mut Scene<'_>) -> Option<TaskEnd> {
        let task = &self.task;
        let content = match scene.truth.find(host, task.shard, task.volume) {
            Found::Here(content) => content,
            Found::Missing => return Some(TaskEnd::Failed(TaskFailure::ShardMissing)),
            Found::Wrong(found) => return Some(TaskEnd::Failed(TaskFailure::VolumeWrong { found })),
        };
        self.done_ms += ms;
        if self.done_ms < self.total_ms {
            return None;
        }
        if scene.flaky && scene.rng.percent(2) {
            let problem = "no space for its result".to_owned();
            return Some(TaskEnd::Failed(TaskFailure::Agent { problem }));
        }
        let stat_walk = content.stat_walk(task.shard);
        match task.action {
            Action::Confirm { stat_walk: wanted } if wanted.is_none_or(|wanted| wanted == stat_walk) => {
                Some(TaskEnd::Confirmed)
            }
            Action::Confirm { .. } => Some(TaskEnd::Failed(TaskFailure::Changed)),
            Action::Verify { level } => {
                let mut verdict = content.verdict(level);
                if self.generation != Some(content.generation) && content.condition != Condition::Empty {
                    verdict.outcome = Outcome::Unreadable;
                    verdict.tally.mailboxes_unreadable += 1;
                } else if scene.flaky && scene.rng.percent(1) {
                    verdict.outcome = Outcome::Unknown(UnknownCause::Incomplete);
                    verdict.coverage = Ppm::ratio(1, 2);
                }
                let findings = Digest::of(task.shard.as_str().as_bytes());
                let verification = Verification { verdict, stat_walk, findings, volume: task.volume };
                Some(TaskEnd::Verified { verification, damaged: Vec::new() })
            }
        }
    }
}

/// What a lying agent makes of an end.
pub fn twisted(end: TaskEnd, scene: &mut Scene<'_>) -> TaskEnd {
    match (end, scene.rng.below(5)) {
        (TaskEnd::Verified { mut verification, damaged }, 0) => {
            verification.verdict.outcome = Outcome::Clean;
            verification.verdict.tally.messages_damaged = 0;
            verification.verdict.tally.mailboxes_damaged = 0;
            verification.verdict.tally.mailboxes_broken = 0;
            verification.verdict.tally.mailboxes_unreadable = 0;
            TaskEnd::Verified { verification, damaged }
        }
        (TaskEnd::Verified { mut verification, damaged }, 1) => {
            verification.volume = crate::names::volume(9_999);
            TaskEnd::Verified { verification, damaged }
        }
        (TaskEnd::Verified { .. }, 2) => TaskEnd::Confirmed,
        (TaskEnd::Verified { .. }, 3) => TaskEnd::Failed(TaskFailure::Changed),
        (TaskEnd::Verified { mut verification, damaged }, _) => {
            verification.verdict.level = rientro_types::Level::Presence;
            TaskEnd::Verified { verification, damaged }
        }
        (_, 0) => TaskEnd::Confirmed,
        (_, 1) => TaskEnd::Failed(TaskFailure::Changed),
        (end, _) => end,
    }
}
