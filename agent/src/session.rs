//! Finds the orchestrator that leads and keeps a session with it.
//!
//! Endpoints are tried in turn; one that is unreachable or does not lead is passed over, and after each round without success
//! the next one waits longer, up to a cap and with jitter. Nothing the agent does depends on a session: tasks go on and
//! results wait. Heartbeats are sent from here; a side that hears nothing for the agreed time ends the session.

use std::time::Duration;

use backoff::{BackoffBuilder, ExponentialBuilder};
use rientro_types::{NodeId, NodeIncarnation};
use rientro_wire::limits::SESSION_BYTES_MAX;
use rientro_wire::session::{AgentMessage, OrchestratorMessage, RefuseReason, Welcome};
use rientro_wire::v1;
use rientro_wire::v1::agent_service_client::AgentServiceClient;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::transport::Endpoint;

use crate::bulk::Bulk;

/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Longest wait for the answer to a Hello.
const WELCOME_MAX: Duration = Duration::from_secs(10);
/// First wait after a round of endpoints without success; jitter makes it up to twice as long.
const RETRY_FIRST: Duration = Duration::from_millis(200);
/// Longest such wait, before jitter: a returning orchestrator is found within ten seconds, and a thousand nodes knock some
/// hundred times a second.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Messages that wait to be sent. A peer that lets more pile up is hung up on; both sides agree again at the next session.
pub const QUEUE_MAX: usize = 4_096;
/// Heartbeats are never sent more often, whatever the Welcome says.
const HEARTBEAT_MIN: Duration = Duration::from_millis(100);

/// What a session tells the daemon.
#[derive(Debug)]
pub enum SessionEvent {
    /// A session is about to begin: who are we, what runs here, what is served?
    Greeting(oneshot::Sender<Vec<AgentMessage>>),
    /// It was let in.
    Welcomed(Box<Welcome>, Line),
    /// The orchestrator said something.
    Said(OrchestratorMessage),
    /// It is gone.
    Lost,
}

/// The way out of a session.
#[derive(Debug)]
pub struct Line {
    /// Messages to send.
    pub out: mpsc::Sender<AgentMessage>,
    /// Ends the session.
    pub hang_up: CancellationToken,
    /// The bulk line beside it.
    pub bulk: Bulk,
}

/// Keeps a session until cancelled.
#[derive(Debug)]
pub struct Dialer {
    /// Where orchestrators are.
    pub endpoints: Vec<String>,
    /// Who we are.
    pub node: NodeId,
    /// Life of the state directory.
    pub incarnation: NodeIncarnation,
    /// Where events go.
    pub events: mpsc::Sender<SessionEvent>,
}

