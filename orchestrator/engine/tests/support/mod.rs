//! A cell small enough to read: an engine, a clock, and agents that answer what they are told to answer.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test that is surprised fails")]

use std::collections::BTreeMap;

use rientro_engine::{
    Command, Engine, Event, Hello, Observation, OrderKind, Origin, RequestNo, SessionNo, Step,
};
use rientro_types::*;

pub fn shard(name: &str) -> ShardId {
    ShardId::new(name).unwrap()
}

pub fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

pub fn campaign(name: &str) -> CampaignId {
    CampaignId::new(name).unwrap()
}

pub fn volume_of(node: &str) -> VolumeId {
    VolumeId::new(&format!("marker:{node}")).unwrap()
}

pub fn percent(text: &str) -> Ppm {
    text.parse().unwrap()
}

pub fn operator() -> Actor {
    Actor { kind: ActorKind::Operator, id: "anna".to_owned(), authentication: Authentication::UnixPeer }
}

/// A plan for everything, in one wave, with no allowance for damage.
pub fn plan(name: &str) -> Plan {
    Plan {
        name: campaign(name),
        kind: CampaignKind::Restore,
        covers: Coverage::All,
        classes: Vec::new(),
        seed: Some([7; 32]),
        waves: Waves {
            schedule: Schedule::List(vec![Share::Rest]),
            domain_caps: Vec::new(),
            promotion: Promotion::Automatic,
            bake: Span::from_secs(60),
            error_budget_canary: Ppm::ZERO,
            error_budget: Ppm::ZERO,
        },
        policy: Policy {
            level: Level::Structure,
            coverage_min: Ppm::ONE,
            damaged_per_million_max: 0,
            broken_mailboxes_max: 0,
            unreadable_mailboxes_max: 0,
            verified_age_max: Span::from_secs(6 * 3600),
        },
        tries: Tries {
            attempts_max: 3,
            backoff_first: Span::from_secs(10),
            backoff_max: Span::from_secs(600),
            verify_timeout: Span::from_secs(3600),
            confirm_timeout: Span::from_secs(60),
            stall_timeout: Span::from_secs(300),
            open_timeout: Span::from_secs(30),
        },
        opening: Opening { steps: vec![ServiceSet::ALL], in_flight_max: 16 },
        pace: Pace { bytes_per_second: ByteSize::from_bytes(0), readers: 8 },
    }
}

pub fn verification(outcome: Outcome, node: &str) -> Verification {
    let harmed = u64::from(outcome == Outcome::Damaged);
    let tally = Tally {
        mailboxes: 100,
        messages: 1_000,
        bytes: 1_000_000,
        messages_damaged: harmed,
        mailboxes_damaged: harmed,
        ..Tally::default()
    };
    Verification {
        verdict: Verdict { outcome, level: Level::Structure, coverage: Ppm::ONE, tally },
        stat_walk: Digest::of(b"walk"),
        findings: Digest::of(b"findings"),
        volume: volume_of(node),
    }
}

pub fn verified(outcome: Outcome, node: &str) -> TaskEnd {
    TaskEnd::Verified { verification: verification(outcome, node), damaged: Vec::new() }
}

pub struct Cell {
    pub engine: Engine,
    pub now: CellTime,
    pub journal: Vec<Entry>,
    pub commands: Vec<Command>,
    sessions: u64,
    requests: u64,
}

impl Cell {
    pub fn new() -> Self {
        let mut cell = Self {
            engine: Engine::new(),
            now: CellTime::from_unix_ms(1_000_000),
            journal: Vec::new(),
            commands: Vec::new(),
            sessions: 0,
            requests: 0,
        };
        let origin = Origin::Founded { cell: CellId::new("test").unwrap(), mailbox_key: Digest::ZERO };
        cell.run(Event::Lead { epoch: Epoch::from_raw(1), origin });
        cell
    }

    /// Nodes `a`, `b`, ... with shards `a1`, `a2`, ... of 100 mailboxes each; every node is a rack of its own.
    pub fn with_fleet(nodes: usize, shards: usize) -> Self {
        let mut cell = Self::new();
        for at in 0..nodes {
            let name = char::from(b'a' + u8::try_from(at).unwrap()).to_string();
            cell.connect(&name, 1);
            let claims = (1..=shards).map(|no| claim(&format!("{name}{no}"), &name)).collect();
            cell.inventory(&name, claims);
        }
        cell.commands.clear();
        cell
    }

