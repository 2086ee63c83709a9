//! What the engine holds, and which part of it is durable.
//!
//! Every struct has three parts, in this order: *durable* fields, changed only while a record is applied; *derived* fields,
//! kept equal to what the durable ones imply (see `index`); *observed* fields, lost on restart.

use std::collections::{BTreeMap, BTreeSet};

use rientro_types::{
    Acceptance, ActiveTime, AttemptNo, CampaignId, CampaignState, CellId, CellTime, Digest, Exception,
    FleetLimits, HeldReason, Hold, Incarnation, LabelKey, LabelValue, MailboxId, NodeId, NodeIncarnation,
    Pause, Phase, Placement, PlacementNo, Plan, Progress, Revision, Seq, ServiceSet, ShardId, ShardState,
    Span, Standing, StateCounts, TaskKind, VolumeId, WAVE_UNASSIGNED, WaveNo, WaveState, shard_state,
};

use crate::claims::Listing;
use crate::contract::{Ignored, SessionNo};
use crate::mutant::Mutant;
use crate::twin::Boots;

macro_rules! indices {
    ($($(#[$doc:meta])* $ix:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) struct $ix(u32);

        impl $ix {
            /// The index of the element about to be pushed.
            pub(crate) fn for_len(len: usize) -> Self {
                Self(u32::try_from(len).expect("fewer than 2^32 elements fit in memory"))
            }

            pub(crate) const fn at(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

indices! {
    /// Position of a shard in the engine. Shards are never removed.
    ShardIx;
    /// Position of a node.
    NodeIx;
    /// Position of a campaign, in order of starting.
    CampaignIx;
}

/// A shard's place in a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) campaign: CampaignIx,
    pub(crate) wave: WaveNo,
    pub(crate) rank: u32,
}

/// Which queue of its campaign a shard stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    /// Waits to be verified.
    Verify,
    /// Is verified and waits to be opened.
    Open,
}

/// Order in a queue: wave, then rank; the index makes it unique.
pub(crate) type QueueKey = (WaveNo, u32, ShardIx);

/// What the derived state holds of one shard, so that it can be taken out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footprint {
    pub(crate) node: NodeIx,
    pub(crate) state: ShardState,
    pub(crate) mailboxes: u64,
    pub(crate) campaign: Option<CampaignIx>,
    pub(crate) wave: Option<WaveNo>,
    pub(crate) lost: u64,
    pub(crate) moving: bool,
    pub(crate) in_flight: bool,
    pub(crate) steppable: bool,
    pub(crate) queue: Option<(Queue, QueueKey)>,
    pub(crate) timer: Option<ActiveTime>,
}

/// One shard.
#[derive(Clone, Debug)]
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    pub(crate) placement_no: PlacementNo,
    pub(crate) node: NodeIx,
    pub(crate) volume: VolumeId,
    pub(crate) mailboxes: u64,
    /// What the last verification of all of it read: closing it again does not make it another size.
    pub(crate) bytes: u64,
    pub(crate) services: ServiceSet,
    pub(crate) services_since: CellTime,
    pub(crate) seen: ServiceSet,
    pub(crate) phase: Phase,
    pub(crate) since: CellTime,
    pub(crate) blocked: Option<Box<Hold>>,
    pub(crate) doubted: bool,
    pub(crate) attempt: AttemptNo,
    pub(crate) failures: u32,
    pub(crate) charged: bool,
    pub(crate) member: Option<Member>,
    pub(crate) standing: Option<Box<Standing>>,
    pub(crate) accepted: Option<Box<Acceptance>>,
    pub(crate) exceptions: BTreeMap<MailboxId, Exception>,

    pub(crate) footprint: Option<Footprint>,

    /// Its wait between tries is over.
    pub(crate) due: bool,
    /// What its node was last told to serve, in the node's present session.
    pub(crate) told: Option<ServiceSet>,
}

impl Shard {
    pub(crate) fn state(&self) -> ShardState {
        shard_state(&self.phase, self.held_by())
    }

    /// The circumstance that holds it, whatever its phase.
    pub(crate) fn held_by(&self) -> Option<&HeldReason> {
        self.blocked.as_deref().map(|hold| &hold.reason)
    }

    /// Whether two nodes claim it.
    pub(crate) fn is_contested(&self) -> bool {
        matches!(self.held_by(), Some(HeldReason::Contested { .. }))
    }

    /// Whether it is in service and wrong: what would hold it were it on its way.
    pub(crate) fn is_impaired(&self) -> bool {
        self.blocked.is_some() && self.state() == ShardState::Open
    }

    /// Whether a campaign is bringing it back: what it is lost to counts against its wave, and leaving the campaign closes it.
    pub(crate) fn is_under_way(&self) -> bool {
        self.member.is_some() && !matches!(self.phase, Phase::Open { .. } | Phase::Closed { .. })
    }

    /// Whether it was lost, and is on its way again.
    pub(crate) fn is_returning(&self) -> bool {
        self.footprint.is_some_and(|mark| mark.returning() > 0)
    }

    /// Holds it for a circumstance, and charges its wave when it is under way (R6). The hold began when its cause did: being
    /// told of that cause again takes in what is told and leaves the time as it is.
    pub(crate) fn hold(&mut self, reason: HeldReason, at: CellTime) {
        let same = self.blocked.as_deref().filter(|hold| hold.reason.is_same_cause(&reason));
        let since = same.map_or(at, |hold| hold.since);
        self.blocked = Some(Box::new(Hold { reason, since }));
        self.charged |= self.is_under_way();
    }

    /// Mailboxes as budgets count them: a shard without mailboxes still counts.
    pub(crate) fn weight(&self) -> u64 {
        self.mailboxes.max(1)
    }

    /// The try under way, if there is one.
    pub(crate) fn current_attempt(&self) -> Option<AttemptNo> {
        match self.phase {
            Phase::Verifying { attempt, .. } | Phase::Confirming { attempt, .. } => Some(attempt),
            Phase::Closed { .. }
            | Phase::Waiting
            | Phase::Backoff { .. }
            | Phase::Verified
            | Phase::Opening { .. }
            | Phase::Open { .. }
            | Phase::Held { .. }
            | Phase::Failed { .. } => None,
        }
    }

    /// Where the shard goes when nothing is being done to it: on from its verification, or back to wait for one.
    pub(crate) fn resting(&self) -> Phase {
        if self.is_vouched() { Phase::Verified } else { Phase::Waiting }
    }

    /// Whether a standing verification or an operator's acceptance lets the shard go on to open.
    pub(crate) fn is_vouched(&self) -> bool {
        self.standing.is_some() || self.accepted.is_some()
    }

    pub(crate) fn placement(&self, node: NodeId) -> Placement {
        Placement { no: self.placement_no, node, volume: self.volume }
    }

    /// The wave it is formed in, if it is in one.
    pub(crate) fn wave(&self) -> Option<WaveNo> {
        self.member.map(|m| m.wave).filter(|wave| *wave != WAVE_UNASSIGNED)
    }
}

/// One node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) incarnation: NodeIncarnation,
    pub(crate) retired: Vec<NodeIncarnation>,
    pub(crate) labels: BTreeMap<LabelKey, LabelValue>,
    pub(crate) silent: Option<CellTime>,
    pub(crate) busy: BTreeMap<(ShardIx, AttemptNo), TaskKind>,

    pub(crate) verifying: u32,
    pub(crate) confirming: u32,
    pub(crate) shards: BTreeSet<ShardIx>,
    pub(crate) counts: StateCounts,

    /// The session that has reconciled under the present leader.
    pub(crate) session: Option<SessionNo>,
    pub(crate) heard: Option<CellTime>,
    /// Its processes, and whether another one uses its identity.
    pub(crate) boots: Boots,
    pub(crate) cancelled: BTreeSet<(ShardIx, AttemptNo)>,
    pub(crate) listing: Option<Listing>,
    /// Its newest complete inventory under the present leader.
    pub(crate) listed: Option<Listing>,
    /// Shards it said it serves that no node has shown yet.
    pub(crate) strangers: BTreeSet<ShardId>,
}

impl Node {
    /// Whether nobody says that it has the shard: it has listed its shards without it, or has listed none and is silent.
    pub(crate) fn is_without(&self, shard: ShardIx) -> bool {
        match &self.listed {
            Some(listed) => !listed.shows(shard),
            None => self.silent.is_some(),
        }
    }

    pub(crate) fn new(id: NodeId, incarnation: NodeIncarnation) -> Self {
        Self {
            id,
            incarnation,
            retired: Vec::new(),
            labels: BTreeMap::new(),
            silent: None,
            busy: BTreeMap::new(),
            verifying: 0,
            confirming: 0,
            shards: BTreeSet::new(),
            counts: StateCounts::default(),
            session: None,
            heard: None,
            boots: Boots::default(),
            cancelled: BTreeSet::new(),
            listing: None,
            listed: None,
            strangers: BTreeSet::new(),
        }
    }

    /// Whether tasks may start here.
    pub(crate) fn is_ready(&self) -> bool {
        self.session.is_some() && self.silent.is_none()
    }
}

/// One wave.
#[derive(Clone, Debug)]
pub(crate) struct Wave {
    pub(crate) state: WaveState,
    pub(crate) forgiven: u64,

    pub(crate) counts: StateCounts,
    pub(crate) weight: u64,
    pub(crate) lost: u64,
    /// Of those lost, what is on its way again.
    pub(crate) returning: u64,
    pub(crate) moving: u64,
}

impl Wave {
    pub(crate) fn new() -> Self {
        Self {
            state: WaveState::Waiting,
            forgiven: 0,
            counts: StateCounts::default(),
            weight: 0,
            lost: 0,
            returning: 0,
            moving: 0,
        }
    }

    /// Takes what it has lost so far out of its budget: a named operator has seen it and goes on.
    pub(crate) fn forgive(&mut self) {
        self.forgiven = self.forgiven.max(self.lost);
    }

    /// Mailboxes lost that no operator has forgiven yet.
    pub(crate) fn unforgiven(&self) -> u64 {
        self.lost.saturating_sub(self.forgiven)
    }
}

/// One campaign.
#[derive(Clone, Debug)]
pub(crate) struct Campaign {
    pub(crate) id: CampaignId,
    pub(crate) plan: Plan,
    pub(crate) source: Digest,
    pub(crate) revision: Revision,
    pub(crate) seed: [u8; 32],
    pub(crate) state: CampaignState,
    pub(crate) started: CellTime,
    pub(crate) ended: Option<CellTime>,
    pub(crate) paused: Option<Pause>,
    pub(crate) clock_behind: Span,
    pub(crate) waves: Vec<Wave>,

    pub(crate) counts: StateCounts,
    pub(crate) moving: u64,
    pub(crate) in_flight: u32,
    pub(crate) verify: BTreeMap<NodeIx, BTreeSet<QueueKey>>,
    pub(crate) open: BTreeMap<NodeIx, BTreeSet<QueueKey>>,
    pub(crate) timers: BTreeSet<(ActiveTime, ShardIx)>,
    pub(crate) steppable: BTreeSet<ShardIx>,
}

/// Rank of the first shard of a campaign: the middle, so that shards can be brought forward without end.
pub(crate) const RANK_FIRST: u32 = 1 << 31;

impl Campaign {
    pub(crate) fn new(plan: Plan, source: Digest, seed: [u8; 32], started: CellTime) -> Self {
        Self {
            id: plan.name,
            plan,
            source,
            revision: Revision::from_raw(1),
            seed,
            state: CampaignState::Forming,
            started,
            ended: None,
            paused: None,
            clock_behind: Span::ZERO,
            waves: Vec::new(),
            counts: StateCounts::default(),
            moving: 0,
            in_flight: 0,
            verify: BTreeMap::new(),
            open: BTreeMap::new(),
            timers: BTreeSet::new(),
            steppable: BTreeSet::new(),
        }
    }

    /// The campaign's own clock: it stands still while the campaign is paused and moved back by every absence.
    pub(crate) fn active(&self, now: CellTime) -> ActiveTime {
        let real = self.paused.map_or(now, |pause| pause.since).since(self.started).ms();
        ActiveTime::from_ms(real.saturating_sub(self.clock_behind.ms()))
    }

    /// The real moment of a moment on the campaign's clock, if it goes on running from `now`.
    pub(crate) fn real(&self, moment: ActiveTime) -> CellTime {
        self.started + Span::from_ms(moment.ms()).plus(self.clock_behind)
    }

    pub(crate) fn is_running(&self) -> bool {
        self.state == CampaignState::Running
    }

    /// The first wave that has not passed.
    pub(crate) fn current_wave(&self) -> Option<WaveNo> {
        let at = self.waves.iter().position(|wave| wave.state != WaveState::Passed)?;
        u32::try_from(at).ok().map(WaveNo::from_raw)
    }

    pub(crate) fn wave(&self, wave: WaveNo) -> Option<&Wave> {
        self.waves.get(wave.raw() as usize)
    }

    pub(crate) fn wave_mut(&mut self, wave: WaveNo) -> Option<&mut Wave> {
        self.waves.get_mut(wave.raw() as usize)
    }

    /// The waves whose losses a resumption forgives: those that have passed, and the present one.
    pub(crate) fn answered_for(&self) -> &[Wave] {
        let upto = self.current_wave().map_or(self.waves.len(), |wave| wave.raw() as usize + 1);
        &self.waves[..upto]
    }

    /// Whether shards of this wave may open.
    pub(crate) fn wave_started(&self, wave: WaveNo) -> bool {
        self.wave(wave).is_some_and(|wave| wave.state != WaveState::Waiting)
    }

    /// Mailboxes a wave may lose before the campaign pauses.
    pub(crate) fn lost_max(&self, wave: WaveNo) -> u64 {
        let budget =
            if wave.raw() == 0 { self.plan.waves.error_budget_canary } else { self.plan.waves.error_budget };
        self.wave(wave).map_or(0, |wave| budget.of(wave.weight).max(wave.forgiven))
    }
}

/// A failure domain: nodes that share a label.
#[derive(Clone, Debug, Default)]
pub(crate) struct Domain {
    pub(crate) verifying: u32,
    pub(crate) nodes: BTreeSet<NodeIx>,
}

/// How far a running try was last seen, and when it last advanced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    pub(crate) attempt: AttemptNo,
    pub(crate) progress: Progress,
    pub(crate) advanced: CellTime,
}

