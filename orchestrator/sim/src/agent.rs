//! A model agent: what it keeps on its disk, what it forgets when it stops, and how it answers.
//!
//! It stands for `rientro-agent` and keeps that program's promises: an attempt is durable before its first effect and is
//! never begun twice in a life of the cell, a result is kept and sent again until acknowledged, an order that is not newer for
//! its shard is refused, and so is one outside of a session or of an earlier term. A lying one breaks them on purpose.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rientro_engine::{OrderKind, Turnaway};
use rientro_types::{
    AttemptNo, BootId, Busy, CampaignId, CellTime, Claim, Epoch, Incarnation, LabelKey, LabelValue, NodeId,
    NodeIncarnation, Order, Progress, ServiceSet, ShardId, Task, TaskEnd, TaskFailure,
};

use crate::rng::Rng;
use crate::truth::{Host, Truth};
use crate::work::Work;

/// How an agent behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Honest,
    /// So many times slower than it should.
    Slow(u64),
    /// Connected, and neither reads nor sends.
    Hung,
    /// Connected and heard, and cannot write to its disk: it does not begin, end, stop or serve what it is told to.
    Stuck,
    /// Says what is not so.
    Lying,
}

/// From an agent to the orchestrator.
#[derive(Clone, Debug)]
pub enum FromAgent {
    /// First on a session.
    Hello {
        /// Its name.
        node: NodeId,
        /// Life of its disk.
        incarnation: NodeIncarnation,
        /// Run of its process.
        boot: BootId,
        /// Failure domains.
        labels: BTreeMap<LabelKey, LabelValue>,
        /// What runs.
        running: Vec<Busy>,
        /// What it serves.
        served: Vec<(ShardId, ServiceSet)>,
    },
    /// It lives.
    Heartbeat,
    /// How far a try is.
    Progress(ShardId, AttemptNo, Progress),
    /// How a try ended.
    Result(ShardId, AttemptNo, TaskEnd),
    /// It is not busy with a try.
    Stopped(ShardId, AttemptNo),
    /// What it has made durable.
    Seen(ShardId, ServiceSet),
    /// One page of its inventory; travels on a bulk call.
    Inventory {
        /// First page.
        first: bool,
        /// The page.
        claims: Vec<Claim>,
        /// Last page.
        last: bool,
    },
    /// How many of the mailboxes that were there from the start each of its shards has; travels on a bulk call of its own.
    Lists(Vec<(ShardId, u64)>),
}

/// From the orchestrator to an agent.
#[allow(clippy::large_enum_variant, reason = "a message is made and taken apart at once")]
#[derive(Clone, Debug)]
pub enum ToAgent {
    /// It is let in, by the leader of this life and term.
    Welcome(Incarnation, Epoch),
    /// It is turned away.
    Refuse(Turnaway),
    /// An order.
    Order(Order, OrderKind),
    /// A result can be forgotten.
    Acknowledge(ShardId, AttemptNo),
}

/// What survives a crash.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// Every try that was begun in the life of the cell met last; true when it has ended.
    pub tries: BTreeMap<(ShardId, AttemptNo), bool>,
    /// Results not yet acknowledged.
    pub outbox: BTreeMap<(ShardId, AttemptNo), TaskEnd>,
    /// What is served, by which order.
    pub served: BTreeMap<ShardId, (ServiceSet, Order)>,
    /// Newest leadership met.
    pub fence: Option<(Incarnation, Epoch)>,
}

