//! Serves operators: questions, decisions, and streams of what happens.
//!
//! Every answer is of durable state. Who asks is what the listener can tell: the kernel's word for a Unix socket, the
//! caller's own for a loopback port.

mod act;
mod findings;
mod journal;
mod look;
mod watch;

use std::pin::Pin;
use std::sync::Arc;

use futures_core::Stream;
use rientro_wire::v1::operator_service_server::OperatorService;
use rientro_wire::{advised, v1};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Code, Request, Response, Status};

use crate::directory::Directory;
use crate::driver::{Handle, Shelf, Unavailable};
use crate::findings::Findings;
use crate::journal::Journal;
use crate::metrics::Metrics;
use crate::state_dir::StateDir;
use crate::status;
use crate::watch::{Published, Views};

/// Build of this orchestrator, for people.
pub(crate) const BUILD: &str = concat!("rientro-orchestrator ", env!("CARGO_PKG_VERSION"));
/// Messages of one stream that wait for its reader: one being sent, one being made.
const STREAM_QUEUED: usize = 2;
/// Streams at once: watchers, tails and lists together.
pub(crate) const STREAMS_MAX: usize = 512;
/// Checks and copies of the whole journal at once: each reads all of it.
const WHOLE_JOURNAL_MAX: usize = 2;

/// Answers of a streamed call.
pub(crate) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Serves operators.
pub(crate) struct Operators<J> {
    pub(crate) handle: Handle,
    pub(crate) tracker: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) shelf: Shelf<J>,
    pub(crate) published: Published,
    pub(crate) views: Views,
    pub(crate) directory: Directory,
    pub(crate) findings: Findings,
    pub(crate) metrics: Metrics,
    pub(crate) state: StateDir,
    pub(crate) mailbox_key: [u8; 32],
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) whole_journal: Arc<Semaphore>,
}

/// Places for calls that read the whole journal.
pub(crate) fn whole_journal_places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(WHOLE_JOURNAL_MAX))
}

/// Where a stream's messages go.
struct Sink<T> {
    messages: mpsc::Sender<Result<T, Status>>,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

/// The reader of a stream has left: the stream ends, and that is no error.
struct Gone;

impl<T> Sink<T> {
    /// Sends a message; waits for the reader.
    async fn send(&self, message: impl Into<T>) -> Result<(), Gone> {
        self.messages.send(Ok(message.into())).await.map_err(|_| Gone)
    }

    /// Ends the stream with an error.
    async fn fail(&self, status: Status) {
        // The reader may have left.
        let _gone = self.messages.send(Err(status)).await;
    }