    pub fn step(&mut self, event: Event) -> Step {
        let seq = self.engine.seq_next();
        let step = self.engine.step(self.now, event);
        if !step.decisions.is_empty() {
            self.journal.push(Entry {
                seq,
                epoch: Epoch::from_raw(1),
                at: self.engine.now(),
                previous: Digest::ZERO,
                decisions: step.decisions.clone(),
            });
        }
        self.commands.extend(step.commands.iter().cloned());
        assert_eq!(self.engine.audit(), vec![], "after {:?}", step.decisions);
        step
    }

    pub fn run(&mut self, event: Event) {
        drop(self.step(event));
    }

    pub fn connect(&mut self, name: &str, incarnation: u64) {
        self.connect_with(name, incarnation, Vec::new(), Vec::new());
    }

    /// Connects in a rack that other nodes may be in too.
    pub fn connect_in(&mut self, name: &str, rack: &str) {
        self.greet(name, rack, (1, 1), Vec::new(), Vec::new());
    }

    pub fn connect_with(
        &mut self,
        name: &str,
        incarnation: u64,
        running: Vec<Busy>,
        served: Vec<(ShardId, ServiceSet)>,
    ) {
        self.greet(name, &format!("rack-{name}"), (incarnation, incarnation.max(1)), running, served);
    }

    /// Another process of a node's first life connects: the next one after a crash, or one with a copy of the state directory.
    pub fn connect_as(&mut self, name: &str, boot: u64, served: Vec<(ShardId, ServiceSet)>) {
        self.greet(name, &format!("rack-{name}"), (1, boot), Vec::new(), served);
    }

    fn greet(
        &mut self,
        name: &str,
        rack: &str,
        (incarnation, boot): (u64, u64),
        running: Vec<Busy>,
        served: Vec<(ShardId, ServiceSet)>,
    ) {
        self.sessions += 1;
        let rack = (LabelKey::new("rack").unwrap(), LabelValue::new(rack).unwrap());
        let hello = Hello {
            session: SessionNo(self.sessions),
            node: node(name),
            incarnation: NodeIncarnation::from_raw(incarnation),
            boot: BootId::from_raw(boot).unwrap(),
            labels: BTreeMap::from([rack]),
            running,
            served,
        };
        self.run(Event::Hello(hello));
    }

    pub fn disconnect(&mut self, name: &str) {
        for session in 1..=self.sessions {
            self.observe(Observation::Lost { node: node(name), session: SessionNo(session) });
        }
    }

    pub fn observe(&mut self, observation: Observation) {
        self.engine.observe(self.now, observation);
    }

    pub fn inventory(&mut self, name: &str, claims: Vec<Claim>) {
        let incarnation = NodeIncarnation::from_raw(1);
        self.run(Event::Inventory { node: node(name), incarnation, first: true, claims, last: true });
    }

    pub fn result(&mut self, name: &str, id: &str, attempt: u32, end: TaskEnd) {
        self.run(Event::Result {
            node: node(name),
            incarnation: NodeIncarnation::from_raw(1),
            shard: shard(id),
            attempt: AttemptNo::from_raw(attempt),
            end,
        });
    }

    pub fn seen(&mut self, name: &str, id: &str, services: ServiceSet) {
        let incarnation = NodeIncarnation::from_raw(1);
        self.run(Event::Seen { node: node(name), incarnation, shard: shard(id), services });
    }

    /// Asks after a rehearsal, which must have told what comes of it: the same refusal, or the same receipt.
    pub fn ask(&mut self, verb: Verb) -> Result<Receipt, Refusal> {
        let rehearsed = self.ask_to(verb.clone(), true);
        let answer = self.ask_to(verb, false);
        let told = answer.clone().map(|receipt| Receipt { decided: None, ..receipt });
        assert_eq!(rehearsed, told, "the rehearsal told something else");
        assert!(answer.as_ref().is_ok_and(|r| r.changes == r.decided.is_some()) || answer.is_err());
        answer
    }

    pub fn rehearse(&mut self, verb: Verb) -> Result<Receipt, Refusal> {
        self.ask_to(verb, true)
    }

    fn ask_to(&mut self, verb: Verb, rehearse: bool) -> Result<Receipt, Refusal> {
        self.requests += 1;
        let request = RequestNo(self.requests);
        let verb = Box::new(verb);
        let step = self.step(Event::Request { request, actor: operator(), verb, rehearse, seed: [9; 32] });
        step.commands
            .into_iter()
            .find_map(|command| match command {
                Command::Reply { request: of, answer } if of == request => Some(answer),
                _ => None,
            })
            .expect("every request is answered in its step")
    }

    pub fn start(&mut self, plan: Plan) -> Receipt {
        self.ask(Verb::Start { plan: Box::new(plan), source: Digest::of(b"plan") }).unwrap()
    }

