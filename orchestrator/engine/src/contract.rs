//! What goes into the core and what comes out of it.
//!
//! The driver hands every event to [`Engine::step`](crate::Engine::step) with the time, makes the records durable, and only
//! then carries out the commands and answers anyone. Nothing here does IO.

use std::collections::BTreeMap;

use rientro_types::{
    Actor, AttemptNo, BootId, Busy, CampaignId, CellId, CellTime, Claim, Decision, Digest, Epoch,
    Incarnation, LabelKey, LabelValue, NodeId, NodeIncarnation, Order, Pace, Progress, Receipt, Refusal,
    ServiceSet, ShardId, Task, TaskEnd, Verb,
};

/// Number of an agent session, given by the driver; a node's newer session has a greater one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionNo(pub u64);

/// Number of an operator's request, given by the driver; the answer carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestNo(pub u64);

/// What an agent says of itself when it connects, in full: both sides reconcile from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The session it came on.
    pub session: SessionNo,
    /// Its name.
    pub node: NodeId,
    /// Life of its state directory.
    pub incarnation: NodeIncarnation,
    /// Run of its process.
    pub boot: BootId,
    /// Its failure domains.
    pub labels: BTreeMap<LabelKey, LabelValue>,
    /// Tries it is busy with. Results it has not got rid of follow as [`Event::Result`].
    pub running: Vec<Busy>,
    /// Shards with services it durably knows to be open; a shard not named is closed there.
    pub served: Vec<(ShardId, ServiceSet)>,
}

/// How a leader came by its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is empty: found this cell.
    Founded {
        /// The cell's name.
        cell: CellId,
        /// Digest of the key of its mailbox ids.
        mailbox_key: Digest,
    },
    /// It was there.
    Continued,
    /// It was restored from a backup: a new life begins.
    Restored {
        /// The newest life that was met, as far as an operator has said: the backup may not tell of it, nor the clock.
        above: Option<Incarnation>,
    },
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// This engine leads from here on. First event after replay.
    Lead {
        /// The term; above every earlier one.
        epoch: Epoch,
        /// Where the journal came from.
        origin: Origin,
    },
    /// An agent connected.
    Hello(Hello),
    /// A node's shards, in pages.
    Inventory {
        /// The node.
        node: NodeId,
        /// Life of its state directory.
        incarnation: NodeIncarnation,
        /// Whether this is the first page of a listing.
        first: bool,
        /// Shards it holds.
        claims: Vec<Claim>,
        /// Whether this is the last page: shards of this node not named in the listing are missing there.
        last: bool,
    },
    /// The list of a shard's mailboxes lacks some that were listed before. Told whenever a list is, while the shard is held for
    /// that.
    Unlisted {
        /// The node.
        node: NodeId,
        /// Life of its state directory.
        incarnation: NodeIncarnation,
        /// The shard.
        shard: ShardId,
        /// How many mailboxes, in all.
        unlisted: u64,
    },
    /// A try ended on an agent. Re-sent until acknowledged.
    Result {
        /// The node.
        node: NodeId,
        /// Life of its state directory.
        incarnation: NodeIncarnation,
        /// The shard.
        shard: ShardId,
        /// Which try.
        attempt: AttemptNo,
        /// How it ended.
        end: TaskEnd,
    },
    /// An agent is not busy with a try it was told to cancel.
    Stopped {
        /// The node.
        node: NodeId,
        /// Life of its state directory.
        incarnation: NodeIncarnation,
        /// The shard.
        shard: ShardId,
        /// Which try.
        attempt: AttemptNo,
    },
    /// An agent has made durable which services of a shard are open.
    Seen {
        /// The node.
        node: NodeId,
        /// Life of its state directory.
        incarnation: NodeIncarnation,
        /// The shard.
        shard: ShardId,
        /// What it knows to be open.
        services: ServiceSet,
    },
    /// An operator asks for something.
    Request {
        /// Which request.
        request: RequestNo,
        /// Who.
        actor: Actor,
        /// What.
        verb: Box<Verb>,
        /// Only tell what it would do.
        rehearse: bool,
        /// Fresh randomness: seeds the order of a campaign whose plan fixes none.
        seed: [u8; 32],
    },
    /// Time passed: at the latest at [`Step::wake_at`].
    Wake,
}