    /// Ends when the reader leaves or the orchestrator stops.
    async fn over(&self) {
        // Cancel-safe: both only wait.
        tokio::select! {
            () = self.messages.closed() => {}
            () = self.stop.cancelled() => {
                // A reader for whom messages wait already sees the stream end.
                let _full = self.messages.try_send(Err(status::unavailable(&Unavailable::Stopped)));
            }
        }
    }
}

impl<J: Journal> Operators<J> {
    /// A stream that `work` fills; `work` is dropped when the reader leaves or the orchestrator stops.
    fn stream<T, F>(&self, work: impl FnOnce(Arc<Sink<T>>) -> F) -> Result<Response<Answers<T>>, Status>
    where
        T: Send + 'static,
        F: Future<Output = Result<(), Status>> + Send + 'static,
    {
        let place = Arc::clone(&self.streams).try_acquire_owned().map_err(|_| {
            let what = format!("{STREAMS_MAX} streams are open, which is the most");
            advised(Code::ResourceExhausted, what, "try later")
        })?;
        let (messages, answers) = mpsc::channel(STREAM_QUEUED);
        let sink = Arc::new(Sink { messages, stop: self.stop.clone(), _place: place });
        let work = work(Arc::clone(&sink));
        self.tracker.spawn(async move {
            // Cancel-safe: what a stream has not sent it will not send.
            tokio::select! {
                () = sink.over() => {}
                done = work => if let Err(status) = done {
                    sink.fail(status).await;
                },
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}

#[tonic::async_trait]
impl<J: Journal> OperatorService for Operators<J> {
    type ListNodesStream = Answers<v1::ListNodesResponse>;
    type ListShardsStream = Answers<v1::ListShardsResponse>;
    type CheckPlanStream = Answers<v1::CheckPlanResponse>;
    type ListCampaignsStream = Answers<v1::ListCampaignsResponse>;
    type StreamFindingsStream = Answers<v1::StreamFindingsResponse>;
    type WatchStream = Answers<v1::WatchResponse>;
    type TailJournalStream = Answers<v1::TailJournalResponse>;
    type BackupJournalStream = Answers<v1::BackupJournalResponse>;

    async fn get_cell(
        &self,
        _request: Request<v1::GetCellRequest>,
    ) -> Result<Response<v1::GetCellResponse>, Status> {
        self.look_cell().await.map(Response::new)
    }

    async fn list_nodes(
        &self,
        _request: Request<v1::ListNodesRequest>,
    ) -> Result<Response<Self::ListNodesStream>, Status> {
        self.look_nodes().await
    }

    async fn list_shards(
        &self,
        request: Request<v1::ListShardsRequest>,
    ) -> Result<Response<Self::ListShardsStream>, Status> {
        self.look_shards(request.into_inner().try_into()?)
    }

    async fn get_shard(
        &self,
        request: Request<v1::GetShardRequest>,
    ) -> Result<Response<v1::GetShardResponse>, Status> {
        self.look_shard(&request.into_inner().shard).await.map(Response::new)
    }

    async fn find_mailbox(
        &self,
        request: Request<v1::FindMailboxRequest>,
    ) -> Result<Response<v1::FindMailboxResponse>, Status> {
        self.look_mailbox(request.into_inner().try_into()?).await.map(Response::new)
    }

    async fn check_plan(
        &self,
        request: Request<v1::CheckPlanRequest>,
    ) -> Result<Response<Self::CheckPlanStream>, Status> {
        self.forecast(request.into_inner()).await
    }

    async fn act(&self, request: Request<v1::ActRequest>) -> Result<Response<v1::ActResponse>, Status> {
        let peer = act::peer(&request)?;
        self.decide(peer, request.into_inner().try_into()?).await.map(Response::new)
    }

    async fn list_campaigns(
        &self,
        _request: Request<v1::ListCampaignsRequest>,
    ) -> Result<Response<Self::ListCampaignsStream>, Status> {
        self.look_campaigns().await
    }

    async fn get_campaign(
        &self,
        request: Request<v1::GetCampaignRequest>,
    ) -> Result<Response<v1::GetCampaignResponse>, Status> {
        self.look_campaign(&request.into_inner().campaign).await.map(Response::new)
    }

    async fn stream_findings(
        &self,
        request: Request<v1::StreamFindingsRequest>,
    ) -> Result<Response<Self::StreamFindingsStream>, Status> {
        self.fetch_findings(request.into_inner().try_into()?)
    }

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        self.watch_cell(request.into_inner().try_into()?).await
    }

    async fn tail_journal(
        &self,
        request: Request<v1::TailJournalRequest>,
    ) -> Result<Response<Self::TailJournalStream>, Status> {
        let v1::TailJournalRequest { from_seq, follow } = request.into_inner();
        self.tail(from_seq, follow)
    }

    async fn verify_journal(
        &self,
        _request: Request<v1::VerifyJournalRequest>,
    ) -> Result<Response<v1::VerifyJournalResponse>, Status> {
        self.verify().await.map(Response::new)
    }

    async fn backup_journal(
        &self,
        _request: Request<v1::BackupJournalRequest>,
    ) -> Result<Response<Self::BackupJournalStream>, Status> {
        self.backup().await
    }
}
