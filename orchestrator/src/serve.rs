//! Puts everything together: the driver, the services on their listeners, metrics; and takes it apart in order.
//!
//! Stopping: the listeners close and streams are told, the driver finishes the batch in hand, sessions end, and whatever is
//! left is given a deadline. So is the driver: a disk that hangs must not hold up the end for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use rientro_wire::limits;
use rientro_wire::v1::agent_service_server::AgentServiceServer;
use rientro_wire::v1::operator_service_server::OperatorServiceServer;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::api::{self, Operators};
use crate::clock::{Clock, SystemClock};
use crate::directory::{Directory, DirectoryError};
use crate::driver::{DriverSettings, Handle, LeadError, Source, Status, Surroundings, driver};
use crate::journal::Journal;
use crate::listen::{Address, Listener, OWN_SOCKET_MODE, Places, SOCKET_MODE, Share};
use crate::metrics::{Measured, Metrics};
use crate::session::{Agents, BULK_CALLS_MAX, FINDINGS_UPLOADS_MAX, LOOKUPS_MAX, SESSIONS_MAX};
use crate::settings::{OPERATORS_SOCKET, SOCKET_PATH_BYTES_MAX, Settings};
use crate::state_dir::{StateDir, StateDirError};
use crate::watch::Views;

/// Calls at once on one connection: a session or a few bulk calls, and a person's questions.
const CALLS_PER_CONNECTION_MAX: u32 = 128;
/// Bytes a peer may send on one stream before it is read: one bulk message.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// The same for all streams of a connection together: a few bulk messages.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// Longest headers of one call: ours are a few hundred bytes.
const HEADERS_BYTES_MAX: u32 = 16 << 10;
/// A connection on which nothing comes is asked whether anybody is there, and closed when nobody answers.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(20);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);
/// Time for everything to end once asked to; an agent or a reader that hangs must not hold up a restart.
const STOP_TIME: Duration = Duration::from_secs(10);
/// Time for the driver to end the write in hand: longer than any disk that works takes for a MiB, and well within the 90 s
/// after which systemd kills (`DefaultTimeoutStopSec`).
const DRIVER_STOP_TIME: Duration = Duration::from_secs(30);
/// Time for the driver to answer a look at the metrics.
const METRICS_TIME: Duration = Duration::from_secs(5);

/// Why an orchestrator does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The state directory cannot be used.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// The directory of mailboxes cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Another process has an address.
    #[error(
        "could not listen on {address}: another process does; `ss -lntxp` names it. Stop that, if it is an orchestrator that was \
         left running, or choose another address in the settings"
    )]
    Taken {
        /// The address.
        address: Address,
    },
    /// Where a socket is to be made there is something else, or a link.
    #[error(
        "could not listen on {address}: {what} is in the way, which no orchestrator made; see what it is, and move it away or choose \
         another address in the settings"
    )]
    Obstructed {
        /// The address.
        address: Address,
        /// What is there.
        what: &'static str,
    },
    /// An address cannot be listened on.
    #[error("could not listen on {address}")]
    Listen {
        /// The address.
        address: Address,
        /// Why.
        source: std::io::Error,
    },
    /// The journal cannot be led from.
    #[error(transparent)]
    Lead(#[from] LeadError),
    /// The driver ended abnormally.
    #[error("the driver ended abnormally: {0}; this is a bug, keep the journal for analysis")]
    Abnormal(String),
    /// The driver did not end when asked to: its disk does not answer.
    #[error(
        "the last write to the journal did not end within {} s, and whether it is durable is not known; nothing was told of it. See \
         to the disk, then start again: the journal is read anew",
        DRIVER_STOP_TIME.as_secs()
    )]
    Unfinished,
}

/// A running orchestrator.
pub struct Running {
    handle: Handle,
    stop: CancellationToken,
    tracker: TaskTracker,
    driver: JoinHandle<Result<(), LeadError>>,
    addresses: BTreeMap<&'static str, Vec<Address>>,
}

/// Starts an orchestrator on its state directory and the host's clock.
///
/// # Errors
/// [`ServeError`] when it cannot listen or use its state directory.
pub async fn start(settings: Settings) -> Result<Running, ServeError> {
    let state = StateDir::open(&settings.state_dir, settings.journal, settings.restored)?;
    if !settings.has_own_socket() {
        tracing::warn!(
            state_dir = %settings.state_dir.display(),
            bytes_max = SOCKET_PATH_BYTES_MAX,
            "no {OPERATORS_SOCKET} is made: its path would be too long for a socket; choose a shorter state_dir, or operators have \
             no way in that a flood of connections cannot fill"
        );
    }
    let source = state.clone();
    start_with(settings, state, source, SystemClock).await
}