/// One agent.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Its machine.
    pub host: Host,
    /// Its name.
    pub node: NodeId,
    /// Life of its disk.
    pub incarnation: NodeIncarnation,
    /// Run of its process.
    pub boot: BootId,
    /// Failure domains.
    pub labels: BTreeMap<LabelKey, LabelValue>,
    /// What survives.
    pub disk: Disk,
    /// Whether the process runs.
    pub up: bool,
    /// How it behaves.
    pub mood: Mood,
    /// Whether its session was let in.
    pub welcomed: bool,
    /// Whether it was told that its life is over.
    pub retired: bool,
    /// Whether its shards shall be listed again.
    pub relist: bool,
    /// Orders refused because they were not newer.
    pub refused: u64,
    /// Running tries.
    pub running: BTreeMap<(ShardId, AttemptNo), Work>,
    /// Campaigns told to stand still in this session.
    pub suspended: BTreeSet<CampaignId>,
    /// What came in and is not read: while it hangs.
    pub unread: VecDeque<ToAgent>,
    ticks: u64,
}

/// What an agent sees and leaves behind while it acts.
pub struct Scene<'a> {
    /// The time.
    pub now: CellTime,
    /// What is really so.
    pub truth: &'a Truth,
    /// Chance.
    pub rng: &'a mut Rng,
    /// What really happened, for the monitor.
    pub log: &'a mut crate::log::Log,
    /// What it sends.
    pub out: Vec<FromAgent>,
    /// Whether agents fail by chance.
    pub flaky: bool,
}

/// The first process of every agent.
const FIRST_BOOT: BootId = BootId::from_raw(1).expect("it is not 0");
/// Claims in one page of an inventory.
const PAGE: usize = 16;
/// Ticks after which results are sent again.
const RESEND_TICKS: u64 = 7;
/// Ticks after which shards are listed again, whatever happened.
const RELIST_TICKS: u64 = 60;

impl Agent {
    /// An agent that has just been installed.
    #[must_use]
    pub fn new(host: Host, node: NodeId, incarnation: u64, labels: BTreeMap<LabelKey, LabelValue>) -> Self {
        Self {
            host,
            node,
            incarnation: NodeIncarnation::from_raw(incarnation),
            boot: FIRST_BOOT,
            labels,
            disk: Disk::default(),
            up: true,
            mood: Mood::Honest,
            welcomed: false,
            retired: false,
            relist: true,
            refused: 0,
            running: BTreeMap::new(),
            suspended: BTreeSet::new(),
            unread: VecDeque::new(),
            ticks: 0,
        }
    }

    /// What it serves of a shard.
    #[must_use]
    pub fn serves(&self, shard: ShardId) -> ServiceSet {
        self.disk.served.get(&shard).map_or(ServiceSet::NONE, |(services, _)| *services)
    }

    /// Whether it runs, has been let in and is not hung.
    #[must_use]
    pub fn is_talking(&self) -> bool {
        self.up && self.welcomed && self.mood != Mood::Hung
    }

    /// The process dies.
    pub fn crash(&mut self) {
        self.up = false;
        self.running.clear();
        self.disconnect();
    }

    /// The process starts: what was begun and did not end was interrupted.
    pub fn start(&mut self, log: &mut crate::log::Log) {
        self.up = true;
        self.boot = BootId::from_raw(self.boot.raw() + 1).unwrap_or(FIRST_BOOT);
        for ((shard, attempt), ended) in &mut self.disk.tries {
            if !*ended {
                *ended = true;
                let end = TaskEnd::Failed(TaskFailure::Interrupted);
                log.told(*shard, *attempt, end.clone(), true, None);
                self.disk.outbox.insert((*shard, *attempt), end);
            }
        }
    }

    /// The disk is made anew.
    pub fn reimage(&mut self, incarnation: u64) {
        self.crash();
        self.disk = Disk::default();
        self.incarnation = NodeIncarnation::from_raw(incarnation);
        self.retired = false;
    }

    /// The session is gone.
    pub fn disconnect(&mut self) {
        self.welcomed = false;
        self.unread.clear();
    }

