//! What waits to be sent to one agent: bounded, ordered by urgency, and never a reason to wait.
//!
//! Orders that stop, hold or close go ahead of orders that begin. That is safe because every order carries its place among
//! all: an agent that has seen the newer one refuses the older. Two cases need care, so that nothing wanted is refused: an
//! order about services goes behind a beginning of the same shard, and a cancelled beginning that was not yet sent is not sent.
//!
//! An agent that does not take what is sent is let go: it connects again and both sides reconcile.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use rientro_types::{AttemptNo, EXPLANATION_BYTES_MAX, ShardId};
use rientro_wire::session::{OrchestratorMessage, RefuseReason};
use rientro_wire::v1;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Most messages that wait for one agent. A node holds some ten thousand shards; closing all of them at once is one message
/// each, and must fit, or the agent would be let go for what it has to be told. About 80 MiB at worst, for an agent that has
/// stopped reading and has not yet been found silent.
pub const OUTGOING_MAX: usize = 1 << 18;

/// The way to one agent; clones are the same way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Link {
    queue: Arc<Mutex<Queue>>,
    closed: CancellationToken,
}

#[derive(Debug, Default)]
struct Queue {
    /// Stops, holds, closes and greets.
    urgent: VecDeque<OrchestratorMessage>,
    /// Neither urgent nor a beginning.
    calm: VecDeque<OrchestratorMessage>,
    /// Beginnings, by number.
    starts: BTreeMap<u64, OrchestratorMessage>,
    /// The number and try of a shard's beginning: a shard has one try at a time.
    start_of: BTreeMap<ShardId, (u64, AttemptNo)>,
    starts_made: u64,
    /// Nothing but a refusal is sent before the welcome.
    welcomed: bool,
    /// What is queued is still sent, and nothing after it.
    ended: bool,
    /// Why it ended before everything was sent.
    cut: Option<Status>,
    waker: Option<Waker>,
}

/// The agent does not take what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stuck;

impl Link {
    /// Queues a message.
    pub(crate) fn push(&self, message: OrchestratorMessage) -> Result<(), Stuck> {
        let mut queue = self.lock();
        if queue.ended {
            return Ok(());
        }
        if queue.len() >= OUTGOING_MAX {
            return Err(Stuck);
        }
        queue.push(message);
        queue.wake();
        Ok(())
    }

    /// Sends a refusal after what is queued, and ends.
    pub(crate) fn refuse(&self, reason: RefuseReason, mut text: String) {
        while text.len() > EXPLANATION_BYTES_MAX {
            text.pop();
        }
        let mut queue = self.lock();
        if !queue.ended {
            queue.urgent.push_back(OrchestratorMessage::Refused { reason, text });
            queue.ended = true;
            queue.wake();
        }
    }

    /// Ends at once, telling why; what is queued is dropped.
    pub(crate) fn close(&self, why: &str) {
        self.close_with(Status::unavailable(why));
    }

    /// As [`Link::close`], with a status of its own.
    pub(crate) fn close_with(&self, cut: Status) {
        let mut queue = self.lock();
        if !self.closed.is_cancelled() {
            let waker = queue.waker.take();
            *queue = Queue { ended: true, cut: Some(cut), waker, ..Queue::default() };
            queue.wake();
        }
        drop(queue);
        self.closed.cancel();
    }

