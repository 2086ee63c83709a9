//! The virtual time and everything in it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rientro_engine::{Engine, Event, RequestNo};
use rientro_types::{BootId, CellTime, NodeId, NodeIncarnation, Receipt, Refusal, ShardId, Span, Verb};

use crate::Make;
use crate::agent::{Agent, FromAgent, ToAgent};
use crate::coverage::Coverage;
use crate::driver::{Driver, Fate, Input};
use crate::faults::{Mix, Recovery};
use crate::journal::Journal;
use crate::log::Log;
use crate::monitor::{Monitor, Violation};
use crate::rng::Rng;
use crate::truth::{Host, Truth};
use crate::wire::Wire;

/// When every world begins.
pub const EPOCH_MS: u64 = 1_700_000_000_000;
/// How often an agent's work goes on.
pub const TICK_MS: u64 = 2_000;
/// How often the watch looks at everything.
const CHECK_MS: u64 = 20_000;
/// Last lines kept of a traced run.
const TRACE_MAX: usize = 200_000;

/// Something that happens at a moment.
#[derive(Clone, Debug)]
pub enum Happening {
    /// The orchestrator's process starts.
    StartDriver,
    /// The orchestrator looks into its inbox.
    Drain,
    /// The engine's alarm.
    Alarm {
        /// Of which process.
        life: u64,
        /// Set for when.
        at: CellTime,
    },
    /// An append is over.
    Appended {
        /// Of which process.
        life: u64,
    },
    /// An agent tries to connect.
    Dial {
        /// Which.
        host: Host,
    },
    /// A copy of an agent tries to connect.
    Knock {
        /// Of which.
        host: Host,
        /// Run of its process.
        boot: BootId,
    },
    /// A message reaches the orchestrator.
    Up {
        /// On which session.
        session: u64,
        /// The message.
        message: Box<FromAgent>,
        /// It was held up when its session broke.
        late: bool,
    },
    /// A page of a bulk call reaches the orchestrator.
    Bulk {
        /// Whose.
        node: NodeId,
        /// Of which life.
        incarnation: NodeIncarnation,
        /// The page.
        message: Box<FromAgent>,
    },
    /// A message reaches an agent.
    Down {
        /// On which session.
        session: u64,
        /// The message.
        message: Box<ToAgent>,
        /// It was held up when its session broke.
        late: bool,
    },
    /// An order that an agent has read reaches it once more.
    Again {
        /// Which agent.
        host: Host,
        /// In which life of its disk.
        incarnation: NodeIncarnation,
        /// As which fault.
        kind: &'static str,
        /// The message.
        message: Box<ToAgent>,
    },
    /// An agent notices that its session is gone.
    AgentLearns {
        /// Which agent.
        host: Host,
        /// Which session.
        session: u64,
    },
    /// The orchestrator notices that a session is gone.
    DriverLearns {
        /// Which session.
        session: u64,
    },
    /// An agent's work goes on.
    Tick {
        /// Which agent.
        host: Host,
    },
    /// Something goes wrong.
    Fault,
    /// Something that went wrong is over.
    Recover(Recovery),
    /// The journal comes back from a backup.
    Restore {
        /// Entries in it.
        keep: usize,
    },
    /// An operator acts.
    Operator,
    /// The watch looks at everything.
    Check,
}

/// What makes a world.
#[derive(Clone)]
pub struct Config {
    /// Decides everything.
    pub seed: u64,
    /// Shards, at least.
    pub shards: usize,
    /// Makes the engine.
    pub make: Make,
    /// Keep a trace.
    pub trace: bool,
    /// No faults, no operator: for scripts.
    pub scripted: bool,
}

/// A world.
pub struct World {
    /// The time.
    pub now: CellTime,
    /// Chance.
    pub rng: Rng,
    /// Makes engines.
    pub make: Make,
    /// What is really so.
    pub truth: Truth,
    /// What really happened.
    pub log: Log,
    /// The agents.
    pub agents: Vec<Agent>,
    /// The orchestrator.
    pub driver: Driver,
    /// The journal.
    pub journal: Journal,
    /// The watch.
    pub monitor: Monitor,
    /// What was met.
    pub coverage: Coverage,
    /// What operators were answered.
    pub answers: BTreeMap<RequestNo, Result<Receipt, Refusal>>,
    /// What may go wrong.
    pub mix: Mix,
    /// Machines whose network is cut.
    pub cut_off: BTreeSet<Host>,
    /// Whether faults strike.
    pub unsafe_phase: bool,
    /// Whether agents fail by chance.
    pub flaky: bool,
    /// How the next append ends, if a script says so.
    pub next_fate: Option<Fate>,
    /// The trace, if one is kept.
    pub trace: Option<VecDeque<String>>,
    /// Campaigns started so far.
    pub campaigns: usize,
    /// Volumes made so far.
    pub volumes: usize,
    /// Lives of agents so far.
    pub lives: u64,
    pub(crate) wire: Wire,
    pub(crate) lists: crate::lists::Lists,
    requests: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    tie: u64,
}

