//! Bulk calls: inventories, lists of mailboxes, findings.
//!
//! Each names its node and life first, and counts only beside that node's present session: pages of an inventory that were
//! sent across a reconnection never add up to one. What a list of mailboxes lacks is told to the engine like anything else an
//! agent says; the list itself goes to the directory.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rientro_engine::{Engine, Event, SessionNo};
use rientro_types::{HeldReason, MAILBOXES_PER_SHARD_MAX, MailboxId, NodeId, NodeIncarnation, ShardId};
use rientro_wire::bulk::{FindingsPart, InventoryPart, MailboxesPart};
use rientro_wire::v1;
use tonic::{Code, Status, Streaming};

use super::Agents;
use crate::directory::{Listing, Telling};
use crate::journal::Journal;
use crate::status;

/// A bulk call that sends nothing for this long is ended; it holds a place that others need.
const BULK_SILENCE: Duration = Duration::from_secs(30);
/// Mailboxes gathered before they are written together; each list counts for [`LIST_COSTS`] more.
const MAILBOXES_WRITTEN_TOGETHER: usize = 1 << 16;
/// What a list costs beside its mailboxes, in mailboxes: lists without any wait in memory, too.
const LIST_COSTS: usize = size_of::<Listing>().div_ceil(size_of::<MailboxId>());

/// What a node tells in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Report {
    Inventory,
    Mailboxes,
}

/// What nodes tell at this moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reporting(Arc<Mutex<BTreeSet<(NodeId, Report)>>>);

/// A node's turn to tell; over when dropped.
struct Turn {
    reporting: Reporting,
    of: (NodeId, Report),
}

impl Reporting {
    /// Pages of two inventories of one node must not mix, nor must what a list is compared with change before it is put. And
    /// no node takes more than its part of the places that all calls share.
    fn begin(&self, node: NodeId, report: Report) -> Result<Turn, Status> {
        let of = (node, report);
        if !self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(of) {
            let what = report.name();
            return Err(Status::aborted(format!(
                "node {node} tells its {what} already; try again after that"
            )));
        }
        Ok(Turn { reporting: self.clone(), of })
    }
}

impl Report {
    const fn name(self) -> &'static str {
        match self {
            Self::Inventory => "inventory",
            Self::Mailboxes => "lists of mailboxes",
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.reporting.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.of);
    }
}

/// The next part of a call; nothing at its end.
async fn part<M>(inbound: &mut Streaming<M>) -> Result<Option<M>, Status> {
    tokio::time::timeout(BULK_SILENCE, inbound.message())
        .await
        .map_err(|_| Status::deadline_exceeded(format!("nothing was sent for {BULK_SILENCE:?}")))?
}

fn headless() -> Status {
    Status::invalid_argument("the first message of a bulk call is its header")
}

/// An agent that says what may not be said goes on saying it: somebody has to look after it.
fn tell_refused(node: NodeId, report: Report, refused: &Status) {
    if refused.code() == Code::InvalidArgument {
        tracing::warn!(%node, what = report.name(), error = refused.message(), "bulk call refused");
    }
}

impl<J: Journal> Agents<J> {
    async fn session_of(&self, node: NodeId, incarnation: NodeIncarnation) -> Result<SessionNo, Status> {
        self.handle.present(node, incarnation).await?.ok_or_else(|| {
            Status::failed_precondition(format!(
                "node {node} has no session of incarnation {incarnation}; open one first"
            ))
        })
    }

    /// Waits for `work`, or for the orchestrator to stop.
    async fn or_stop<T>(&self, work: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        // Cancel-safe: what was not answered is sent again by the agent.
        tokio::select! {
            () = self.stop.cancelled() => Err(Status::unavailable("the orchestrator is stopping")),
            done = work => done,
        }
    }

    pub(super) async fn take_inventory(
        &self,
        mut inbound: Streaming<v1::ReportInventoryRequest>,
    ) -> Result<u64, Status> {
        let first = part(&mut inbound).await?.ok_or_else(headless)?;
        let InventoryPart::Header { node, incarnation } = first.try_into()? else { return Err(headless()) };
        let session = self.session_of(node, incarnation).await?;
        let _turn = self.reporting.begin(node, Report::Inventory)?;
        let taken = self.or_stop(self.take_claims(inbound, node, incarnation, session)).await;
        taken.inspect_err(|refused| tell_refused(node, Report::Inventory, refused))
    }