    /// What it says first on a session.
    #[must_use]
    pub fn hello(&self) -> FromAgent {
        let busy = |(key, work): (&(ShardId, AttemptNo), &Work)| Busy {
            shard: key.0,
            attempt: key.1,
            kind: work.task.action.kind(),
        };
        let served = self.disk.served.iter().map(|(shard, (services, _))| (*shard, *services));
        FromAgent::Hello {
            node: self.node,
            incarnation: self.incarnation,
            boot: self.boot,
            labels: self.labels.clone(),
            running: self.running.iter().map(busy).collect(),
            served: served.filter(|(_, services)| !services.is_empty()).collect(),
        }
    }

    /// What one with a copy of its disk says first: nothing of it runs there.
    #[must_use]
    pub fn hello_of_copy(&self, boot: BootId) -> FromAgent {
        Self { boot, running: BTreeMap::new(), ..self.clone() }.hello()
    }

    /// Takes in one message, after those that came in before it.
    pub fn receive(&mut self, message: ToAgent, scene: &mut Scene<'_>) {
        self.unread.push_back(message);
        if self.mood != Mood::Hung {
            self.read(scene);
        }
    }

    fn read(&mut self, scene: &mut Scene<'_>) {
        for message in std::mem::take(&mut self.unread) {
            // What a disk does not take stays where it is.
            if self.mood == Mood::Stuck && writes(&message) {
                self.unread.push_back(message);
            } else {
                self.take(message, scene);
            }
        }
    }

    fn take(&mut self, message: ToAgent, scene: &mut Scene<'_>) {
        match message {
            ToAgent::Welcome(life, epoch) => {
                self.welcomed = true;
                self.raise((life, epoch), scene);
                // Who pauses tells so in every session: what an earlier one said no longer counts.
                self.suspended.clear();
                self.resend(scene);
                self.relist = true;
            }
            ToAgent::Refuse(turnaway) => {
                self.retired |= matches!(turnaway, Turnaway::IncarnationRetired { .. });
            }
            ToAgent::Acknowledge(shard, attempt) => {
                self.disk.outbox.remove(&(shard, attempt));
            }
            ToAgent::Order(order, kind) => {
                let term = (order.incarnation, order.epoch);
                if !self.welcomed || self.disk.fence.is_some_and(|fence| term < fence) {
                    self.refused += 1;
                    return;
                }
                self.raise(term, scene);
                self.obey(order, kind, scene);
            }
        }
    }

    /// A new life of the cell counts its tries from where its backup stood: those of earlier lives end and leave no result.
    fn raise(&mut self, term: (Incarnation, Epoch), scene: &mut Scene<'_>) {
        if self.disk.fence.is_some_and(|(life, _)| life < term.0) {
            self.disk.tries.clear();
            self.disk.outbox.clear();
            let voided = std::mem::take(&mut self.running).into_keys();
            scene.out.extend(voided.map(|(shard, attempt)| FromAgent::Stopped(shard, attempt)));
        }
        self.disk.fence = self.disk.fence.max(Some(term));
    }

    fn obey(&mut self, order: Order, kind: OrderKind, scene: &mut Scene<'_>) {
        match kind {
            OrderKind::Start(task) => self.begin(order, task, scene),
            OrderKind::Cancel { shard, attempt } => {
                if !self.cancel((shard, attempt), scene) {
                    self.answer_old((shard, attempt), scene);
                }
            }
            OrderKind::Suspend { campaign } => {
                self.suspended.insert(campaign);
            }
            OrderKind::Continue { campaign } => {
                self.suspended.remove(&campaign);
            }
            OrderKind::Serve { shard, services } => self.serve(order, shard, services, scene),
            OrderKind::Pace { campaign: _, pace: _ } => {}
        }
    }

    fn begin(&mut self, order: Order, task: Task, scene: &mut Scene<'_>) {
        let key = (task.shard, task.attempt);
        if self.running.contains_key(&key) {
            return;
        }
        let all = (task.shard, AttemptNo::from_raw(0))..=(task.shard, AttemptNo::from_raw(u32::MAX));
        if self.disk.tries.range(all.clone()).any(|((_, begun), _)| *begun >= task.attempt) {
            self.refused += 1;
            return self.answer_old(key, scene);
        }
        // Nobody waits for earlier tries of a shard once a newer one begins.
        let earlier: Vec<_> = self.running.range(all).map(|(key, _)| *key).collect();
        earlier.into_iter().for_each(|key| {
            self.cancel(key, scene);
        });
        scene.log.begun(self.host, self.node, order.incarnation, &task);
        self.disk.tries.insert(key, false);
        let work = Work::new(task, self.host, scene);
        self.running.insert(key, work);
    }

