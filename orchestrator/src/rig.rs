//! The driver without sockets: agents in this process, for benchmarks.

use std::future::poll_fn;
use std::pin::Pin;

use futures_core::Stream;
use rientro_engine::{Event, Hello, SessionNo};
use rientro_types::NodeId;
use rientro_wire::session::OrchestratorMessage;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, SystemClock};
use crate::driver::{DriverSettings, Handle, Input, LeadError, Shelf, Source, Status, Surroundings, driver};
use crate::metrics::Metrics;
use crate::session::{Link, LinkStream};
use crate::watch::Published;

/// A driver that runs.
pub struct Rig {
    /// Reaches it.
    pub handle: Handle,
    stop: CancellationToken,
    driver: JoinHandle<Result<(), LeadError>>,
    metrics: Metrics,
}

impl Rig {
    /// Starts a driver and waits until it leads.
    ///
    /// # Panics
    /// When it does not lead.
    pub async fn start<S: Source>(source: S, settings: DriverSettings) -> Self {
        let (stop, metrics, tracker) = (CancellationToken::new(), Metrics::default(), TaskTracker::new());
        let around = Surroundings {
            published: Published::default(),
            shelf: Shelf::default(),
            metrics: metrics.clone(),
            tracker: tracker.clone(),
        };
        let (driver, handle) = driver(source, SystemClock, settings, around, stop.clone());
        let driver = tracker.spawn(driver.run());
        let mut changes = handle.status_changes();
        let leads = changes.wait_for(|status| matches!(status, Status::Leading { .. })).await;
        leads.expect("the driver leads");
        Self { handle, stop, driver, metrics }
    }

    /// What was measured, as Prometheus reads it.
    #[must_use]
    pub fn measured(&self) -> String {
        self.metrics.text()
    }

    /// Stops the driver.
    ///
    /// # Panics
    /// When it did not end well.
    pub async fn stop(self) {
        self.stop.cancel();
        self.driver.await.expect("the driver does not panic").expect("the driver ends well");
    }

    /// The host's time.
    #[must_use]
    pub fn now(&self) -> rientro_types::CellTime {
        SystemClock.time_of_day()
    }
}

/// An agent in this process.
pub struct LocalAgent {
    node: NodeId,
    session: SessionNo,
    handle: Handle,
    link: Link,
    stream: LinkStream,
}

impl LocalAgent {
    /// Greets; the welcome is the first message.
    ///
    /// # Panics
    /// When the driver is gone.
    pub async fn greet(handle: &Handle, hello: impl FnOnce(SessionNo) -> Hello) -> Self {
        let (session, link) = (handle.next_session(), Link::default());
        let (stream, hello) = (link.stream(), hello(session));
        let node = hello.node;
        let put = handle
            .put(Input::Hello { hello, told: crate::driver::Told::default(), link: link.clone() })
            .await;
        put.expect("the driver runs");
        Self { node, session, handle: handle.clone(), link, stream }
    }

    /// The next message; nothing when the session is over.
    pub async fn next(&mut self) -> Option<OrchestratorMessage> {
        let message = poll_fn(|context| Pin::new(&mut self.stream).poll_next(context)).await?.ok()?;
        OrchestratorMessage::try_from(message).ok()
    }

    /// Says something, and waits while the driver's queue is full.
    ///
    /// # Panics
    /// When the driver is gone.
    pub async fn say(&self, event: Event) {
        let (node, session) = (self.node, self.session);
        let put = self.handle.put(Input::Agent { node, session, event, done: None }).await;
        put.expect("the driver runs");
    }

    /// Ends the session.
    pub fn leave(self) {
        self.link.close("the agent leaves");
    }
}
