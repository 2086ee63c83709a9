//! Findings, fetched from the agents that keep them, one shard after the other.
//!
//! A closing ends what a verification counts for (R1), and the engine forgets it. What was found is evidence all the same, and stays
//! with the agent: of such a shard the newest is asked for that is kept of its tries so far.

use std::collections::BTreeSet;
use std::time::Duration;

use rientro_engine::Engine;
use rientro_types::{
    AttemptNo, Digest, FindingKinds, FindingsHasher, LocatedFinding, NodeId, Selector, ShardId,
    ShardSnapshot, ShardView,
};
use rientro_wire::bulk::FindingsPart;
use rientro_wire::limits::SHARDS_PER_PAGE_MAX;
use rientro_wire::operator::{FindingsAnswer, FindingsGap, FindingsQuery};
use rientro_wire::session::OrchestratorMessage;
use rientro_wire::{advised, v1};
use tonic::{Code, Response, Status};

use super::{Answers, Operators, Sink};
use crate::driver::Handle;
use crate::findings::{Findings, Ticket};
use crate::journal::Journal;

/// An agent must begin, and go on, to send findings within this time.
const PART_TIME: Duration = Duration::from_secs(15);

/// A reader must take what comes within this time: as long as web servers wait for a reader between two writes (`send_timeout` of
/// nginx). It holds a place of the cell and of the agent that others wait for.
const READ_TIME: Duration = Duration::from_secs(60);

/// A verification whose findings are kept somewhere.
#[derive(Clone, Copy, Debug)]
struct Kept {
    shard: ShardId,
    node: NodeId,
    attempt: AttemptNo,
    /// Of all its findings, as it was told with the result. None when the verification no longer counts: then the newest file is
    /// wanted that the node keeps of that try and those before it, if there is one.
    digest: Option<Digest>,
}

/// Why a stream ends early.
enum Ended {
    /// The reader has left.
    Gone,
    /// Something is wrong.
    Failed(Status),
}

/// Findings on their way to one reader.
struct Fetch {
    handle: Handle,
    findings: Findings,
    kinds: FindingKinds,
    with_addresses: bool,
    left: u64,
    total: u64,
    shown: u64,
    /// Nodes that did not answer in time: they have many shards, and nobody waits for each.
    silent: BTreeSet<NodeId>,
}

type FindingsSink = Sink<v1::StreamFindingsResponse>;

impl<J: Journal> Operators<J> {
    pub(super) fn fetch_findings(
        &self,
        query: FindingsQuery,
    ) -> Result<Response<Answers<v1::StreamFindingsResponse>>, Status> {
        let FindingsQuery { selector, kinds, max, with_addresses } = query;
        let mut fetch = Fetch {
            handle: self.handle.clone(),
            findings: self.findings.clone(),
            kinds,
            with_addresses,
            left: if max == 0 { u64::MAX } else { max },
            total: 0,
            shown: 0,
            silent: BTreeSet::new(),
        };
        self.stream(|sink| async move { fetch.all(&sink, selector).await })
    }
}

impl Fetch {
    async fn all(&mut self, sink: &FindingsSink, selector: Selector) -> Result<(), Status> {
        let mut after = None;
        loop {
            let (asked, kinds) = (selector.clone(), self.kinds);
            let look = move |engine: &Engine| {
                (engine.untried(), engine.shard_views(&asked, after, SHARDS_PER_PAGE_MAX))
            };
            let (untried, page) = self.handle.ask(look).await?;
            let whole = page.len() == SHARDS_PER_PAGE_MAX;
            after = page.last().map(|view| view.shard.shard);
            for kept in page.iter().filter_map(|view| kept(view, kinds, untried)) {
                if !self.shard(sink, kept).await? {
                    return Ok(());
                }
            }
            if !whole {
                let end = FindingsAnswer::End { findings_total: self.total, findings_shown: self.shown };
                // The reader may have left.
                let _gone = sink.send(end).await;
                return Ok(());
            }
        }
    }

    /// The findings of one shard; false when the reader has left.
    async fn shard(&mut self, sink: &FindingsSink, kept: Kept) -> Result<bool, Status> {
        let ticket = self.findings.expect(kept.node, kept.shard);
        let message = OrchestratorMessage::SendFindings {
            request_id: ticket.request_id,
            shard: kept.shard,
            attempt: kept.attempt,
            max_findings: self.left,
            kinds: self.kinds,
            with_addresses: self.with_addresses,
            or_earlier: kept.digest.is_none(),
        };
        let pages = if self.silent.contains(&kept.node) {
            Ok(Some(FindingsGap::TimedOut))
        } else if self.handle.tell(kept.node, message).await? {
            self.pages(sink, kept, ticket).await
        } else {
            Ok(Some(FindingsGap::NodeOffline))
        };
        let told = match pages {
            Ok(None) => Ok(()),
            Ok(Some(gap)) => {
                if gap == FindingsGap::TimedOut {
                    self.silent.insert(kept.node);
                }
                let missing = FindingsAnswer::Missing { shard: kept.shard, node: kept.node, gap };
                pass(sink, missing).await
            }
            Err(ended) => Err(ended),
        };
        match told {
            Ok(()) => Ok(true),
            Err(Ended::Gone) => Ok(false),
            Err(Ended::Failed(status)) => Err(status),
        }
    }

