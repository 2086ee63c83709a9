//! Who did something. Every journal record names its actor.

use std::fmt;

/// Longest actor id and longest free text (a reason), in bytes.
pub const ACTOR_ID_BYTES_MAX: usize = 128;

/// What sort of actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActorKind {
    /// A person, through the CLI or the API.
    Operator,
    /// An agent on a storage node.
    Agent,
    /// The orchestrator itself: a deadline, a schedule, a rule of the plan.
    Orchestrator,
}

/// How the actor's id was established.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Authentication {
    /// The orchestrator acted on its own.
    Internal,
    /// The caller reached a loopback listener and named itself: as trustworthy as a login on this host.
    Loopback,
    /// The kernel told the user id of the peer of a Unix socket.
    UnixPeer,
}

/// Who did it: kind, id, and how the id was established.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor {
    /// What sort of actor.
    pub kind: ActorKind,
    /// Login name, node id or `orchestrator`; at most [`ACTOR_ID_BYTES_MAX`] bytes.
    pub id: String,
    /// How `id` was established.
    pub authentication: Authentication,
}

impl Actor {
    /// The orchestrator itself.
    #[must_use]
    pub fn orchestrator() -> Self {
        Self {
            kind: ActorKind::Orchestrator,
            id: "orchestrator".to_owned(),
            authentication: Authentication::Internal,
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ActorKind::Operator => "operator",
            ActorKind::Agent => "agent",
            ActorKind::Orchestrator => return f.pad("orchestrator"),
        };
        f.pad(&format!("{kind} {}", self.id))
    }
}
