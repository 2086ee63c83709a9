//! The agent at work: one loop that owns the core, hands it what happens, and carries out what it decides.
//!
//! The loop itself never waits for a disk, a network or a task: writing, scanning, running and sending each have a place of
//! their own and come back as events, so an order to stop is acted on while all of them are busy.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rientro_types::{BootId, Digest, TaskEnd, TaskFailure, VolumeId};
use rientro_wire::session::{AgentMessage, Hello, PROTOCOL};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::baselines::Baselines;
use crate::bulk::{InventoryReport, Told, are_owed};
use crate::core::{Core, Effect, Input, RunNo};
use crate::durable;
use crate::findings::FindingsStore;
use crate::inventory::{Scan, scan};
use crate::roots::Roots;
use crate::runner::{Runner, Work};
use crate::scribe::{Scribe, Written};
use crate::session::{Dialer, Line, SessionEvent};
use crate::settings::Settings;
use crate::state::{FACTS_PER_WRITE_MAX, Fact, StateDir};

/// Between two looks at the progress of tasks.
const TICK: Duration = Duration::from_secs(1);
/// Events of each kind that wait; whoever has more waits with them.
const EVENTS_MAX: usize = 256;
/// Facts that wait to be written. More only when the disk stands still: the orchestrator then hears nothing and orders less.
const UNWRITTEN_MAX: usize = 64 << 10;
/// Longest wait for tasks and the last write when the agent stops.
const STOP_MAX: Duration = Duration::from_secs(5);
/// Ticks between two looks at which volumes are mounted.
const VOLUMES_EVERY_TICKS: u32 = 2;

/// What this build says of itself.
pub const BUILD: &str = concat!("rientro-agent ", env!("CARGO_PKG_VERSION"));

/// Runs the agent until `stop` is cancelled.
///
/// # Errors
/// When the state directory cannot be used, or what is on its disk is no longer known.
pub async fn run(settings: Settings, stop: CancellationToken) -> Result<()> {
    let (state, ledger, facts) = StateDir::open(&settings.state).context("open the state directory")?;
    tracing::info!(node = %settings.node, incarnation = %state.incarnation, "agent begins");
    let findings =
        FindingsStore::open(state.findings(), settings.findings_kept).context("open the findings")?;
    let roots = Arc::new(Roots::new(settings.roots.clone()));
    let (written_to, written) = mpsc::channel(1);
    let (ended_to, ended) = mpsc::channel(EVENTS_MAX);
    let (said_to, said) = mpsc::channel(EVENTS_MAX);
    let (scanned_to, scanned) = mpsc::channel(1);
    let scribe = Scribe::start(&state, ledger, facts.clone(), settings.state_space_min, written_to)
        .context("start the thread that writes")?;
    let work = Work {
        roots: Arc::clone(&roots),
        findings: findings.clone(),
        baselines: Baselines::new(settings.baselines.clone()),
        readers_default: settings.readers,
    };
    let dialer = Dialer {
        endpoints: settings.endpoints.clone(),
        node: settings.node,
        incarnation: state.incarnation,
        events: said_to,
    };
    let tracker = TaskTracker::new();
    let dialing = tracker.spawn(dialer.run());
    let daemon = Daemon {
        boot: drawn().context("draw a number for this run")?,
        core: Core::new(facts),
        runner: Runner::new(work, settings.tasks_max, ended_to),
        scribe,
        unwritten: Vec::new(),
        writing: false,
        line: None,
        findings,
        told: Told::default(),
        scanner: Scanner {
            roots,
            to: scanned_to,
            tracker,
            scanning: false,
            again: false,
            last: None,
            volumes: Vec::new(),
        },
        state,
        settings,
    };
    let ended = daemon.work(Inbox { written, ended, said, scanned }, stop).await;
    dialing.abort();
    ended
}

/// A number for this run of the process.
fn drawn() -> std::io::Result<BootId> {
    let raw = u64::from_le_bytes(durable::random()?);
    // One in 2^64 draws is 0, which is no number of a run.
    Ok(BootId::from_raw(raw.max(1)).expect("it is at least 1"))
}

struct Daemon {
    /// This run of the process: tells it from one that has a copy of the state directory.
    boot: BootId,
    settings: Settings,
    state: StateDir,
    core: Core,
    runner: Runner,
    scribe: Scribe,
    /// Facts for the next write.
    unwritten: Vec<Fact>,
    writing: bool,
    line: Option<Line>,
    findings: FindingsStore,
    told: Told,
    scanner: Scanner,
}

