//! Runs tasks: a bounded number at once, on threads of their own, each with a handle to stop, hold and pace it.
//!
//! The volume is looked at before and after: a conclusion about another volume, an unmounted one or a vanished directory is
//! no conclusion about the shard. Nothing here decides whether a task may run; see the core.

use std::collections::BTreeMap;
use std::sync::Arc;

use rientro_mailstore::{Control, StatWalkError, Task as StoreTask, stat_walk, verify};
use rientro_types::{
    Action, DAMAGED_MAILBOXES_MAX, Digest, Finding, FindingKind, Level, LocatedFinding, MailboxId, Pace,
    Progress, Task, TaskEnd, TaskFailure, TaskKind, Verification,
};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::baselines::Baselines;
use crate::core::{Job, RunNo, problem};
use crate::findings::FindingsStore;
use crate::hung::{Hung, Run};
use crate::inventory::too_many;
use crate::roots::{Place, Roots};

/// Runs tasks and says how they end.
#[derive(Debug)]
pub struct Runner {
    work: Arc<Work>,
    /// Verifications that run at once.
    verifies: Arc<Semaphore>,
    /// Confirmations that run at once: they are short, and are not to wait behind verifications.
    confirms: Arc<Semaphore>,
    hung: Hung,
    tracker: TaskTracker,
    ended: mpsc::Sender<(RunNo, TaskEnd)>,
    handles: BTreeMap<RunNo, Handle>,
}

/// The handle on one run.
#[derive(Clone, Debug)]
struct Handle {
    control: Control,
    /// Ends the wait for a place.
    gone: CancellationToken,
}

/// What every run uses.
#[derive(Debug)]
pub struct Work {
    /// Where shards are.
    pub roots: Arc<Roots>,
    /// Where findings go.
    pub findings: FindingsStore,
    /// What shards are compared with.
    pub baselines: Baselines,
    /// Readers of a task whose plan names none.
    pub readers_default: usize,
}

impl Runner {
    /// A runner of at most `tasks_max` verifications and as many confirmations at once, which sends ends to `ended`.
    #[must_use]
    pub fn new(work: Work, tasks_max: usize, ended: mpsc::Sender<(RunNo, TaskEnd)>) -> Self {
        Self {
            work: Arc::new(work),
            verifies: Arc::new(Semaphore::new(tasks_max)),
            confirms: Arc::new(Semaphore::new(tasks_max)),
            hung: Hung::default(),
            tracker: TaskTracker::new(),
            ended,
            handles: BTreeMap::new(),
        }
    }

    /// Begins a task, or queues it.
    pub fn begin(&mut self, run: RunNo, job: Box<Job>, paused: bool) {
        let control = Control::new(self.pace_of(job.task.pace));
        if paused {
            control.pause();
        }
        let gone = CancellationToken::new();
        self.handles.insert(run, Handle { control: control.clone(), gone: gone.clone() });
        let slots = match job.task.action.kind() {
            TaskKind::Verify => Arc::clone(&self.verifies),
            TaskKind::Confirm => Arc::clone(&self.confirms),
        };
        let (work, hung, ended) = (Arc::clone(&self.work), self.hung.clone(), self.ended.clone());
        self.tracker.spawn(async move {
            // Cancel-safe: giving up the wait gives up the place in the queue, which is what is wanted.
            let place = tokio::select! {
                place = slots.acquire_owned() => place.ok(),
                () = gone.cancelled() => None,
            };
            let end = match &place {
                // It never began, and no disk is asked.
                None => TaskEnd::Failed(TaskFailure::Cancelled),
                Some(_) => {
                    let run = move |run: &Run| work.run(run, &job, &control);
                    hung.outcome(run, &gone).await
                }
            };
            drop(place);
            // Nobody listens only while the process ends; the try is then interrupted.
            ended.send((run, end)).await.ok();
        });
    }

