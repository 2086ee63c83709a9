//! The orchestrator's process: drains its inbox, steps the engine, appends, and only then carries anything out.
//!
//! It can die at any point. What it was about to append is then durable or not, by chance; what it was about to say is
//! never said.

use std::collections::{BTreeMap, VecDeque};

use rientro_engine::{Engine, Event, Hello, Observation, Origin, SessionNo};
use rientro_types::{CellTime, Digest, Entry, Epoch, NodeId};

use crate::monitor::{Asked, Stepped};
use crate::rng::Rng;
use crate::world::World;

/// Something in the inbox.
#[derive(Clone, Debug)]
pub enum Input {
    /// For the engine's `step`.
    Event(Box<Event>),
    /// For the engine's `observe`.
    Seen(Observation),
}

/// What was stepped and waits for its append.
#[derive(Clone, Debug)]
pub struct Batch {
    /// What is being appended; absent when nothing was decided.
    pub entry: Option<Entry>,
    /// What to do after that.
    pub steps: Vec<Stepped>,
    /// How the append will end.
    pub fate: Fate,
}

/// How an append ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is durable, and the answer comes.
    Durable,
    /// It is durable and the answer is lost: the driver reads the head and finds it.
    LostAnswer,
    /// It is not durable and the answer is lost: the driver reads the head and does not find it.
    LostAppend,
    /// It fails.
    Failed,
}

/// A running process.
pub struct Process {
    /// Which one.
    pub life: u64,
    /// The engine.
    pub engine: Engine,
    /// What came in.
    pub inbox: VecDeque<Input>,
    /// What is being appended.
    pub batch: Option<Batch>,
    /// When the engine wants to be called.
    pub wake_at: Option<CellTime>,
    /// Sessions that were let in.
    pub routes: BTreeMap<NodeId, SessionNo>,
    /// Whether its leadership is durable: agents are heard only then.
    pub leading: bool,
}

/// The process, or the gap between two.
#[derive(Default)]
pub struct Driver {
    /// The running process.
    pub process: Option<Process>,
    /// Processes so far.
    pub lives: u64,
    /// The last leader's term; no other one ever had it.
    pub epoch: Epoch,
    /// How far its clock is ahead, in milliseconds.
    pub clock_ahead_ms: i64,
    /// How late it answers its alarm.
    pub late_ms: u64,
    /// The journal comes from a backup.
    pub restored: bool,
}

/// Inputs of one batch at most.
const BATCH_MAX: usize = 256;

impl World {
    /// The time as the orchestrator's clock shows it.
    #[must_use]
    pub fn cell_now(&self) -> CellTime {
        CellTime::from_unix_ms(self.now.unix_ms().saturating_add_signed(self.driver.clock_ahead_ms))
    }

    /// Starts a process: rebuilds the engine and takes the lead.
    pub fn start_driver(&mut self) {
        if self.driver.process.is_some() || self.monitor.fatal {
            return;
        }
        let engine = match self.journal.rebuild((self.make)()) {
            Ok(engine) => engine,
            Err(error) => {
                self.monitor.broken("R4", None, format!("the journal does not replay: {error}"));
                self.monitor.fatal = true;
                return;
            }
        };
        self.monitor.same("a replay from snapshot and suffix", &engine);
        self.check_whole_replay();
        self.driver.lives += 1;
        self.driver.epoch = self.driver.epoch.next();
        let origin = match (self.journal.is_empty(), self.driver.restored) {
            (true, _) => Origin::Founded { cell: crate::names::cell(), mailbox_key: Digest::ZERO },
            (false, true) => Origin::Restored { above: self.newest_life_met() },
            (false, false) => Origin::Continued,
        };
        // A clock that is behind the journal stands still for the cell until it has caught up.
        let began = self.cell_now().max(engine.now());
        let lead = Event::Lead { epoch: self.driver.epoch, origin };
        self.driver.process = Some(Process {
            life: self.driver.lives,
            engine,
            inbox: VecDeque::from([Input::Event(Box::new(lead))]),
            batch: None,
            wake_at: None,
            routes: BTreeMap::new(),
            leading: false,
        });
        self.monitor.clock.lead(began);
        self.monitor.forget_doors();
        self.note(None, || "the orchestrator starts".to_owned());
        self.drain();
    }