struct Inbox {
    written: mpsc::Receiver<Written>,
    ended: mpsc::Receiver<(RunNo, TaskEnd)>,
    said: mpsc::Receiver<SessionEvent>,
    scanned: mpsc::Receiver<Look>,
}

/// Looks at roots, one look at a time.
struct Scanner {
    roots: Arc<Roots>,
    to: mpsc::Sender<Look>,
    tracker: TaskTracker,
    scanning: bool,
    /// A whole look is wanted as soon as the present one is done.
    again: bool,
    last: Option<(Arc<Scan>, Digest)>,
    volumes: Vec<Option<VolumeId>>,
}

/// What a look saw.
enum Look {
    /// Everything.
    Whole(Scan, Vec<Option<VolumeId>>),
    /// Only which volumes are mounted.
    Volumes(Vec<Option<VolumeId>>),
}

impl Daemon {
    async fn work(mut self, mut inbox: Inbox, stop: CancellationToken) -> Result<()> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut rescans = interval(self.settings.rescan);
        rescans.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tick: u32 = 0;
        loop {
            // Cancel-safe: receivers and intervals lose nothing when another arm is taken. What stops work comes first.
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(event) = inbox.said.recv() => self.session(event),
                Some(written) = inbox.written.recv() => self.written(written)?,
                Some((run, end)) = inbox.ended.recv() => {
                    self.runner.forget(run);
                    if end == TaskEnd::Failed(TaskFailure::Changed) {
                        // What changed may be which mailboxes there are, which is to be known before it is tried again.
                        self.scanner.look_whole();
                    }
                    self.step(Input::Ended(run, end));
                }
                Some(look) = inbox.scanned.recv() => self.looked(look),
                _ = rescans.tick() => self.scanner.look_whole(),
                _ = ticks.tick() => {
                    tick = tick.wrapping_add(1);
                    if tick.is_multiple_of(VOLUMES_EVERY_TICKS) {
                        self.scanner.look_at_volumes();
                    }
                    self.step(Input::Tick(self.runner.progress()));
                }
            }
            self.write()?;
        }
        // Whoever dials is not to dial again.
        inbox.said.close();
        self.stop().await;
        Ok(())
    }

    /// Stops tasks, which then count as interrupted, and lets the last write end.
    async fn stop(self) {
        tracing::info!(refused = ?self.core.refused(), "agent stops");
        self.line.iter().for_each(|line| line.hang_up.cancel());
        if timeout(STOP_MAX, self.runner.stop()).await.is_err() {
            tracing::warn!("tasks did not stop in time");
        }
        let scribe = self.scribe;
        if timeout(STOP_MAX, tokio::task::spawn_blocking(move || scribe.finish())).await.is_err() {
            tracing::warn!("the last write did not end in time");
        }
    }

    fn session(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Greeting(answer) => {
                let hello = AgentMessage::Hello(self.hello());
                answer.send([hello].into_iter().chain(self.core.greeting()).collect()).ok();
            }
            SessionEvent::Welcomed(welcome, line) => {
                self.line = Some(line);
                self.step(Input::Connected(welcome));
            }
            SessionEvent::Said(message) => self.step(Input::Said(message)),
            SessionEvent::Lost => {
                self.line = None;
                self.step(Input::Disconnected);
            }
        }
    }

    fn hello(&self) -> Hello {
        Hello {
            protocol: PROTOCOL,
            build: BUILD.to_owned(),
            node: self.settings.node,
            incarnation: self.state.incarnation,
            labels: self.settings.labels.clone(),
            newest: self.core.facts().newest_met(),
            inventory: self.scanner.last.as_ref().map(|(_, digest)| *digest),
            witness: self.core.facts().witness(),
            boot: self.boot,
        }
    }

    fn step(&mut self, input: Input) {
        for effect in self.core.step(input) {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Write(fact) => self.unwritten.push(fact),
            Effect::Send(message) => self.send(message),
            Effect::HangUp(reason) => {
                tracing::warn!(?reason, "session ended from this side");
                self.hang_up();
            }
            Effect::Begin { run, job, paused } => self.runner.begin(run, job, paused),
            Effect::Cancel(run) => self.runner.cancel(run),
            Effect::Hold(run, held) => self.runner.hold(run, held),
            Effect::Pace(run, pace) => self.runner.pace(run, pace),
            Effect::UploadFindings(wanted) => {
                if let Some(line) = &self.line {
                    line.bulk.upload(wanted, self.findings.clone());
                }
            }
            Effect::ReportInventory { rescan, whole, mailbox_key, served } => {
                if whole {
                    self.told.lock().unwrap_or_else(PoisonError::into_inner).clear();
                }
                self.report(rescan, mailbox_key, served.into_iter().collect());
            }
        }
    }

    /// Tells the last look, or looks first; the end of that look tells it.
    fn report(
        &mut self,
        rescan: bool,
        mailbox_key: [u8; 32],
        served: BTreeMap<rientro_types::ShardId, rientro_types::ServiceSet>,
    ) {
        match (&self.scanner.last, &self.line) {
            (Some((scan, _)), Some(line)) if !rescan => {
                let (scan, told) = (Arc::clone(scan), Arc::clone(&self.told));
                line.bulk.report(InventoryReport { scan, served, mailbox_key, told });
            }
            (Some(_), Some(_)) => {
                self.scanner.last = None;
                self.scanner.look_whole();
            }
            // The first look is under way, and tells itself when it is done.
            (None, _) | (_, None) => {}
        }
    }

    fn looked(&mut self, look: Look) {
        let whole = matches!(look, Look::Whole(..));
        if self.scanner.looked(look) || (whole && self.owes_lists()) {
            self.step(Input::InventoryChanged);
        }
    }

    /// Whether lists of mailboxes were not told, though nothing changed and nobody is at it: one could not be made, or was not
    /// taken. Who looks for a mailbox in them would not find it.
    fn owes_lists(&self) -> bool {
        let (Some((scan, _)), Some(line)) = (&self.scanner.last, &self.line) else { return false };
        !line.bulk.is_telling() && are_owed(scan, &self.told)
    }

    fn send(&mut self, message: AgentMessage) {
        let full = self.line.as_ref().is_some_and(|line| line.out.try_send(message).is_err());
        if full {
            tracing::warn!("the orchestrator does not read; session ended");
            self.hang_up();
        }
    }

    fn hang_up(&mut self) {
        if let Some(line) = self.line.take() {
            line.hang_up.cancel();
        }
    }

    fn write(&mut self) -> Result<()> {
        if self.unwritten.len() > UNWRITTEN_MAX {
            self.hang_up();
        }
        if self.writing || self.unwritten.is_empty() {
            return Ok(());
        }
        let batch = self.unwritten.drain(..self.unwritten.len().min(FACTS_PER_WRITE_MAX)).collect();
        self.writing = true;
        if self.scribe.write(batch).is_err() {
            bail!("the thread that writes facts is gone");
        }
        Ok(())
    }

    fn written(&mut self, written: Written) -> Result<()> {
        self.writing = false;
        match written {
            Written::Lost(why) => bail!("the state directory cannot be trusted any more: {why}"),
            Written::Done { durable, refused } => {
                self.step(Input::Written(durable));
                for (facts, why) in refused {
                    tracing::warn!(facts = facts.len(), why, "facts not written");
                    self.step(Input::NotWritten(facts, why));
                }
                Ok(())
            }
        }
    }
}

