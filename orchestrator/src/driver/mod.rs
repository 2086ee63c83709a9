//! The one task that owns the engine and the journal.
//!
//! It takes what waits in the inbox, steps the engine with all of it, makes what the engine decided durable in one write,
//! and only then carries out commands, answers operators, shows anything to anyone (R4). All steps of a batch happen at one
//! moment, the one the journal keeps, so that a replay gives the same state.
//!
//! It never waits for anyone but the journal: sessions and watchers that cannot keep up are let go. When an append did not
//! become durable, or nobody can say whether it did, the engine and every journal handle are dropped and rebuilt by replay
//! under a higher epoch; sessions are ended, so that agents reconcile in full and send again what was lost.

mod batch;
mod behind;
mod inbox;
mod keeper;
mod lead;
mod sessions;
mod shelf;
mod takeover;
mod turn;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use rientro_engine::{Command, Engine, Event, RequestNo};
use rientro_types::{Advice, CellId, CellTime, Decision, Digest, Seq};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{self, Apart, CellClock, Clock};
use crate::journal::{Append, Journal, Settled};
use crate::metrics::Metrics;
use crate::watch::Published;

use batch::{Ready, Tip};
use inbox::Inbox;
use keeper::Keeper;
use sessions::Sessions;
use turn::{Outcome, Taken, Waiting, step_act, take_input};

pub(crate) use behind::Told;
pub use behind::{Ahead, Behind};
pub use inbox::{ACTS_MAX, Answer, Handle, INBOX_MAX, Status};
pub(crate) use inbox::{Input, inbox};
pub use lead::{LeadError, Source};
pub(crate) use shelf::{NotLent, Shelf};

/// Most inputs stepped before their decisions are made durable. One durable write then carries some thousand decisions, and
/// a batch stays within a few tens of milliseconds.
pub const BATCH_INPUTS_MAX: usize = 4_096;
/// Longest sleep without a look at the clock; the engine asks for one each second anyway.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The journal is being read.
    Starting,
    /// The cell decides nothing at present; why, and what to do.
    Stalled(Advice),
    /// The orchestrator stops.
    Stopped,
    /// The engine was rebuilt, or the session replaced, before this was handled. Nothing was decided.
    Interrupted,
    /// The decision was made and its durability is not known.
    InDoubt(String),
}

impl Unavailable {
    /// What happened, and what to do about it.
    #[must_use]
    pub fn advice(&self) -> Advice {
        match self {
            Self::Starting => {
                Advice::new("the cell is starting and reads its journal", "try again in a moment")
            }
            Self::Stalled(Advice { what, next }) => {
                Advice { what: format!("the cell decides nothing at present: {what}"), next: next.clone() }
            }
            Self::Stopped => Advice::new("the orchestrator is stopping", "try again once it is back"),
            Self::Interrupted => Advice::new("it was interrupted before anything was decided", "try again"),
            Self::InDoubt(why) => Advice::new(
                format!("whether this was decided is not known ({why})"),
                "look at the campaign or the journal before asking again",
            ),
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.advice().fmt(f)
    }
}

/// Settings of a driver.
#[derive(Clone, Debug)]
pub struct DriverSettings {
    /// The cell's name; a journal of another cell is refused.
    pub cell: CellId,
    /// Key of the cell's mailbox ids; a journal that was founded with another one is refused.
    pub mailbox_key: [u8; 32],
    /// The file of the key, for people.
    pub mailbox_key_path: PathBuf,
    /// Records between two snapshots.
    pub snapshot_every_records: u64,
}

/// What a driver shares with the rest of the process.
pub(crate) struct Surroundings<J> {
    pub(crate) published: Published,
    pub(crate) shelf: Shelf<J>,
    pub(crate) metrics: Metrics,
    pub(crate) tracker: TaskTracker,
}

/// The driver; see the module's documentation.
pub(crate) struct Driver<S: Source, C> {
    source: S,
    clock: CellClock<C>,
    /// Shown last.
    apart: Option<Apart>,
    settings: DriverSettings,
    inbox: Inbox,
    around: Surroundings<S::Journal>,
    stop: CancellationToken,
    /// The last request given a number.
    requests: u64,
    /// Whether this process had the journal open before.
    reopens: bool,
}

/// A leader's state.
struct Term<J> {
    engine: Engine,
    journal: J,
    tip: Tip,
    sessions: Sessions,
    keeper: Keeper<J>,
    /// Nodes that obeyed what the journal does not hold.
    ahead: Ahead,
    /// Where the present batch's entries end, and their digests, after the one before them.
    entries: Vec<(Seq, Digest)>,
    /// Rules found broken that were told of.
    broken_told: usize,
    /// Ends with the term: readers of the journal let go of it.
    over: CancellationToken,
}

/// How a term ended.
enum End {
    /// The orchestrator is asked to stop.
    Stopped,
    /// An append did not become durable, or may not have.
    Lost(Unavailable),
}

/// A driver and the handle to it.
pub(crate) fn driver<S: Source, C: Clock>(
    source: S,
    clock: C,
    settings: DriverSettings,
    around: Surroundings<S::Journal>,
    stop: CancellationToken,
) -> (Driver<S, C>, Handle) {
    let (handle, inbox) = inbox();
    let clock = CellClock::new(clock);
    (
        Driver { source, clock, apart: None, settings, inbox, around, stop, requests: 0, reopens: false },
        handle,
    )
}

impl<S: Source, C: Clock> Driver<S, C> {
    /// Leads until it is stopped.
    ///
    /// # Errors
    /// [`LeadError`] when the journal cannot be led from and no waiting would help.
    pub(crate) async fn run(mut self) -> Result<(), LeadError> {
        let ended = self.lead_on().await;
        self.inbox.status.send_replace(Status::Stopped);
        ended
    }