/// Starts an orchestrator on a journal and a clock of the caller's.
///
/// # Errors
/// As [`start`].
pub async fn start_with<S: Source, C: Clock>(
    settings: Settings,
    state: StateDir,
    source: S,
    clock: C,
) -> Result<Running, ServeError> {
    state.prepare()?;
    let mailbox_key = state.mailbox_key()?;
    let directory = Directory::open(state.directory(), settings.journal.reserve_bytes).await?;
    let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
    let around = Surroundings::<S::Journal> {
        published: crate::watch::Published::default(),
        shelf: crate::driver::Shelf::default(),
        metrics: Metrics::default(),
        tracker: tracker.clone(),
    };
    let (published, shelf, metrics) =
        (around.published.clone(), around.shelf.clone(), around.metrics.clone());
    let driver_settings = DriverSettings {
        cell: settings.cell,
        mailbox_key,
        mailbox_key_path: state.key_path(),
        snapshot_every_records: settings.snapshot_every_records,
    };
    let (driver, handle) = driver(source, clock, driver_settings, around, stop.clone());
    let findings = crate::findings::Findings::default();
    let views = Views::default();
    let agents = Agents {
        handle: handle.clone(),
        shelf: shelf.clone(),
        tracker: tracker.clone(),
        stop: stop.clone(),
        directory: directory.clone(),
        findings: findings.clone(),
        reporting: crate::session::Reporting::default(),
        sessions: Arc::new(Semaphore::new(SESSIONS_MAX)),
        bulk_calls: Arc::new(Semaphore::new(BULK_CALLS_MAX)),
        findings_uploads: Arc::new(Semaphore::new(FINDINGS_UPLOADS_MAX)),
        lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)),
        refused: Arc::default(),
    };
    let operators = Operators {
        handle: handle.clone(),
        tracker: tracker.clone(),
        stop: stop.clone(),
        shelf,
        published,
        views: views.clone(),
        directory,
        findings,
        metrics: metrics.clone(),
        state,
        mailbox_key,
        streams: Arc::new(Semaphore::new(api::STREAMS_MAX)),
        whole_journal: api::whole_journal_places(),
    };
    let mut site = Site {
        state_dir: settings.state_dir.clone(),
        tracker: tracker.clone(),
        stop: stop.clone(),
        places: Places::deal(&shares(&settings)),
        addresses: BTreeMap::new(),
    };
    site.serve(&settings, agents, operators).await?;
    site.serve_metrics(settings.metrics.as_ref(), handle.clone(), metrics).await?;
    tracker.spawn(views.run(handle.clone(), stop.clone()));
    let driver = tracker.spawn(driver.run());
    Ok(Running { handle, stop, tracker, driver, addresses: site.addresses })
}

/// Where services are put.
struct Site {
    state_dir: PathBuf,
    tracker: TaskTracker,
    stop: CancellationToken,
    places: Places,
    addresses: BTreeMap<&'static str, Vec<Address>>,
}

impl Site {
    async fn serve<J: Journal>(
        &mut self,
        settings: &Settings,
        agents: Agents<J>,
        operators: Operators<J>,
    ) -> Result<(), ServeError> {
        let agents = AgentServiceServer::new(agents)
            .max_decoding_message_size(limits::BULK_BYTES_MAX)
            .max_encoding_message_size(limits::SESSION_BYTES_MAX);
        let operators = OperatorServiceServer::new(operators)
            .max_decoding_message_size(limits::OPERATOR_REQUEST_BYTES_MAX)
            .max_encoding_message_size(limits::OPERATOR_RESPONSE_BYTES_MAX);
        let all: BTreeSet<&Address> = settings.agents.union(&settings.operators).collect();
        for address in all {
            // Of its own, so that each address says what it serves: clients ask whom they have met.
            let (health, health_service) = tonic_health::server::health_reporter();
            let health_service = health_service
                .max_decoding_message_size(limits::HEALTH_BYTES_MAX)
                .max_encoding_message_size(limits::HEALTH_BYTES_MAX);
            let mut routes = Routes::new(health_service).add_service(reflection());
            let (to_agents, to_operators) =
                (settings.agents.contains(address), settings.operators.contains(address));
            if to_agents {
                health.set_serving::<AgentServiceServer<Agents<J>>>().await;
                routes = routes.add_service(agents.clone());
            }
            if to_operators {
                health.set_serving::<OperatorServiceServer<Operators<J>>>().await;
                routes = routes.add_service(operators.clone());
            }
            let listener = self.bind(address, share_of(&settings.agents, address)).await?;
            for (whom, served) in [("agents", to_agents), ("operators", to_operators)] {
                if served {
                    self.note(whom, listener.address());
                }
            }
            self.serve_routes(listener, routes);
        }
        Ok(())
    }