    async fn take_claims(
        &self,
        mut inbound: Streaming<v1::ReportInventoryRequest>,
        node: NodeId,
        incarnation: NodeIncarnation,
        session: SessionNo,
    ) -> Result<u64, Status> {
        let (mut taken, mut first) = (0, true);
        while let Some(page) = part(&mut inbound).await? {
            let InventoryPart::Page { claims, complete, inventory: _ } = page.try_into()? else {
                return Err(Status::invalid_argument("only the first message is a header"));
            };
            taken += claims.len() as u64;
            let event = Event::Inventory { node, incarnation, first, claims, last: complete };
            self.handle.agent_durably(node, session, event).await?;
            first = false;
            if complete {
                tracing::info!(%node, claims = taken, "inventory taken");
                return Ok(taken);
            }
        }
        Err(Status::invalid_argument("the inventory ended before its last page; nothing of it counts"))
    }

    pub(super) async fn take_mailboxes(
        &self,
        mut inbound: Streaming<v1::ReportMailboxesRequest>,
    ) -> Result<(u64, u64), Status> {
        let first = part(&mut inbound).await?.ok_or_else(headless)?;
        let MailboxesPart::Header { node, incarnation } = first.try_into()? else { return Err(headless()) };
        let session = self.session_of(node, incarnation).await?;
        let _turn = self.reporting.begin(node, Report::Mailboxes)?;
        let taken = self.or_stop(self.take_lists(inbound, node, incarnation, session)).await;
        taken.inspect_err(|refused| tell_refused(node, Report::Mailboxes, refused))
    }

    async fn take_lists(
        &self,
        mut inbound: Streaming<v1::ReportMailboxesRequest>,
        node: NodeId,
        incarnation: NodeIncarnation,
        session: SessionNo,
    ) -> Result<(u64, u64), Status> {
        let (mut lists, mut telling) = (Lists::default(), self.directory.telling());
        while let Some(page) = part(&mut inbound).await? {
            let MailboxesPart::Page { shard, mailboxes, complete } = page.try_into()? else {
                return Err(Status::invalid_argument("only the first message is a header"));
            };
            lists.add(shard, mailboxes)?;
            if complete
                && let Some(list) = lists.complete()
                && let Some(listing) = self.listing(shard, node, list).await?
            {
                lists.whole.push(listing);
            }
            if lists.gathered() >= MAILBOXES_WRITTEN_TOGETHER {
                self.write(&mut lists, &mut telling, node, incarnation, session).await?;
            }
        }
        if lists.open.is_some() {
            return Err(Status::invalid_argument("the lists ended before a shard's last page"));
        }
        self.write(&mut lists, &mut telling, node, incarnation, session).await?;
        telling.sync().await.map_err(|error| status::directory(&error))?;
        Ok((lists.shards, lists.mailboxes))
    }

    /// A list counts only from the node that has the shard.
    async fn listing(
        &self,
        shard: ShardId,
        node: NodeId,
        mailboxes: Vec<MailboxId>,
    ) -> Result<Option<Listing>, Status> {
        let asked = move |engine: &Engine| engine.shard_view(shard).map(|view| (engine.now(), view.shard));
        let Some((at, held)) = self.handle.ask(asked).await? else { return Ok(None) };
        let served = !(held.services.is_empty() && held.seen.is_empty());
        let unlisted = match held.blocked.map(|hold| hold.reason) {
            Some(HeldReason::MailboxesMissing { known: _, shown: _, unlisted }) => Some(unlisted),
            // What is graver holds it, and does not settle what it lacked.
            _ => Some(held.unlisted).filter(|unlisted| *unlisted > 0),
        };
        let listing = Listing { shard, mailboxes, at, served, unlisted };
        Ok((held.placement.node == node).then_some(listing))
    }

