//! Calls to the cell, in typed words.
//!
//! Nothing is waited for without end: who is there must say so at once ([`contact`]), a call has a deadline, and a connection
//! is probed while anything is under way on it, streams that may be quiet for hours included.

mod contact;

use std::time::Duration;

use rientro_orchestrator::settings::SOCKET_PATH_BYTES_MAX;
use rientro_types::{
    CampaignId, CampaignView, NodeView, Plan, Receipt, Refusal, Seq, ShardId, ShardView, Verb, WaveForecast,
};
use rientro_wire::limits::{OPERATOR_REQUEST_BYTES_MAX, OPERATOR_RESPONSE_BYTES_MAX};
use rientro_wire::operator::{
    Act, ActAnswer, CellAnswer, FindingsQuery, ForecastPart, JournalCheck, MailboxAnswer, MailboxQuery,
    ShardAnswer, ShardsQuery, WatchQuery, join_forecast,
};
use rientro_wire::v1;
use rientro_wire::v1::operator_service_client::OperatorServiceClient;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};

use crate::failure::Failure;

/// Longest wait for an answer that reads no disk but the journal's.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// What the other side is told to take at most; longer, so that it is this side that ends the wait and says so.
const SERVER_TIMEOUT: Duration = Duration::from_secs(35);
/// How often a connection on which nothing comes is probed, and how long the answer may take.
const PROBE_EVERY: Duration = Duration::from_secs(5);
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

type Calls = OperatorServiceClient<Channel>;

/// A connection to the cell.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    endpoint: String,
    calls: Calls,
}

/// A stream of answers.
pub(crate) struct Answers<M> {
    endpoint: String,
    stream: Streaming<M>,
    /// How the connection broke.
    broken: Option<Status>,
}

impl<M> Answers<M> {
    /// The next answer; `None` after the last.
    ///
    /// # Cancel safety
    /// Cancelling loses no answer.
    pub(crate) async fn next<T>(&mut self) -> Result<Option<T>, Failure>
    where
        T: TryFrom<M>,
        Failure: From<T::Error>,
    {
        if self.broken.is_none() {
            match self.stream.message().await {
                Ok(message) => return Ok(message.map(T::try_from).transpose()?),
                // Kept, as finding out more takes a while, in which this may be cancelled.
                Err(status) => self.broken = Some(status),
            }
        }
        let status = self.broken.as_ref().expect("it was kept");
        Err(failed(&self.endpoint, status).await)
    }
}

impl Client {
    /// Connects to `http://HOST:PORT` or `unix:///PATH`.
    pub(crate) async fn connect(endpoint: &str) -> Result<Self, Failure> {
        if !endpoint.starts_with("http://") && !endpoint.starts_with("unix:///") {
            let what = format!("the endpoint {endpoint:?} is neither http://HOST:PORT nor unix:///PATH");
            return Err(Failure::Usage(what.into()));
        }
        if let Some(path) = endpoint.strip_prefix("unix://").filter(|path| path.len() > SOCKET_PATH_BYTES_MAX)
        {
            let what = format!(
                "the path of the socket has {} bytes, and no socket's has more than {SOCKET_PATH_BYTES_MAX}: {path}",
                path.len()
            );
            return Err(Failure::usage(
                what,
                "an orchestrator with such a state directory listens elsewhere: say where with --endpoint",
            ));
        }
        let target = Endpoint::from_shared(endpoint.to_owned()).map_err(|error| {
            Failure::Usage(format!("the endpoint {endpoint:?} is not valid: {error}").into())
        })?;
        if names_no_port(&target) {
            let what = format!("the endpoint {endpoint:?} names no port that can be: 1 to 65535");
            return Err(Failure::Usage(what.into()));
        }
        let target = target
            .connect_timeout(contact::CONTACT_TIMEOUT)
            .http2_keep_alive_interval(PROBE_EVERY)
            .keep_alive_timeout(PROBE_TIMEOUT);
        let channel = contact::make(endpoint, &target).await?;
        let calls = OperatorServiceClient::new(channel)
            .max_encoding_message_size(OPERATOR_REQUEST_BYTES_MAX)
            .max_decoding_message_size(OPERATOR_RESPONSE_BYTES_MAX);
        Ok(Self { endpoint: endpoint.to_owned(), calls })
    }