    fn check_whole_replay(&mut self) {
        match self.journal.rebuild_whole((self.make)()) {
            Ok(whole) => self.monitor.same("a replay from the first record", &whole),
            Err(error) => self.monitor.broken("R4", None, format!("the journal does not replay: {error}")),
        }
    }

    /// Steps what is in the inbox, and begins to append what was decided.
    pub fn drain(&mut self) {
        let cell = self.cell_now();
        let Some(mut process) = self.driver.process.take() else { return };
        if process.batch.is_none() && !process.inbox.is_empty() && !self.monitor.fatal {
            self.monitor.clock.look(cell);
            self.step_inbox(&mut process, cell);
        }
        self.driver.process = Some(process);
        self.settle_batch_without_entry();
    }

    fn step_inbox(&mut self, process: &mut Process, cell: CellTime) {
        let mut decisions = Vec::new();
        let mut steps = Vec::new();
        for _ in 0..BATCH_MAX {
            let Some(input) = process.inbox.pop_front() else { break };
            match input {
                Input::Seen(observation) => {
                    if let Observation::Heard { node } = observation {
                        self.monitor.clock.heard(node);
                    }
                    if let Observation::Lost { node, session } = observation
                        && process.routes.get(&node) == Some(&session)
                    {
                        process.routes.remove(&node);
                    }
                    self.monitor.door_seen(observation);
                    process.engine.observe(cell, observation);
                }
                Input::Event(event) => {
                    self.meet(&event);
                    let heard = self.heard_by(&event);
                    let greeted = self.greeted(&event, &process.engine);
                    let asked = match &*event {
                        Event::Request { verb, rehearse, .. } => Asked::of(verb, *rehearse),
                        _ => Asked::Nothing,
                    };
                    let step = process.engine.step(cell, *event);
                    process.wake_at = step.wake_at.map(|(at, _)| at);
                    let let_in = greeted
                        .is_none_or(|(hello, twin)| self.monitor.door_answered(&hello, twin, &step.commands));
                    if let Some(node) = heard.filter(|_| let_in) {
                        self.monitor.clock.heard(node);
                    }
                    decisions.extend(step.decisions);
                    let connected = match asked {
                        Asked::Pause(_) => connected(&process.engine),
                        Asked::Nothing | Asked::Abort(_) | Asked::Close => Vec::new(),
                    };
                    steps.push(Stepped { asked, commands: step.commands, connected });
                }
            }
        }
        // A batch is appended under the time at which all of it was decided.
        let at = process.engine.now();
        let entry = (!decisions.is_empty()).then(|| self.journal.entry(self.driver.epoch, at, decisions));
        let fate = if entry.is_some() { self.append_fate() } else { Fate::Durable };
        let life = process.life;
        process.batch = Some(Batch { entry, steps, fate });
        if process.batch.as_ref().is_some_and(|batch| batch.entry.is_some()) {
            let latency = append_latency(&mut self.rng);
            self.after(latency, crate::world::Happening::Appended { life });
        }
        self.set_alarm(process);
    }

    /// A Hello, and whether it comes from a copy of an agent that is heard.
    fn greeted(&mut self, event: &Event, engine: &Engine) -> Option<(Hello, bool)> {
        let Event::Hello(hello) = event else { return None };
        let silence = engine.cell_view()?.limits.silence;
        let twin = self.monitor.is_twin(hello, silence);
        if twin {
            self.coverage.fault("twin-at-the-door");
        }
        Some((hello.clone(), twin))
    }

    /// The node an event is heard from: whoever holds the name, or takes it for the first time.
    fn heard_by(&self, event: &Event) -> Option<NodeId> {
        let (node, life) = match event {
            Event::Hello(hello) => (hello.node, hello.incarnation),
            Event::Inventory { node, incarnation, .. }
            | Event::Result { node, incarnation, .. }
            | Event::Stopped { node, incarnation, .. }
            | Event::Seen { node, incarnation, .. }
            | Event::Unlisted { node, incarnation, .. } => (*node, *incarnation),
            Event::Lead { .. } | Event::Request { .. } | Event::Wake => return None,
        };
        self.monitor.incarnation(node).is_none_or(|holder| holder == life).then_some(node)
    }

    fn set_alarm(&mut self, process: &Process) {
        let Some(at) = process.wake_at else { return };
        let real = at.unix_ms().saturating_add_signed(-self.driver.clock_ahead_ms);
        let late = self.rng.below(30) + self.driver.late_ms;
        let delay = real.saturating_sub(self.now.unix_ms()) + late;
        let life = process.life;
        self.after(delay, crate::world::Happening::Alarm { life, at });
    }

