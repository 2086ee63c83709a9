//! An orchestrator in this process, on a real journal and real sockets.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use rientro_orchestrator::clock::SystemClock;
use rientro_orchestrator::settings::{Flags, Settings};
use rientro_orchestrator::{Address, Running, StateDir, plan, start_with};
use rientro_types::{CampaignView, Verb};
use rientro_wire::operator::{Act, ActAnswer};
use rientro_wire::v1;
use rientro_wire::v1::operator_service_client::OperatorServiceClient;
use tempfile::TempDir;
use tonic::Status;
use tonic::transport::Channel;

use crate::agent::channel;
use crate::script::{Script, Scripted};

/// Nothing in these tests takes longer, unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something, within bounds.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("this takes far less time unless it is broken")
}

/// Flags for an orchestrator of tests.
pub(crate) fn flags(folder: &std::path::Path) -> Vec<String> {
    let state = folder.join("state").display().to_string();
    ["rientro-orchestrator", "--cell", "test", "--state-dir", &state]
        .into_iter()
        .chain(["--listen-agents", "127.0.0.1:0", "--listen-operators", "127.0.0.1:0"])
        .chain(["--listen-metrics", "127.0.0.1:0"])
        .map(str::to_owned)
        .collect()
}

pub(crate) struct Cell {
    pub(crate) folder: TempDir,
    pub(crate) script: Arc<Script>,
    pub(crate) running: Running,
}

impl Cell {
    /// A new cell that leads.
    pub(crate) async fn start() -> Self {
        let cell = Self::start_in(TempDir::new().unwrap()).await;
        within(cell.running.leads()).await.unwrap();
        cell
    }

    pub(crate) async fn start_in(folder: TempDir) -> Self {
        let flags = Flags::parse_from(flags(folder.path()));
        Self::start_with(folder, flags).await
    }

    /// A new cell that leads, with a settings file.
    pub(crate) async fn start_with_config(folder: TempDir, config: &std::path::Path) -> Self {
        let mut flags = flags(folder.path());
        flags.extend(["--config".to_owned(), config.display().to_string()]);
        let cell = Self::start_with(folder, Flags::parse_from(flags)).await;
        within(cell.running.leads()).await.unwrap();
        cell
    }

    async fn start_with(folder: TempDir, flags: Flags) -> Self {
        let script = Arc::new(Script::default());
        let settings = Settings::load(flags).unwrap();
        let state = StateDir::open(&settings.state_dir, settings.journal, settings.restored).unwrap();
        let source = Scripted { state: state.clone(), script: Arc::clone(&script) };
        let running = start_with(settings, state, source, SystemClock).await.unwrap();
        Self { folder, script, running }
    }

    /// Stops, and starts again on the same state.
    pub(crate) async fn restart(self) -> Self {
        let cell = self.stop_and_start_again().await;
        within(cell.running.leads()).await.unwrap();
        cell
    }

    /// The same, and does not wait until it leads.
    pub(crate) async fn stop_and_start_again(mut self) -> Self {
        self.running.stop();
        within(self.running.ended()).await.unwrap();
        let Self { folder, .. } = self;
        Self::start_in(folder).await
    }

    /// The address of agents and operators.
    pub(crate) fn address(&self) -> &Address {
        &self.running.addresses("agents")[0]
    }

    /// The address of metrics.
    pub(crate) fn metrics(&self) -> &Address {
        &self.running.addresses("metrics")[0]
    }

    pub(crate) async fn operator(&self) -> Operator {
        let tcp = self.running.addresses("operators").iter().find(|a| matches!(a, Address::Loopback(_)));
        Operator::connect(tcp.unwrap()).await
    }
}

/// An operator.
#[derive(Clone)]
pub(crate) struct Operator {
    pub(crate) client: OperatorServiceClient<Channel>,
}

impl Operator {
    pub(crate) async fn connect(address: &Address) -> Self {
        let client = OperatorServiceClient::new(channel(address).await);
        Self { client: client.max_decoding_message_size(rientro_wire::limits::OPERATOR_RESPONSE_BYTES_MAX) }
    }

    pub(crate) async fn act(&self, verb: Verb) -> Result<ActAnswer, Status> {
        let act = Act { actor: "anna".to_owned(), verb, dry_run: false };
        let answer = within(self.client.clone().act(v1::ActRequest::from(act))).await?;
        Ok(answer.into_inner().try_into().unwrap())
    }

    /// Begins a campaign over everything, in two waves.
    pub(crate) async fn start(&self, name: &str) -> Result<ActAnswer, Status> {
        self.act(start_verb(name)).await
    }

    pub(crate) async fn campaign(&self, name: &str) -> Result<CampaignView, Status> {
        let request = v1::GetCampaignRequest { campaign: name.to_owned() };
        let answer = within(self.client.clone().get_campaign(request)).await?.into_inner();
        Ok(answer.campaign.unwrap().try_into().unwrap())
    }

    pub(crate) async fn cell(&self) -> Result<v1::GetCellResponse, Status> {
        Ok(within(self.client.clone().get_cell(v1::GetCellRequest {})).await?.into_inner())
    }
}

pub(crate) fn start_verb(name: &str) -> Verb {
    let text = format!(
        "name = \"{name}\"\n[covers]\nall = true\n[waves]\nlist = [\"50%\", \"rest\"]\nbake = \"0s\"\npromotion = \"automatic\"\n"
    );
    let file = plan::read(text.as_bytes()).unwrap();
    Verb::Start { plan: Box::new(file.plan), source: file.source }
}

/// Asks again and again, briefly apart, until the answer fulfils a condition.
pub(crate) async fn until<T, F: Future<Output = T>>(
    mut ask: impl FnMut() -> F,
    condition: impl Fn(&T) -> bool,
) -> T {
    within(async {
        loop {
            let answer = ask().await;
            if condition(&answer) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}