    fn serve_routes(&self, listener: Listener, routes: Routes) {
        let stop = self.stop.clone();
        let connections = listener.connections(&self.tracker, stop.clone());
        let server = Server::builder()
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(CALLS_PER_CONNECTION_MAX)
            .http2_max_header_list_size(HEADERS_BYTES_MAX)
            .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
            .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER))
            .add_routes(routes);
        self.tracker.spawn(async move {
            let served = server.serve_with_incoming_shutdown(connections, stop.cancelled_owned()).await;
            if let Err(error) = served {
                tracing::error!(%error, "a listener ended");
            }
        });
    }

    async fn serve_metrics(
        &mut self,
        address: Option<&Address>,
        handle: Handle,
        metrics: Metrics,
    ) -> Result<(), ServeError> {
        let Some(address) = address else { return Ok(()) };
        let listener = self.bind(address, Share::Metrics).await?;
        self.note("metrics", listener.address());
        let router = Router::new().route("/metrics", get(scrape)).with_state((handle, metrics));
        let stop = self.stop.clone();
        let server = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
        self.tracker.spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "the metrics listener ended");
            }
        });
        Ok(())
    }

    async fn bind(&self, address: &Address, share: Share) -> Result<Listener, ServeError> {
        let is_own = matches!(address, Address::Unix(path) if path.parent() == Some(&self.state_dir));
        let socket_mode = if is_own { OWN_SOCKET_MODE } else { SOCKET_MODE };
        let bound = Listener::bind(address, self.places.for_one(share), socket_mode).await;
        bound.map_err(|source| {
            let obstacle = address.obstacle();
            let address = address.clone();
            match (source.kind(), obstacle) {
                (ErrorKind::AddrInUse, Some(what)) => ServeError::Obstructed { address, what },
                (ErrorKind::AddrInUse, None) => ServeError::Taken { address },
                _ => ServeError::Listen { address, source },
            }
        })
    }

    fn note(&mut self, whom: &'static str, address: &Address) {
        tracing::info!(%address, whom, "listening");
        self.addresses.entry(whom).or_default().push(address.clone());
    }
}

/// The shares of all listeners.
fn shares(settings: &Settings) -> Vec<Share> {
    let served = settings.agents.union(&settings.operators);
    let shares = served.map(|address| share_of(&settings.agents, address));
    shares.chain(settings.metrics.as_ref().map(|_| Share::Metrics)).collect()
}

/// A Unix socket where no agent connects is kept for the people of this host.
fn share_of(agents: &BTreeSet<Address>, address: &Address) -> Share {
    match address {
        Address::Unix(_) if !agents.contains(address) => Share::Local,
        Address::Unix(_) | Address::Loopback(_) => Share::Equal,
    }
}

fn reflection()
-> tonic_reflection::server::v1::ServerReflectionServer<impl tonic_reflection::server::v1::ServerReflection> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(rientro_wire::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptors were made together with the services")
        .max_decoding_message_size(limits::REFLECTION_REQUEST_BYTES_MAX)
        .max_encoding_message_size(limits::REFLECTION_RESPONSE_BYTES_MAX)
}

/// The text that Prometheus reads; without the cell's state when the driver does not answer.
async fn scrape(State((handle, metrics)): State<(Handle, Metrics)>) -> String {
    let asked = tokio::time::timeout(METRICS_TIME, handle.ask(Measured::of)).await;
    if let Ok(Ok(Some(measured))) = asked {
        metrics.measure(&measured, handle.depth());
    }
    metrics.text()
}

impl Running {
    /// Reaches the driver.
    #[must_use]
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Where it listens for `agents`, `operators` or `metrics`; ports are the ones that were given.
    #[must_use]
    pub fn addresses(&self, whom: &str) -> &[Address] {
        self.addresses.get(whom).map_or(&[], Vec::as_slice)
    }

    /// Begins to stop.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until the cell leads.
    ///
    /// # Errors
    /// The status it has instead, when it never will.
    pub async fn leads(&self) -> Result<(), Status> {
        let mut changes = self.handle.status_changes();
        let found = changes.wait_for(|s| matches!(s, Status::Leading { .. } | Status::Stopped)).await;
        match found.map(|status| status.clone()) {
            Ok(Status::Leading { .. }) => Ok(()),
            Ok(other) => Err(other),
            Err(_) => Err(Status::Stopped),
        }
    }

    /// Waits until the driver has ended by itself or was stopped, then for everything else, with a deadline. Once it is to stop the
    /// driver has one too; connections have had their time when it is over.
    ///
    /// # Errors
    /// [`ServeError`] when the driver failed.
    ///
    /// # Cancel safety
    /// Safe: nothing is stopped by dropping it.
    pub async fn ended(&mut self) -> Result<(), ServeError> {
        let overdue = async {
            self.stop.cancelled().await;
            tokio::time::sleep(DRIVER_STOP_TIME).await;
        };
        // Cancel-safe: the driver goes on by itself, and its time is counted from when it is asked to stop.
        let driver = tokio::select! {
            driver = &mut self.driver => driver,
            () = overdue => return Err(ServeError::Unfinished),
        };
        self.stop.cancel();
        self.tracker.close();
        if tokio::time::timeout(STOP_TIME, self.tracker.wait()).await.is_err() {
            tracing::warn!("some connections did not end in time and are cut");
        }
        match driver {
            Ok(ended) => Ok(ended?),
            Err(error) => Err(ServeError::Abnormal(error.to_string())),
        }
    }

    /// Unix sockets among the addresses.
    #[must_use]
    pub fn sockets(&self) -> Vec<PathBuf> {
        let all = self.addresses.values().flatten();
        all.filter_map(|address| match address {
            Address::Unix(path) => Some(path.clone()),
            Address::Loopback(_) => None,
        })
        .collect()
    }
}