    /// A number that was begun is answered with its result, any other with the word that nothing of it is here.
    fn answer_old(&self, key: (ShardId, AttemptNo), scene: &mut Scene<'_>) {
        scene.out.push(match self.disk.outbox.get(&key) {
            Some(end) => FromAgent::Result(key.0, key.1, end.clone()),
            None => FromAgent::Stopped(key.0, key.1),
        });
    }

    /// Ends a try that runs, which is its result; false when it does not run.
    fn cancel(&mut self, key: (ShardId, AttemptNo), scene: &mut Scene<'_>) -> bool {
        if self.running.remove(&key).is_none() {
            return false;
        }
        let end = TaskEnd::Failed(TaskFailure::Cancelled);
        scene.log.told(key.0, key.1, end.clone(), true, None);
        self.disk.tries.insert(key, true);
        self.disk.outbox.insert(key, end.clone());
        scene.out.push(FromAgent::Result(key.0, key.1, end));
        true
    }

    fn serve(&mut self, order: Order, shard: ShardId, services: ServiceSet, scene: &mut Scene<'_>) {
        match self.disk.served.get(&shard) {
            Some((_, held)) if !order.supersedes(held) && order != *held => {
                self.refused += 1;
                return;
            }
            Some((held, of)) if order == *of => {
                scene.out.push(FromAgent::Seen(shard, *held));
                return;
            }
            Some(_) | None => {}
        }
        self.disk.served.insert(shard, (services, order));
        scene.log.served(scene.now, self.host, shard, services);
        scene.out.push(FromAgent::Seen(shard, services));
    }

    /// Time passes: work goes on, and what is due is sent.
    pub fn tick(&mut self, passed_ms: u64, scene: &mut Scene<'_>) {
        if !self.up || self.mood == Mood::Hung {
            return;
        }
        self.ticks += 1;
        self.read(scene);
        let speed = match self.mood {
            Mood::Slow(factor) => passed_ms / factor.max(1),
            Mood::Honest | Mood::Hung | Mood::Stuck | Mood::Lying => passed_ms,
        };
        // A result that is not on its disk does not leave it.
        if self.mood != Mood::Stuck {
            self.work(speed, scene);
        }
        if !self.welcomed {
            scene.out.clear();
            return;
        }
        scene.out.push(FromAgent::Heartbeat);
        if self.ticks.is_multiple_of(RESEND_TICKS) {
            self.resend(scene);
        }
        if self.relist || self.ticks.is_multiple_of(RELIST_TICKS) {
            self.relist = false;
            self.list(scene);
        }
        if self.mood == Mood::Lying {
            self.lie(scene);
        }
    }

    fn work(&mut self, ms: u64, scene: &mut Scene<'_>) {
        let mut done = Vec::new();
        for (key, work) in &mut self.running {
            if self.suspended.contains(&work.task.campaign) {
                continue;
            }
            match work.advance(ms, self.host, scene) {
                Some(end) => done.push((*key, end)),
                None => scene.out.push(FromAgent::Progress(key.0, key.1, work.progress())),
            }
        }
        for ((shard, attempt), end) in done {
            self.running.remove(&(shard, attempt));
            let honest = self.mood != Mood::Lying || scene.rng.percent(50);
            let content = match scene.truth.find(self.host, shard, scene.log.volume(shard, attempt)) {
                crate::truth::Found::Here(content) => Some(content.clone()),
                crate::truth::Found::Missing | crate::truth::Found::Wrong(_) => None,
            };
            let end = if honest { end } else { crate::work::twisted(end, scene) };
            scene.log.told(shard, attempt, end.clone(), honest, content);
            self.disk.tries.insert((shard, attempt), true);
            self.disk.outbox.insert((shard, attempt), end.clone());
            scene.out.push(FromAgent::Result(shard, attempt, end));
        }
    }

