//! What an agent and the orchestrator say to each other in a session.
//!
//! The order of messages and what they ask for are told in `agent.proto`. Each side reads the other's messages by `TryFrom`, so
//! that nothing unchecked goes further than the stream.

use std::collections::BTreeMap;

use rientro_types::{
    AttemptNo, BootId, CampaignId, CellId, Digest, EXPLANATION_BYTES_MAX, Epoch, FindingKinds, Incarnation,
    LABELS_MAX, LabelKey, LabelValue, NodeId, NodeIncarnation, Order, Pace, Progress, Service, ServiceSet,
    ShardId, Span, Task, TaskEnd, TaskKind, Witness,
};

use crate::convert::{ConvertError, Inside, Problem, Put, Take, TakeWithin};
use crate::limits::{BUILD_BYTES_MAX, SESSION_PAGE_MAX};
use crate::v1;

/// Version of the session protocol that this crate speaks.
pub const PROTOCOL: u32 = 1;

/// Who an agent is: the first message of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Version of the protocol that the agent speaks.
    pub protocol: u32,
    /// Build of the agent, for people; at most [`BUILD_BYTES_MAX`] bytes.
    pub build: String,
    /// Its node.
    pub node: NodeId,
    /// Life of its state directory.
    pub incarnation: NodeIncarnation,
    /// Failure domains; at most [`LABELS_MAX`].
    pub labels: BTreeMap<LabelKey, LabelValue>,
    /// The life and term that it met last, and the highest record number in that life of any order it acted on.
    pub newest: Option<Order>,
    /// Digest of its inventory; absent before the first scan.
    pub inventory: Option<Digest>,
    /// Of the orders it acted on in that life, a newest one whose journal entry it was told.
    pub witness: Option<Witness>,
    /// This run of its process.
    pub boot: BootId,
}

/// A task that runs on an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningTask {
    /// On which shard.
    pub shard: ShardId,
    /// Which try.
    pub attempt: AttemptNo,
    /// What.
    pub kind: TaskKind,
}

/// What a node serves of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServedShard {
    /// The shard.
    pub shard: ShardId,
    /// Services durably known to be open; at least one.
    pub services: ServiceSet,
}

/// What an agent says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentMessage {
    /// Who it is; the first message.
    Hello(Hello),
    /// A page of what runs; at most [`SESSION_PAGE_MAX`].
    Running(Vec<RunningTask>),
    /// A page of what is served; at most [`SESSION_PAGE_MAX`].
    Served(Vec<ServedShard>),
    /// All pages are sent: what is not in them does not run and is not served.
    HelloDone,
    /// Still here.
    Heartbeat,
    /// How far a task is.
    TaskProgress {
        /// On which shard.
        shard: ShardId,
        /// Which try.
        attempt: AttemptNo,
        /// How far.
        progress: Progress,
    },
    /// A task ended; sent again in each session until acknowledged.
    TaskResult {
        /// On which shard.
        shard: ShardId,
        /// Which try.
        attempt: AttemptNo,
        /// How it ended.
        end: TaskEnd,
    },
    /// The agent is not busy with this try, and has no result of it.
    TaskStopped {
        /// On which shard.
        shard: ShardId,
        /// Which try.
        attempt: AttemptNo,
    },
    /// The agent durably knows what is open.
    ServicesSeen {
        /// The shard.
        shard: ShardId,
        /// What is open.
        services: ServiceSet,
        /// The order it acted on.
        order: Order,
    },
}

/// The terms on which an agent is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The cell.
    pub cell: CellId,
    /// Its life.
    pub incarnation: Incarnation,
    /// The leader's term.
    pub epoch: Epoch,
    /// Send something at least this often.
    pub heartbeat: Span,
    /// A side that hears nothing for this long ends the session.
    pub silence: Span,
    /// Key of the mailbox ids of this cell.
    pub mailbox_key: [u8; 32],
    /// Largest message of a session, in bytes.
    pub session_bytes_max: u32,
    /// Largest message of a bulk call, in bytes.
    pub bulk_bytes_max: u32,
    /// Whether the inventory of the Hello is known already and need not be reported.
    pub inventory_known: bool,
}

/// Why a session is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefuseReason {
    /// Another life of a node of that name has a session.
    NodeIdTaken,
    /// That life of the node was replaced by another one.
    IncarnationRetired,
    /// The protocol version is not spoken here, or its order of messages was broken.
    Protocol,
    /// This orchestrator does not lead.
    NotLeader,
    /// The labels break a rule of the cell.
    LabelsInvalid,
    /// The agent met a newer term, or obeyed a newer order, than the orchestrator's journal holds.
    JournalBehind,
    /// Another running agent has this node's identity and is heard: one of the two state directories is a copy.
    Twin,
}

