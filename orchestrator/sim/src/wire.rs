//! The wire: sessions that break, what was on the way when they did ([`transit`]), and bulk calls beside.

mod transit;

use std::collections::BTreeMap;

use rientro_engine::{Command, Event, Hello, Observation, SessionNo};
use rientro_types::{BootId, NodeId, NodeIncarnation, ShardId};

use crate::agent::{FromAgent, Mood, Scene, ToAgent};
use crate::driver::Input;
use crate::truth::Host;
use crate::world::{Happening, World};

use transit::{Transit, is_of_shard, is_word};

/// How often a session breaks over one message in ten thousand: some runs send a thousand of each kind, and more.
const BREAKS: u64 = 20;

/// One session.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) host: Host,
    pub(crate) node: NodeId,
    pub(crate) incarnation: NodeIncarnation,
    pub(crate) alive: bool,
    /// It is that of a copy of the agent.
    copy: bool,
    /// What becomes of what was on its way when it broke.
    transit: Transit,
    up_last: u64,
    down_last: u64,
}

/// Every session ever.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    pub(crate) sessions: BTreeMap<u64, Session>,
    pub(crate) of_host: BTreeMap<Host, u64>,
    bulk_last: BTreeMap<Host, u64>,
    /// What arrives behind the next Hello of a machine, with the session it was said in.
    behind: BTreeMap<Host, Vec<(u64, FromAgent)>>,
    /// The last order about each shard that a machine has read, in which life of its disk.
    read: BTreeMap<(Host, ShardId), (NodeIncarnation, ToAgent)>,
    next: u64,
}

impl World {
    /// An agent tries to connect.
    pub(crate) fn dial(&mut self, host: Host) {
        let agent = &self.agents[host];
        let can = agent.up && !agent.retired && agent.mood != Mood::Hung && !self.cut_off.contains(&host);
        let listens = self.driver.process.as_ref().is_some_and(|process| process.leading);
        if self.wire.of_host.contains_key(&host) || !agent.up {
            return;
        }
        if !can || !listens {
            let again = self.rng.between(1_000, 6_000);
            self.after(again, Happening::Dial { host });
            return;
        }
        let hello = agent.hello();
        let session = self.open_session(host, false);
        self.wire.of_host.insert(host, session);
        self.send_up(session, hello);
    }

    fn open_session(&mut self, host: Host, copy: bool) -> u64 {
        self.wire.next += 1;
        let now = self.now.unix_ms();
        let agent = &self.agents[host];
        let (node, incarnation) = (agent.node, agent.incarnation);
        self.wire.sessions.insert(
            self.wire.next,
            Session {
                host,
                node,
                incarnation,
                alive: true,
                copy,
                transit: Transit::LOST,
                up_last: now,
                down_last: now,
            },
        );
        self.wire.next
    }

    /// A copy of an agent says Hello on another machine. When it is let in it says nothing more, and is gone after a while.
    pub(crate) fn knock(&mut self, host: Host, boot: BootId) {
        if !self.unsafe_phase || self.driver.process.is_none() {
            return;
        }
        let hello = self.agents[host].hello_of_copy(boot);
        let session = self.open_session(host, true);
        self.send_up(session, hello);
        let gone = self.rng.between(500, 9_000);
        self.after(gone, Happening::DriverLearns { session });
    }

    fn latency(&mut self) -> u64 {
        if self.rng.percent(4) { self.rng.between(50, 1_500) } else { self.rng.between(1, 25) }
    }

    fn send_up(&mut self, no: u64, message: FromAgent) {
        let alive = self.wire.sessions.get(&no).is_some_and(|session| session.alive);
        let is_word = alive && is_word(&message);
        if is_word && self.strikes("message-lost", BREAKS) {
            return self.break_losing(no, Transit::LOST);
        }
        let arrives = self.now.unix_ms() + self.latency();
        let Some(session) = self.wire.sessions.get_mut(&no).filter(|session| session.alive) else { return };
        session.up_last = session.up_last.max(arrives);
        let at = session.up_last;
        self.at(at, Happening::Up { session: no, message: Box::new(message), late: false });
        if is_word && (self.draws("message-late", BREAKS) || self.draws("message-reordered", BREAKS)) {
            self.break_session(no);
        }
    }

    fn send_down(&mut self, node: NodeId, session: SessionNo, message: ToAgent) {
        let alive = self.wire.sessions.get(&session.0).is_some_and(|found| found.alive && found.node == node);
        let is_order = alive && is_of_shard(&message);
        if is_order && self.strikes("order-lost", BREAKS) {
            return self.break_losing(session.0, Transit::LOST);
        }
        let arrives = self.now.unix_ms() + self.latency();
        let of_node = |session: &&mut Session| session.alive && session.node == node;
        let Some(found) = self.wire.sessions.get_mut(&session.0).filter(of_node) else { return };
        found.down_last = found.down_last.max(arrives);
        let at = found.down_last;
        self.at(at, Happening::Down { session: session.0, message: Box::new(message), late: false });
        if is_order && self.draws("order-late", BREAKS) {
            self.break_session(session.0);
        }
    }

