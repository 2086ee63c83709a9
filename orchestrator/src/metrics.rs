//! What is measured, in the text form of Prometheus. Counts and durations only: never an address, a path or a subject.
//!
//! What the driver does is counted as it happens; the state of the cell is asked for when somebody looks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use rientro_engine::{Engine, Ignored};
use rientro_types::{CampaignState, Entry, ShardState, StateCounts, WaveState};

use crate::clock;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// The state of a cell, as far as it is measured.
#[derive(Debug)]
pub(crate) struct Measured {
    counts: StateCounts,
    nodes: u64,
    connected: u64,
    silent: u64,
    twinned: u64,
    campaigns: Vec<CampaignState>,
    waves: Vec<WaveState>,
    ignored: Ignored,
    broken: u64,
}

impl Measured {
    /// Looks at an engine; nothing before the cell is founded.
    pub(crate) fn of(engine: &Engine) -> Option<Self> {
        let cell = engine.cell_view()?;
        Some(Self {
            counts: cell.counts,
            nodes: cell.nodes,
            connected: cell.nodes_connected,
            silent: cell.nodes_silent,
            twinned: cell.nodes_twinned,
            campaigns: engine.campaign_states().map(|(_, state)| state).collect(),
            waves: engine.live_waves().collect(),
            ignored: engine.ignored(),
            broken: engine.broken().len() as u64,
        })
    }
}

/// All metrics; clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    shards: Family<State, Gauge>,
    mailboxes: Family<State, Gauge>,
    campaigns: Family<State, Gauge>,
    waves: Family<State, Gauge>,
    nodes: Gauge,
    nodes_connected: Gauge,
    nodes_silent: Gauge,
    nodes_twinned: Gauge,
    /// Nodes that obeyed what the journal does not hold.
    pub(crate) nodes_ahead: Gauge,
    /// Seconds that the host's clock is ahead of the cell's time.
    pub(crate) clock_apart: Gauge,
    ignored: Family<Reason, Counter>,
    broken: Counter,
    records: Counter,
    appends: Histogram,
    decisions: Histogram,
    inbox: Gauge,
    /// Entries that watchers were too slow for.
    pub(crate) watchers_lagged: Counter,
    /// Times the engine was rebuilt because an append was lost.
    pub(crate) rebuilds: Counter,
    /// Snapshots taken.
    pub(crate) snapshots: Counter,
    /// Whether the cell decides nothing at present.
    pub(crate) stalled: Gauge,
}

/// From a tenth of a millisecond, below which no disk answers, doubling to some seconds.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 2.0, 16))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Arc::default(),
            shards: Family::default(),
            mailboxes: Family::default(),
            campaigns: Family::default(),
            waves: Family::default(),
            nodes: Gauge::default(),
            nodes_connected: Gauge::default(),
            nodes_silent: Gauge::default(),
            nodes_twinned: Gauge::default(),
            nodes_ahead: Gauge::default(),
            clock_apart: Gauge::default(),
            ignored: Family::default(),
            broken: Counter::default(),
            records: Counter::default(),
            appends: durations(),
            decisions: durations(),
            inbox: Gauge::default(),
            watchers_lagged: Counter::default(),
            rebuilds: Counter::default(),
            snapshots: Counter::default(),
            stalled: Gauge::default(),
        };
        metrics.registry = Arc::new(metrics.registered());
        metrics
    }
}