    /// Forgets a run that ended.
    pub fn forget(&mut self, run: RunNo) {
        self.handles.remove(&run);
    }

    /// Ends a run soon.
    pub fn cancel(&self, run: RunNo) {
        if let Some(handle) = self.handles.get(&run) {
            handle.cancel();
        }
    }

    /// Holds a run, or lets it go on.
    pub fn hold(&self, run: RunNo, held: bool) {
        self.with(run, if held { Control::pause } else { Control::resume });
    }

    /// Changes how hard a run presses.
    pub fn pace(&self, run: RunNo, pace: Pace) {
        let pace = self.pace_of(pace);
        self.with(run, |control| {
            control.set_readers(pace.readers);
            control.set_bytes_per_second(pace.bytes_per_second);
        });
    }

    /// How far runs are.
    #[must_use]
    pub fn progress(&self) -> Vec<(RunNo, Progress)> {
        self.handles.iter().map(|(run, handle)| (*run, progress(&handle.control))).collect()
    }

    /// Ends every run and waits until none is left.
    pub async fn stop(&self) {
        self.handles.values().for_each(Handle::cancel);
        self.tracker.close();
        self.tracker.wait().await;
    }

    fn with(&self, run: RunNo, act: impl FnOnce(&Control)) {
        if let Some(handle) = self.handles.get(&run) {
            act(&handle.control);
        }
    }

    fn pace_of(&self, pace: Pace) -> rientro_mailstore::Pace {
        let Pace { bytes_per_second, readers } = pace;
        let readers = usize::try_from(readers).ok().filter(|readers| *readers > 0);
        rientro_mailstore::Pace {
            readers: readers.unwrap_or(self.work.readers_default),
            bytes_per_second: bytes_per_second.bytes(),
        }
    }
}

impl Handle {
    fn cancel(&self) {
        self.control.cancel();
        self.gone.cancel();
    }
}

fn progress(control: &Control) -> Progress {
    let rientro_mailstore::Progress { mailboxes, messages, bytes, findings } = control.progress();
    Progress { mailboxes, messages, bytes, findings }
}

impl Work {
    /// Runs one task to its end.
    fn run(&self, run: &Run, job: &Job, control: &Control) -> TaskEnd {
        let task = &job.task;
        let span = tracing::info_span!(
            "task", shard = %task.shard, attempt = %task.attempt, campaign = %task.campaign, kind = task.action.kind().name()
        );
        let _entered = span.enter();
        tracing::info!("task begins");
        let end = self.end_of(run, job, control).unwrap_or_else(TaskEnd::Failed);
        match &end {
            TaskEnd::Verified { verification, .. } => {
                tracing::info!(verdict = %verification.verdict, "task ended");
            }
            TaskEnd::Confirmed => tracing::info!(verdict = "confirmed", "task ended"),
            TaskEnd::Failed(failure) => tracing::info!(?failure, "task ended"),
        }
        end
    }

    fn end_of(&self, run: &Run, job: &Job, control: &Control) -> Result<TaskEnd, TaskFailure> {
        let task = &job.task;
        if control.is_cancelled() {
            return Err(TaskFailure::Cancelled);
        }
        let place = self.roots.find(task.shard, task.volume, |root| run.look_at(&root.path))?;
        let end = match task.action {
            Action::Verify { level } => self.verify(job, level, &place, control),
            Action::Confirm { stat_walk } => confirm(task, stat_walk, &place, control),
        };
        // The orchestrator judges by the list of the last look whether a mailbox is missing. This one is of another set.
        if task.action.kind() == TaskKind::Verify && self.roots.lists_others(task.shard, &place, control) {
            return Err(TaskFailure::Changed);
        }
        // What was concluded while the volume or the directory went away is about something else.
        let found = place.root.volume();
        if found != Some(task.volume) {
            return Err(TaskFailure::VolumeWrong { found });
        }
        if !place.directory().is_dir() {
            return Err(TaskFailure::ShardMissing);
        }
        end
    }

