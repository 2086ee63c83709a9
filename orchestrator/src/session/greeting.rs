//! The greeting: Hello, then pages, then HelloDone, put together within bounds.

use std::time::Duration;

use rientro_engine::{Hello, SessionNo};
use rientro_types::{Busy, Order, Witness};
use rientro_wire::session::{self, AgentMessage, PROTOCOL, RefuseReason};
use rientro_wire::v1;
use tonic::{Status, Streaming};

use super::check_size;

/// Time for a whole greeting: the largest one is some ten MiB.
const GREETING_TIME: Duration = Duration::from_secs(30);
/// Most tasks a node may say it runs: far above any budget of a fleet.
pub(crate) const RUNNING_MAX: usize = 1 << 16;
/// Most shards a node may say it serves: far above what one node can hold.
pub(crate) const SERVED_MAX: usize = 1 << 18;

/// Why a greeting is refused.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) reason: RefuseReason,
    pub(super) text: String,
}

impl Refused {
    fn protocol(text: impl Into<String>) -> Self {
        Self { reason: RefuseReason::Protocol, text: text.into() }
    }

    pub(super) fn not_leading() -> Self {
        Self {
            reason: RefuseReason::NotLeader,
            text: "the orchestrator is reading its journal anew; try again in a moment".to_owned(),
        }
    }

    pub(super) fn stopping() -> Self {
        Self {
            reason: RefuseReason::NotLeader,
            text: "the orchestrator is stopping; try again later".to_owned(),
        }
    }
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self::protocol(status.message())
    }
}

/// A whole greeting.
pub(super) struct Greeting {
    /// What the engine is told.
    pub(super) hello: Hello,
    /// The newest that the agent met of any leader.
    pub(super) met: Option<Order>,
    /// An order that it obeyed, and the entry that came with it.
    pub(super) witness: Option<Witness>,
}

/// Reads a greeting.
pub(super) async fn read(
    session: SessionNo,
    inbound: &mut Streaming<v1::SessionRequest>,
) -> Result<Greeting, Refused> {
    match tokio::time::timeout(GREETING_TIME, read_all(session, inbound)).await {
        Ok(read) => read,
        Err(_) => Err(Refused::protocol(format!("the greeting took longer than {GREETING_TIME:?}"))),
    }
}

async fn read_all(
    session: SessionNo,
    inbound: &mut Streaming<v1::SessionRequest>,
) -> Result<Greeting, Refused> {
    let AgentMessage::Hello(first) = message(inbound).await? else {
        return Err(Refused::protocol("the first message of a session is Hello"));
    };
    let (met, witness) = (first.newest, first.witness);
    let mut hello = begin(session, first)?;
    loop {
        match message(inbound).await? {
            AgentMessage::Running(tasks) => {
                let busy =
                    tasks.into_iter().map(|t| Busy { shard: t.shard, attempt: t.attempt, kind: t.kind });
                hello.running.extend(busy);
                bound("running tasks", hello.running.len(), RUNNING_MAX)?;
            }
            AgentMessage::Served(shards) => {
                hello.served.extend(shards.into_iter().map(|served| (served.shard, served.services)));
                bound("served shards", hello.served.len(), SERVED_MAX)?;
            }
            AgentMessage::HelloDone => return Ok(Greeting { hello, met, witness }),
            AgentMessage::Heartbeat => {}
            AgentMessage::Hello(_)
            | AgentMessage::TaskProgress { .. }
            | AgentMessage::TaskResult { .. }
            | AgentMessage::TaskStopped { .. }
            | AgentMessage::ServicesSeen { .. } => {
                return Err(Refused::protocol("between Hello and HelloDone only pages are sent"));
            }
        }
    }
}

fn begin(session: SessionNo, hello: session::Hello) -> Result<Hello, Refused> {
    let session::Hello {
        protocol,
        build,
        node,
        incarnation,
        labels,
        boot,
        newest: _,
        inventory: _,
        witness: _,
    } = hello;
    if protocol != PROTOCOL {
        return Err(Refused::protocol(format!(
            "agent {build} speaks protocol {protocol}, this orchestrator speaks {PROTOCOL}; install matching versions"
        )));
    }
    Ok(Hello { session, node, incarnation, boot, labels, running: Vec::new(), served: Vec::new() })
}

fn bound(what: &str, count: usize, max: usize) -> Result<(), Refused> {
    if count <= max { Ok(()) } else { Err(Refused::protocol(format!("at most {max} {what} can be told"))) }
}

async fn message(inbound: &mut Streaming<v1::SessionRequest>) -> Result<AgentMessage, Refused> {
    let message = inbound.message().await?.ok_or_else(|| Refused::protocol("the greeting was cut short"))?;
    check_size(&message)?;
    AgentMessage::try_from(message).map_err(|error| Refused::protocol(error.to_string()))
}
