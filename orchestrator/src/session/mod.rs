//! What agents say: sessions, and the bulk calls beside them.
//!
//! A session is read by one task. It turns messages into events and hands them to the driver, waiting when the driver's
//! queue is full, which makes the agent wait in turn. What is sent to the agent waits in a [`Link`], for which nobody waits.
//!
//! Nothing here decides whether an agent is let in, or whether what it says counts: the driver and the engine do.

mod bulk;
mod greeting;
mod outgoing;

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prost::Message;
use rientro_engine::{Event, Observation, SessionNo};
use rientro_types::{Digest, NodeId, NodeIncarnation, Span, Witness};
use rientro_wire::limits::SESSION_BYTES_MAX;
use rientro_wire::session::{AgentMessage, OrchestratorMessage};
use rientro_wire::v1;
use rientro_wire::v1::agent_service_server::AgentService;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use crate::directory::Directory;
use crate::driver::{Handle, Input, NotLent, Shelf, Told};
use crate::findings::Findings;
use crate::journal::{Journal, JournalError, SealedEntry};
use crate::listen::Trouble;
use crate::status::unavailable;

pub(crate) use bulk::Reporting;
pub use outgoing::OUTGOING_MAX;
pub(crate) use outgoing::{Link, LinkStream};

/// Each side of a session says something at least this often. The shortest silence limit of a fleet is three times this.
pub const HEARTBEAT_EVERY: Span = Span::from_secs(1);
/// A side that hears nothing for this long ends the session: ten heartbeats, so that a paused process is not cut off.
pub const SESSION_SILENCE: Span = Span::from_secs(10);
/// Most sessions at once, greeting ones included: some times more than a cell has nodes.
pub const SESSIONS_MAX: usize = 4_096;
/// Most bulk calls at once; each buffers one message and, for a list of mailboxes, one shard's ids.
pub(crate) const BULK_CALLS_MAX: usize = 64;
/// Most uploads of findings at once; each buffers three pages of up to a MiB. They go as fast as people read, and so take no
/// place of what nodes report.
pub(crate) const FINDINGS_UPLOADS_MAX: usize = 64;
/// Most journal entries looked up at once for greetings; each is up to a MiB, and reading one takes a millisecond.
pub(crate) const LOOKUPS_MAX: usize = 8;

/// Serves agents.
pub(crate) struct Agents<J> {
    pub(crate) handle: Handle,
    pub(crate) shelf: Shelf<J>,
    pub(crate) tracker: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) directory: Directory,
    pub(crate) findings: Findings,
    pub(crate) reporting: Reporting,
    pub(crate) sessions: Arc<Semaphore>,
    pub(crate) bulk_calls: Arc<Semaphore>,
    pub(crate) findings_uploads: Arc<Semaphore>,
    pub(crate) lookups: Arc<Semaphore>,
    /// Greetings that were refused: anybody can send them.
    pub(crate) refused: Arc<Mutex<Trouble>>,
}

impl<J> Clone for Agents<J> {
    fn clone(&self) -> Self {
        let Self {
            handle,
            shelf,
            tracker,
            stop,
            directory,
            findings,
            reporting,
            sessions,
            bulk_calls,
            findings_uploads,
            lookups,
            refused,
        } = self;
        Self {
            handle: handle.clone(),
            shelf: shelf.clone(),
            tracker: tracker.clone(),
            stop: stop.clone(),
            directory: directory.clone(),
            findings: findings.clone(),
            reporting: reporting.clone(),
            sessions: Arc::clone(sessions),
            bulk_calls: Arc::clone(bulk_calls),
            findings_uploads: Arc::clone(findings_uploads),
            lookups: Arc::clone(lookups),
            refused: Arc::clone(refused),
        }
    }
}

