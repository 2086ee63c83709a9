//! One shard, and its place in the indices.

use std::collections::BTreeMap;

use rientro_types::{
    Acceptance, ActiveTime, AttemptNo, CellTime, Charge, Exception, HeldReason, Hold, MailboxId, NodeId,
    Phase, Placement, PlacementNo, ServiceSet, ShardId, ShardState, Standing, VolumeId, WAVE_UNASSIGNED,
    WaveNo, shard_state,
};

use crate::state::{CampaignIx, NodeIx, ShardIx};

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
    pub(crate) forgiven: bool,
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
    /// What its list lacked when it was last held for that, and nobody has settled.
    pub(crate) unlisted: u64,
    pub(crate) doubted: bool,
    pub(crate) attempt: AttemptNo,
    pub(crate) failures: u32,
    pub(crate) charge: Charge,
    pub(crate) member: Option<Member>,
    pub(crate) standing: Option<Box<Standing>>,
    pub(crate) accepted: Option<Box<Acceptance>>,
    pub(crate) exceptions: BTreeMap<MailboxId, Exception>,

    pub(crate) footprint: Option<Footprint>,

    /// Its wait between tries is over.
    pub(crate) due: bool,
    /// What its node was last told to serve, in the node's present session.
    pub(crate) told: Option<ServiceSet>,
    /// Its node has not answered what it was last told in that session.
    pub(crate) unanswered: bool,
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

    /// Whether it is held because nobody frees a place for it.
    pub(crate) fn is_stuck(&self) -> bool {
        matches!(self.held_by(), Some(HeldReason::NodeStuck { .. } | HeldReason::DomainStuck { .. }))
    }

    /// Whether nothing holds it that is known to be wrong with it.
    pub(crate) fn is_free_or_waits(&self) -> bool {
        self.held_by().is_none_or(HeldReason::is_wait)
    }

    /// Whether customers are let in, or about to be.
    pub(crate) const fn is_open_or_opening(&self) -> bool {
        matches!(self.phase, Phase::Opening { .. } | Phase::Open { .. })
    }

    /// Whether it is in service and wrong: what would hold it were it on its way.
    pub(crate) fn is_impaired(&self) -> bool {
        self.blocked.is_some() && self.state() == ShardState::Open
    }

    /// R1: whether its node may serve customers, as far as it has told: a closed shard is neither read nor opened before the
    /// node has confirmed that it is closed.
    pub(crate) fn may_be_served(&self) -> bool {
        self.seen != ServiceSet::NONE || self.unanswered
    }

    /// Its node's session is over, or it is on another node: what was said in a session no longer counts.
    pub(crate) fn forget_told(&mut self) {
        (self.told, self.unanswered) = (None, false);
    }

    /// Whether a campaign is bringing it back: what it is lost to counts against its wave, and leaving the campaign closes it.
    pub(crate) fn is_under_way(&self) -> bool {
        self.member.is_some() && !matches!(self.phase, Phase::Open { .. } | Phase::Closed { .. })
    }

    /// Whether it goes on without a person's word, now or when what keeps it is over.
    pub(crate) fn is_on_its_way(&self) -> bool {
        self.is_under_way() && !matches!(self.phase, Phase::Held { .. } | Phase::Failed { .. })
    }

    /// Whether it was lost, and is on its way again.
    pub(crate) fn is_returning(&self) -> bool {
        self.footprint.is_some_and(|mark| mark.returning() > 0)
    }

    /// Holds it for a circumstance, and charges its wave when it is under way (R6). The hold began when its cause did: being
    /// told of that cause again takes in what is told and leaves the time as it is.
    pub(crate) fn hold(&mut self, reason: HeldReason, at: CellTime) {
        let same = self.blocked.as_deref().filter(|hold| hold.reason.is_same_cause(&reason));
        // A person who goes on without an answer has not answered for what turns out to be wrong.
        let answered_for = same.is_some() || reason.is_wait();
        let since = same.map_or(at, |hold| hold.since);
        if let HeldReason::MailboxesMissing { unlisted, .. } = reason {
            self.unlisted = unlisted;
        }
        self.blocked = Some(Box::new(Hold { reason, since }));
        if self.is_under_way() && !(answered_for && self.is_charged()) {
            self.lose();
        }
    }

    /// An answer that held it has come. Who went on without it has answered for the wait, however often there is one.
    pub(crate) fn end_wait(&mut self) {
        self.blocked = None;
    }

    /// What held it for a circumstance is over. With it goes what was forgiven, when the shard goes on: what it is lost to
    /// next is a loss of its own.
    pub(crate) fn unblock(&mut self) {
        self.blocked = None;
        if self.charge == Charge::Forgiven && self.is_on_its_way() {
            self.charge = Charge::None;
        }
    }

    /// R6: it is lost, and nobody has answered for that.
    pub(crate) fn lose(&mut self) {
        self.charge = Charge::Lost;
    }

    /// Whether it is lost to its wave, forgiven or not.
    pub(crate) fn is_charged(&self) -> bool {
        self.charge != Charge::None
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
