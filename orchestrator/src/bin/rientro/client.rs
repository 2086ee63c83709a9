//! Calls to the cell, in typed words.

use std::time::Duration;

use rientro_types::{
    CampaignId, CampaignView, NodeView, Plan, Receipt, Refusal, Seq, ShardId, ShardView, Verb, WaveForecast,
};
use rientro_wire::limits::{OPERATOR_REQUEST_BYTES_MAX, OPERATOR_RESPONSE_BYTES_MAX};
use rientro_wire::operator::{
    Act, ActAnswer, CellAnswer, FindingsQuery, ForecastPart, JournalCheck, MailboxAnswer, MailboxQuery,
    ShardsQuery, WatchQuery, join_forecast,
};
use rientro_wire::v1;
use rientro_wire::v1::operator_service_client::OperatorServiceClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use crate::failure::Failure;

/// Longest wait for a connection: a listener on this host answers at once or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for an answer that reads no disk but the journal's.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a silent connection is probed, and how long the answer may take: a dead one is noticed within a quarter minute.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to the cell.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    endpoint: String,
    calls: OperatorServiceClient<Channel>,
}

/// A stream of answers.
pub(crate) struct Answers<M> {
    endpoint: String,
    stream: Streaming<M>,
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
        let message = self.stream.message().await;
        let message = message.map_err(|status| Failure::of_status(&self.endpoint, &status))?;
        Ok(message.map(T::try_from).transpose()?)
    }
}