/// What the orchestrator says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrchestratorMessage {
    /// The agent is let in.
    Welcome(Welcome),
    /// The agent is not let in; the stream ends after this.
    Refused {
        /// Why.
        reason: RefuseReason,
        /// What to do about it, for people; at most [`EXPLANATION_BYTES_MAX`] bytes.
        text: String,
    },
    /// Still here.
    Heartbeat,
    /// Begin a task.
    StartTask {
        /// Its stamp.
        order: Order,
        /// What to do.
        task: Task,
        /// Digest of the journal entry that holds the stamp's record.
        entry: Option<Digest>,
    },
    /// End a task; answered by its result or by [`AgentMessage::TaskStopped`].
    CancelTask {
        /// Its stamp.
        order: Order,
        /// On which shard.
        shard: ShardId,
        /// Which try.
        attempt: AttemptNo,
    },
    /// Hold every task of a campaign where it is.
    SuspendCampaign {
        /// Its stamp.
        order: Order,
        /// The campaign.
        campaign: CampaignId,
    },
    /// Let the tasks of a campaign go on.
    ContinueCampaign {
        /// Its stamp.
        order: Order,
        /// The campaign.
        campaign: CampaignId,
    },
    /// Make this the set of open services; answered by [`AgentMessage::ServicesSeen`] once durable.
    SetServices {
        /// Its stamp.
        order: Order,
        /// The shard.
        shard: ShardId,
        /// What is open.
        services: ServiceSet,
        /// Digest of the journal entry that holds the stamp's record.
        entry: Option<Digest>,
    },
    /// Change how hard the tasks of a campaign press, running ones included.
    SetPace {
        /// Its stamp.
        order: Order,
        /// The campaign.
        campaign: CampaignId,
        /// How hard.
        pace: Pace,
    },
    /// A result is durable; the agent may forget it.
    Acknowledge {
        /// On which shard.
        shard: ShardId,
        /// Which try.
        attempt: AttemptNo,
    },
    /// Send the findings of a try; answered by an upload, never in the session.
    SendFindings {
        /// Names this request in the answer.
        request_id: u64,
        /// On which shard.
        shard: ShardId,
        /// Which try.
        attempt: AttemptNo,
        /// Most findings to send.
        max_findings: u64,
        /// Kinds to send; empty for any.
        kinds: FindingKinds,
        /// Whether addresses and mailbox paths are wanted.
        with_addresses: bool,
        /// Whether the newest kept of that try and those before it is wanted.
        or_earlier: bool,
    },
    /// Tell the inventory again, whole.
    SendInventory,
}

choices!(v1::RefuseReason => RefuseReason {
    NodeIdTaken, IncarnationRetired, Protocol, NotLeader, LabelsInvalid, JournalBehind, Twin,
});

message!(v1::session_request::Hello => Hello {
    protocol,
    build in 1..=BUILD_BYTES_MAX,
    node,
    incarnation,
    labels in 0..=LABELS_MAX,
    newest,
    inventory,
    witness,
    boot,
});

message!(v1::RunningTask => RunningTask { shard, attempt, kind });
message!(v1::ServedShard => ServedShard { shard, services in 1..=Service::ALL.len() });

oneof!(SessionRequest in session_request, message: Message => AgentMessage {
    Hello = hello,
    Running(tasks in 0..=SESSION_PAGE_MAX),
    Served(shards in 0..=SESSION_PAGE_MAX),
    HelloDone,
    Heartbeat,
    TaskProgress { shard, attempt, progress },
    TaskResult { shard, attempt, end },
    TaskStopped { shard, attempt },
    ServicesSeen { shard, services, order },
});

message!(v1::session_response::Welcome => Welcome {
    cell,
    incarnation,
    epoch,
    heartbeat as heartbeat_ms,
    silence as silence_ms,
    mailbox_key,
    session_bytes_max,
    bulk_bytes_max,
    inventory_known,
});

oneof!(SessionResponse in session_response, message: Message => OrchestratorMessage {
    Welcome = welcome,
    Refused { reason, text in 0..=EXPLANATION_BYTES_MAX },
    Heartbeat,
    StartTask { order, task, entry },
    CancelTask { order, shard, attempt },
    SuspendCampaign { order, campaign },
    ContinueCampaign { order, campaign },
    SetServices { order, shard, services, entry },
    SetPace { order, campaign, pace },
    Acknowledge { shard, attempt },
    SendFindings { request_id, shard, attempt, max_findings, kinds, with_addresses, or_earlier },
    SendInventory,
});