    /// Time passes, second by second, with every connected node heard.
    pub fn pass(&mut self, secs: u64) {
        self.pass_with(secs, &["a", "b", "c", "d"]);
    }

    pub fn pass_with(&mut self, secs: u64, heard: &[&str]) {
        for _ in 0..secs {
            self.now = self.now + Span::from_secs(1);
            for name in heard {
                self.observe(Observation::Heard { node: node(name) });
            }
            self.run(Event::Wake);
        }
    }

    pub fn state(&self, id: &str) -> ShardState {
        self.view(id).shard.state()
    }

    pub fn view(&self, id: &str) -> ShardView {
        self.engine.shard_view(shard(id)).unwrap()
    }

    pub fn campaign(&self, name: &str) -> CampaignView {
        self.engine.campaign_view(campaign(name)).unwrap()
    }

    /// Tasks that were ordered and not looked at yet, as (node, task).
    pub fn ordered(&mut self) -> Vec<(NodeId, Task)> {
        let mut tasks = Vec::new();
        self.commands.retain(|command| match command {
            Command::Send { node, order_kind: OrderKind::Start(task), .. } => {
                tasks.push((*node, task.clone()));
                false
            }
            _ => true,
        });
        tasks
    }

    /// Services that nodes were told to serve and that were not looked at yet.
    pub fn told(&mut self) -> Vec<(NodeId, ShardId, ServiceSet)> {
        let mut told = Vec::new();
        self.commands.retain(|command| match command {
            Command::Send { node, order_kind: OrderKind::Serve { shard, services }, .. } => {
                told.push((*node, *shard, *services));
                false
            }
            _ => true,
        });
        told
    }

    /// Plays agents that find everything clean, until nothing is ordered any more.
    pub fn play(&mut self) {
        self.play_finding(&|_| Outcome::Clean);
    }

    pub fn play_finding(&mut self, finds: &dyn Fn(ShardId) -> Outcome) {
        for _ in 0..10_000 {
            let tasks = self.ordered();
            let told = self.told();
            if tasks.is_empty() && told.is_empty() {
                return;
            }
            for (on, task) in tasks {
                let end = match task.action {
                    Action::Verify { .. } => verified(finds(task.shard), on.as_str()),
                    Action::Confirm { .. } => TaskEnd::Confirmed,
                };
                self.result(on.as_str(), task.shard.as_str(), task.attempt.raw(), end);
            }
            for (on, id, services) in told {
                self.seen(on.as_str(), id.as_str(), services);
            }
        }
        panic!("the cell does not come to rest");
    }

    /// R4: a fresh engine that replays the journal has the same durable state.
    pub fn assert_replays(&self) -> Engine {
        let mut replayed = Engine::new();
        for entry in &self.journal {
            replayed.replay(entry).unwrap();
        }
        let live: Vec<_> = self.engine.snapshot().collect();
        let again: Vec<_> = replayed.snapshot().collect();
        assert_eq!(live, again);
        let mut restored = Engine::new();
        live.iter().cloned().for_each(|record| restored.restore(record).unwrap());
        assert_eq!(restored.snapshot().collect::<Vec<_>>(), live);
        assert_eq!(restored.audit(), vec![]);
        replayed
    }

    /// The orchestrator is killed and comes back: everything observed is lost.
    pub fn restart(&mut self, absent: Span) {
        self.engine = self.assert_replays();
        self.now = self.now + absent;
        self.sessions += 1;
        self.run(Event::Lead { epoch: Epoch::from_raw(2 + self.sessions), origin: Origin::Continued });
    }
}

pub fn claim(id: &str, node: &str) -> Claim {
    Claim {
        second: None,
        shard: shard(id),
        volume: volume_of(node),
        mailboxes: 100,
        services: ServiceSet::NONE,
    }
}

pub fn all() -> Selector {
    Selector { all: true, ..Selector::default() }
}

/// The circumstance that holds a shard.
pub fn held(cell: &Cell, id: &str) -> Option<HeldReason> {
    cell.view(id).shard.blocked.map(|hold| hold.reason)
}

/// Paused: the canary has lost so many mailboxes of so many, over this budget.
pub fn canary_over(mailboxes_lost: u64, mailboxes: u64, budget: Ppm) -> CampaignState {
    let wave = WaveNo::from_raw(0);
    CampaignState::Paused(PauseCause::ErrorBudget { wave, mailboxes_lost, mailboxes, budget })
}

pub fn only(id: &str) -> Selector {
    Selector { shards: vec![shard(id)], ..Selector::default() }
}

pub fn in_state(state: ShardState) -> Selector {
    Selector { states: vec![state], ..Selector::default() }
}
