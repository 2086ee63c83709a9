//! What is too large for a session: inventories, lists of mailboxes, findings. On a connection of its own, so that orders do
//! not wait behind it.
//!
//! Pages are made on a thread of their own, a few ahead of the network; none of it is held in memory as a whole but the lists of
//! the mailboxes of a few shards.

mod lists;
mod uploads;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backoff::{ExponentialBuilder, Retryable};
use rientro_types::{Digest, NodeId, NodeIncarnation, ServiceSet, ShardId};
use rientro_wire::bulk::{InventoryPart, MailboxesPart};
use rientro_wire::limits::{BULK_BYTES_MAX, CLAIMS_PER_PAGE_MAX};
use rientro_wire::v1::agent_service_client::AgentServiceClient;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::core::FindingsWanted;
use crate::findings::FindingsStore;
use crate::inventory::Scan;

/// Pages made ahead of the network: one is sent while the next is made.
const PAGES_AHEAD: usize = 2;
/// Answers to requests for findings under way at once.
const UPLOADS_MAX: usize = 4;
/// Answers that wait; whoever asks for more has to ask again.
const UPLOADS_WAITING_MAX: usize = 256;

/// First wait before a report is made again.
const RETRY_FIRST: Duration = Duration::from_millis(200);
/// Longest such wait.
const RETRY_MAX: Duration = Duration::from_secs(15);
/// Times a report is made again.
const RETRIES_MAX: usize = 20;

/// Lists of mailboxes that were told, by their digests.
pub type Told = Arc<Mutex<BTreeMap<ShardId, Digest>>>;

/// The bulk line of one session.
#[derive(Clone, Debug)]
pub struct Bulk {
    client: AgentServiceClient<Channel>,
    node: NodeId,
    incarnation: NodeIncarnation,
    /// One inventory is told at a time.
    inventory: Arc<Semaphore>,
    /// And the lists of one: a shard that takes long to list keeps no later inventory from being told.
    lists: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
    tracker: TaskTracker,
    /// Ends with the session.
    gone: CancellationToken,
}

/// An inventory to tell.
#[derive(Clone, Debug)]
pub struct InventoryReport {
    /// What was seen.
    pub scan: Arc<Scan>,
    /// Shards with open services.
    pub served: BTreeMap<ShardId, ServiceSet>,
    /// Key of mailbox ids.
    pub mailbox_key: [u8; 32],
    /// Lists that need not be told again.
    pub told: Told,
}

impl Bulk {
    /// A line to the orchestrator of a session; connects when it is first used, and is given up with `gone`.
    #[must_use]
    pub fn new(
        endpoint: &Endpoint,
        node: NodeId,
        incarnation: NodeIncarnation,
        gone: CancellationToken,
    ) -> Self {
        Self {
            client: AgentServiceClient::new(endpoint.connect_lazy())
                .max_decoding_message_size(BULK_BYTES_MAX)
                .max_encoding_message_size(BULK_BYTES_MAX),
            node,
            incarnation,
            inventory: Arc::new(Semaphore::new(1)),
            lists: Arc::new(Semaphore::new(1)),
            uploads: Arc::new(Semaphore::new(UPLOADS_MAX)),
            tracker: TaskTracker::new(),
            gone,
        }
    }

    /// Tells an inventory, then the lists of mailboxes that were not told.
    pub fn report(&self, report: InventoryReport) {
        let line = self.clone();
        self.spawn(async move {
            // A call that cannot be finished leaves what was told before in force, so it may be made again.
            let one = line.inventory.acquire().await;
            let inventory = async || line.clone().tell_inventory(&report).await;
            if let Err(error) = inventory.retry(patience()).when(may_pass).await {
                tracing::warn!(%error, "inventory not told; it is told when it changes, or in the next session");
                return;
            }
            drop(one);
            let _one = line.lists.acquire().await;
            let lists = async || line.clone().tell_mailboxes(&report).await;
            if let Err(error) = lists.retry(patience()).when(may_pass).await {
                tracing::warn!(%error, "lists of mailboxes not told; they are told after the next look at the roots");
            }
        });
    }

    /// Whether an inventory, or lists of mailboxes, are told at this moment.
    #[must_use]
    pub fn is_telling(&self) -> bool {
        self.inventory.available_permits() == 0 || self.lists.available_permits() == 0
    }

