//! Findings, fetched from the agents that keep them, one shard after the other.

use std::time::Duration;

use rientro_types::{AttemptNo, FindingKinds, LocatedFinding, NodeId, Selector, ShardId, ShardView};
use rientro_wire::bulk::FindingsPart;
use rientro_wire::limits::SHARDS_PER_PAGE_MAX;
use rientro_wire::operator::{FindingsAnswer, FindingsGap, FindingsQuery};
use rientro_wire::session::OrchestratorMessage;
use rientro_wire::v1;
use tonic::{Response, Status};

use super::{Answers, Operators, Sink};
use crate::driver::Handle;
use crate::findings::{Findings, Ticket};
use crate::journal::Journal;

/// An agent must begin, and go on, to send findings within this time.
const PART_TIME: Duration = Duration::from_secs(15);

/// A verification whose findings are kept somewhere.
#[derive(Clone, Copy, Debug)]
struct Kept {
    shard: ShardId,
    node: NodeId,
    attempt: AttemptNo,
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
        };
        self.stream(|sink| async move { fetch.all(&sink, selector).await })
    }
}

impl Fetch {
    async fn all(&mut self, sink: &FindingsSink, selector: Selector) -> Result<(), Status> {
        let mut after = None;
        loop {
            let (asked, kinds) = (selector.clone(), self.kinds);
            let page =
                self.handle.ask(move |engine| engine.shard_views(&asked, after, SHARDS_PER_PAGE_MAX)).await?;
            let whole = page.len() == SHARDS_PER_PAGE_MAX;
            after = page.last().map(|view| view.shard.shard);
            for kept in page.iter().filter_map(|view| kept(view, kinds)) {
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
        };
        let gap = if self.handle.tell(kept.node, message).await? {
            self.pages(sink, kept, ticket).await
        } else {
            Ok(Some(FindingsGap::NodeOffline))
        };
        match gap {
            Ok(None) => Ok(true),
            Ok(Some(gap)) => {
                let missing = FindingsAnswer::Missing { shard: kept.shard, node: kept.node, gap };
                Ok(sink.send(missing).await.is_ok())
            }
            Err(super::Gone) => Ok(false),
        }
    }

    /// Hands on what the agent uploads; says what is missing of it.
    async fn pages(
        &mut self,
        sink: &FindingsSink,
        kept: Kept,
        mut ticket: Ticket,
    ) -> Result<Option<FindingsGap>, super::Gone> {
        loop {
            let part = match tokio::time::timeout(PART_TIME, ticket.parts.recv()).await {
                Err(_) | Ok(None) => return Ok(Some(FindingsGap::TimedOut)),
                Ok(Some(part)) => part,
            };
            match part {
                FindingsPart::Header { available: false, .. } => return Ok(Some(FindingsGap::Forgotten)),
                FindingsPart::Header { .. } => {}
                FindingsPart::Page(mut findings) => {
                    findings.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
                    if !self.with_addresses {
                        // The agent was asked for none; nobody has to trust it in this.
                        findings = findings.into_iter().map(LocatedFinding::without_address).collect();
                    }
                    self.left -= findings.len() as u64;
                    self.shown += findings.len() as u64;
                    let Kept { shard, node, attempt } = kept;
                    if !findings.is_empty() {
                        sink.send(FindingsAnswer::Page { shard, node, attempt, findings }).await?;
                    }
                }
                FindingsPart::End { findings_total } => {
                    // Each node counts its own, and nothing bounds what it says.
                    self.total = self.total.saturating_add(findings_total);
                    return Ok(None);
                }
            }
        }
    }
}

/// The verification of a shard whose findings are wanted, if it saw any.
fn kept(view: &ShardView, kinds: FindingKinds) -> Option<Kept> {
    let shard = &view.shard;
    let standing = shard.standing.as_ref()?;
    let seen = standing.verification.verdict.tally.kinds;
    let wanted = seen.bits() != 0 && (kinds.bits() == 0 || kinds.bits() & seen.bits() != 0);
    wanted.then_some(Kept { shard: shard.shard, node: shard.placement.node, attempt: standing.attempt })
}
