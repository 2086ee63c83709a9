//! What the agent must not forget, one fact at a time, and its bytes.
//!
//! A fact is a kind and a message of the session protocol: what is said on the wire and what is kept on disk are the same words,
//! checked by the same conversions.

use prost::Message;
use rientro_types::{AttemptNo, Order, ServiceSet, ShardId, TaskEnd, Witness};
use rientro_wire::ConvertError;
use rientro_wire::session::{AgentMessage, RunningTask};
use rientro_wire::v1;

/// One thing that is durably so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// This cell, life and term were met; its record number means nothing.
    Fence(Order),
    /// A try was begun by this order. Durable before its first effect.
    Begun {
        /// The order that began it.
        order: Order,
        /// What.
        task: RunningTask,
    },
    /// A try ended; its result is to be told until it is acknowledged.
    Ended {
        /// The shard.
        shard: ShardId,
        /// Which try.
        attempt: AttemptNo,
        /// How.
        end: TaskEnd,
    },
    /// The result of a try is durable elsewhere.
    Settled {
        /// The shard.
        shard: ShardId,
        /// Which try.
        attempt: AttemptNo,
    },
    /// These services of a shard are open, by this order.
    Services {
        /// The shard.
        shard: ShardId,
        /// What is open.
        services: ServiceSet,
        /// By which order.
        order: Order,
    },
    /// An order was obeyed that this journal entry holds.
    Obeyed(Witness),
}

/// Bytes that are no fact.
#[derive(Debug, thiserror::Error)]
pub enum FactError {
    /// The kind is none that this version knows.
    #[error(
        "has a kind of fact ({0}) that this version does not know; run the version that wrote it, or a later one"
    )]
    Kind(u8),
    /// There is nothing.
    #[error("has an empty fact")]
    Empty,
    /// The message does not decode.
    #[error("has a fact that cannot be decoded")]
    Undecodable(#[from] prost::DecodeError),
    /// The message holds something that is none of our words.
    #[error("has a fact that is refused")]
    Refused(#[from] ConvertError),
}

const FENCE: u8 = 1;
const BEGUN: u8 = 2;
const ENDED: u8 = 3;
const SETTLED: u8 = 4;
const SERVICES: u8 = 5;
const OBEYED: u8 = 6;

impl Fact {
    /// Appends the bytes of this fact.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self.clone() {
            Self::Fence(order) => put(out, FENCE, &[v1::Order::from(order).encode_to_vec()]),
            Self::Begun { order, task } => {
                let order = v1::Order::from(order).encode_length_delimited_to_vec();
                put(out, BEGUN, &[order, v1::RunningTask::from(task).encode_to_vec()]);
            }
            Self::Ended { shard, attempt, end } => {
                said(out, ENDED, AgentMessage::TaskResult { shard, attempt, end });
            }
            Self::Settled { shard, attempt } => {
                said(out, SETTLED, AgentMessage::TaskStopped { shard, attempt });
            }
            Self::Services { shard, services, order } => {
                said(out, SERVICES, AgentMessage::ServicesSeen { shard, services, order });
            }
            Self::Obeyed(witness) => put(out, OBEYED, &[v1::Witness::from(witness).encode_to_vec()]),
        }
    }

    /// The fact of these bytes.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, FactError> {
        let (kind, mut rest) = bytes.split_first().ok_or(FactError::Empty)?;
        match *kind {
            FENCE => Ok(Self::Fence(v1::Order::decode(rest)?.try_into()?)),
            BEGUN => {
                let order = v1::Order::decode_length_delimited(&mut rest)?.try_into()?;
                Ok(Self::Begun { order, task: v1::RunningTask::decode(rest)?.try_into()? })
            }
            OBEYED => Ok(Self::Obeyed(v1::Witness::decode(rest)?.try_into()?)),
            ENDED | SETTLED | SERVICES => {
                let message = AgentMessage::try_from(v1::SessionRequest::decode(rest)?)?;
                Self::of_message(message).filter(|fact| fact.kind() == *kind).ok_or(FactError::Kind(*kind))
            }
            unknown => Err(FactError::Kind(unknown)),
        }
    }

    fn of_message(message: AgentMessage) -> Option<Self> {
        match message {
            AgentMessage::TaskResult { shard, attempt, end } => Some(Self::Ended { shard, attempt, end }),
            AgentMessage::TaskStopped { shard, attempt } => Some(Self::Settled { shard, attempt }),
            AgentMessage::ServicesSeen { shard, services, order } => {
                Some(Self::Services { shard, services, order })
            }
            AgentMessage::Hello(_)
            | AgentMessage::Running(_)
            | AgentMessage::Served(_)
            | AgentMessage::HelloDone
            | AgentMessage::Heartbeat
            | AgentMessage::TaskProgress { .. } => None,
        }
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Fence(_) => FENCE,
            Self::Begun { .. } => BEGUN,
            Self::Ended { .. } => ENDED,
            Self::Settled { .. } => SETTLED,
            Self::Services { .. } => SERVICES,
            Self::Obeyed(_) => OBEYED,
        }
    }
}

fn said(out: &mut Vec<u8>, kind: u8, message: AgentMessage) {
    put(out, kind, &[v1::SessionRequest::from(message).encode_to_vec()]);
}

fn put(out: &mut Vec<u8>, kind: u8, parts: &[Vec<u8>]) {
    out.push(kind);
    parts.iter().for_each(|part| out.extend_from_slice(part));
}
