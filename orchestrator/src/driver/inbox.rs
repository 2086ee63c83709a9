//! The way into the driver: bounded queues, and a handle that anyone may clone.
//!
//! Operators have a queue of their own that is emptied first, so that an abort never waits behind a flood of results.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rientro_engine::{Engine, Event, Hello, Observation, SessionNo};
use rientro_types::{
    Actor, Advice, CellId, Epoch, Incarnation, NodeId, NodeIncarnation, Receipt, Refusal, Verb,
};
use rientro_wire::session::OrchestratorMessage;
use tokio::sync::{mpsc, oneshot, watch};

use super::Unavailable;
use super::behind::{Ahead, Told};
use super::sessions::Sessions;
use crate::clock::{self, Apart};
use crate::session::Link;

/// Most inputs of agents and questions that wait: two batches, so that the driver never idles while senders refill it, and
/// what waits is stepped within a fraction of a second.
pub const INBOX_MAX: usize = 2 * super::BATCH_INPUTS_MAX;
/// Most requests of operators that wait; people are few, and a script that floods is slowed down here.
pub const ACTS_MAX: usize = 256;

/// What the cell is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// The journal is being opened and replayed.
    Starting,
    /// It leads.
    Leading {
        /// The cell.
        cell: CellId,
        /// Its life.
        incarnation: Incarnation,
        /// The term.
        epoch: Epoch,
        /// Nodes that obeyed what the journal does not hold.
        ahead: Ahead,
        /// The host's time of day is another than the cell's.
        apart: Option<Apart>,
    },
    /// It knows its state and decides nothing, for this reason.
    Stalled(Advice),
    /// It is being stopped, or has failed.
    Stopped,
}

impl Status {
    /// Why nothing is decided at present; absent while it leads.
    #[must_use]
    pub fn trouble(&self) -> Option<Unavailable> {
        match self {
            Self::Leading { .. } => None,
            Self::Starting => Some(Unavailable::Starting),
            Self::Stalled(why) => Some(Unavailable::Stalled(why.clone())),
            Self::Stopped => Some(Unavailable::Stopped),
        }
    }
}

/// A question about the engine's state and who is connected; it is dropped unanswered when there is none to ask.
pub(crate) type Question = Box<dyn FnOnce(&Engine, &Sessions) + Send>;

/// What agents and readers bring to the driver.
#[allow(clippy::large_enum_variant, reason = "the largest is the one of which there are many")]
pub(crate) enum Input {
    /// A complete greeting, what it tells of the journal, and the way back to the agent.
    Hello { hello: Hello, told: Told, link: Link },
    /// An event of an agent's present session.
    Agent { node: NodeId, session: SessionNo, event: Event, done: Option<oneshot::Sender<()>> },
    /// Something seen of an agent's present session.
    Seen { node: NodeId, session: SessionNo, observation: Observation },
    /// A session is over.
    Lost { node: NodeId, session: SessionNo },
    /// A message for an agent that is no command.
    Tell { node: NodeId, message: Box<OrchestratorMessage>, told: oneshot::Sender<bool> },
    /// A question.
    Ask(Question),
}

/// What an operator asks for.
pub(crate) struct Act {
    pub(crate) actor: Actor,
    pub(crate) verb: Box<Verb>,
    pub(crate) rehearse: bool,
    pub(crate) seed: [u8; 32],
    pub(crate) reply: oneshot::Sender<Result<Answer, Unavailable>>,
}

/// What an operator is answered.
pub type Answer = Result<Receipt, Refusal>;

/// Something with the moment it came.
pub(crate) struct Stamped<T> {
    pub(crate) came: Instant,
    pub(crate) what: T,
}

impl<T> Stamped<T> {
    fn new(what: T) -> Self {
        Self { came: clock::mark(), what }
    }
}

/// The driver's ends of the queues.
pub(crate) struct Inbox {
    pub(crate) inputs: mpsc::Receiver<Stamped<Input>>,
    pub(crate) acts: mpsc::Receiver<Stamped<Act>>,
    pub(crate) status: watch::Sender<Status>,
}

/// Reaches the driver.
#[derive(Clone)]
pub struct Handle {
    inputs: mpsc::Sender<Stamped<Input>>,
    acts: mpsc::Sender<Stamped<Act>>,
    status: watch::Receiver<Status>,
    sessions: Arc<AtomicU64>,
}

/// Queues, and the handle to them.
pub(crate) fn inbox() -> (Handle, Inbox) {
    let (inputs_in, inputs) = mpsc::channel(INBOX_MAX);
    let (acts_in, acts) = mpsc::channel(ACTS_MAX);
    let (status, status_out) = watch::channel(Status::Starting);
    let handle = Handle {
        inputs: inputs_in,
        acts: acts_in,
        status: status_out,
        sessions: Arc::new(AtomicU64::new(0)),
    };
    (handle, Inbox { inputs, acts, status })
}