#[tonic::async_trait]
impl<J: Journal> AgentService for Agents<J> {
    type SessionStream = Pin<Box<LinkStream>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        if let Some(trouble) = self.handle.status().trouble() {
            return Err(unavailable(&trouble));
        }
        let permit = permit(&self.sessions, SESSIONS_MAX, "sessions")?;
        let link = Link::default();
        let stream = link.stream();
        let session = Session {
            no: self.handle.next_session(),
            inbound: request.into_inner(),
            link,
            handle: self.handle.clone(),
            shelf: self.shelf.clone(),
            lookups: Arc::clone(&self.lookups),
            refused: Arc::clone(&self.refused),
            stop: self.stop.clone(),
            _permit: permit,
        };
        self.tracker.spawn(session.run());
        Ok(Response::new(Box::pin(stream)))
    }

    async fn report_inventory(
        &self,
        request: Request<Streaming<v1::ReportInventoryRequest>>,
    ) -> Result<Response<v1::ReportInventoryResponse>, Status> {
        let _permit = permit(&self.bulk_calls, BULK_CALLS_MAX, "bulk calls")?;
        let taken = self.take_inventory(request.into_inner()).await?;
        Ok(Response::new(v1::ReportInventoryResponse { taken }))
    }

    async fn report_mailboxes(
        &self,
        request: Request<Streaming<v1::ReportMailboxesRequest>>,
    ) -> Result<Response<v1::ReportMailboxesResponse>, Status> {
        let _permit = permit(&self.bulk_calls, BULK_CALLS_MAX, "bulk calls")?;
        let (shards, mailboxes) = self.take_mailboxes(request.into_inner()).await?;
        Ok(Response::new(v1::ReportMailboxesResponse { shards, mailboxes }))
    }

    async fn upload_findings(
        &self,
        request: Request<Streaming<v1::UploadFindingsRequest>>,
    ) -> Result<Response<v1::UploadFindingsResponse>, Status> {
        let _permit = permit(&self.findings_uploads, FINDINGS_UPLOADS_MAX, "uploads of findings")?;
        let wanted = self.take_findings(request.into_inner()).await?;
        Ok(Response::new(v1::UploadFindingsResponse { wanted }))
    }
}

/// A place for a call, of which there are so many.
fn permit(places: &Arc<Semaphore>, max: usize, what: &str) -> Result<OwnedSemaphorePermit, Status> {
    Arc::clone(places).try_acquire_owned().map_err(|_| {
        Status::resource_exhausted(format!("{max} {what} are open, which is the most; try later"))
    })
}