    /// Makes a call that is answered within a time.
    async fn ask<T>(
        &self,
        call: impl AsyncFnOnce(&mut Calls) -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        match timeout(CALL_TIMEOUT, self.ask_patiently(call)).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::Silent { endpoint: self.endpoint.clone(), waited: CALL_TIMEOUT }),
        }
    }

    /// Makes a call that takes as long as it has to, while the other side is there.
    async fn ask_patiently<T>(
        &self,
        call: impl AsyncFnOnce(&mut Calls) -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        match call(&mut self.calls.clone()).await {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) => Err(failed(&self.endpoint, &status).await),
        }
    }

    fn answers<M>(&self, stream: Streaming<M>) -> Answers<M> {
        Answers { endpoint: self.endpoint.clone(), stream, broken: None }
    }

    pub(crate) async fn cell(&mut self) -> Result<CellAnswer, Failure> {
        Ok(self.ask(async |calls| calls.get_cell(timed(v1::GetCellRequest {})).await).await?.try_into()?)
    }

    pub(crate) async fn nodes(&mut self) -> Result<Vec<NodeView>, Failure> {
        let call = async |calls: &mut Calls| calls.list_nodes(timed(v1::ListNodesRequest {})).await;
        let mut pages = self.answers(self.ask(call).await?);
        let mut nodes = Vec::new();
        while let Some(Page(page)) = pages.next().await? {
            nodes.extend(page);
        }
        Ok(nodes)
    }

    /// Shards that match, by name.
    pub(crate) async fn shards(&mut self, query: ShardsQuery) -> Result<Vec<ShardView>, Failure> {
        let request = timed(v1::ListShardsRequest::from(query));
        let mut pages = self.answers(self.ask(async |calls| calls.list_shards(request).await).await?);
        let mut shards = Vec::new();
        while let Some(Page(page)) = pages.next().await? {
            shards.extend(page);
        }
        Ok(shards)
    }

    pub(crate) async fn shard(&mut self, shard: ShardId) -> Result<ShardAnswer, Failure> {
        let request = v1::GetShardRequest { shard: shard.to_string() };
        Ok(self.ask(async |calls| calls.get_shard(timed(request)).await).await?.try_into()?)
    }

    pub(crate) async fn mailbox(&mut self, query: MailboxQuery) -> Result<MailboxAnswer, Failure> {
        let request = timed(v1::FindMailboxRequest::from(query));
        Ok(self.ask(async |calls| calls.find_mailbox(request).await).await?.try_into()?)
    }

    /// The waves a plan would make, of the fleet or as a revision of its campaign; a refusal holds what is wrong with it.
    pub(crate) async fn forecast(
        &mut self,
        plan: Plan,
        revision: bool,
    ) -> Result<Result<Vec<WaveForecast>, Refusal>, Failure> {
        let request = v1::CheckPlanRequest { plan: Some(plan.into()), revision };
        let mut parts = self.answers(self.ask(async |calls| calls.check_plan(timed(request)).await).await?);
        let mut waves = Vec::new();
        while let Some(part) = parts.next().await? {
            match part {
                ForecastPart::Problems(problems) => return Ok(Err(Refusal::Plan(problems))),
                ForecastPart::Wave(piece) => join_forecast(&mut waves, piece),
            }
        }
        Ok(Ok(waves))
    }

    /// Asks for a decision, or only what it would be.
    pub(crate) async fn act(
        &mut self,
        actor: &str,
        verb: Verb,
        dry_run: bool,
    ) -> Result<Result<Receipt, Refusal>, Failure> {
        let request = v1::ActRequest::from(Act { actor: actor.to_owned(), verb, dry_run });
        let answer = self.ask(async |calls| calls.act(timed(request)).await).await;
        let answer = if dry_run { answer? } else { answer.map_err(Failure::after_a_decision)? };
        Ok(match ActAnswer::try_from(answer)? {
            ActAnswer::Receipt(receipt) => Ok(receipt),
            ActAnswer::Refusal(refusal) => Err(refusal),
        })
    }

    pub(crate) async fn campaigns(&mut self) -> Result<Vec<CampaignView>, Failure> {
        let call = async |calls: &mut Calls| calls.list_campaigns(timed(v1::ListCampaignsRequest {})).await;
        let mut answers = self.answers(self.ask(call).await?);
        let mut campaigns = Vec::new();
        while let Some(One(campaign)) = answers.next().await? {
            campaigns.push(campaign);
        }
        Ok(campaigns)
    }

    pub(crate) async fn campaign(&mut self, campaign: CampaignId) -> Result<CampaignView, Failure> {
        let request = v1::GetCampaignRequest { campaign: campaign.to_string() };
        required(self.ask(async |calls| calls.get_campaign(timed(request)).await).await?.campaign)
    }

    pub(crate) async fn findings(
        &mut self,
        query: FindingsQuery,
    ) -> Result<Answers<v1::StreamFindingsResponse>, Failure> {
        let request = v1::StreamFindingsRequest::from(query);
        Ok(self.answers(self.ask_patiently(async |calls| calls.stream_findings(request).await).await?))
    }

    pub(crate) async fn watch(&mut self, query: WatchQuery) -> Result<Answers<v1::WatchResponse>, Failure> {
        let request = v1::WatchRequest::from(query);
        Ok(self.answers(self.ask_patiently(async |calls| calls.watch(request).await).await?))
    }

    pub(crate) async fn tail(
        &mut self,
        from: Seq,
        follow: bool,
    ) -> Result<Answers<v1::TailJournalResponse>, Failure> {
        let request = v1::TailJournalRequest { from_seq: from.raw(), follow };
        Ok(self.answers(self.ask_patiently(async |calls| calls.tail_journal(request).await).await?))
    }

    /// Has the whole journal read and checked; takes as long as its size asks for.
    pub(crate) async fn verify_journal(&mut self) -> Result<JournalCheck, Failure> {
        let request = v1::VerifyJournalRequest {};
        Ok(self.ask_patiently(async |calls| calls.verify_journal(request).await).await?.try_into()?)
    }

    pub(crate) async fn backup_journal(&mut self) -> Result<Answers<v1::BackupJournalResponse>, Failure> {
        let request = v1::BackupJournalRequest {};
        Ok(self.answers(self.ask_patiently(async |calls| calls.backup_journal(request).await).await?))
    }
}

