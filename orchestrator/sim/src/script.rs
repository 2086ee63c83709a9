//! Worlds without chance faults, for scenarios: a few words to build one, to ask, and to look.

use std::sync::Arc;

use rientro_engine::{Engine, OrderKind};
use rientro_types::{
    CampaignView, Digest, Order, Plan, Receipt, Refusal, Selector, ShardId, ShardSnapshot, ShardState, Span,
    Verb,
};

use crate::agent::ToAgent;
use crate::driver::Fate;
use crate::faults::Recovery;
use crate::names;
use crate::truth::{Condition, Content, Host, Volume};
use crate::world::{Config, Happening, World};

/// Longest wait for anything in a script: no scenario needs more of the world's time.
const WAIT_MAX: Span = Span::from_secs(6 * 3600);

/// A world that a scenario directs.
pub struct Script {
    /// The world.
    pub world: World,
}

impl Script {
    /// A cell of `nodes` nodes `n0`, `n1`, .. on racks `r0` and `r1` in turn. Each holds `each` clean shards of a hundred
    /// mailboxes on a volume of its own: node 0 has `s000` and so on.
    ///
    /// # Panics
    /// When the cell does not come up.
    #[must_use]
    pub fn new(nodes: usize, each: usize) -> Self {
        Self::with_seed(nodes, each, 42)
    }

    /// The same with other chance: latencies, and what the orchestrator draws.
    ///
    /// # Panics
    /// When the cell does not come up.
    #[must_use]
    pub fn with_seed(nodes: usize, each: usize, seed: u64) -> Self {
        let config =
            Config { seed, shards: nodes * each, make: Arc::new(Engine::new), trace: true, scripted: true };
        let mut world = World::new(&config);
        for at in 0..nodes {
            let rack = format!("r{}", at % 2);
            let host = world.add_agent(names::node(at), &[("rack", &rack)]);
            let shards = (at * each..(at + 1) * each).map(|shard| (names::shard(shard), clean()));
            let volume = Volume { shards: shards.collect(), mounted: [host].into_iter().collect() };
            world.volumes += 1;
            world.truth.volumes.insert(names::volume(world.volumes), volume);
        }
        let mut script = Self { world };
        script.until("every shard is met", |s| s.world.monitor.books.shards().count() == nodes * each);
        script
    }