/// The cell's own durable facts.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) id: CellId,
    pub(crate) incarnation: Incarnation,
    /// Digest of the key of its mailbox ids.
    pub(crate) mailbox_key: Digest,
    pub(crate) epoch: rientro_types::Epoch,
}

/// Everything.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) cell: Option<Cell>,
    pub(crate) seq_next: Seq,
    pub(crate) at: CellTime,
    pub(crate) limits: FleetLimits,
    pub(crate) nodes: Vec<Node>,
    pub(crate) shards: Vec<Shard>,
    pub(crate) campaigns: Vec<Campaign>,

    pub(crate) node_ix: BTreeMap<NodeId, NodeIx>,
    pub(crate) shard_ix: BTreeMap<ShardId, ShardIx>,
    pub(crate) campaign_ix: BTreeMap<CampaignId, CampaignIx>,
    pub(crate) domains: BTreeMap<(LabelKey, LabelValue), Domain>,
    pub(crate) counts: StateCounts,
    /// Shards that two nodes claim.
    pub(crate) contested: u64,
    /// Shards that are open and wrong.
    pub(crate) impaired: u64,
    /// Every try that a node is booked with, by its shard.
    pub(crate) booked: BTreeSet<(ShardIx, AttemptNo, NodeIx)>,

    /// While a snapshot is taken in: what nodes are busy with on shards that have not come yet.
    pub(crate) to_book: BTreeMap<ShardId, Vec<(NodeIx, AttemptNo, TaskKind)>>,

    pub(crate) mutant: Mutant,
    pub(crate) watches: BTreeMap<ShardIx, Watch>,
    pub(crate) ignored: Ignored,
    /// What this step has touched; decides what is looked at again, and what the invariants are checked on.
    pub(crate) touched: Vec<ShardIx>,
    pub(crate) dirty_nodes: BTreeSet<NodeIx>,
    pub(crate) dirty_campaigns: BTreeSet<CampaignIx>,
}

