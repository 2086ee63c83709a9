//! The watch's own books, kept from records alone.

use std::collections::{BTreeMap, BTreeSet};

use rientro_types::{
    AttemptNo, CampaignId, CellTime, FleetLimits, LabelKey, LabelValue, NodeId, NodeIncarnation, Outcome,
    Plan, Record, ServiceSet, ShardId, TaskEnd, TaskKind, UnknownCause, Verification, VolumeId, WaveNo,
};

/// What the books say of one shard.
#[derive(Clone, Debug)]
pub struct ShardBook {
    /// Where it is.
    pub node: NodeId,
    /// On what.
    pub volume: VolumeId,
    /// Mailboxes it had when it was last in service or met, or has been shown since; a person may settle for fewer.
    pub known: u64,
    /// What its lists have shown of its first mailboxes.
    pub lists: ListBook,
    /// What its node has confirmed to be open.
    pub seen: ServiceSet,
    /// What is open.
    pub services: ServiceSet,
    /// What was ever opened or adopted.
    pub ever: ServiceSet,
    /// Its place in a campaign.
    pub member: Option<(CampaignId, WaveNo)>,
    /// Its newest verification since its last closing.
    pub verification: Option<(AttemptNo, Verification)>,
    /// The confirmation after it.
    pub confirmed: Option<AttemptNo>,
    /// How often leadership had changed when its newest try began.
    pub asked: u64,
    /// An operator took it as it is.
    pub accepted: bool,
    /// It was taken over in service.
    pub adopted: bool,
    /// The try under way: number, kind, node, allowed time and when it started in listened time.
    pub under_way: Option<Try>,
}

/// What lists have shown of one shard. A swap leaves the number of mailboxes as it is, and is seen here alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListBook {
    /// Most of any list since it was in service, or since a person took one as right.
    best: u64,
    /// Of the newest list.
    newest: u64,
}

impl ListBook {
    /// A list shows so many.
    pub fn shows(&mut self, listed: u64) {
        *self = Self { best: self.best.max(listed), newest: listed };
    }

    /// The newest list is right.
    pub const fn settle(&mut self) {
        self.best = self.newest;
    }

    /// How many the newest list lacks.
    #[must_use]
    pub const fn lacks(&self) -> u64 {
        self.best.saturating_sub(self.newest)
    }
}

/// A try under way.
#[derive(Clone, Copy, Debug)]
pub struct Try {
    /// Its number.
    pub attempt: AttemptNo,
    /// Its kind.
    pub kind: TaskKind,
    /// Where.
    pub node: NodeId,
    /// How long it may take.
    pub timeout_ms: u64,
    /// Running time of its campaign when it started, and leadership changes until then. None when it began before the journal
    /// was restored: what was listened to then is in no book.
    pub started: Option<(u64, u64)>,
}

/// A campaign.
#[derive(Clone, Debug)]
pub struct CampaignBook {
    /// The plan in force.
    pub plan: Plan,
    /// Its waves.
    pub waves: Vec<WaveBook>,
    /// Running listened time before the present run.
    ran_ms: u64,
    running_since: Option<u64>,
}

/// A wave.
#[derive(Clone, Copy, Debug, Default)]
pub struct WaveBook {
    /// It may open.
    pub started: bool,
    /// When it settled, if nothing moved since.
    pub settled: Option<CellTime>,
    /// The next may open.
    pub passed: bool,
}

impl CampaignBook {
    fn clock(&self, listened: u64) -> u64 {
        self.ran_ms + self.running_since.map_or(0, |since| listened - since)
    }
}

type Booked = BTreeMap<(ShardId, AttemptNo), (TaskKind, u32)>;

/// All books.
#[derive(Clone, Debug, Default)]
pub struct Books {
    shards: BTreeMap<ShardId, ShardBook>,
    nodes: BTreeMap<NodeId, (NodeIncarnation, BTreeMap<LabelKey, LabelValue>)>,
    booked: BTreeMap<NodeId, Booked>,
    /// Silent nodes.
    pub silent: BTreeSet<NodeId>,
    /// Limits in force.
    pub limits: FleetLimits,
    /// Since when, in listened time.
    pub limits_since: u64,
    /// Campaigns.
    pub campaigns: BTreeMap<CampaignId, CampaignBook>,
}