impl World {
    /// A world with nothing in it but an orchestrator about to start.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let mut rng = Rng::new(config.seed);
        let mix = if config.scripted { Mix::none() } else { Mix::drawn(&mut rng) };
        let mut world = Self {
            now: CellTime::from_unix_ms(EPOCH_MS),
            rng,
            make: config.make.clone(),
            truth: Truth::default(),
            log: Log::default(),
            agents: Vec::new(),
            driver: Driver::default(),
            journal: Journal::default(),
            monitor: Monitor::new(config.make.clone()),
            coverage: Coverage::default(),
            answers: BTreeMap::new(),
            mix,
            cut_off: BTreeSet::new(),
            unsafe_phase: !config.scripted,
            flaky: !config.scripted,
            next_fate: None,
            trace: config.trace.then(VecDeque::new),
            campaigns: 0,
            volumes: 0,
            lives: 0,
            wire: Wire::default(),
            lists: crate::lists::Lists::default(),
            requests: 0,
            queue: BTreeMap::new(),
            tie: 0,
        };
        world.after(0, Happening::StartDriver);
        world.after(CHECK_MS, Happening::Check);
        world
    }

    /// Adds an agent that will dial soon; returns its machine.
    pub fn add_agent(&mut self, node: NodeId, labels: &[(&str, &str)]) -> Host {
        let host = self.agents.len();
        self.lives += 1;
        let labels = labels.iter().map(|(k, v)| (crate::names::label(k), crate::names::value(v))).collect();
        self.agents.push(Agent::new(host, node, self.lives, labels));
        self.after(50, Happening::Dial { host });
        self.after(TICK_MS + 37 * host as u64, Happening::Tick { host });
        host
    }

    /// Something will happen so many milliseconds from here.
    pub fn after(&mut self, ms: u64, happening: Happening) {
        self.at(self.now.unix_ms() + ms, happening);
    }

    pub(crate) fn at(&mut self, ms: u64, happening: Happening) {
        self.tie += 1;
        self.queue.insert((ms.max(self.now.unix_ms()), self.tie), happening);
    }

    /// Lets time pass.
    pub fn run_for(&mut self, span: Span) {
        let end = self.now + span;
        while !self.monitor.fatal {
            let Some(((at, _), _)) = self.queue.first_key_value().filter(|((at, _), _)| *at <= end.unix_ms())
            else {
                break;
            };
            self.now = CellTime::from_unix_ms(*at);
            if let Some((_, happening)) = self.queue.pop_first() {
                self.happen(happening);
            }
        }
        self.now = self.now.max(end);
    }

    /// Lets the next thing happen.
    pub fn step(&mut self) {
        if let Some(((at, _), happening)) = self.queue.pop_first() {
            self.now = self.now.max(CellTime::from_unix_ms(at));
            self.happen(happening);
        }
    }

    fn happen(&mut self, happening: Happening) {
        self.log.now = self.now;
        match happening {
            Happening::StartDriver => self.start_driver(),
            Happening::Drain => self.drain(),
            Happening::Alarm { life, at } => self.alarm(life, at),
            Happening::Appended { life } => self.appended(life),
            Happening::Dial { host } => self.dial(host),
            Happening::Knock { host, boot } => self.knock(host, boot),
            Happening::Up { session, message, late } => self.arrive_up(session, *message, late),
            Happening::Bulk { node, incarnation, message } => {
                self.post(rientro_engine::SessionNo(0), node, incarnation, *message);
            }
            Happening::Down { session, message, late } => self.arrive_down(session, *message, late),
            Happening::Again { host, incarnation, kind, message } => {
                self.arrive_again(host, incarnation, kind, *message);
            }
            Happening::AgentLearns { host, session } => self.agent_learns(host, session),
            Happening::DriverLearns { session } => self.driver_learns(session),
            Happening::Tick { host } => {
                self.with_agent(host, |agent, scene| agent.tick(TICK_MS, scene));
                self.after(TICK_MS, Happening::Tick { host });
            }
            Happening::Fault => self.fault(),
            Happening::Recover(recovery) => self.recover(recovery),
            Happening::Restore { keep } => self.restore_later(keep),
            Happening::Operator => self.operator(),
            Happening::Check => self.check(),
        }
    }

    fn alarm(&mut self, life: u64, at: CellTime) {
        let set = |process: &&mut crate::driver::Process| process.life == life && process.wake_at == Some(at);
        if let Some(process) = self.driver.process.as_mut().filter(set) {
            process.wake_at = None;
            process.inbox.push_back(Input::Event(Box::new(Event::Wake)));
            self.drain();
        }
    }

    /// Everything the watch looks at now and then.
    pub fn check(&mut self) {
        self.after(CHECK_MS, Happening::Check);
        self.monitor.running(&self.agents, &self.log);
        let Some(process) = &self.driver.process else { return };
        self.monitor.audit(&process.engine);
        if process.batch.is_some() {
            return;
        }
        self.monitor.agree();
        if process.leading {
            self.monitor.budgets();
        }
        if self.rng.percent(10) {
            self.monitor.same("the live engine", &process.engine);
        }
    }

    /// The live engine, if the orchestrator runs.
    #[must_use]
    pub fn engine(&self) -> Option<&Engine> {
        self.driver.process.as_ref().map(|process| &process.engine)
    }

    /// An operator asks for something; lost when the orchestrator is away.
    pub fn ask(&mut self, verb: Verb, rehearse: bool) -> RequestNo {
        self.requests += 1;
        let request = RequestNo(self.requests);
        let seed = self.rng.bytes32();
        self.note(None, || format!("an operator asks {}: {}", request.0, brief(&verb)));
        if let Some(process) = self.driver.process.as_mut().filter(|process| process.leading) {
            let actor = crate::names::operator();
            let event = Event::Request { request, actor, verb: Box::new(verb), rehearse, seed };
            process.inbox.push_back(Input::Event(Box::new(event)));
            self.drain();
        }
        request
    }

    /// Notes a line of the trace.
    pub fn note(&mut self, shard: Option<ShardId>, line: impl FnOnce() -> String) {
        let Some(trace) = &mut self.trace else { return };
        let at = self.now.unix_ms() - EPOCH_MS;
        let shard = shard.map(|shard| format!("[{shard}] ")).unwrap_or_default();
        trace.push_back(format!("{:>9}.{:03} {shard}{}", at / 1000, at % 1000, line()));
        if trace.len() > TRACE_MAX {
            trace.pop_front();
        }
    }

    /// Whether a fault of this kind strikes now, as it does so many times in ten thousand.
    pub fn strikes(&mut self, kind: &'static str, share: u64) -> bool {
        let strikes = self.draws(kind, share);
        if strikes {
            self.coverage.fault(kind);
        }
        strikes
    }

    /// The same, where it is counted only when it comes about.
    pub(crate) fn draws(&mut self, kind: &'static str, share: u64) -> bool {
        self.unsafe_phase && self.mix.has(kind) && self.rng.below(10_000) < share
    }

    /// How the append that begins now will end.
    pub(crate) fn append_fate(&mut self) -> Fate {
        if let Some(fate) = self.next_fate.take() {
            return fate;
        }
        if !self.strikes("append-trouble", 25) {
            return Fate::Durable;
        }
        self.rng.one_of(&[Fate::LostAnswer, Fate::LostAppend, Fate::Failed])
    }

    /// Notes which states the shards of an event were in.
    pub(crate) fn meet(&mut self, event: &Event) {
        for (shard, what) in crate::coverage::of_event(event, &self.monitor) {
            if let Some(state) = self.monitor.state_of(shard) {
                self.monitor.seen.note(state, what);
            }
        }
        if self.trace.is_some() && !matches!(event, Event::Wake) {
            let text: String = format!("{event:?}").chars().take(200).collect();
            self.note(None, || format!("event {text}"));
        }
    }

    /// What was broken so far.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.monitor.violations
    }
}

fn brief(verb: &Verb) -> String {
    let text = format!("{verb:?}");
    text.chars().take(240).collect()
}