/// One session, on the side that reads.
struct Session<J> {
    no: SessionNo,
    inbound: Streaming<v1::SessionRequest>,
    link: Link,
    handle: Handle,
    shelf: Shelf<J>,
    lookups: Arc<Semaphore>,
    refused: Arc<Mutex<Trouble>>,
    stop: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl<J: Journal> Session<J> {
    async fn run(mut self) {
        let greeted = tokio::select! {
            // Cancel-safe: a greeting that is dropped has changed nothing.
            () = self.stop.cancelled() => Err(greeting::Refused::stopping()),
            greeted = greeting::read(self.no, &mut self.inbound) => greeted,
        };
        let greeting::Greeting { hello, met, witness } = match greeted {
            Ok(greeting) => greeting,
            Err(refused) => return self.turn_away(refused).await,
        };
        let here = match self.look_up(witness).await {
            Ok(here) => here,
            Err(NotLent) => return self.turn_away(greeting::Refused::not_leading()).await,
        };
        let (node, incarnation) = (hello.node, hello.incarnation);
        let told = Told { met, witness, here };
        if self.handle.put(Input::Hello { hello, told, link: self.link.clone() }).await.is_err() {
            return self.link.close("the orchestrator is stopping");
        }
        let why = self.listen(node, incarnation).await;
        self.link.close_with(why);
        // When the driver is gone nobody needs to know.
        let _stopped = self.handle.put(Input::Lost { node, session: self.no }).await;
    }

    /// The entry that the journal has where the witness's order was decided. Beside the driver, so that a thousand nodes that
    /// come back together do not hold it up.
    async fn look_up(&self, witness: Option<Witness>) -> Result<Option<Digest>, NotLent> {
        let Some(Witness { order, .. }) = witness else { return Ok(None) };
        // Never closed.
        let _place = self.lookups.acquire().await;
        let page = self.shelf.with(|journal| async move { journal.read(order.seq, 1).await }).await?;
        Ok(match page {
            Ok(page) => page.first().map(SealedEntry::digest),
            Err(JournalError::Trimmed { .. } | JournalError::Beyond { .. }) => None,
            Err(error) => {
                tracing::warn!(%error, "what an agent obeyed could not be looked up");
                None
            }
        })
    }

    /// Tells why, and gives the agent a little time to read it.
    async fn turn_away(self, refused: greeting::Refused) {
        let happened = self.refused.lock().unwrap_or_else(PoisonError::into_inner).happened();
        if let Some(times) = happened {
            tracing::warn!(
                session = self.no.0,
                text = refused.text,
                times,
                "greetings refused; this is the last of them"
            );
        }
        self.link.refuse(refused.reason, refused.text);
        let read = tokio::time::timeout(SESSION_SILENCE.into(), self.link.closed().cancelled()).await;
        if read.is_err() {
            self.link.close("the refusal was not read");
        }
    }

    /// Hands on what the agent says, until the session is over; tells how it ended.
    async fn listen(&mut self, node: NodeId, incarnation: NodeIncarnation) -> Status {
        let link = self.link.clone();
        let mut heartbeat = tokio::time::interval(Duration::from(HEARTBEAT_EVERY));
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let silence = tokio::time::sleep(SESSION_SILENCE.into());
        tokio::pin!(silence);
        loop {
            // Cancel-safe: a message is taken off the stream whole or not at all, ticks are kept by the interval, and the
            // silence goes on across rounds.
            let message = tokio::select! {
                () = link.closed().cancelled() => return Status::ok("the session was ended"),
                () = self.stop.cancelled() => return Status::unavailable("the orchestrator is stopping"),
                () = &mut silence => return Status::deadline_exceeded("nothing was heard for the silence limit"),
                _ = heartbeat.tick() => {
                    if link.push(OrchestratorMessage::Heartbeat).is_err() {
                        return Status::resource_exhausted("the session's messages are not read");
                    }
                    continue;
                }
                message = self.inbound.message() => message,
            };
            silence.as_mut().reset(tokio::time::Instant::now() + SESSION_SILENCE.into());
            let input = match message {
                Ok(Some(message)) => match self.input(node, incarnation, message) {
                    Ok(input) => input,
                    Err(refused) => {
                        tracing::warn!(%node, session = self.no.0, error = refused.message(), "message refused");
                        return refused;
                    }
                },
                Ok(None) => return Status::ok("the agent ended the session"),
                Err(status) => return status,
            };
            // Cancel-safe: an input not handed in is lost with its session, and the agent sends it again in the next.
            tokio::select! {
                () = link.closed().cancelled() => return Status::ok("the session was ended"),
                put = self.handle.put(input) => if put.is_err() {
                    return Status::unavailable("the orchestrator is stopping");
                },
            }
        }
    }

    fn input(
        &self,
        node: NodeId,
        incarnation: NodeIncarnation,
        message: v1::SessionRequest,
    ) -> Result<Input, Status> {
        check_size(&message)?;
        let session = self.no;
        let event = |event| Ok(Input::Agent { node, session, event, done: None });
        match AgentMessage::try_from(message)? {
            AgentMessage::Heartbeat => {
                Ok(Input::Seen { node, session, observation: Observation::Heard { node } })
            }
            AgentMessage::TaskProgress { shard, attempt, progress } => {
                let observation = Observation::Progress { node, shard, attempt, progress };
                Ok(Input::Seen { node, session, observation })
            }
            AgentMessage::TaskResult { shard, attempt, end } => {
                event(Event::Result { node, incarnation, shard, attempt, end })
            }
            AgentMessage::TaskStopped { shard, attempt } => {
                event(Event::Stopped { node, incarnation, shard, attempt })
            }
            AgentMessage::ServicesSeen { shard, services, order: _ } => {
                event(Event::Seen { node, incarnation, shard, services })
            }
            AgentMessage::Hello(_)
            | AgentMessage::Running(_)
            | AgentMessage::Served(_)
            | AgentMessage::HelloDone => {
                Err(Status::failed_precondition("the greeting is over; open another session to greet again"))
            }
        }
    }
}

/// The bound of a session's messages; the stream itself is bounded by what bulk calls may have.
fn check_size(message: &v1::SessionRequest) -> Result<(), Status> {
    let bytes = message.encoded_len();
    if bytes <= SESSION_BYTES_MAX {
        return Ok(());
    }
    Err(Status::invalid_argument(format!(
        "the message has {bytes} bytes; a session's message has at most {SESSION_BYTES_MAX}"
    )))
}
