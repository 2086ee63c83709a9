//! An orchestrator over real gRPC that says what a test tells it to, and hands the test all it hears.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rientro_types::{AttemptNo, Digest, Order, Progress, ServiceSet, ShardId, Task, TaskEnd};
use rientro_wire::bulk::{FindingsPart, InventoryPart, MailboxesPart};
use rientro_wire::limits::{BULK_BYTES_MAX, SESSION_BYTES_MAX};
use rientro_wire::session::{AgentMessage, Hello, OrchestratorMessage, RunningTask, ServedShard, Welcome};
use rientro_wire::v1;
use rientro_wire::v1::agent_service_server::{AgentService, AgentServiceServer};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// Longest wait for anything: far above what any of it takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The journal entry that an order comes with, one for each.
pub(crate) fn entry_of(order: Order) -> Digest {
    Digest::of(&order.seq.raw().to_le_bytes())
}

/// The server, and what came in on bulk calls.
pub(crate) struct Orchestrator {
    pub(crate) address: SocketAddr,
    sessions: mpsc::Receiver<Session>,
    pub(crate) inventories: mpsc::Receiver<Vec<InventoryPart>>,
    pub(crate) mailboxes: mpsc::Receiver<Vec<MailboxesPart>>,
    pub(crate) findings: mpsc::Receiver<Vec<FindingsPart>>,
    /// So many of the next lists of mailboxes are refused.
    pub(crate) lists_refused: Arc<AtomicU32>,
    server: JoinHandle<()>,
}

/// One session, from its Hello on.
pub(crate) struct Session {
    pub(crate) hello: Hello,
    heard: Streaming<v1::SessionRequest>,
    said: mpsc::Sender<Result<v1::SessionResponse, Status>>,
}

/// What an agent says after it was let in.
#[derive(Debug, Default)]
pub(crate) struct Greeting {
    pub(crate) running: Vec<RunningTask>,
    pub(crate) served: Vec<ServedShard>,
}

struct Service {
    sessions: mpsc::Sender<Session>,
    inventories: mpsc::Sender<Vec<InventoryPart>>,
    mailboxes: mpsc::Sender<Vec<MailboxesPart>>,
    findings: mpsc::Sender<Vec<FindingsPart>>,
    lists_refused: Arc<AtomicU32>,
    one: Arc<Mutex<()>>,
}

impl Orchestrator {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener)
    }

    /// Serves again where an earlier one was, as soon as the port is free: a connection that somebody on this machine makes may
    /// have been given its number for a moment.
    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        let bound = async {
            loop {
                match TcpListener::bind(address).await {
                    Err(error) if error.kind() == ErrorKind::AddrInUse => tokio::task::yield_now().await,
                    bound => break bound,
                }
            }
        };
        Self::on(within(bound).await.unwrap())
    }

    fn on(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let (sessions_to, sessions) = mpsc::channel(16);
        let (inventories_to, inventories) = mpsc::channel(1024);
        let (mailboxes_to, mailboxes) = mpsc::channel(1024);
        let (findings_to, findings) = mpsc::channel(64);
        let lists_refused = Arc::<AtomicU32>::default();
        let service = Service {
            sessions: sessions_to,
            inventories: inventories_to,
            mailboxes: mailboxes_to,
            findings: findings_to,
            lists_refused: Arc::clone(&lists_refused),
            one: Arc::default(),
        };
        let service = AgentServiceServer::new(service)
            .max_decoding_message_size(BULK_BYTES_MAX)
            .max_encoding_message_size(usize::MAX);
        let serving = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        #[allow(clippy::disallowed_methods, reason = "aborted when the server is dropped")]
        let server = tokio::spawn(async move { serving.await.unwrap() });
        Self { address, sessions, inventories, mailboxes, findings, lists_refused, server }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next session, before it is let in.
    pub(crate) async fn session(&mut self) -> Session {
        within(self.sessions.recv()).await.unwrap()
    }

    /// The next session, let in and greeted.
    pub(crate) async fn greeted(&mut self, welcome: &Welcome) -> (Session, Greeting) {
        let mut session = self.session().await;
        session.say(OrchestratorMessage::Welcome(welcome.clone())).await;
        let greeting = session.greeting().await;
        (session, greeting)
    }

    /// The server goes down, with everything that is open.
    pub(crate) async fn stop(self) -> SocketAddr {
        let address = self.address;
        self.server.abort();
        self.server.await.ok();
        address
    }
}

impl Session {
    pub(crate) async fn say(&self, message: OrchestratorMessage) {
        self.said.send(Ok(message.into())).await.unwrap();
    }

    /// Says something that may be no message at all.
    pub(crate) async fn say_raw(&self, message: v1::SessionResponse) {
        self.said.send(Ok(message)).await.unwrap();
    }