    /// Answers a request for findings.
    pub fn upload(&self, wanted: FindingsWanted, store: FindingsStore) {
        if self.tracker.len() > UPLOADS_WAITING_MAX {
            tracing::warn!(shard = %wanted.shard, "too many requests for findings wait; this one is dropped");
            return;
        }
        let line = self.clone();
        self.spawn(async move {
            let _one = line.uploads.acquire().await;
            let shard = wanted.shard;
            if let Err(error) = line.clone().send_findings(wanted, store).await {
                tracing::warn!(%shard, %error, "findings not sent");
            }
        });
    }

    fn spawn(&self, job: impl Future<Output = ()> + Send + 'static) {
        let gone = self.gone.clone();
        // A job that is given up with its session leaves an unfinished call behind, which counts for nothing.
        self.tracker.spawn(async move { gone.run_until_cancelled(job).await });
    }

    async fn tell_inventory(mut self, report: &InventoryReport) -> Result<(), Status> {
        let claims = report.scan.claims(&report.served);
        let digest = report.scan.digest();
        let header = InventoryPart::Header { node: self.node, incarnation: self.incarnation };
        let pages = claims.len().div_ceil(CLAIMS_PER_PAGE_MAX).max(1);
        let page = move |at: usize| {
            let end = claims.len().min((at + 1) * CLAIMS_PER_PAGE_MAX);
            let complete = at + 1 == pages;
            let claims = claims[at * CLAIMS_PER_PAGE_MAX..end].to_vec();
            InventoryPart::Page { claims, complete, inventory: complete.then_some(digest) }
        };
        let parts = std::iter::once(header).chain((0..pages).map(page)).map(Into::into);
        let answer = self.client.report_inventory(tokio_stream::iter(parts)).await?;
        tracing::info!(shards = answer.into_inner().taken, "inventory told");
        Ok(())
    }

    async fn tell_mailboxes(self, report: &InventoryReport) -> Result<(), Status> {
        let InventoryReport { scan, mailbox_key, told, .. } = report.clone();
        let changed = changed(&scan, &told);
        if changed.is_empty() {
            return Ok(());
        }
        let header = MailboxesPart::Header { node: self.node, incarnation: self.incarnation };
        let (to, made) = mpsc::channel(lists::LISTS_AHEAD);
        let making = tokio::task::spawn_blocking(move || lists::make(&scan, changed, &mailbox_key, &to));
        let call = |pages| {
            let (mut client, parts) = (self.client.clone(), ReceiverStream::new(pages).map(Into::into));
            async move { Ok(client.report_mailboxes(parts).await?.into_inner()) }
        };
        lists::tell(&header, made, &told, call).await?;
        // It has ended, as nothing more came of it.
        making.await.map_err(|error| Status::internal(error.to_string()))
    }

    async fn send_findings(mut self, wanted: FindingsWanted, store: FindingsStore) -> Result<(), Status> {
        let (to, made) = mpsc::channel(PAGES_AHEAD);
        let (node, incarnation) = (self.node, self.incarnation);
        let reading =
            tokio::task::spawn_blocking(move || uploads::read(&wanted, &store, node, incarnation, &to));
        // A file that turns out damaged ends the call without an end, so that it does not count as whole.
        let call = |parts| async move {
            self.client.upload_findings(ReceiverStream::new(parts).map(Into::into)).await.map(|_| ())
        };
        let answer = uploads::hand_over(made, call).await;
        if let Ok(Err(error)) = reading.await {
            return Err(Status::data_loss(error.to_string()));
        }
        answer
    }
}

/// How long a report is tried again: some minutes, after which the session itself is at its end.
fn patience() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(RETRY_FIRST)
        .with_max_delay(RETRY_MAX)
        .with_max_times(RETRIES_MAX)
        .with_jitter()
}

/// Whether the same call may do better later.
fn may_pass(status: &Status) -> bool {
    !matches!(
        status.code(),
        Code::InvalidArgument | Code::Unimplemented | Code::PermissionDenied | Code::OutOfRange
    )
}

/// Whether there are lists that were not told as they are.
#[must_use]
pub fn are_owed(scan: &Scan, told: &Told) -> bool {
    !changed(scan, told).is_empty()
}

/// Notes lists that were told.
fn keep(told: &Told, lists: Vec<(ShardId, Digest)>) {
    told.lock().unwrap_or_else(PoisonError::into_inner).extend(lists);
}

/// Shards whose list is not the one told last.
fn changed(scan: &Scan, told: &Told) -> Vec<ShardId> {
    let told = told.lock().unwrap_or_else(PoisonError::into_inner);
    let of = |(id, entry): (&ShardId, &crate::inventory::Entry)| {
        (told.get(id) != Some(&entry.list)).then_some(*id)
    };
    scan.shards.iter().filter_map(of).collect()
}
