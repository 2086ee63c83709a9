//! Brings together whoever asked for findings and the agent that uploads them.
//!
//! Findings are never kept here: pages go from the agent's call to the reader's, with a bounded queue between. A reader that
//! leaves makes the upload end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rientro_types::{NodeId, ShardId};
use rientro_wire::bulk::FindingsPart;
use tokio::sync::mpsc;

/// Parts that wait between an upload and its reader: one being sent, one being received.
const PARTS_QUEUED: usize = 2;

/// What is awaited from whom.
#[derive(Clone, Debug)]
pub(crate) struct Awaited {
    pub(crate) node: NodeId,
    pub(crate) shard: ShardId,
    parts: mpsc::Sender<FindingsPart>,
}

/// The requests under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    requests: Arc<Mutex<Requests>>,
}

#[derive(Debug, Default)]
struct Requests {
    last: u64,
    awaited: BTreeMap<u64, Awaited>,
}

/// One request; forgotten when dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) request_id: u64,
    pub(crate) parts: mpsc::Receiver<FindingsPart>,
    findings: Findings,
}

impl Findings {
    /// Begins to await the findings of a shard.
    pub(crate) fn expect(&self, node: NodeId, shard: ShardId) -> Ticket {
        let (parts_in, parts) = mpsc::channel(PARTS_QUEUED);
        let mut requests = self.lock();
        requests.last += 1;
        let request_id = requests.last;
        requests.awaited.insert(request_id, Awaited { node, shard, parts: parts_in });
        Ticket { request_id, parts, findings: self.clone() }
    }

    /// Who awaits this upload; each is handed out once.
    pub(crate) fn claim(&self, request_id: u64, node: NodeId, shard: ShardId) -> Option<Awaited> {
        let mut requests = self.lock();
        let fits = requests.awaited.get(&request_id).is_some_and(|a| (a.node, a.shard) == (node, shard));
        if fits { requests.awaited.remove(&request_id) } else { None }
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        // Holders only insert and remove.
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Awaited {
    /// Hands on a part; false when the reader has left.
    pub(crate) async fn pass(&self, part: FindingsPart) -> bool {
        self.parts.send(part).await.is_ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.findings.lock().awaited.remove(&self.request_id);
    }
}