/// Something seen that is not journaled. Lost on restart, which must be safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// A node was heard.
    Heard {
        /// The node.
        node: NodeId,
    },
    /// A node's session is gone.
    Lost {
        /// The node.
        node: NodeId,
        /// The session.
        session: SessionNo,
    },
    /// A running try advanced. Counters of one try only grow.
    Progress {
        /// The node.
        node: NodeId,
        /// The shard.
        shard: ShardId,
        /// Which try.
        attempt: AttemptNo,
        /// How far it is.
        progress: Progress,
    },
}

/// Why an agent is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turnaway {
    /// Another agent with this node's name is connected or was heard within the silence limit.
    NodeIdTaken {
        /// The life that holds the name.
        holder: NodeIncarnation,
    },
    /// Another process of the same life of this node is heard: one of the two has a copy of the other's state directory.
    Twin {
        /// The node.
        node: NodeId,
    },
    /// This life of the node was replaced by a newer one.
    IncarnationRetired {
        /// The life that replaced it.
        holder: NodeIncarnation,
    },
}

/// Something to do once the step's records are durable.
#[allow(clippy::large_enum_variant, reason = "commands are carried out at once and never stored in numbers")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Let an agent in.
    Welcome {
        /// Its session.
        session: SessionNo,
        /// Its name.
        node: NodeId,
    },
    /// Turn an agent away.
    Refuse {
        /// Its session.
        session: SessionNo,
        /// Why.
        turnaway: Turnaway,
    },
    /// Send an order to an agent. Dropped when the node has no session: reconciling makes up for it.
    Send {
        /// The node.
        node: NodeId,
        /// Its place among all orders.
        order: Order,
        /// What.
        order_kind: OrderKind,
    },
    /// Tell an agent that a result is durable, or void: it can forget it.
    Acknowledge {
        /// The node.
        node: NodeId,
        /// The shard.
        shard: ShardId,
        /// Which try.
        attempt: AttemptNo,
    },
    /// Answer an operator.
    Reply {
        /// Which request.
        request: RequestNo,
        /// The answer.
        answer: Result<Receipt, Refusal>,
    },
}

/// What an agent is ordered to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderKind {
    /// Begin a try. One that was begun before is not run again.
    Start(Task),
    /// Give a try up.
    Cancel {
        /// The shard.
        shard: ShardId,
        /// Which try.
        attempt: AttemptNo,
    },
    /// Suspend every try of a campaign.
    Suspend {
        /// Which campaign.
        campaign: CampaignId,
    },
    /// Let the tries of a campaign go on.
    Continue {
        /// Which campaign.
        campaign: CampaignId,
    },
    /// Make durable which services of a shard are open, and say so.
    Serve {
        /// The shard.
        shard: ShardId,
        /// All services that are open.
        services: ServiceSet,
    },
    /// Change how hard the tries of a campaign press.
    Pace {
        /// Which campaign.
        campaign: CampaignId,
        /// How hard.
        pace: Pace,
    },
}

/// What one event led to.
#[must_use = "records must be made durable and commands carried out"]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Decisions, already applied to the engine, to be made durable before anything else happens.
    pub decisions: Vec<Decision>,
    /// What to do after that.
    pub commands: Vec<Command>,
    /// When to call again with [`Event::Wake`] if nothing else happens before.
    pub wake_at: Option<(CellTime, WakeReason)>,
}

/// Why the engine wants to be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WakeReason {
    /// A deadline or the end of a wait.
    Deadline,
    /// The end of a wave's bake.
    Bake,
    /// The regular look at silent nodes, stalled tasks and the clock.
    Housekeeping,
}

/// Events that changed nothing, counted by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    /// From a node or a life of a node that is not known.
    pub foreign: u64,
    /// About a try that is not the present one.
    pub late: u64,
    /// Told before.
    pub duplicate: u64,
    /// While this engine does not lead.
    pub not_leading: u64,
}