    fn verify(
        &self,
        job: &Job,
        level: Level,
        place: &Place,
        control: &Control,
    ) -> Result<TaskEnd, TaskFailure> {
        let Job { task, life, mailbox_key: key } = job;
        let here = |what, error| agent_failure(&format!("cannot {what}: {error}"));
        let expected = place.expected().map_err(|error| agent_failure(&error.to_string()))?;
        let mut file = self
            .findings
            .create(*life, task.shard, task.attempt)
            .map_err(|error| here("create the findings file", error))?;
        let mut unwritten = None;
        let mut sink = |finding: Finding| {
            if unwritten.is_none()
                && let Err(error) = file.add(located(finding, place, key))
            {
                unwritten = Some(error);
                control.cancel();
            }
        };
        let store_task = StoreTask { expected: expected.as_ref(), ..store_task(task, place) };
        let report = match level {
            Level::Presence | Level::Structure => verify(&store_task, level, control, &mut sink),
            Level::Baseline => self.baselines.verify(task.shard, &store_task, control, &mut sink),
        };
        if let Some(error) = unwritten {
            return Err(here("write the findings file", error));
        }
        if control.is_cancelled() {
            return Err(TaskFailure::Cancelled);
        }
        if report.verdict.tally.kinds.contains(FindingKind::VolumeWrong) {
            return Err(TaskFailure::VolumeWrong { found: place.root.volume() });
        }
        let tally = &report.verdict.tally;
        if !tally.is_within_bounds() {
            return Err(agent_failure(&too_many(tally.mailboxes)));
        }
        file.finish().map_err(|error| here("keep the findings file", error))?;
        self.findings
            .prune(task.shard)
            .unwrap_or_else(|error| tracing::warn!(%error, "old findings not removed"));
        let verification = Verification {
            verdict: report.verdict,
            stat_walk: report.stat_walk,
            findings: report.findings_digest,
            volume: task.volume,
        };
        let ids = report.damaged.iter().take(DAMAGED_MAILBOXES_MAX).map(|path| mailbox_id(path, place, key));
        Ok(TaskEnd::Verified { verification, damaged: ids.collect() })
    }
}

fn confirm(
    task: &Task,
    wanted: Option<Digest>,
    place: &Place,
    control: &Control,
) -> Result<TaskEnd, TaskFailure> {
    let Some(wanted) = wanted else { return Ok(TaskEnd::Confirmed) };
    match stat_walk(&store_task(task, place), control) {
        Ok(found) if found == wanted => Ok(TaskEnd::Confirmed),
        Ok(_) => Err(TaskFailure::Changed),
        Err(StatWalkError::Cancelled) => Err(TaskFailure::Cancelled),
        Err(StatWalkError::Volume { .. }) => Err(TaskFailure::VolumeWrong { found: place.root.volume() }),
    }
}

fn store_task<'a>(task: &Task, place: &'a Place) -> StoreTask<'a> {
    StoreTask {
        root: &place.root.path,
        layout: &place.root.layout,
        shard: &place.path,
        volume: Some(task.volume),
        expected: None,
    }
}

fn located(finding: Finding, place: &Place, key: &[u8; 32]) -> LocatedFinding {
    let address = (!finding.mailbox.is_empty())
        .then(|| place.root.layout.address(&place.path, &finding.mailbox))
        .flatten();
    let mailbox_id = address.as_deref().map(|address| MailboxId::of_address(key, address));
    LocatedFinding { mailbox_id, address, finding }
}

fn mailbox_id(path: &[u8], place: &Place, key: &[u8; 32]) -> MailboxId {
    let address = place.root.layout.address(&place.path, path);
    MailboxId::of_address(key, address.as_deref().unwrap_or(path))
}

fn agent_failure(why: &str) -> TaskFailure {
    TaskFailure::Agent { problem: problem(why) }
}