/// A page of a list.
struct Page<T>(Vec<T>);

impl TryFrom<v1::ListNodesResponse> for Page<NodeView> {
    type Error = Failure;
    fn try_from(page: v1::ListNodesResponse) -> Result<Self, Failure> {
        Ok(Self(page.nodes.into_iter().map(NodeView::try_from).collect::<Result<_, _>>()?))
    }
}

impl TryFrom<v1::ListShardsResponse> for Page<ShardView> {
    type Error = Failure;
    fn try_from(page: v1::ListShardsResponse) -> Result<Self, Failure> {
        Ok(Self(page.shards.into_iter().map(ShardView::try_from).collect::<Result<_, _>>()?))
    }
}

/// One element of a list.
struct One(CampaignView);

impl TryFrom<v1::ListCampaignsResponse> for One {
    type Error = Failure;
    fn try_from(answer: v1::ListCampaignsResponse) -> Result<Self, Failure> {
        required(answer.campaign).map(Self)
    }
}

/// Whether something stands where the port does and is none. It would be passed over, and another port be called.
fn names_no_port(target: &Endpoint) -> bool {
    let Some(authority) = target.uri().authority() else { return false };
    let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    !port.is_empty() && authority.port_u16().is_none_or(|port| port == 0)
}

async fn failed(endpoint: &str, status: &Status) -> Failure {
    if contact::is_broken(status) {
        contact::lost(endpoint, status, PROBE_EVERY + PROBE_TIMEOUT).await
    } else {
        Failure::of_status(endpoint, status)
    }
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(SERVER_TIMEOUT);
    request
}

fn required<M, T>(part: Option<M>) -> Result<T, Failure>
where
    T: TryFrom<M>,
    Failure: From<T::Error>,
{
    let part =
        part.ok_or_else(|| Failure::Refused("the orchestrator's answer is empty".to_owned().into()))?;
    Ok(part.try_into()?)
}