    /// Lets time pass until the condition holds.
    ///
    /// # Panics
    /// When it does not come to hold.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let end = self.world.now + WAIT_MAX;
        while !done(self) {
            assert!(self.world.now < end, "{what}: not within {WAIT_MAX}\n{}", self.last_lines());
            self.world.step();
        }
    }

    /// Lets so many seconds pass.
    pub fn pass(&mut self, secs: u64) {
        self.world.run_for(Span::from_secs(secs));
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// The refusal.
    ///
    /// # Panics
    /// When no answer comes.
    pub fn ask(&mut self, verb: Verb) -> Result<Receipt, Refusal> {
        let request = self.world.ask(verb, false);
        self.until("an answer", |s| s.world.answers.contains_key(&request));
        self.world.answers[&request].clone()
    }

    /// Starts a campaign.
    ///
    /// # Panics
    /// When it is refused.
    pub fn start(&mut self, plan: Plan) -> Receipt {
        self.ask(Verb::Start { plan: Box::new(plan), source: Digest::of(b"script") })
            .expect("the scenario's plan can be carried out")
    }

    /// Changes what is really there.
    ///
    /// # Panics
    /// When there is no such shard.
    pub fn make(&mut self, shard: ShardId, condition: Condition) {
        let volume = self.shard(shard).placement.volume;
        let content = self.world.truth.content_mut(volume, shard).expect("the shard is on its volume");
        content.condition = condition;
    }

    /// A shard as the journal has it.
    ///
    /// # Panics
    /// When there is no such shard.
    #[must_use]
    pub fn shard(&self, shard: ShardId) -> ShardSnapshot {
        self.world.monitor.follower().shard_view(shard).expect("the shard was met").shard
    }

    /// The circumstance that holds a shard.
    #[must_use]
    pub fn held_by(&self, shard: ShardId) -> Option<rientro_types::HeldReason> {
        self.shard(shard).blocked.map(|hold| hold.reason)
    }

    /// The state of a shard.
    #[must_use]
    pub fn state(&self, shard: ShardId) -> ShardState {
        self.shard(shard).state()
    }

    /// Shards in a state.
    #[must_use]
    pub fn count(&self, state: ShardState) -> usize {
        let selector = Selector { all: true, ..Selector::default() };
        let views = self.world.monitor.follower().shard_views(&selector, None, usize::MAX);
        views.into_iter().filter(|view| view.shard.state() == state).count()
    }

    /// The first campaign.
    ///
    /// # Panics
    /// When none was started.
    #[must_use]
    pub fn campaign(&self) -> CampaignView {
        let view = self.world.monitor.follower().campaign_view(names::campaign(0));
        view.expect("the scenario has started its campaign")
    }

    /// Cuts a machine's network.
    pub fn cut_off(&mut self, host: Host) {
        self.world.cut_off.insert(host);
        self.world.break_connection(host);
    }

    /// Joins it again.
    pub fn join(&mut self, host: Host) {
        self.world.cut_off.remove(&host);
    }

    /// Kills an agent and starts it again after so many seconds.
    pub fn restart_agent(&mut self, host: Host, secs: u64) {
        if self.world.stop_agent(host) {
            self.world.after(secs * 1000, Happening::Recover(Recovery::Start(host)));
        }
    }

    /// Kills the orchestrator for so many seconds; what it was appending is durable or not.
    pub fn kill_orchestrator(&mut self, secs: u64, durable: bool) {
        self.world.crash_driver(secs * 1000, Some(durable));
    }

    /// The next append ends so.
    pub fn next_append(&mut self, fate: Fate) {
        self.world.next_fate = Some(fate);
    }

    /// Brings the journal back from a backup of its first so many entries.
    pub fn restore(&mut self, entries: usize) {
        self.world.restore_journal(entries);
    }

    /// Whether a leader leads.
    #[must_use]
    pub fn engine_leads(&self) -> bool {
        self.world.driver.process.as_ref().is_some_and(|process| process.leading)
    }

    /// An order that was on its way for long reaches an agent.
    pub fn deliver_late(&mut self, host: Host, order: Order, kind: OrderKind) {
        let message = ToAgent::Order(order, kind);
        self.world.with_agent(host, |agent, scene| agent.receive(message, scene));
    }

    /// How often a decision of this kind stands in the journal.
    #[must_use]
    pub fn decided(&self, word: &str) -> usize {
        let entries = self.world.journal.entries().iter().flat_map(|entry| &entry.decisions);
        entries.filter(|decision| crate::transcript::word(&decision.record) == word).count()
    }

    /// Decisions in the journal, one line each.
    #[must_use]
    pub fn decisions(&self) -> Vec<String> {
        let entries = self.world.journal.entries().iter();
        entries.flat_map(|entry| entry.decisions.iter().map(crate::transcript::line)).collect()
    }

    /// Nothing was broken.
    ///
    /// # Panics
    /// When something was.
    pub fn assert_well(&mut self) {
        self.world.check();
        let violations = self.world.violations().to_vec();
        assert!(violations.is_empty(), "{violations:#?}\n{}", self.last_lines());
    }

    fn last_lines(&self) -> String {
        let trace: Vec<_> = self.world.trace.iter().flatten().cloned().collect();
        trace[trace.len().saturating_sub(60)..].join("\n")
    }
}

fn clean() -> Content {
    Content {
        mailboxes: 100,
        newcomers: 0,
        messages: 200,
        condition: Condition::Clean,
        generation: 0,
        present: true,
    }
}

/// These shards.
#[must_use]
pub fn only(shards: &[ShardId]) -> Selector {
    Selector { shards: shards.to_vec(), ..Selector::default() }
}

/// Every shard.
#[must_use]
pub fn all() -> Selector {
    Selector { all: true, ..Selector::default() }
}