impl Handle {
    /// What the cell is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// What somebody has to mend; absent while all is well.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        match &*self.status.borrow() {
            Status::Leading { ahead, apart, .. } => {
                ahead.trouble().or_else(|| apart.map(|apart| apart.advice().to_string()))
            }
            status @ (Status::Starting | Status::Stalled(_) | Status::Stopped) => {
                status.trouble().map(|why| why.to_string())
            }
        }
    }

    /// Nodes that obeyed what the journal does not hold.
    #[must_use]
    pub fn nodes_ahead(&self) -> Vec<NodeId> {
        match &*self.status.borrow() {
            Status::Leading { ahead, .. } => ahead.nodes().collect(),
            Status::Starting | Status::Stalled(_) | Status::Stopped => Vec::new(),
        }
    }

    /// Follows what the cell is doing.
    #[must_use]
    pub fn status_changes(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Inputs that wait.
    #[must_use]
    pub fn depth(&self) -> usize {
        INBOX_MAX - self.inputs.capacity()
    }

    /// The number of a session that begins: above all earlier ones.
    pub(crate) fn next_session(&self) -> SessionNo {
        SessionNo(self.sessions.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Asks the engine at a moment at which everything it knows is durable.
    ///
    /// # Errors
    /// [`Unavailable`] when there is no engine to ask.
    ///
    /// # Cancel safety
    /// Safe: the answer is dropped.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Engine) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        self.ask_both(|engine, _| question(engine)).await
    }

    /// The present session of a node in this life of it; nothing when there is none.
    pub(crate) async fn present(
        &self,
        node: NodeId,
        incarnation: NodeIncarnation,
    ) -> Result<Option<SessionNo>, Unavailable> {
        self.ask_both(move |engine, sessions| {
            let known = engine.node_view(node).is_some_and(|view| view.incarnation == incarnation);
            sessions.present(node).filter(|_| known)
        })
        .await
    }

    async fn ask_both<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Engine, &Sessions) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (reply, answer) = oneshot::channel();
        let question = move |engine: &Engine, sessions: &Sessions| {
            // Whoever asked may have left.
            let _gone = reply.send(question(engine, sessions));
        };
        self.put(Input::Ask(Box::new(question))).await?;
        answer.await.map_err(|_| self.why_dropped())
    }

    /// Asks for a decision; the answer comes once it is durable.
    ///
    /// # Errors
    /// [`Unavailable`], which says whether the decision may have been made all the same.
    ///
    /// # Cancel safety
    /// Not safe: the decision may be made all the same.
    pub async fn act(
        &self,
        actor: Actor,
        verb: Verb,
        rehearse: bool,
        seed: [u8; 32],
    ) -> Result<Answer, Unavailable> {
        let (reply, answer) = oneshot::channel();
        let act = Act { actor, verb: Box::new(verb), rehearse, seed, reply };
        self.acts.send(Stamped::new(act)).await.map_err(|_| Unavailable::Stopped)?;
        answer.await.unwrap_or(Err(Unavailable::Stopped))
    }

    /// Hands in an event of a session and waits until what it led to is durable.
    ///
    /// # Errors
    /// [`Unavailable`] when it was dropped: the session is no longer the node's present one, or the engine was rebuilt.
    pub(crate) async fn agent_durably(
        &self,
        node: NodeId,
        session: SessionNo,
        event: Event,
    ) -> Result<(), Unavailable> {
        let (done, durable) = oneshot::channel();
        self.put(Input::Agent { node, session, event, done: Some(done) }).await?;
        durable.await.map_err(|_| self.why_dropped())
    }

    /// Sends a message that is no command to an agent; false when it has no session.
    pub(crate) async fn tell(&self, node: NodeId, message: OrchestratorMessage) -> Result<bool, Unavailable> {
        let (told, answer) = oneshot::channel();
        self.put(Input::Tell { node, message: Box::new(message), told }).await?;
        answer.await.map_err(|_| self.why_dropped())
    }

    /// Hands in an input; waits while the queue is full.
    pub(crate) async fn put(&self, input: Input) -> Result<(), Unavailable> {
        self.inputs.send(Stamped::new(input)).await.map_err(|_| Unavailable::Stopped)
    }

    /// Why something was not carried out that had been handed in, or could not be lent.
    pub(crate) fn why_dropped(&self) -> Unavailable {
        self.status.borrow().trouble().unwrap_or(Unavailable::Interrupted)
    }
}