    /// Hands on what the agent uploads; says what is missing of it.
    async fn pages(
        &mut self,
        sink: &FindingsSink,
        mut kept: Kept,
        mut ticket: Ticket,
    ) -> Result<Option<FindingsGap>, Ended> {
        let asked = self.left;
        let (mut sent, mut hasher) = (0, FindingsHasher::default());
        loop {
            let part = match tokio::time::timeout(PART_TIME, ticket.parts.recv()).await {
                Err(_) | Ok(None) => return Ok(Some(FindingsGap::TimedOut)),
                Ok(Some(part)) => part,
            };
            match part {
                FindingsPart::Header { available: false, .. } => {
                    // Of tries that came to no end nothing was ever kept.
                    return Ok(kept.digest.map(|_| FindingsGap::Forgotten));
                }
                FindingsPart::Header { attempt, .. } => kept.attempt = attempt,
                FindingsPart::Page(mut findings) => {
                    sent += findings.len() as u64;
                    findings.iter().for_each(|located| hasher.add(&located.finding));
                    findings.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
                    if !self.with_addresses {
                        // The agent was asked for none; nobody has to trust it in this.
                        findings = findings.into_iter().map(LocatedFinding::without_address).collect();
                    }
                    self.left -= findings.len() as u64;
                    self.shown += findings.len() as u64;
                    let Kept { shard, node, attempt, digest } = kept;
                    if !findings.is_empty() {
                        let dropped = digest.is_none();
                        pass(sink, FindingsAnswer::Page { shard, node, attempt, findings, dropped }).await?;
                    }
                }
                FindingsPart::End { findings_total } => {
                    // Each node counts its own, and nothing bounds what it says.
                    self.total = self.total.saturating_add(findings_total);
                    // The digest is of all findings, as they stand on the agent's disk: of others nothing can be compared.
                    let is_all = self.with_addresses && self.kinds.bits() == 0 && findings_total <= asked;
                    let differ = is_all && kept.digest.is_some_and(|digest| hasher.finish() != digest);
                    let altered = differ || sent < findings_total.min(asked);
                    return Ok(altered.then_some(FindingsGap::Altered));
                }
            }
        }
    }
}

/// Hands on an answer to a reader that takes it in time.
async fn pass(sink: &FindingsSink, answer: FindingsAnswer) -> Result<(), Ended> {
    match tokio::time::timeout(READ_TIME, sink.send(answer)).await {
        Ok(sent) => sent.map_err(|super::Gone| Ended::Gone),
        Err(_) => {
            let what = format!("the findings were not read on for {} s", READ_TIME.as_secs());
            let next = "ask again, and write them to a file to look at them there";
            Err(Ended::Failed(advised(Code::DeadlineExceeded, what, next)))
        }
    }
}

/// The verification of a shard whose findings are wanted, if it saw any, or may have and is counted no more. A shard whose last try
/// is `untried` had none in this life of the cell.
fn kept(view: &ShardView, kinds: FindingKinds, untried: AttemptNo) -> Option<Kept> {
    let ShardSnapshot { shard, placement, attempt, standing, .. } = &view.shard;
    let (shard, node) = (*shard, placement.node);
    let Some(standing) = standing else {
        return (*attempt > untried).then_some(Kept { shard, node, attempt: *attempt, digest: None });
    };
    let seen = standing.verification.verdict.tally.kinds;
    let wanted = seen.bits() != 0 && (kinds.bits() == 0 || kinds.bits() & seen.bits() != 0);
    wanted.then_some(Kept {
        shard,
        node,
        attempt: standing.attempt,
        digest: Some(standing.verification.findings),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::{Semaphore, mpsc};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use rientro_types::{Finding, FindingKind, MailboxId};

    /// A reader that takes nothing is told so in time, and whoever uploads need not send on.
    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_ends_the_upload() {
        let (shard, node) = (ShardId::new("a").unwrap(), NodeId::new("n1").unwrap());
        let (handle, _inbox) = crate::driver::inbox();
        let findings = Findings::default();
        let ticket = findings.expect(node, shard);
        let awaited = findings.claim(ticket.request_id, node, shard).unwrap();
        let mut fetch = Fetch {
            handle,
            findings,
            kinds: FindingKinds::default(),
            with_addresses: false,
            left: u64::MAX,
            total: 0,
            shown: 0,
            silent: BTreeSet::new(),
        };
        let (messages, _unread) = mpsc::channel(super::super::STREAM_QUEUED);
        let place = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let sink = Sink { messages, stop: CancellationToken::new(), _place: place };
        let kept = Kept { shard, node, attempt: AttemptNo::from_raw(1), digest: Some(Digest::ZERO) };
        let finding = Finding {
            kind: FindingKind::SizeMismatch,
            mailbox: Vec::new(),
            path: Vec::new(),
            detail: String::new(),
        };
        let mailbox_id = Some(MailboxId::from_raw([1; 16]));
        let page = FindingsPart::Page(vec![LocatedFinding { mailbox_id, address: None, finding }]);
        let uploading = async { while awaited.pass(page.clone()).await {} };
        let both = async { tokio::join!(fetch.pages(&sink, kept, ticket), uploading) };
        let (ended, ()) = tokio::time::timeout(10 * READ_TIME, both).await.expect("it ends");
        let Err(Ended::Failed(status)) = ended else { panic!("the reader is told") };
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    }
}
