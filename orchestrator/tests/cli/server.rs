//! A cell that says what it is told to say, and remembers what it was asked.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use rientro_types::{
    Advice, CampaignView, CellTime, Digest, Exception, Incarnation, MailboxId, NodeView, Receipt, Refusal,
    Seq, ShardView, WaveForecast,
};
use rientro_wire::operator::{
    Act, ActAnswer, BackupEnd, BackupHeader, BackupPart, CellAnswer, FindingsAnswer, FindingsQuery,
    ForecastPart, JournalCheck, MailboxAnswer, MailboxQuery, ShardAnswer, ShardsQuery, TailedEntry,
    WatchEvent,
};
use rientro_wire::v1;
use rientro_wire::v1::operator_service_server::{OperatorService, OperatorServiceServer};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::fixtures;

/// What the cell answers. Each `watch` call takes the next script; a script that ends closes the stream.
pub(crate) struct Canned {
    pub(crate) trouble: Option<String>,
    pub(crate) nodes_ahead: Vec<rientro_types::NodeId>,
    pub(crate) nodes: Vec<NodeView>,
    pub(crate) shards: Vec<ShardView>,
    pub(crate) campaigns: Vec<CampaignView>,
    pub(crate) forecast: Result<Vec<WaveForecast>, Refusal>,
    pub(crate) act: Result<Receipt, Refusal>,
    pub(crate) mailbox_shard: Option<&'static str>,
    /// Shards that listed it before.
    pub(crate) mailbox_gone: Vec<rientro_types::MailboxGone>,
    /// When the first list with it was told.
    pub(crate) mailbox_listed: Option<CellTime>,
    /// Missing mailboxes of the shard that is asked for, and how many are known.
    pub(crate) missing: (Vec<MailboxId>, u64),
    pub(crate) exception: Option<Exception>,
    pub(crate) findings: Vec<FindingsAnswer>,
    pub(crate) check: JournalCheck,
    pub(crate) backup_whole: bool,
    pub(crate) backup_key: Option<Advice>,
    /// What somebody else does while the journal is copied.
    pub(crate) backup_meanwhile: Option<fn(&std::path::Path)>,
    /// Where.
    pub(crate) backup_beside: std::path::PathBuf,
    pub(crate) watches: VecDeque<Vec<WatchEvent>>,
}

impl Default for Canned {
    fn default() -> Self {
        Self {
            trouble: None,
            nodes_ahead: Vec::new(),
            nodes: fixtures::nodes(),
            shards: fixtures::shards(),
            campaigns: vec![fixtures::campaign()],
            forecast: Ok(fixtures::forecast()),
            act: Ok(Receipt {
                changes: true,
                decided: Some(Seq::from_raw(4_712)),
                shards: 2,
                mailboxes: 1_600,
                skipped: 1,
                ..Receipt::default()
            }),
            mailbox_shard: Some("vol-07"),
            mailbox_gone: Vec::new(),
            mailbox_listed: None,
            missing: (Vec::new(), 0),
            exception: None,
            findings: vec![
                FindingsAnswer::Page {
                    shard: fixtures::shard_id("vol-07"),
                    node: fixtures::node_id("n1"),
                    attempt: rientro_types::AttemptNo::from_raw(2),
                    findings: fixtures::findings(),
                    dropped: false,
                },
                FindingsAnswer::End { findings_total: 14, findings_shown: 2 },
            ],
            check: JournalCheck::Intact {
                entries: 1_200,
                records: 4_711,
                seq_first: Seq::from_raw(1),
                seq_last: Seq::from_raw(4_711),
                chain: Digest::of(b"chain"),
                key_problem: None,
            },
            backup_whole: true,
            backup_key: None,
            backup_meanwhile: None,
            backup_beside: std::path::PathBuf::new(),
            watches: VecDeque::new(),
        }
    }
}

/// What the cell was asked.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) acts: Vec<Act>,
    pub(crate) shards: Vec<ShardsQuery>,
    pub(crate) findings: Vec<FindingsQuery>,
    pub(crate) tails: Vec<v1::TailJournalRequest>,
    pub(crate) checks: Vec<(v1::Plan, bool)>,
}

pub(crate) struct Server {
    canned: Mutex<Canned>,
    pub(crate) asked: Mutex<Asked>,
}