/// Why there is no session, or no longer one.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error("cannot connect: {0}")]
    Connect(#[from] tonic::transport::Error),
    #[error("call failed: {0}")]
    Call(#[from] tonic::Status),
    #[error("message refused: {0}")]
    Message(#[from] rientro_wire::ConvertError),
    #[error("orchestrator refused the session ({reason:?}): {text}")]
    Refused { reason: RefuseReason, text: String },
    #[error("the orchestrator did not answer the greeting as it should")]
    Protocol,
    #[error("the orchestrator said nothing for {0:?}")]
    Silent(Duration),
    #[error("the orchestrator ended the session")]
    Ended,
    #[error("this side ended the session")]
    HungUp,
    #[error("the agent is stopping")]
    Stopping,
}

impl Dialer {
    /// Dials and dials again. Ends when the daemon is gone; cancel-safe at any point, as a session that is dropped is lost.
    pub async fn run(self) {
        let retry = ExponentialBuilder::new()
            .with_min_delay(RETRY_FIRST)
            .with_max_delay(RETRY_MAX)
            .without_max_times()
            .with_jitter();
        let mut waits = retry.build();
        loop {
            for endpoint in &self.endpoints {
                let mut welcomed = false;
                let error = match self.session(endpoint, &mut welcomed).await {
                    Err(SessionError::Stopping) => return,
                    Err(error) => error,
                    Ok(never) => match never {},
                };
                if self.events.is_closed() {
                    return;
                }
                report(endpoint, welcomed, &error);
                if welcomed && self.events.send(SessionEvent::Lost).await.is_err() {
                    return;
                }
                if welcomed && !matches!(error, SessionError::HungUp) {
                    waits = retry.build();
                }
            }
            let wait = waits.next().unwrap_or(RETRY_MAX);
            tracing::warn!(?wait, "no orchestrator has a session with this node; trying again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn session(
        &self,
        endpoint: &str,
        welcomed: &mut bool,
    ) -> Result<std::convert::Infallible, SessionError> {
        let endpoint =
            Endpoint::from_shared(endpoint.to_owned())?.connect_timeout(CONNECT_MAX).tcp_nodelay(true);
        let channel = endpoint.connect().await?;
        let (out, queue) = mpsc::channel(QUEUE_MAX);
        let greeting = tokio_stream::iter(self.greeting().await.ok_or(SessionError::Stopping)?);
        let mut client = AgentServiceClient::new(channel)
            .max_decoding_message_size(SESSION_BYTES_MAX)
            .max_encoding_message_size(SESSION_BYTES_MAX);
        let said = greeting.chain(ReceiverStream::new(queue));
        let call = client.session(said.map(v1::SessionRequest::from));
        let (welcome, inbound) = timeout(WELCOME_MAX, async {
            let mut inbound = call.await?.into_inner();
            admitted(next(&mut inbound).await?).map(|welcome| (welcome, inbound))
        })
        .await
        .map_err(|_| SessionError::Silent(WELCOME_MAX))??;
        *welcomed = true;
        self.pump(&endpoint, welcome, out, inbound).await
    }

    async fn greeting(&self) -> Option<Vec<AgentMessage>> {
        let (answer, greeting) = oneshot::channel();
        self.events.send(SessionEvent::Greeting(answer)).await.ok()?;
        greeting.await.ok()
    }

    async fn pump(
        &self,
        endpoint: &Endpoint,
        welcome: Welcome,
        out: mpsc::Sender<AgentMessage>,
        mut inbound: Streaming<v1::SessionResponse>,
    ) -> Result<std::convert::Infallible, SessionError> {
        tracing::info!(cell = %welcome.cell, epoch = %welcome.epoch, endpoint = %endpoint.uri(), "session begins");
        let beat = Duration::from(welcome.heartbeat).max(HEARTBEAT_MIN);
        let silence = Duration::from(welcome.silence).max(beat * 2);
        let hang_up = CancellationToken::new();
        let gone = hang_up.clone().drop_guard();
        let bulk = Bulk::new(endpoint, self.node, self.incarnation, hang_up.clone());
        let line = Line { out: out.clone(), hang_up: hang_up.clone(), bulk };
        self.tell(SessionEvent::Welcomed(Box::new(welcome), line)).await?;
        let mut beats = interval(beat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let heard = self.listen(&mut inbound, silence);
        tokio::pin!(heard);
        let ended = loop {
            // Cancel-safe: `heard` is polled in place and keeps what it has read; the others hold nothing.
            tokio::select! {
                ended = &mut heard => break ended,
                () = hang_up.cancelled() => break Err(SessionError::HungUp),
                // A full queue says as much as a heartbeat.
                _ = beats.tick() => { out.try_send(AgentMessage::Heartbeat).ok(); }
            }
        };
        drop(gone);
        ended
    }

    /// Hands on what is said. The bound of the daemon's queue holds up the peer, not memory.
    async fn listen(
        &self,
        inbound: &mut Streaming<v1::SessionResponse>,
        silence: Duration,
    ) -> Result<std::convert::Infallible, SessionError> {
        loop {
            let message =
                timeout(silence, next(inbound)).await.map_err(|_| SessionError::Silent(silence))??;
            self.tell(SessionEvent::Said(message)).await?;
        }
    }

    async fn tell(&self, event: SessionEvent) -> Result<(), SessionError> {
        self.events.send(event).await.map_err(|_| SessionError::Stopping)
    }
}

async fn next(inbound: &mut Streaming<v1::SessionResponse>) -> Result<OrchestratorMessage, SessionError> {
    let message = inbound.message().await?.ok_or(SessionError::Ended)?;
    Ok(message.try_into()?)
}

fn admitted(answer: OrchestratorMessage) -> Result<Welcome, SessionError> {
    if let OrchestratorMessage::Welcome(welcome) = answer {
        Ok(welcome)
    } else if let OrchestratorMessage::Refused { reason, text } = answer {
        Err(SessionError::Refused { reason, text })
    } else {
        Err(SessionError::Protocol)
    }
}

fn report(endpoint: &str, welcomed: bool, error: &SessionError) {
    let refused = matches!(error, SessionError::Refused { reason, .. } if *reason != RefuseReason::NotLeader);
    if refused {
        tracing::error!(endpoint, %error, "session refused");
    } else if welcomed {
        tracing::warn!(endpoint, %error, "session lost");
    } else {
        tracing::debug!(endpoint, %error, "no session");
    }
}