    async fn lead_on(&mut self) -> Result<(), LeadError> {
        loop {
            let term = match self.take_over().await? {
                Some(term) => term,
                None => return Ok(()),
            };
            match self.lead(term).await {
                End::Stopped => return Ok(()),
                End::Lost(why) => {
                    tracing::warn!(%why, "an append was lost; rebuilding from the journal");
                    self.inbox.status.send_replace(Status::Starting);
                    self.around.metrics.rebuilds.inc();
                }
            }
        }
    }

    /// Leads until an append is lost or the orchestrator stops.
    async fn lead(&mut self, mut term: Term<S::Journal>) -> End {
        let mut taken = Taken::default();
        let mut wake_at = None;
        let end = loop {
            let woken = match self.next(&mut taken, wake_at).await {
                Some(woken) => woken,
                None => break End::Stopped,
            };
            match self.batch(&mut term, &mut taken, woken).await {
                Ok(at) => wake_at = at,
                Err(why) => break End::Lost(why),
            }
        };
        term.over.cancel();
        self.around.shelf.clear();
        term.sessions.end_all();
        end
    }

    /// Waits for something to do. True when it is time to wake the engine; nothing when asked to stop.
    async fn next(&mut self, taken: &mut Taken, wake_at: Option<CellTime>) -> Option<bool> {
        let wait = wake_at.map_or(IDLE_MAX, |at| at.since(self.clock.now()).into()).min(IDLE_MAX);
        let Inbox { inputs, acts, .. } = &mut self.inbox;
        let mut woken = false;
        // Cancel-safe: `recv_many` takes nothing unless it wins; the sleep is begun anew from the same deadline.
        tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            _ = acts.recv_many(&mut taken.acts, ACTS_MAX) => {}
            _ = inputs.recv_many(&mut taken.inputs, BATCH_INPUTS_MAX) => {}
            () = tokio::time::sleep(wait) => woken = true,
        }
        top_up(acts, &mut taken.acts, ACTS_MAX);
        top_up(inputs, &mut taken.inputs, BATCH_INPUTS_MAX);
        Some(woken)
    }

    /// Steps everything taken, makes it durable and carries it out; says when to wake.
    async fn batch(
        &mut self,
        term: &mut Term<S::Journal>,
        taken: &mut Taken,
        woken: bool,
    ) -> Result<Option<CellTime>, Unavailable> {
        let now = self.clock.now();
        let mut waiting = Waiting::default();
        let mut outcome = Outcome::default();
        for act in taken.acts.drain(..) {
            waiting.came.push(act.came);
            self.requests += 1;
            outcome.add(step_act(&mut term.engine, now, RequestNo(self.requests), act.what, &mut waiting));
        }
        for input in taken.inputs.drain(..) {
            waiting.came.push(input.came);
            take_input(term, now, input.what, &mut waiting, &mut outcome);
        }
        if woken || outcome.wake_at.is_none() {
            outcome.add(term.engine.step(now, Event::Wake));
        }
        let Outcome { decisions, commands, wake_at, ahead_changed } = outcome;
        if ahead_changed {
            self.show_ahead(&term.ahead);
        }
        self.show_apart();
        if let Err(lost) = self.make_durable(term, decisions).await {
            for reply in waiting.replies.into_values() {
                // Whoever asked may have left.
                let _gone = reply.send(Err(lost.clone()));
            }
            return Err(lost);
        }
        self.carry_out(term, commands, waiting);
        Ok(wake_at)
    }