    fn settle_batch_without_entry(&mut self) {
        let free = self
            .driver
            .process
            .as_ref()
            .is_some_and(|p| p.batch.as_ref().is_some_and(|batch| batch.entry.is_none()));
        if free {
            self.finish_batch();
        }
    }

    /// An append is over.
    pub fn appended(&mut self, life: u64) {
        let Some(process) = self.driver.process.as_mut().filter(|process| process.life == life) else {
            return;
        };
        let Some(batch) = &mut process.batch else { return };
        match batch.fate {
            Fate::Durable => {}
            Fate::LostAnswer => self.coverage.fault("append-answer-lost-committed"),
            Fate::LostAppend | Fate::Failed => {
                self.coverage.fault(if batch.fate == Fate::Failed {
                    "append-failed"
                } else {
                    "append-answer-lost-absent"
                });
                batch.entry = None;
                self.note(None, || "the append is not durable: the engine is dropped".to_owned());
                self.crash_driver(200, None);
                return;
            }
        }
        self.finish_batch();
    }

    /// The batch is durable: it enters the watch's books, and its commands are carried out.
    fn finish_batch(&mut self) {
        let Some(mut process) = self.driver.process.take() else { return };
        let Some(batch) = process.batch.take() else {
            self.driver.process = Some(process);
            return;
        };
        let entry = batch.entry;
        if let Some(entry) = &entry {
            self.commit(entry);
            process.leading = true;
            // Until that is durable, whoever starts next begins the new life.
            self.driver.restored = false;
        }
        if !self.monitor.fatal {
            self.judge(&batch.steps, &process.engine);
        }
        self.driver.process = Some(process);
        for stepped in batch.steps {
            for command in stepped.commands {
                self.carry_out(command);
            }
        }
        if let Some(entry) = entry.filter(|_| self.unsafe_phase) {
            self.aim(&entry);
        }
        if self.driver.process.as_ref().is_some_and(|process| !process.inbox.is_empty()) {
            self.after(0, crate::world::Happening::Drain);
        } else {
            for (shard, listed) in self.lists.write() {
                self.monitor.listed(shard, listed);
            }
        }
    }

    fn commit(&mut self, entry: &Entry) {
        if self.trace.is_some() {
            for (seq, decision) in (entry.seq.raw()..).zip(&entry.decisions) {
                let line = format!("{seq:>5} {}", crate::transcript::line(decision));
                self.note(None, || line);
            }
        }
        self.journal.append(entry.clone());
        self.monitor.entry(self.now, entry, &self.log);
    }

    fn judge(&mut self, steps: &[Stepped], engine: &Engine) {
        for stepped in steps {
            self.monitor.commands(self.now, stepped);
        }
        self.monitor.closings(engine);
        self.monitor.strays(engine);
        if engine.now() <= self.cell_now() {
            self.monitor.silence(self.now);
            self.monitor.stuck();
        }
        for violation in engine.broken() {
            self.monitor.broken(
                violation.rule,
                None,
                format!("by the engine's own rules: {}", violation.found),
            );
        }
    }

    /// The process dies; a batch on its way is durable or not, as told or by chance.
    pub fn crash_driver(&mut self, down_ms: u64, durable: Option<bool>) {
        let Some(process) = self.driver.process.take() else { return };
        self.lists.forget();
        if let Some(entry) = process.batch.and_then(|batch| batch.entry) {
            if durable.unwrap_or_else(|| self.rng.percent(50)) {
                self.coverage.fault("crash-after-append");
                self.commit(&entry);
                self.monitor.same("the dead leader's state", &process.engine);
            } else {
                self.coverage.fault("crash-before-append");
            }
        }
        self.note(None, || format!("the orchestrator is gone for {down_ms} ms"));
        self.break_all_sessions();
        self.after(down_ms.max(1), crate::world::Happening::StartDriver);
    }
}

fn connected(engine: &Engine) -> Vec<NodeId> {
    engine.node_views().filter(|node| node.connected).map(|node| node.node).collect()
}

fn append_latency(rng: &mut Rng) -> u64 {
    if rng.percent(3) { rng.between(100, 900) } else { rng.between(1, 12) }
}