    /// The next thing the agent says; `None` when it ended the session.
    pub(crate) async fn hear_any(&mut self) -> Option<AgentMessage> {
        match within(self.heard.message()).await {
            Ok(message) => Some(AgentMessage::try_from(message?).unwrap()),
            Err(_) => None,
        }
    }

    /// The next thing but heartbeats and progress.
    pub(crate) async fn hear(&mut self) -> AgentMessage {
        loop {
            match self.hear_any().await.expect("the session goes on") {
                AgentMessage::Heartbeat | AgentMessage::TaskProgress { .. } => {}
                message => return message,
            }
        }
    }

    /// Waits until the agent has ended the session.
    pub(crate) async fn hear_end(&mut self) {
        while self.hear_any().await.is_some() {}
    }

    /// The next progress of any task.
    pub(crate) async fn progress(&mut self) -> (ShardId, AttemptNo, Progress) {
        loop {
            if let AgentMessage::TaskProgress { shard, attempt, progress } = self.hear_any().await.unwrap() {
                return (shard, attempt, progress);
            }
        }
    }

    pub(crate) async fn greeting(&mut self) -> Greeting {
        let mut greeting = Greeting::default();
        loop {
            match self.hear().await {
                AgentMessage::Running(page) => greeting.running.extend(page),
                AgentMessage::Served(page) => greeting.served.extend(page),
                AgentMessage::HelloDone => return greeting,
                other => panic!("{other:?} before the greeting was done"),
            }
        }
    }

    pub(crate) async fn start(&self, order: Order, task: Task) {
        self.say(OrchestratorMessage::StartTask { order, task, entry: Some(entry_of(order)) }).await;
    }

    pub(crate) async fn set_services(&self, order: Order, shard: ShardId, services: ServiceSet) {
        self.say(OrchestratorMessage::SetServices { order, shard, services, entry: Some(entry_of(order)) })
            .await;
    }

    pub(crate) async fn acknowledge(&self, shard: ShardId, attempt: AttemptNo) {
        self.say(OrchestratorMessage::Acknowledge { shard, attempt }).await;
    }

    /// The next result.
    pub(crate) async fn result(&mut self) -> (ShardId, AttemptNo, TaskEnd) {
        match self.hear().await {
            AgentMessage::TaskResult { shard, attempt, end } => (shard, attempt, end),
            other => panic!("{other:?} instead of a result"),
        }
    }
}

/// Waits, within the bound of patience.
pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it happens within the bound")
}

async fn parts<W, T>(mut stream: Streaming<W>) -> Result<Vec<T>, Status>
where
    T: TryFrom<W, Error = rientro_wire::ConvertError>,
{
    let mut parts = Vec::new();
    while let Some(part) = stream.message().await? {
        parts.push(T::try_from(part)?);
    }
    Ok(parts)
}

#[tonic::async_trait]
impl AgentService for Service {
    type SessionStream = ReceiverStream<Result<v1::SessionResponse, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let mut heard = request.into_inner();
        let first = heard.message().await?.ok_or_else(|| Status::cancelled("no Hello"))?;
        assert!(SESSION_BYTES_MAX >= prost::Message::encoded_len(&first));
        let AgentMessage::Hello(hello) = AgentMessage::try_from(first)? else {
            return Err(Status::invalid_argument("no Hello"));
        };
        let (said, to_say) = mpsc::channel(1024);
        self.sessions.send(Session { hello, heard, said }).await.ok();
        Ok(Response::new(ReceiverStream::new(to_say)))
    }

    async fn report_inventory(
        &self,
        request: Request<Streaming<v1::ReportInventoryRequest>>,
    ) -> Result<Response<v1::ReportInventoryResponse>, Status> {
        let _one = self.one.lock().await;
        let parts = parts(request.into_inner()).await?;
        self.inventories.try_send(parts).ok();
        Ok(Response::new(v1::ReportInventoryResponse::default()))
    }

    async fn report_mailboxes(
        &self,
        request: Request<Streaming<v1::ReportMailboxesRequest>>,
    ) -> Result<Response<v1::ReportMailboxesResponse>, Status> {
        let parts = parts(request.into_inner()).await?;
        let left =
            self.lists_refused.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_ok() {
            return Err(Status::invalid_argument("refused by the test"));
        }
        self.mailboxes.try_send(parts).ok();
        Ok(Response::new(v1::ReportMailboxesResponse::default()))
    }

    async fn upload_findings(
        &self,
        request: Request<Streaming<v1::UploadFindingsRequest>>,
    ) -> Result<Response<v1::UploadFindingsResponse>, Status> {
        let parts = parts(request.into_inner()).await?;
        self.findings.try_send(parts).ok();
        Ok(Response::new(v1::UploadFindingsResponse { wanted: true }))
    }
}