impl Books {
    /// One shard.
    #[must_use]
    pub fn shard(&self, shard: ShardId) -> Option<&ShardBook> {
        self.shards.get(&shard)
    }

    /// Every shard.
    pub fn shards(&self) -> impl Iterator<Item = (&ShardId, &ShardBook)> {
        self.shards.iter()
    }

    /// The journal was restored: times of tries under way are known no more.
    pub fn forget_starts(&mut self) {
        self.shards
            .values_mut()
            .filter_map(|book| book.under_way.as_mut())
            .for_each(|run| run.started = None);
    }

    /// For the rules that look at what a sweep did.
    pub fn shard_mut(&mut self, shard: ShardId) -> Option<&mut ShardBook> {
        self.shards.get_mut(&shard)
    }

    /// The life a node's name belongs to.
    #[must_use]
    pub fn incarnation(&self, node: NodeId) -> Option<NodeIncarnation> {
        self.nodes.get(&node).map(|(incarnation, _)| *incarnation)
    }

    /// Every node.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.nodes.keys().copied()
    }

    /// What a node may be busy with.
    pub fn booked(&self, node: NodeId) -> impl Iterator<Item = (ShardId, AttemptNo, TaskKind)> {
        let booked = self.booked.get(&node).into_iter().flatten();
        booked.map(|((shard, attempt), (kind, _))| (*shard, *attempt, *kind))
    }

    /// The greatest limit under which anything booked on the node was started, if this try is booked there.
    #[must_use]
    pub fn booked_under(&self, node: NodeId, shard: ShardId, attempt: AttemptNo) -> Option<u32> {
        let booked = self.booked.get(&node)?;
        let (kind, _) = booked.get(&(shard, attempt))?;
        booked.values().filter(|(of, _)| of == kind).map(|(_, max)| *max).max()
    }

    /// Tries of one kind booked on a node.
    #[must_use]
    pub fn load(&self, node: NodeId, kind: TaskKind) -> usize {
        self.booked(node).filter(|(_, _, of)| *of == kind).count()
    }

    /// Verifications booked in a failure domain of the node, with the domain's limit.
    pub fn domains(&self, node: NodeId) -> impl Iterator<Item = (LabelKey, LabelValue, usize, u32)> {
        let labels = self.nodes.get(&node).map(|(_, labels)| labels).into_iter().flatten();
        labels.filter_map(|(key, value)| {
            let max = *self.limits.verifies_per_domain.get(key)?;
            let sharing = self.nodes.iter().filter(|(_, (_, of))| of.get(key) == Some(value));
            let busy = sharing.map(|(node, _)| self.load(*node, TaskKind::Verify)).sum();
            Some((*key, *value, busy, max))
        })
    }

    /// Nodes of a failure domain.
    pub fn sharing(&self, label: LabelKey, value: LabelValue) -> impl Iterator<Item = NodeId> {
        let of = move |labels: &BTreeMap<_, _>| labels.get(&label) == Some(&value);
        self.nodes.iter().filter(move |(_, (_, labels))| of(labels)).map(|(node, _)| *node)
    }

    /// Running time of a campaign, in listened milliseconds.
    #[must_use]
    pub fn campaign_clock(&self, campaign: CampaignId, listened: u64) -> u64 {
        self.campaigns.get(&campaign).map_or(0, |book| book.clock(listened))
    }

    fn free(&mut self, node: NodeId, shard: ShardId, attempt: AttemptNo) {
        if let Some(booked) = self.booked.get_mut(&node) {
            booked.remove(&(shard, attempt));
        }
    }

    /// Keeps the books.
    pub fn apply(&mut self, record: &Record, at: CellTime, (listened, changes): (u64, u64)) {
        self.apply_fleet(record, listened);
        self.apply_campaign(record, at, listened);
        match record {
            Record::TaskStarted { shard, kind, attempt, node, timeout } => {
                let max = self.limits.per_node(*kind);
                self.booked.entry(*node).or_default().insert((*shard, *attempt), (*kind, max));
                let member = self.shards.get(shard).and_then(|book| book.member);
                let clock = member.map_or(0, |(campaign, _)| self.campaign_clock(campaign, listened));
                if let Some(book) = self.shards.get_mut(shard) {
                    let (attempt, kind, node) = (*attempt, *kind, *node);
                    let timeout_ms = timeout.ms();
                    let started = (clock, changes);
                    book.under_way = Some(Try { attempt, kind, node, timeout_ms, started: Some(started) });
                    if kind == TaskKind::Verify {
                        book.verification = None;
                    }
                    book.confirmed = None;
                    book.asked = started.1;
                }
            }
            Record::TaskEnded { shard, attempt, end, backoff: _, waited: _ } => {
                self.ended(*shard, *attempt, end);
            }
            Record::TaskReleased { node, shard, attempt } => self.free(*node, *shard, *attempt),
            Record::ShardMeasured { shard, mailboxes } => {
                if let Some(book) = self.shards.get_mut(shard) {
                    book.measured(*mailboxes);
                }
            }
            Record::ServicesSeen { shard, services } => {
                if let Some(book) = self.shards.get_mut(shard) {
                    book.seen = *services;
                }
            }
            Record::VerificationExpired { shard } => {
                if let Some(book) = self.shards.get_mut(shard) {
                    book.verification = None;
                }
            }
            Record::StepOpening { shard, services, timeout: _ } => {
                if let Some(book) = self.shards.get_mut(shard) {
                    book.services = *services;
                    book.ever = book.ever.union(*services);
                }
            }
            _ => {}
        }
    }

    /// A shard waits again: a confirmation of a verification that met fewer mailboxes than are known by now is of no use.
    pub fn give_up_short(&mut self, shard: ShardId) {
        let Some(book) = self.shards.get_mut(&shard) else { return };
        let verdict = book.verification.as_ref().map(|(_, of)| of.verdict);
        let broken_off = Outcome::Unknown(UnknownCause::Incomplete);
        let met = verdict.filter(|of| of.outcome != broken_off).map(|of| of.tally.mailboxes);
        let confirming = book.under_way.is_some_and(|under_way| under_way.kind == TaskKind::Confirm);
        if confirming && met.is_some_and(|met| met < book.known) {
            (book.under_way, book.verification, book.accepted) = (None, None, false);
        }
    }

    fn ended(&mut self, shard: ShardId, attempt: AttemptNo, end: &TaskEnd) {
        let Some(book) = self.shards.get_mut(&shard) else { return };
        let node = book.under_way.take().map(|under_way| under_way.node);
        match end {
            TaskEnd::Verified { verification, damaged: _ } => {
                book.verification = Some((attempt, verification.clone()));
                book.accepted = false;
            }
            TaskEnd::Confirmed => book.confirmed = Some(attempt),
            TaskEnd::Failed(rientro_types::TaskFailure::Changed) => {
                book.verification = None;
                book.accepted = false;
            }
            TaskEnd::Failed(failure) if failure.leaves_node_busy() => return,
            TaskEnd::Failed(_) => {}
        }
        if let Some(node) = node {
            self.free(node, shard, attempt);
        }
    }

    fn apply_fleet(&mut self, record: &Record, listened: u64) {
        match record {
            Record::LimitsSet { limits } => {
                self.limits = limits.clone();
                self.limits_since = listened;
            }
            Record::NodeEnrolled { node, incarnation, labels } => {
                self.nodes.insert(*node, (*incarnation, labels.clone()));
            }
            Record::NodeSilent { node, silent_for: _ } => {
                self.silent.insert(*node);
            }
            Record::NodeHeard { node } => {
                self.silent.remove(node);
            }
            Record::ShardMet { node, claim } => {
                self.shards.insert(claim.shard, ShardBook::met(*node, claim));
            }
            Record::ShardPlaced { shard, placement } => {
                if let Some(book) = self.shards.get_mut(shard) {
                    book.placed(placement.node, placement.volume);
                }
            }
            _ => {}
        }
    }

    fn apply_campaign(&mut self, record: &Record, at: CellTime, listened: u64) {
        match record {
            Record::CampaignStarted { plan, .. } => {
                let book = CampaignBook {
                    plan: (**plan).clone(),
                    waves: Vec::new(),
                    ran_ms: 0,
                    running_since: Some(listened),
                };
                self.campaigns.insert(plan.name, book);
            }
            Record::CampaignRevised { plan, .. } => {
                if let Some(book) = self.campaigns.get_mut(&plan.name) {
                    book.plan = (**plan).clone();
                    book.waves.retain(|wave| wave.started);
                }
            }
            Record::WaveFormed { campaign, wave, shards } => {
                if let Some(book) = self.campaigns.get_mut(campaign) {
                    let count = book.waves.len().max(wave.raw() as usize + 1);
                    book.waves.resize(count, WaveBook::default());
                }
                for shard in shards {
                    if let Some(book) = self.shards.get_mut(shard) {
                        book.member = Some((*campaign, *wave));
                    }
                }
            }
            Record::CampaignPaused { campaign, .. } => {
                if let Some(book) = self.campaigns.get_mut(campaign) {
                    book.ran_ms = book.clock(listened);
                    book.running_since = None;
                }
            }
            Record::CampaignResumed { campaign } => {
                if let Some(book) = self.campaigns.get_mut(campaign) {
                    book.running_since = book.running_since.or(Some(listened));
                }
            }
            Record::WaveStarted { campaign, wave } => self.wave(*campaign, *wave, |w| w.started = true),
            Record::WaveSettled { campaign, wave } => self.wave(*campaign, *wave, |w| w.settled = Some(at)),
            Record::WaveUnsettled { campaign, wave } => self.wave(*campaign, *wave, |w| w.settled = None),
            // An operator may promote a wave that never began: its shards may open from then on.
            Record::WavePassed { campaign, wave, .. } => self.wave(*campaign, *wave, |w| {
                w.started = true;
                w.passed = true;
            }),
            _ => {}
        }
    }

    fn wave(&mut self, campaign: CampaignId, wave: WaveNo, edit: impl FnOnce(&mut WaveBook)) {
        let book = self.campaigns.get_mut(&campaign);
        if let Some(wave) = book.and_then(|book| book.waves.get_mut(wave.raw() as usize)) {
            edit(wave);
        }
    }

    /// A wave.
    #[must_use]
    pub fn wave_of(&self, campaign: CampaignId, wave: WaveNo) -> Option<WaveBook> {
        self.campaigns.get(&campaign)?.waves.get(wave.raw() as usize).copied()
    }
}