/// Serves on a loopback port until the test's runtime ends; returns the endpoint.
pub(crate) async fn serve(canned: Canned) -> (String, Arc<Server>) {
    let server = Arc::new(Server { canned: Mutex::new(canned), asked: Mutex::default() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let service = OperatorServiceServer::from_arc(Arc::clone(&server));
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<OperatorServiceServer<Server>>().await;
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(
        tonic::transport::Server::builder()
            .add_service(health_service)
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    tasks.detach_all();
    (endpoint, server)
}

type Answers<T> = Pin<Box<dyn tokio_stream::Stream<Item = Result<T, Status>> + Send>>;

fn stream<T: Send + 'static>(answers: Vec<T>) -> Response<Answers<T>> {
    Response::new(Box::pin(tokio_stream::iter(answers.into_iter().map(Ok))))
}

impl Server {
    fn canned<T>(&self, get: impl FnOnce(&mut Canned) -> T) -> T {
        get(&mut self.canned.lock().expect("no test panicked with it"))
    }

    fn asked<T>(&self, note: impl FnOnce(&mut Asked) -> T) -> T {
        note(&mut self.asked.lock().expect("no test panicked with it"))
    }
}

#[tonic::async_trait]
impl OperatorService for Server {
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
        _: Request<v1::GetCellRequest>,
    ) -> Result<Response<v1::GetCellResponse>, Status> {
        let (trouble, nodes_ahead) =
            self.canned(|canned| (canned.trouble.clone(), canned.nodes_ahead.clone()));
        let impaired = |view: &&ShardView| {
            view.shard.blocked.is_some() && view.shard.state() == rientro_types::ShardState::Open
        };
        let shards_impaired = self.canned(|canned| canned.shards.iter().filter(impaired).count()) as u64;
        let cell = rientro_types::CellView { shards_impaired, ..fixtures::cell() };
        let answer = CellAnswer { cell, build: "0.1.0 test".to_owned(), trouble, nodes_ahead };
        Ok(Response::new(answer.into()))
    }

    async fn list_nodes(
        &self,
        _: Request<v1::ListNodesRequest>,
    ) -> Result<Response<Self::ListNodesStream>, Status> {
        let nodes = self.canned(|canned| canned.nodes.clone());
        // Two pages, to see them joined.
        let pages = nodes
            .chunks(2)
            .map(|page| v1::ListNodesResponse { nodes: page.iter().cloned().map(Into::into).collect() });
        Ok(stream(pages.collect()))
    }

    async fn list_shards(
        &self,
        request: Request<v1::ListShardsRequest>,
    ) -> Result<Response<Self::ListShardsStream>, Status> {
        let query = ShardsQuery::try_from(request.into_inner())?;
        let mut shards = self.canned(|canned| canned.shards.clone());
        let selector = &query.selector;
        shards.retain(|view| {
            (selector.states.is_empty() || selector.states.contains(&view.shard.state()))
                && (selector.shards.is_empty() || selector.shards.contains(&view.shard.shard))
                && selector.wave.is_none_or(|wave| view.shard.member.is_some_and(|m| m.wave == wave))
        });
        if query.max > 0 {
            shards.truncate(usize::try_from(query.max).expect("small"));
        }
        self.asked(|asked| asked.shards.push(query));
        Ok(stream(vec![v1::ListShardsResponse { shards: shards.into_iter().map(Into::into).collect() }]))
    }

    async fn get_shard(
        &self,
        request: Request<v1::GetShardRequest>,
    ) -> Result<Response<v1::GetShardResponse>, Status> {
        let name = request.into_inner().shard;
        let shards = self.canned(|canned| canned.shards.clone());
        let found = shards.into_iter().find(|view| view.shard.shard.as_str() == name);
        let shard = found.ok_or_else(|| Status::not_found(format!("there is no shard {name}")))?;
        let (missing, missing_known) = self.canned(|canned| canned.missing.clone());
        Ok(Response::new(ShardAnswer { shard, missing, missing_known }.into()))
    }

    async fn find_mailbox(
        &self,
        request: Request<v1::FindMailboxRequest>,
    ) -> Result<Response<v1::FindMailboxResponse>, Status> {
        MailboxQuery::try_from(request.into_inner())?;
        let (views, exception, gone, listed) = self.canned(|canned| {
            let name = canned.mailbox_shard;
            let found = canned.shards.iter().find(|view| Some(view.shard.shard.as_str()) == name).cloned();
            (found, canned.exception, canned.mailbox_gone.clone(), canned.mailbox_listed)
        });
        let views = views.into_iter().map(|shard| rientro_types::MailboxView {
            mailbox: fixtures::mailbox_id(),
            exception,
            open: shard.shard.services,
            since: listed.map_or(shard.shard.services_since, |at| at.max(shard.shard.services_since)),
            listed,
            shard,
        });
        let answer = MailboxAnswer { mailbox: fixtures::mailbox_id(), views: views.collect(), gone };
        Ok(Response::new(answer.into()))
    }

    async fn check_plan(
        &self,
        request: Request<v1::CheckPlanRequest>,
    ) -> Result<Response<Self::CheckPlanStream>, Status> {
        let v1::CheckPlanRequest { plan, revision } = request.into_inner();
        let plan = plan.ok_or_else(|| Status::invalid_argument("plan is missing"))?;
        self.asked(|asked| asked.checks.push((plan, revision)));
        let parts = match self.canned(|canned| canned.forecast.clone()) {
            Ok(waves) => waves.into_iter().map(|wave| ForecastPart::Wave(wave).into()).collect(),
            Err(Refusal::Plan(problems)) => vec![ForecastPart::Problems(problems).into()],
            Err(other) => return Err(Status::internal(other.to_string())),
        };
        Ok(stream(parts))
    }

    async fn act(&self, request: Request<v1::ActRequest>) -> Result<Response<v1::ActResponse>, Status> {
        let act = Act::try_from(request.into_inner())?;
        let answer = match self.canned(|canned| canned.act.clone()) {
            Ok(receipt) if act.dry_run => ActAnswer::Receipt(Receipt { decided: None, ..receipt }),
            Ok(receipt) => ActAnswer::Receipt(receipt),
            Err(refusal) => ActAnswer::Refusal(refusal),
        };
        self.asked(|asked| asked.acts.push(act));
        Ok(Response::new(answer.into()))
    }

    async fn list_campaigns(
        &self,
        _: Request<v1::ListCampaignsRequest>,
    ) -> Result<Response<Self::ListCampaignsStream>, Status> {
        let campaigns = self.canned(|canned| canned.campaigns.clone());
        let answers = campaigns.into_iter().map(|c| v1::ListCampaignsResponse { campaign: Some(c.into()) });
        Ok(stream(answers.collect()))
    }

    async fn get_campaign(
        &self,
        request: Request<v1::GetCampaignRequest>,
    ) -> Result<Response<v1::GetCampaignResponse>, Status> {
        let name = request.into_inner().campaign;
        let campaigns = self.canned(|canned| canned.campaigns.clone());
        let found = campaigns.into_iter().find(|campaign| campaign.campaign.as_str() == name);
        let campaign = found.ok_or_else(|| Status::not_found(format!("there is no campaign {name}")))?;
        Ok(Response::new(v1::GetCampaignResponse { campaign: Some(campaign.into()) }))
    }

    async fn stream_findings(
        &self,
        request: Request<v1::StreamFindingsRequest>,
    ) -> Result<Response<Self::StreamFindingsStream>, Status> {
        let query = FindingsQuery::try_from(request.into_inner())?;
        self.asked(|asked| asked.findings.push(query));
        Ok(stream(self.canned(|canned| canned.findings.clone()).into_iter().map(Into::into).collect()))
    }

    async fn watch(&self, _: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let script = self.canned(|canned| {
            let script = canned.watches.pop_front()?;
            // The campaign is, from here on, what the stream last said of it.
            for event in &script {
                if let WatchEvent::Campaign(campaign) = event {
                    canned.campaigns = vec![CampaignView::clone(campaign)];
                }
            }
            Some(script)
        });
        let script = script.ok_or_else(|| Status::unavailable("no more scripts"))?;
        Ok(stream(script.into_iter().map(Into::into).collect()))
    }

    async fn tail_journal(
        &self,
        request: Request<v1::TailJournalRequest>,
    ) -> Result<Response<Self::TailJournalStream>, Status> {
        self.asked(|asked| asked.tails.push(request.into_inner()));
        let tailed = TailedEntry { entry: fixtures::entry(), digest: Digest::of(b"entry") };
        Ok(stream(vec![tailed.into()]))
    }

    async fn verify_journal(
        &self,
        _: Request<v1::VerifyJournalRequest>,
    ) -> Result<Response<v1::VerifyJournalResponse>, Status> {
        Ok(Response::new(self.canned(|canned| canned.check.clone()).into()))
    }

    async fn backup_journal(
        &self,
        _: Request<v1::BackupJournalRequest>,
    ) -> Result<Response<Self::BackupJournalStream>, Status> {
        let header = BackupHeader {
            cell: fixtures::cell().cell,
            incarnation: Incarnation::from_raw(1),
            seq_next: Seq::from_raw(4_712),
            chain: Digest::of(b"chain"),
        };
        let key_problem = self.canned(|canned| canned.backup_key.clone());
        self.canned(|canned| canned.backup_meanwhile.iter().for_each(|act| act(&canned.backup_beside)));
        let end = BackupEnd { bytes: 10, digest: Digest::of(b"abcdefghij"), key_problem };
        let mut parts = vec![
            BackupPart::Header(header),
            BackupPart::Chunk(b"of a copy that begins anew".to_vec()),
            BackupPart::Header(header),
            BackupPart::Chunk(b"abcde".to_vec()),
            BackupPart::Chunk(b"fghij".to_vec()),
        ];
        if self.canned(|canned| canned.backup_whole) {
            parts.push(BackupPart::End(end));
        }
        Ok(stream(parts.into_iter().map(Into::into).collect()))
    }
}