    /// Sends what an agent has to say: bulk beside the session, everything else on it.
    pub(crate) fn send_out(&mut self, host: Host, out: Vec<FromAgent>) {
        let Some(session) = self.wire.of_host.get(&host).copied() else { return };
        let (mut inventory, mut lists) = (Vec::new(), Vec::new());
        for message in out {
            match message {
                FromAgent::Inventory { .. } => inventory.push(message),
                FromAgent::Lists(_) => lists.push(message),
                other => self.send_up(session, other),
            }
        }
        for bulk in [inventory, lists].into_iter().filter(|bulk| !bulk.is_empty()) {
            self.call(host, bulk);
        }
    }

    fn call(&mut self, host: Host, mut pages: Vec<FromAgent>) {
        if self.strikes("bulk-call-cut", 800) {
            pages.pop();
        }
        if self.strikes("bulk-call-twice", 800) {
            pages.extend(pages.clone());
        }
        for page in pages {
            let wait = self.rng.between(5, 300) + if self.rng.percent(5) { 3_000 } else { 0 };
            let last = self.wire.bulk_last.entry(host).or_default();
            *last = (*last).max(self.now.unix_ms() + wait);
            let at = *last;
            let agent = &self.agents[host];
            let (node, incarnation) = (agent.node, agent.incarnation);
            self.at(at, Happening::Bulk { node, incarnation, message: Box::new(page) });
        }
    }

    /// A message reaches the orchestrator.
    pub(crate) fn arrive_up(&mut self, no: u64, message: FromAgent, late: bool) {
        let Some(session) = self.wire.sessions.get(&no) else { return };
        let (host, node, incarnation) = (session.host, session.node, session.incarnation);
        let greets = matches!(message, FromAgent::Hello { .. }) && !session.copy;
        if !session.alive && !late {
            return self.strand(no, message);
        }
        if !late && is_word(&message) && self.strikes("message-duplicated", 60) {
            let wait = self.rng.one_of(&[0, 40, 2_000, 20_000]);
            self.after(wait, Happening::Up { session: no, message: Box::new(message.clone()), late: true });
        }
        self.post(SessionNo(no), node, incarnation, message);
        if greets {
            self.catch_up(host);
        }
    }

    /// Puts a message of an agent into the inbox.
    pub(crate) fn post(
        &mut self,
        session: SessionNo,
        node: NodeId,
        incarnation: NodeIncarnation,
        message: FromAgent,
    ) {
        let Some(process) = self.driver.process.as_mut().filter(|process| process.leading) else { return };
        let event = match message {
            FromAgent::Hello { node, incarnation, boot, labels, running, served } => {
                Event::Hello(Hello { session, node, incarnation, boot, labels, running, served })
            }
            FromAgent::Heartbeat => {
                process.inbox.push_back(Input::Seen(Observation::Heard { node }));
                return self.drain();
            }
            FromAgent::Progress(shard, attempt, progress) => {
                let observation = Observation::Progress { node, shard, attempt, progress };
                process.inbox.push_back(Input::Seen(observation));
                return self.drain();
            }
            FromAgent::Result(shard, attempt, end) => {
                Event::Result { node, incarnation, shard, attempt, end }
            }
            FromAgent::Stopped(shard, attempt) => Event::Stopped { node, incarnation, shard, attempt },
            FromAgent::Seen(shard, services) => Event::Seen { node, incarnation, shard, services },
            FromAgent::Inventory { first, claims, last } => {
                Event::Inventory { node, incarnation, first, claims, last }
            }
            FromAgent::Lists(lists) => {
                let told: Vec<_> =
                    lists.into_iter().filter_map(|list| self.take_list(node, incarnation, list)).collect();
                if let Some(process) = self.driver.process.as_mut() {
                    process.inbox.extend(told.into_iter().map(|event| Input::Event(Box::new(event))));
                }
                return self.drain();
            }
        };
        process.inbox.push_back(Input::Event(Box::new(event)));
        self.drain();
    }

    /// A message reaches an agent.
    pub(crate) fn arrive_down(&mut self, no: u64, message: ToAgent, late: bool) {
        let Some(session) = self.wire.sessions.get(&no) else { return };
        let host = session.host;
        if self.wire.of_host.get(&host) != Some(&no) || !self.agents[host].up {
            return;
        }
        if !session.alive && !late {
            return self.hold_up(no, message);
        }
        if late {
            self.coverage.fault("order-late");
        }
        self.say_again(host, &message);
        let refused = matches!(message, ToAgent::Refuse(_));
        self.with_agent(host, |agent, scene| agent.receive(message, scene));
        if refused {
            self.close(no);
            self.agent_learns(host, no);
        }
    }