    fn resend(&self, scene: &mut Scene<'_>) {
        let results = self.disk.outbox.iter();
        scene.out.extend(results.map(|((shard, no), end)| FromAgent::Result(*shard, *no, end.clone())));
    }

    /// Says what it shows.
    pub fn list(&self, scene: &mut Scene<'_>) {
        let claims = scene.truth.claims(self.host, |shard| self.serves(shard));
        let pages: Vec<_> = claims.chunks(PAGE).collect();
        let count = pages.len();
        if count == 0 {
            scene.out.push(FromAgent::Inventory { first: true, claims: Vec::new(), last: true });
        }
        for (at, page) in pages.into_iter().enumerate() {
            scene.out.push(FromAgent::Inventory {
                first: at == 0,
                claims: page.to_vec(),
                last: at + 1 == count,
            });
        }
        let shown = scene.truth.shown(self.host);
        scene
            .out
            .push(FromAgent::Lists(shown.map(|(shard, _, content)| (shard, content.listed())).collect()));
    }

    /// Says things nobody asked for.
    fn lie(&self, scene: &mut Scene<'_>) {
        let shown: Vec<_> = scene.truth.shown(self.host).map(|(shard, _, _)| shard).collect();
        let busy: Vec<_> =
            self.disk.tries.iter().filter(|(_, ended)| !**ended).map(|((shard, _), _)| *shard).collect();
        let about = if scene.rng.percent(30) { &busy } else { &shown };
        let Some(shard) = scene.rng.pick(about).copied() else { return };
        let attempt = AttemptNo::from_raw(u32::try_from(scene.rng.below(40)).unwrap_or(0));
        match scene.rng.below(12) {
            0 => scene.out.push(FromAgent::Result(shard, attempt, TaskEnd::Confirmed)),
            1 => scene.out.push(FromAgent::Seen(shard, ServiceSet::ALL)),
            2 => scene.out.push(FromAgent::Stopped(shard, attempt)),
            3 => {
                let progress = Progress { bytes: u64::MAX / 2, ..Progress::default() };
                scene.out.push(FromAgent::Progress(shard, attempt, progress));
            }
            4 => claim(scene, self.host, shard),
            5 => {
                let others: Vec<_> = scene.truth.volumes.values().flat_map(|on| on.shards.keys()).collect();
                if let Some(other) = scene.rng.pick(&others).copied().copied() {
                    claim(scene, self.host, other);
                }
            }
            _ => {}
        }
    }
}

/// Whether an agent obeys by writing to its disk first.
const fn writes(message: &ToAgent) -> bool {
    matches!(
        message,
        ToAgent::Order(_, OrderKind::Start(_) | OrderKind::Cancel { .. } | OrderKind::Serve { .. })
    )
}

/// Claims a shard, with services nobody ordered and mailboxes that are not there, in the middle of no listing.
fn claim(scene: &mut Scene<'_>, host: Host, shard: ShardId) {
    let truth = scene.truth;
    let shown = truth.shown(host).find(|(id, _, _)| *id == shard).map(|(_, volume, _)| volume);
    let of = || truth.volumes.iter().find(|(_, on)| on.shards.contains_key(&shard)).map(|(id, _)| *id);
    let volume = shown.or_else(of).unwrap_or_else(|| crate::names::volume(9_998));
    let mailboxes = scene.rng.one_of(&[7, 7_000]);
    let claim = Claim { shard, volume, second: None, mailboxes, services: ServiceSet::ALL };
    scene.out.push(FromAgent::Inventory { first: false, claims: vec![claim], last: false });
}