impl ShardBook {
    fn met(node: NodeId, claim: &rientro_types::Claim) -> Self {
        Self {
            node,
            volume: claim.volume,
            known: claim.mailboxes,
            lists: ListBook::default(),
            seen: claim.services,
            services: claim.services,
            ever: claim.services,
            member: None,
            verification: None,
            confirmed: None,
            asked: 0,
            accepted: false,
            adopted: !claim.services.is_empty(),
            under_way: None,
        }
    }

    /// It is on this node and volume; on another volume it is other data.
    pub fn placed(&mut self, node: NodeId, volume: VolumeId) {
        if self.volume != volume {
            self.closed();
        }
        if self.node != node || self.volume != volume {
            self.under_way = None;
            self.confirmed = None;
        }
        if self.node != node {
            self.seen = ServiceSet::NONE;
        }
        self.node = node;
        self.volume = volume;
    }

    /// In service customers delete; what is closed loses nothing by being counted again.
    fn measured(&mut self, mailboxes: u64) {
        let in_service = self.services != ServiceSet::NONE || self.seen != ServiceSet::NONE;
        self.known = if in_service { mailboxes } else { self.known.max(mailboxes) };
    }

    /// Nothing is open, and nothing of what was known counts.
    pub fn closed(&mut self) {
        self.services = ServiceSet::NONE;
        self.verification = None;
        self.confirmed = None;
        self.accepted = false;
        self.adopted = false;
        self.under_way = None;
    }
}