    /// Cancelled when the session is to end, or the agent no longer reads.
    pub(crate) const fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    /// The agent's end: one stream for each link.
    pub(crate) fn stream(&self) -> LinkStream {
        LinkStream { link: self.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No holder panics between two changes that belong together.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn len(&self) -> usize {
        self.urgent.len() + self.calm.len() + self.starts.len()
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn push(&mut self, message: OrchestratorMessage) {
        match &message {
            OrchestratorMessage::StartTask { task, .. } => {
                self.forget_start(task.shard);
                self.starts_made += 1;
                self.start_of.insert(task.shard, (self.starts_made, task.attempt));
                self.starts.insert(self.starts_made, message);
            }
            OrchestratorMessage::CancelTask { shard, attempt, .. } => {
                if self.start_of.get(shard).is_some_and(|(_, queued)| queued == attempt) {
                    self.forget_start(*shard);
                }
                self.urgent.push_back(message);
            }
            OrchestratorMessage::SetServices { shard, .. } => {
                let start = self.forget_start(*shard);
                self.urgent.extend(start);
                self.urgent.push_back(message);
            }
            OrchestratorMessage::Welcome(_) => {
                self.welcomed = true;
                self.urgent.push_back(message);
            }
            OrchestratorMessage::Heartbeat if !self.welcomed => {}
            OrchestratorMessage::Refused { .. }
            | OrchestratorMessage::SuspendCampaign { .. }
            | OrchestratorMessage::ContinueCampaign { .. }
            | OrchestratorMessage::SetPace { .. } => self.urgent.push_back(message),
            OrchestratorMessage::Heartbeat
            | OrchestratorMessage::Acknowledge { .. }
            | OrchestratorMessage::SendFindings { .. }
            | OrchestratorMessage::SendInventory => self.calm.push_back(message),
        }
    }

    fn forget_start(&mut self, shard: ShardId) -> Option<OrchestratorMessage> {
        let (number, _) = self.start_of.remove(&shard)?;
        self.starts.remove(&number)
    }

    fn pop(&mut self) -> Option<OrchestratorMessage> {
        if let Some(message) = self.urgent.pop_front().or_else(|| self.calm.pop_front()) {
            return Some(message);
        }
        let (_, message) = self.starts.pop_first()?;
        if let OrchestratorMessage::StartTask { task, .. } = &message {
            self.start_of.remove(&task.shard);
        }
        Some(message)
    }
}

/// The messages of a link as gRPC sends them. Dropping it says that the agent no longer reads.
#[derive(Debug)]
pub(crate) struct LinkStream {
    link: Link,
}

impl Stream for LinkStream {
    type Item = Result<v1::SessionResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut queue = self.link.lock();
        match queue.pop() {
            Some(message) => Poll::Ready(Some(Ok(message.into()))),
            None if queue.ended => Poll::Ready(queue.cut.take().map(Err)),
            None => {
                queue.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for LinkStream {
    fn drop(&mut self) {
        self.link.close("the agent reads no more");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rientro_types::{
        Action, CampaignId, CellId, Epoch, Incarnation, Level, Order, Pace, Seq, ServiceSet, Task, VolumeId,
    };

    fn order(seq: u64) -> Order {
        Order {
            cell: CellId::new("c").unwrap(),
            incarnation: Incarnation::from_raw(1),
            epoch: Epoch::from_raw(1),
            seq: Seq::from_raw(seq),
        }
    }

    fn shard(name: &str) -> ShardId {
        ShardId::new(name).unwrap()
    }

    fn start(name: &str, seq: u64) -> OrchestratorMessage {
        let task = Task {
            shard: shard(name),
            attempt: AttemptNo::from_raw(1),
            campaign: CampaignId::new("k").unwrap(),
            volume: VolumeId::new("fs:1").unwrap(),
            action: Action::Verify { level: Level::Structure },
            pace: Pace { bytes_per_second: rientro_types::ByteSize::default(), readers: 1 },
        };
        OrchestratorMessage::StartTask { order: order(seq), task, entry: None }
    }

    fn cancel(name: &str, attempt: u32, seq: u64) -> OrchestratorMessage {
        let attempt = AttemptNo::from_raw(attempt);
        OrchestratorMessage::CancelTask { order: order(seq), shard: shard(name), attempt }
    }

    fn serve(name: &str, seq: u64) -> OrchestratorMessage {
        let (order, shard, services) = (order(seq), shard(name), ServiceSet::NONE);
        OrchestratorMessage::SetServices { order, shard, services, entry: None }
    }

    fn welcomed() -> Link {
        let link = Link::default();
        link.lock().welcomed = true;
        link
    }

    #[test]
    fn nothing_is_sent_before_the_welcome() {
        let link = Link::default();
        link.push(OrchestratorMessage::Heartbeat).unwrap();
        assert!(drained(&link).is_empty());
    }

    fn drained(link: &Link) -> Vec<OrchestratorMessage> {
        let mut queue = link.lock();
        std::iter::from_fn(|| queue.pop()).collect()
    }

    /// R8: what stops goes ahead of what begins, and a beginning that was cancelled before it was sent is never sent.
    #[test]
    fn stops_go_first_and_a_cancelled_beginning_is_not_sent() {
        let link = welcomed();
        for message in [start("a", 1), start("b", 2), OrchestratorMessage::Heartbeat, cancel("a", 1, 3)] {
            link.push(message).unwrap();
        }
        let expected = [cancel("a", 1, 3), OrchestratorMessage::Heartbeat, start("b", 2)];
        assert_eq!(drained(&link), expected);
    }

    #[test]
    fn an_order_about_services_stays_behind_the_beginning_of_its_shard() {
        let link = Link::default();
        for message in [start("a", 1), start("b", 2), serve("b", 3), cancel("a", 7, 4)] {
            link.push(message).unwrap();
        }
        assert_eq!(drained(&link), [start("b", 2), serve("b", 3), cancel("a", 7, 4), start("a", 1)]);
    }

    #[test]
    fn an_agent_that_does_not_read_is_stuck_at_the_bound() {
        let link = welcomed();
        for _ in 0..OUTGOING_MAX {
            assert_eq!(link.push(OrchestratorMessage::Heartbeat), Ok(()));
        }
        assert_eq!(link.push(OrchestratorMessage::Heartbeat), Err(Stuck));
        link.close("enough");
        assert_eq!(link.push(OrchestratorMessage::Heartbeat), Ok(()), "a closed link takes and drops");
        assert!(drained(&link).is_empty() && link.closed().is_cancelled());
    }
}