impl Client {
    /// Connects to `http://HOST:PORT` or `unix:///PATH`.
    pub(crate) async fn connect(endpoint: &str) -> Result<Self, Failure> {
        if !endpoint.starts_with("http://") && !endpoint.starts_with("unix:///") {
            return Err(Failure::Usage(format!(
                "the endpoint {endpoint:?} is neither http://HOST:PORT nor unix:///PATH"
            )));
        }
        let target = Endpoint::from_shared(endpoint.to_owned())
            .map_err(|error| Failure::Usage(format!("the endpoint {endpoint:?} is not valid: {error}")))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE_EVERY)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT);
        let channel = target.connect().await.map_err(|error| Failure::Unreachable {
            endpoint: endpoint.to_owned(),
            problem: innermost(&error),
        })?;
        let calls = OperatorServiceClient::new(channel)
            .max_encoding_message_size(OPERATOR_REQUEST_BYTES_MAX)
            .max_decoding_message_size(OPERATOR_RESPONSE_BYTES_MAX);
        Ok(Self { endpoint: endpoint.to_owned(), calls })
    }

    fn failed(&self, status: &Status) -> Failure {
        Failure::of_status(&self.endpoint, status)
    }

    fn answers<M>(
        &self,
        response: Result<tonic::Response<Streaming<M>>, Status>,
    ) -> Result<Answers<M>, Failure> {
        let stream = response.map_err(|status| self.failed(&status))?.into_inner();
        Ok(Answers { endpoint: self.endpoint.clone(), stream })
    }

    pub(crate) async fn cell(&mut self) -> Result<CellAnswer, Failure> {
        let answer = self.calls.get_cell(timed(v1::GetCellRequest {})).await;
        Ok(answer.map_err(|status| self.failed(&status))?.into_inner().try_into()?)
    }

    pub(crate) async fn nodes(&mut self) -> Result<Vec<NodeView>, Failure> {
        let response = self.calls.list_nodes(timed(v1::ListNodesRequest {})).await;
        let mut pages = self.answers(response)?;
        let mut nodes = Vec::new();
        while let Some(Page(page)) = pages.next().await? {
            nodes.extend(page);
        }
        Ok(nodes)
    }

    /// Shards that match, by name.
    pub(crate) async fn shards(&mut self, query: ShardsQuery) -> Result<Vec<ShardView>, Failure> {
        let response = self.calls.list_shards(timed(v1::ListShardsRequest::from(query))).await;
        let mut pages = self.answers(response)?;
        let mut shards = Vec::new();
        while let Some(Page(page)) = pages.next().await? {
            shards.extend(page);
        }
        Ok(shards)
    }

    pub(crate) async fn shard(&mut self, shard: ShardId) -> Result<ShardView, Failure> {
        let request = v1::GetShardRequest { shard: shard.to_string() };
        let answer = self.calls.get_shard(timed(request)).await.map_err(|status| self.failed(&status))?;
        required(answer.into_inner().shard)
    }

    pub(crate) async fn mailbox(&mut self, query: MailboxQuery) -> Result<MailboxAnswer, Failure> {
        let answer = self.calls.find_mailbox(timed(v1::FindMailboxRequest::from(query))).await;
        Ok(answer.map_err(|status| self.failed(&status))?.into_inner().try_into()?)
    }

    /// The waves a plan would make; a refusal holds what is wrong with it.
    pub(crate) async fn forecast(
        &mut self,
        plan: Plan,
    ) -> Result<Result<Vec<WaveForecast>, Refusal>, Failure> {
        let request = v1::CheckPlanRequest { plan: Some(plan.into()) };
        let response = self.calls.check_plan(timed(request)).await;
        let mut parts = self.answers(response)?;
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
        let answer = self.calls.act(timed(request)).await.map_err(|status| {
            let failure = self.failed(&status);
            if dry_run { failure } else { failure.after_a_decision() }
        })?;
        Ok(match ActAnswer::try_from(answer.into_inner())? {
            ActAnswer::Receipt(receipt) => Ok(receipt),
            ActAnswer::Refusal(refusal) => Err(refusal),
        })
    }

    pub(crate) async fn campaigns(&mut self) -> Result<Vec<CampaignView>, Failure> {
        let response = self.calls.list_campaigns(timed(v1::ListCampaignsRequest {})).await;
        let mut answers = self.answers(response)?;
        let mut campaigns = Vec::new();
        while let Some(One(campaign)) = answers.next().await? {
            campaigns.push(campaign);
        }
        Ok(campaigns)
    }

    pub(crate) async fn campaign(&mut self, campaign: CampaignId) -> Result<CampaignView, Failure> {
        let request = v1::GetCampaignRequest { campaign: campaign.to_string() };
        let answer = self.calls.get_campaign(timed(request)).await.map_err(|status| self.failed(&status))?;
        required(answer.into_inner().campaign)
    }

    pub(crate) async fn findings(
        &mut self,
        query: FindingsQuery,
    ) -> Result<Answers<v1::StreamFindingsResponse>, Failure> {
        let response = self.calls.stream_findings(v1::StreamFindingsRequest::from(query)).await;
        self.answers(response)
    }

    pub(crate) async fn watch(&mut self, query: WatchQuery) -> Result<Answers<v1::WatchResponse>, Failure> {
        let response = self.calls.watch(v1::WatchRequest::from(query)).await;
        self.answers(response)
    }

    pub(crate) async fn tail(
        &mut self,
        from: Seq,
        follow: bool,
    ) -> Result<Answers<v1::TailJournalResponse>, Failure> {
        let request = v1::TailJournalRequest { from_seq: from.raw(), follow };
        let response = self.calls.tail_journal(request).await;
        self.answers(response)
    }

    /// Has the whole journal read and checked; takes as long as its size asks for.
    pub(crate) async fn verify_journal(&mut self) -> Result<JournalCheck, Failure> {
        let answer = self.calls.verify_journal(v1::VerifyJournalRequest {}).await;
        Ok(answer.map_err(|status| self.failed(&status))?.into_inner().try_into()?)
    }

    pub(crate) async fn backup_journal(&mut self) -> Result<Answers<v1::BackupJournalResponse>, Failure> {
        let response = self.calls.backup_journal(v1::BackupJournalRequest {}).await;
        self.answers(response)
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

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_TIMEOUT);
    request
}

fn required<M, T>(part: Option<M>) -> Result<T, Failure>
where
    T: TryFrom<M>,
    Failure: From<T::Error>,
{
    let part = part.ok_or_else(|| Failure::Refused("the orchestrator's answer is empty".into()))?;
    Ok(part.try_into()?)
}

/// What the system said: the last of a chain of errors.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