    /// Runs an agent, sends what it has to say, and lets the watch look.
    pub(crate) fn with_agent(
        &mut self,
        host: Host,
        act: impl FnOnce(&mut crate::agent::Agent, &mut Scene<'_>),
    ) {
        let mut scene = Scene {
            now: self.now,
            truth: &self.truth,
            rng: &mut self.rng,
            log: &mut self.log,
            out: Vec::new(),
            flaky: self.flaky,
        };
        let refused = self.agents[host].refused;
        act(&mut self.agents[host], &mut scene);
        let out = scene.out;
        if self.agents[host].refused > refused {
            self.coverage.fault("order-refused");
        }
        self.monitor.really(&self.agents, &mut self.log);
        self.send_out(host, out);
    }

    /// Breaks a session: what is on its way is lost or late, and both sides learn of it later.
    pub(crate) fn break_session(&mut self, no: u64) {
        let transit = self.draw_transit();
        self.break_losing(no, transit);
    }

    fn break_losing(&mut self, no: u64, transit: Transit) {
        let Some(session) = self.wire.sessions.get_mut(&no).filter(|session| session.alive) else { return };
        session.transit = transit;
        let host = session.host;
        self.close(no);
        let (agent, other) = (transit.trickles_ms() + self.rng.below(8_000), self.rng.below(15_000));
        self.after(agent, Happening::AgentLearns { host, session: no });
        self.after(other, Happening::DriverLearns { session: no });
    }

    fn close(&mut self, no: u64) {
        if let Some(session) = self.wire.sessions.get_mut(&no) {
            session.alive = false;
        }
    }

    /// Breaks the session of a machine, if it has one.
    pub(crate) fn break_connection(&mut self, host: Host) {
        if let Some(session) = self.wire.of_host.get(&host).copied() {
            self.break_session(session);
        }
    }

    pub(crate) fn break_all_sessions(&mut self) {
        let alive: Vec<u64> =
            self.wire.sessions.iter().filter(|(_, session)| session.alive).map(|(no, _)| *no).collect();
        for no in alive {
            self.break_session(no);
        }
    }

    /// An agent notices that its session is gone, and dials again.
    pub(crate) fn agent_learns(&mut self, host: Host, no: u64) {
        if self.wire.of_host.get(&host) == Some(&no) {
            self.wire.of_host.remove(&host);
            self.agents[host].disconnect();
            let wait = self.rng.between(300, 4_000);
            self.after(wait, Happening::Dial { host });
        }
    }

    /// The orchestrator notices that a session is gone.
    pub(crate) fn driver_learns(&mut self, no: u64) {
        let Some(node) = self.wire.sessions.get(&no).map(|session| session.node) else { return };
        if let Some(process) = &mut self.driver.process {
            let lost = Observation::Lost { node, session: SessionNo(no) };
            process.inbox.push_back(Input::Seen(lost));
            self.drain();
        }
    }

    /// Carries out a command whose records are durable.
    pub(crate) fn carry_out(&mut self, command: Command) {
        match command {
            Command::Welcome { session, node } => {
                let replaced = match &mut self.driver.process {
                    Some(process) => process.routes.insert(node, session).filter(|before| *before != session),
                    None => None,
                };
                self.note_copy(node, session);
                let cell = self.driver.process.as_ref().and_then(|process| process.engine.cell_view());
                if let Some(cell) = cell {
                    self.send_down(node, session, ToAgent::Welcome(cell.incarnation, cell.epoch));
                }
                // Whoever had the name before is told that its session is over.
                if let Some(SessionNo(before)) = replaced {
                    self.break_session(before);
                }
            }
            Command::Refuse { session, turnaway } => {
                self.coverage.fault("agent-turned-away");
                let node = self.wire.sessions.get(&session.0).map(|s| s.node);
                if let Some(node) = node {
                    self.send_down(node, session, ToAgent::Refuse(turnaway));
                }
            }
            Command::Send { node, order, order_kind } => self.route(node, ToAgent::Order(order, order_kind)),
            Command::Acknowledge { node, shard, attempt } => {
                self.route(node, ToAgent::Acknowledge(shard, attempt));
            }
            Command::Reply { request, answer } => {
                self.note(None, || format!("request {} is answered {answer:?}", request.0));
                self.answers.insert(request, answer);
            }
        }
    }

    /// A copy was let in: what the agent that it was copied from does nobody can know.
    fn note_copy(&mut self, node: NodeId, session: SessionNo) {
        if self.wire.sessions.get(&session.0).is_some_and(|session| session.copy) {
            self.coverage.fault("twin-let-in");
            self.monitor.orphan(node);
        }
    }

    fn route(&mut self, node: NodeId, message: ToAgent) {
        let session = self.driver.process.as_ref().and_then(|process| process.routes.get(&node).copied());
        if let Some(session) = session {
            self.send_down(node, session, message);
        }
    }
}