impl State {
    pub(crate) fn new() -> Self {
        Self {
            cell: None,
            seq_next: Seq::from_raw(1),
            at: CellTime::default(),
            limits: FleetLimits::default(),
            nodes: Vec::new(),
            shards: Vec::new(),
            campaigns: Vec::new(),
            node_ix: BTreeMap::new(),
            shard_ix: BTreeMap::new(),
            campaign_ix: BTreeMap::new(),
            domains: BTreeMap::new(),
            counts: StateCounts::default(),
            contested: 0,
            impaired: 0,
            booked: BTreeSet::new(),
            to_book: BTreeMap::new(),
            mutant: Mutant::None,
            watches: BTreeMap::new(),
            ignored: Ignored::default(),
            touched: Vec::new(),
            dirty_nodes: BTreeSet::new(),
            dirty_campaigns: BTreeSet::new(),
        }
    }

    pub(crate) fn shard(&self, ix: ShardIx) -> &Shard {
        &self.shards[ix.at()]
    }

    pub(crate) fn node(&self, ix: NodeIx) -> &Node {
        &self.nodes[ix.at()]
    }

    pub(crate) fn node_mut(&mut self, ix: NodeIx) -> &mut Node {
        &mut self.nodes[ix.at()]
    }

    pub(crate) fn campaign(&self, ix: CampaignIx) -> &Campaign {
        &self.campaigns[ix.at()]
    }

    pub(crate) fn campaign_mut(&mut self, ix: CampaignIx) -> &mut Campaign {
        &mut self.campaigns[ix.at()]
    }

    /// The campaign a shard is in, whatever the campaign's state.
    pub(crate) fn campaign_of(&self, shard: &Shard) -> Option<&Campaign> {
        shard.member.map(|member| self.campaign(member.campaign))
    }

    pub(crate) fn shard_ixs(&self) -> impl Iterator<Item = ShardIx> + use<> {
        (0..self.shards.len()).map(ShardIx::for_len)
    }

    pub(crate) fn node_ixs(&self) -> impl Iterator<Item = NodeIx> + use<> {
        (0..self.nodes.len()).map(NodeIx::for_len)
    }

    pub(crate) fn campaign_ixs(&self) -> impl Iterator<Item = CampaignIx> + use<> {
        (0..self.campaigns.len()).map(CampaignIx::for_len)
    }

    /// Whether a try is the one its shard waits for, on the node its data is on.
    pub(crate) fn is_current(&self, node: NodeIx, shard: ShardIx, attempt: AttemptNo) -> bool {
        let shard = self.shard(shard);
        shard.node == node && shard.current_attempt() == Some(attempt)
    }
}