    /// Shows which nodes say that the journal was rolled back.
    fn show_ahead(&mut self, found: &Ahead) {
        self.around.metrics.nodes_ahead.set(i64::try_from(found.nodes().len()).unwrap_or(i64::MAX));
        self.inbox.status.send_if_modified(|status| match status {
            Status::Leading { ahead, .. } => {
                *ahead = found.clone();
                true
            }
            Status::Starting | Status::Stalled(_) | Status::Stopped => false,
        });
    }

    /// Shows that somebody has set the host's clock.
    fn show_apart(&mut self) {
        let found = self.clock.apart();
        if found == self.apart {
            return;
        }
        match found {
            Some(apart) => {
                tracing::error!(why = %apart.advice(), "the host's clock and the cell's time are apart");
            }
            None => tracing::info!("the host's clock and the cell's time agree again"),
        }
        self.apart = found;
        self.around.metrics.clock_apart.set(found.map_or(0, |apart| apart.seconds()));
        self.inbox.status.send_if_modified(|status| match status {
            Status::Leading { apart, .. } => {
                *apart = found;
                true
            }
            Status::Starting | Status::Stalled(_) | Status::Stopped => false,
        });
    }

    /// R4: nothing goes on before this has returned.
    async fn make_durable(
        &mut self,
        term: &mut Term<S::Journal>,
        decisions: Vec<Decision>,
    ) -> Result<(), Unavailable> {
        let (records, durable) = (decisions.len() as u64, term.tip.seq);
        term.entries.clear();
        term.entries.push((term.tip.seq, term.tip.chain));
        let doubt = |why: String| Err(Unavailable::InDoubt(why));
        for Ready { entry, sealed } in batch::seal(&mut term.tip, term.engine.now(), decisions) {
            let started = clock::mark();
            let settle = sealed.clone();
            match term.journal.append(sealed).await {
                Append::Durable => {}
                // Of the first entry and so of the whole batch: what a disk that fills up meanwhile took of it may be found later.
                Append::Failed(error) if error.wrote_nothing() && settle.seq() == durable => {
                    return Err(Unavailable::Stalled(error.advice()));
                }
                Append::Failed(error) => return doubt(error.to_string()),
                Append::Fenced { by } => return doubt(format!("epoch {by} writes the journal")),
                Append::Unknown(why) => match term.journal.head().await.map(|head| head.settle(&settle)) {
                    Ok(Settled::Stored) => {
                        tracing::info!(why, "an append's answer was lost; the entry is stored");
                    }
                    Ok(Settled::NotStored | Settled::Superseded) => return doubt(why),
                    Err(error) => return doubt(format!("{why}; {error}")),
                },
            }
            term.entries.push((settle.seq_next(), settle.digest()));
            self.around.metrics.appended(&entry, started.elapsed());
            self.around.published.decided(entry);
        }
        term.keeper.count(records, &term.journal, &self.around.tracker, &term.over);
        Ok(())
    }

    fn carry_out(&mut self, term: &mut Term<S::Journal>, commands: Vec<Command>, mut waiting: Waiting) {
        for command in commands {
            match command {
                Command::Reply { request, answer } => {
                    if let Some(reply) = waiting.replies.remove(&request) {
                        // Whoever asked may have left; the decision stands.
                        let _gone = reply.send(Ok(answer));
                    }
                }
                Command::Welcome { session, node } => {
                    term.sessions.welcome(session, node, &term.engine, &self.settings);
                }
                Command::Refuse { session, turnaway } => term.sessions.refuse(session, turnaway),
                Command::Send { node, order, order_kind } => {
                    let entry = term.entry_of(order.seq);
                    term.sessions.order(node, order, entry, order_kind);
                }
                Command::Acknowledge { node, shard, attempt } => {
                    term.sessions.acknowledge(node, shard, attempt);
                }
            }
        }
        waiting.finish(&term.engine, &mut term.sessions);
        self.around.metrics.decided(&waiting.came);
        term.report_broken();
    }
}

impl<J> Term<J> {
    /// The digest of the entry that holds a record of this batch, or the last one before it.
    fn entry_of(&self, seq: Seq) -> Option<Digest> {
        let at = self.entries.partition_point(|(seq_next, _)| *seq_next <= seq);
        self.entries.get(at).map(|(_, digest)| *digest)
    }

    fn report_broken(&mut self) {
        for violation in &self.engine.broken()[self.broken_told..] {
            tracing::error!(
                rule = violation.rule,
                found = violation.found,
                "an invariant is broken; this is a bug"
            );
        }
        self.broken_told = self.engine.broken().len();
    }
}

fn top_up<T>(queue: &mut mpsc::Receiver<T>, taken: &mut Vec<T>, max: usize) {
    while taken.len() < max
        && let Ok(more) = queue.try_recv()
    {
        taken.push(more);
    }
}