impl Scanner {
    fn look_whole(&mut self) {
        if self.scanning {
            self.again = true;
            return;
        }
        self.look(|roots| {
            let volumes = roots.volumes();
            Look::Whole(scan(roots), volumes)
        });
    }

    fn look_at_volumes(&mut self) {
        if !self.scanning {
            self.look(|roots| Look::Volumes(roots.volumes()));
        }
    }

    fn look(&mut self, look: impl FnOnce(&Roots) -> Look + Send + 'static) {
        self.scanning = true;
        let (roots, to) = (Arc::clone(&self.roots), self.to.clone());
        // Nobody listens only while the process ends.
        self.tracker.spawn_blocking(move || to.blocking_send(look(&roots)).ok());
    }

    /// Takes a look over; true when the inventory is another one.
    fn looked(&mut self, look: Look) -> bool {
        self.scanning = false;
        let mut changed = false;
        let volumes = match look {
            Look::Whole(scan, volumes) => {
                let digest = scan.digest();
                changed = self.last.as_ref().is_none_or(|(_, last)| *last != digest);
                self.last = Some((Arc::new(scan), digest));
                volumes
            }
            Look::Volumes(volumes) => {
                self.again |= volumes != self.volumes;
                volumes
            }
        };
        self.volumes = volumes;
        if std::mem::take(&mut self.again) {
            self.look_whole();
        }
        changed
    }
}