    /// What a list lacks is decided on before the list takes the place of the one before: who is interrupted between finds
    /// the same again.
    async fn write(
        &self,
        lists: &mut Lists,
        telling: &mut Telling,
        node: NodeId,
        incarnation: NodeIncarnation,
        session: SessionNo,
    ) -> Result<(), Status> {
        let (whole, lacking) = self
            .directory
            .compare(std::mem::take(&mut lists.whole))
            .await
            .map_err(|error| status::directory(&error))?;
        for (listing, unlisted) in whole.iter().zip(lacking) {
            if !listing.served && (unlisted > 0 || listing.unlisted.is_some()) {
                let event = Event::Unlisted { node, incarnation, shard: listing.shard, unlisted };
                self.handle.agent_durably(node, session, event).await?;
            }
        }
        lists.shards += whole.len() as u64;
        lists.mailboxes += whole.iter().map(|listing| listing.mailboxes.len() as u64).sum::<u64>();
        telling.put(whole).await.map_err(|error| status::directory(&error))
    }

    pub(super) async fn take_findings(
        &self,
        mut inbound: Streaming<v1::UploadFindingsRequest>,
    ) -> Result<bool, Status> {
        let first = part(&mut inbound).await?.ok_or_else(headless)?;
        let header: FindingsPart = first.try_into()?;
        let FindingsPart::Header { node, request_id, shard, .. } = header else { return Err(headless()) };
        let Some(awaited) = self.findings.claim(request_id, node, shard) else { return Ok(false) };
        self.or_stop(async {
            let mut next = header;
            loop {
                if !awaited.pass(next).await {
                    return Ok(false);
                }
                match part(&mut inbound).await? {
                    Some(message) => next = message.try_into()?,
                    None => return Ok(true),
                }
            }
        })
        .await
    }
}

/// Lists of mailboxes as they come in.
#[derive(Default)]
struct Lists {
    open: Option<(ShardId, Vec<MailboxId>)>,
    whole: Vec<Listing>,
    shards: u64,
    mailboxes: u64,
}

impl Lists {
    fn add(&mut self, shard: ShardId, mailboxes: Vec<MailboxId>) -> Result<(), Status> {
        let (open, list) = self.open.get_or_insert_with(|| (shard, Vec::new()));
        if *open != shard {
            return Err(Status::invalid_argument(format!("the list of shard {open} is not complete")));
        }
        if list.len() + mailboxes.len() > MAILBOXES_PER_SHARD_MAX {
            return Err(Status::invalid_argument(format!(
                "shard {shard} has more than {MAILBOXES_PER_SHARD_MAX} mailboxes; make smaller shards"
            )));
        }
        let last = list.last().copied();
        let ascending = last.into_iter().chain(mailboxes.iter().copied()).is_sorted_by(|a, b| a < b);
        if !ascending {
            return Err(Status::invalid_argument(format!(
                "the mailboxes of shard {shard} are not ascending"
            )));
        }
        list.extend(mailboxes);
        Ok(())
    }

    fn complete(&mut self) -> Option<Vec<MailboxId>> {
        self.open.take().map(|(_, list)| list)
    }

    /// What waits to be written, in mailboxes.
    fn gathered(&self) -> usize {
        self.whole.iter().map(|listing| listing.mailboxes.len() + LIST_COSTS).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lists without mailboxes take memory too: they are written before many of them wait.
    #[test]
    fn empty_lists_do_not_gather_without_end() {
        let mut lists = Lists::default();
        let mut waiting = 0;
        while lists.gathered() < MAILBOXES_WRITTEN_TOGETHER {
            let shard = ShardId::new(&format!("s{waiting}")).unwrap();
            lists.add(shard, Vec::new()).unwrap();
            let mailboxes = lists.complete().unwrap();
            let at = rientro_types::CellTime::default();
            lists.whole.push(Listing { shard, mailboxes, at, served: false, unlisted: None });
            waiting += 1;
        }
        let bytes = waiting * size_of::<Listing>();
        assert!(
            bytes <= MAILBOXES_WRITTEN_TOGETHER * size_of::<MailboxId>(),
            "{waiting} lists, {bytes} bytes"
        );
    }
}