impl Metrics {
    fn registered(&self) -> Registry {
        let mut r = Registry::with_prefix("rientro");
        r.register("shards", "Shards by state", self.shards.clone());
        r.register("mailboxes", "Mailboxes by the state of their shard", self.mailboxes.clone());
        r.register("campaigns", "Campaigns by state", self.campaigns.clone());
        r.register("waves", "Waves of live campaigns by state", self.waves.clone());
        r.register("nodes", "Nodes known", self.nodes.clone());
        r.register(
            "nodes_connected",
            "Nodes with a session that are heard, silent ones left out",
            self.nodes_connected.clone(),
        );
        r.register("nodes_silent", "Nodes not heard for the silence limit", self.nodes_silent.clone());
        r.register(
            "nodes_twinned",
            "Nodes whose identity two running agents use; anything above zero means that a state directory was copied",
            self.nodes_twinned.clone(),
        );
        r.register(
            "nodes_ahead",
            "Nodes turned away as they obeyed what the journal does not hold; anything above zero means that it was rolled back",
            self.nodes_ahead.clone(),
        );
        r.register(
            "clock_apart_seconds",
            "How far the host's clock is ahead of the cell's time, behind below zero; zero while they agree within five minutes",
            self.clock_apart.clone(),
        );
        r.register("events_ignored", "Events that changed nothing, by reason", self.ignored.clone());
        r.register(
            "invariants_broken",
            "Rules found broken; anything above zero is a bug",
            self.broken.clone(),
        );
        r.register("records", "Records made durable", self.records.clone());
        r.register("append_seconds", "Time of one durable append", self.appends.clone());
        r.register(
            "decision_seconds",
            "Time from an event's arrival until its outcome is durable",
            self.decisions.clone(),
        );
        r.register("inbox_depth", "Inputs that wait for the driver", self.inbox.clone());
        r.register(
            "watchers_lagged_entries",
            "Entries that watchers were too slow for",
            self.watchers_lagged.clone(),
        );
        r.register(
            "rebuilds",
            "Times the engine was rebuilt because an append was lost",
            self.rebuilds.clone(),
        );
        r.register("snapshots", "Snapshots taken", self.snapshots.clone());
        r.register("stalled", "Whether the cell decides nothing at present", self.stalled.clone());
        r
    }

    /// An entry became durable.
    pub(crate) fn appended(&self, entry: &Entry, took: Duration) {
        self.records.inc_by(entry.decisions.len() as u64);
        self.appends.observe(took.as_secs_f64());
    }

    /// The outcome of inputs that came at these moments is durable and carried out.
    pub(crate) fn decided(&self, came: &[Instant]) {
        let now = clock::mark();
        for came in came {
            self.decisions.observe(now.saturating_duration_since(*came).as_secs_f64());
        }
    }

    /// Takes over the state of the cell.
    pub(crate) fn measure(&self, measured: &Measured, inbox: usize) {
        for state in ShardState::ALL {
            let label = State { state: state.name() };
            set(&self.shards.get_or_create(&label), measured.counts.shards_in(state));
            set(&self.mailboxes.get_or_create(&label), measured.counts.mailboxes_in(state));
        }
        set(&self.nodes, measured.nodes);
        set(&self.nodes_connected, measured.connected);
        set(&self.nodes_silent, measured.silent);
        set(&self.nodes_twinned, measured.twinned);
        tally(
            &self.campaigns,
            &["forming", "running", "paused", "ended", "aborted"],
            measured.campaigns.iter().map(CampaignState::name),
        );
        tally(
            &self.waves,
            &["waiting", "opening", "baking", "passed"],
            measured.waves.iter().map(|wave| wave.name()),
        );
        let Ignored { foreign, late, duplicate, not_leading } = measured.ignored;
        let reasons =
            [("foreign", foreign), ("late", late), ("duplicate", duplicate), ("not_leading", not_leading)];
        for (reason, count) in reasons {
            store(&self.ignored.get_or_create(&Reason { reason }), count);
        }
        store(&self.broken, measured.broken);
        self.inbox.set(i64::try_from(inbox).unwrap_or(i64::MAX));
    }

    /// Everything, as Prometheus reads it.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _written = text::encode(&mut out, &self.registry);
        out
    }
}

fn set(gauge: &Gauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

/// Counters that the engine keeps itself; they begin again with it, as Prometheus expects of a restart.
fn store(counter: &Counter<u64, AtomicU64>, value: u64) {
    counter.inner().store(value, Ordering::Relaxed);
}

fn tally<'n>(family: &Family<State, Gauge>, all: &[&'static str], found: impl Iterator<Item = &'n str>) {
    let found: Vec<&str> = found.collect();
    for state in all {
        let count = found.iter().filter(|name| *name == state).count();
        set(&family.get_or_create(&State { state }), count as u64);
    }
}
