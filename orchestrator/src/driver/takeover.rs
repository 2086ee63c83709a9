//! How a driver comes to lead: opening, replay, becoming the writer, and waiting where waiting helps.

use std::time::Duration;

use rientro_engine::{Engine, Event, Origin};
use rientro_types::{Advice, Epoch, says_the_same};
use rientro_wire::session::RefuseReason;
use tokio_util::sync::CancellationToken;

use super::batch::{self, Tip};
use super::behind::Ahead;
use super::inbox::{Act, Input, Status};
use super::keeper::Keeper;
use super::sessions::Sessions;
use super::{Driver, LeadError, Source, Term, Unavailable, lead};
use crate::clock::Clock;
use crate::journal::{Append, Journal, JournalError, Recourse};

/// Wait before a journal is opened again that readers of this process are about to let go of.
const LOCK_RETRY: Duration = Duration::from_millis(20);
/// Wait before a cell that could not lead tries again; long enough not to load a full disk, short enough that nobody waits.
const STALL_RETRY: Duration = Duration::from_secs(1);

impl<S: Source, C: Clock> Driver<S, C> {
    /// Opens the journal, replays it and begins a term; waits while it is full. Nothing when asked to stop meanwhile.
    pub(super) async fn take_over(&mut self) -> Result<Option<Term<S::Journal>>, LeadError> {
        loop {
            let stop = self.stop.clone();
            // Cancel-safe: a journal half opened is dropped, and nothing was decided yet.
            let opened = tokio::select! {
                () = stop.cancelled() => return Ok(None),
                opened = lead::open(&self.source) => opened,
            };
            let trouble = match opened {
                Err(LeadError::Journal(JournalError::Locked { .. })) if self.reopens => {
                    tokio::time::sleep(LOCK_RETRY).await;
                    continue;
                }
                Ok(loaded) => match self.begin(loaded).await {
                    Ok(term) => return Ok(term),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            if !self.may_wait(&trouble) {
                return Err(trouble);
            }
            tracing::warn!(error = %trouble, "cannot lead; trying again");
            if !self.stall(trouble.advice(), None).await {
                return Ok(None);
            }
        }
    }

    /// Whether trying again can help, with nobody doing anything but making room.
    fn may_wait(&self, error: &LeadError) -> bool {
        match error.recourse() {
            Recourse::WaitForRoom => true,
            Recourse::Reopen => self.reopens,
            Recourse::StepDown | Recourse::AskOperator | Recourse::FixRequest => false,
        }
    }

    /// Becomes writer, waiting for room with the engine at hand, and makes the first decisions of the term durable. Meanwhile the
    /// journal can be read: a copy of it may be what makes room.
    async fn begin(
        &mut self,
        loaded: lead::Loaded<S::Journal>,
    ) -> Result<Option<Term<S::Journal>>, LeadError> {
        self.reopens = true;
        let origin = lead::origin(&loaded, &self.source, &self.settings)?;
        let over = self.stop.child_token();
        self.around.shelf.put(loaded.journal.handle(), over.clone());
        let begun = self.become_leader(loaded, origin, over.clone()).await;
        if !matches!(begun, Ok(Some(_))) {
            over.cancel();
            self.around.shelf.clear();
        }
        begun
    }

    async fn become_leader(
        &mut self,
        mut loaded: lead::Loaded<S::Journal>,
        origin: Origin,
        over: CancellationToken,
    ) -> Result<Option<Term<S::Journal>>, LeadError> {
        let epoch = loop {
            let epoch = loaded.head.fence.next();
            match loaded.journal.become_writer(epoch).await {
                Ok(head) => {
                    loaded.head = head;
                    break epoch;
                }
                Err(error) if error.recourse() == Recourse::WaitForRoom => {
                    if !self.stall(error.advice(), Some(&loaded.engine)).await {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        };
        self.found(loaded, epoch, origin, over).await.map(Some)
    }

    async fn found(
        &mut self,
        loaded: lead::Loaded<S::Journal>,
        epoch: Epoch,
        origin: Origin,
        over: CancellationToken,
    ) -> Result<Term<S::Journal>, LeadError> {
        let lead::Loaded { mut engine, mut journal, chain, replayed, .. } = loaded;
        let mut tip = Tip { seq: engine.seq_next(), epoch, chain };
        self.clock.begin(engine.now());
        let step = engine.step(self.clock.now(), Event::Lead { epoch, origin });
        for ready in batch::seal(&mut tip, engine.now(), step.decisions) {
            match journal.append(ready.sealed).await {
                Append::Durable => {}
                Append::Failed(error) => return Err(error.into()),
                Append::Fenced { by } => return Err(JournalError::Fenced { asked: epoch, by }.into()),
                Append::Unknown(why) => return Err(LeadError::InDoubt(why)),
            }
        }
        self.source.led(origin)?;
        let keeper = Keeper::new(&self.settings, replayed, self.around.metrics.clone());
        self.announce(&engine, epoch);
        Ok(Term {
            engine,
            journal,
            tip,
            sessions: Sessions::default(),
            keeper,
            ahead: Ahead::default(),
            entries: Vec::new(),
            broken_told: 0,
            over,
        })
    }

    fn announce(&mut self, engine: &Engine, epoch: Epoch) {
        let Some(view) = engine.cell_view() else { return };
        tracing::info!(cell = %view.cell, incarnation = %view.incarnation, %epoch, seq = %view.seq_next, "leading");
        self.around.metrics.stalled.set(0);
        self.around.metrics.nodes_ahead.set(0);
        self.around.published.durable(view.seq_next);
        let (cell, incarnation) = (view.cell, view.incarnation);
        let (ahead, apart) = (Ahead::default(), self.apart);
        self.inbox.status.send_replace(Status::Leading { cell, incarnation, epoch, ahead, apart });
    }

    /// Answers what can be answered for a while without deciding anything. False when asked to stop.
    async fn stall(&mut self, why: Advice, engine: Option<&Engine>) -> bool {
        self.inbox.status.send_if_modified(|status| {
            // How much room there is changes all the time; it is shown to who asks, and is no news.
            let changed = !matches!(&*status, Status::Stalled(before) if says_the_same(&before.to_string(), &why.to_string()));
            if changed {
                tracing::error!(%why, "the cell decides nothing until this is mended");
            }
            *status = Status::Stalled(why.clone());
            changed
        });
        self.around.metrics.stalled.set(1);
        let retry = tokio::time::sleep(STALL_RETRY);
        tokio::pin!(retry);
        loop {
            // Cancel-safe: both receives take nothing unless they win; the sleep is kept across rounds.
            tokio::select! {
                () = self.stop.cancelled() => return false,
                () = &mut retry => return true,
                Some(act) = self.inbox.acts.recv() => refuse_act(act.what, Unavailable::Stalled(why.clone())),
                Some(input) = self.inbox.inputs.recv() => idle_input(input.what, engine, &why.to_string()),
            }
        }
    }
}

fn refuse_act(act: Act, why: Unavailable) {
    // Whoever asked may have left.
    let _gone = act.reply.send(Err(why));
}

/// While nothing is decided, questions are answered from what was replayed and agents are asked to come back.
fn idle_input(input: Input, engine: Option<&Engine>, why: &str) {
    match (input, engine) {
        (Input::Ask(question), Some(engine)) => question(engine, &Sessions::default()),
        (Input::Hello { link, .. }, _) => {
            link.refuse(RefuseReason::NotLeader, why.to_owned());
        }
        (
            Input::Ask(_)
            | Input::Agent { .. }
            | Input::Seen { .. }
            | Input::Lost { .. }
            | Input::Tell { .. },
            _,
        ) => {}
    }
}
