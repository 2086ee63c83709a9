//! Lists of mailboxes, told in calls that are open only while there is something to say.
//!
//! To list one shard may take minutes on a disk under load, and the orchestrator ends a call on which nothing comes for much
//! less: it holds a place that other nodes need. So a list is made first and the call begun then; what is ready soon after goes
//! with it, and for what is not another call is made. Each call that ends well settles what it told, whatever comes of the next.

use std::time::Duration;

use rientro_types::{Digest, MailboxId, ShardId};
use rientro_wire::bulk::MailboxesPart;
use rientro_wire::limits::MAILBOXES_PER_PAGE_MAX;
use rientro_wire::v1::ReportMailboxesResponse;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::Status;

use super::{PAGES_AHEAD, Told, keep};
use crate::inventory::Scan;

/// Lists made ahead of the one that is told.
pub(super) const LISTS_AHEAD: usize = 1;
/// Longest wait for the next list within a call: a third of the silence after which the orchestrator ends it.
const CALL_IDLE_MAX: Duration = Duration::from_secs(10);

/// The mailboxes of one shard.
pub(super) struct List {
    shard: ShardId,
    /// What the look at the roots saw of it.
    digest: Digest,
    mailboxes: Vec<MailboxId>,
}

/// Makes these lists, one after the other, until nobody wants more. One that cannot be made is left out.
pub(super) fn make(scan: &Scan, shards: Vec<ShardId>, key: &[u8; 32], to: &mpsc::Sender<List>) {
    for shard in shards {
        let entry = &scan.shards[&shard];
        match entry.mailbox_ids(key) {
            Ok(mailboxes) => {
                if to.blocking_send(List { shard, digest: entry.list, mailboxes }).is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%shard, %error, "mailboxes cannot be listed; that is tried again after the next look at the roots");
            }
        }
    }
}

/// Tells lists as they come, in as many calls as that takes, and notes each list that was taken.
pub(super) async fn tell<C>(
    header: &MailboxesPart,
    mut lists: mpsc::Receiver<List>,
    told: &Told,
    mut call: impl FnMut(mpsc::Receiver<MailboxesPart>) -> C,
) -> Result<(), Status>
where
    C: Future<Output = Result<ReportMailboxesResponse, Status>>,
{
    while let Some(first) = lists.recv().await {
        let (pages, stream) = mpsc::channel(PAGES_AHEAD);
        let fed = async { Ok(feed(header, first, &mut lists, pages).await) };
        let (answer, sent) = tokio::try_join!(call(stream), fed)?;
        tracing::info!(shards = answer.shards, mailboxes = answer.mailboxes, "lists of mailboxes told");
        keep(told, sent);
    }
    Ok(())
}

/// Sends lists until the next one is long in coming; gives those that were wholly sent.
async fn feed(
    header: &MailboxesPart,
    first: List,
    lists: &mut mpsc::Receiver<List>,
    pages: mpsc::Sender<MailboxesPart>,
) -> Vec<(ShardId, Digest)> {
    let mut sent = Vec::new();
    let mut going = pages.send(header.clone()).await.is_ok();
    let mut next = Some(first);
    while let Some(list) = next.take().filter(|_| going) {
        going = send(&list, &pages).await;
        if going {
            sent.push((list.shard, list.digest));
            next = timeout(CALL_IDLE_MAX, lists.recv()).await.ok().flatten();
        }
    }
    sent
}

/// Sends one shard's list; false when nobody takes it.
async fn send(list: &List, pages: &mpsc::Sender<MailboxesPart>) -> bool {
    let List { shard, digest: _, mailboxes } = list;
    let count = mailboxes.len().div_ceil(MAILBOXES_PER_PAGE_MAX).max(1);
    for at in 0..count {
        let end = mailboxes.len().min((at + 1) * MAILBOXES_PER_PAGE_MAX);
        let mailboxes = mailboxes[at * MAILBOXES_PER_PAGE_MAX..end].to_vec();
        let page = MailboxesPart::Page { shard: *shard, mailboxes, complete: at + 1 == count };
        if pages.send(page).await.is_err() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use rientro_types::{NodeId, NodeIncarnation};

    use super::*;

    /// The silence after which the orchestrator ends a call.
    const BULK_SILENCE: Duration = Duration::from_secs(30);

    fn list(name: &str, mailboxes: u8) -> List {
        let mailboxes = (0..mailboxes).map(|n| MailboxId::of_address(&[0; 32], &[n])).collect();
        List { shard: ShardId::new(name).unwrap(), digest: Digest::of(name.as_bytes()), mailboxes }
    }

    fn header() -> MailboxesPart {
        MailboxesPart::Header { node: NodeId::new("n1").unwrap(), incarnation: NodeIncarnation::from_raw(1) }
    }

    /// Shards by call; the call in which the shard `refused` comes fails.
    async fn told_in_calls(lists: Vec<(u64, List)>, refused: &str) -> (Vec<Vec<String>>, Told, bool) {
        let (calls, told) = (Arc::new(Mutex::new(Vec::new())), Told::default());
        let (to, made) = mpsc::channel(LISTS_AHEAD);
        let making = async move {
            for (secs, list) in lists {
                tokio::time::sleep(Duration::from_secs(secs)).await;
                if to.send(list).await.is_err() {
                    return;
                }
            }
        };
        let call = |mut stream: mpsc::Receiver<MailboxesPart>| {
            let calls = Arc::clone(&calls);
            async move {
                let mut shards = Vec::new();
                loop {
                    let part = timeout(BULK_SILENCE, stream.recv()).await;
                    match part.map_err(|_| Status::deadline_exceeded("silence"))? {
                        Some(MailboxesPart::Page { shard, complete: true, .. }) => {
                            shards.push(shard.to_string());
                        }
                        Some(_) => {}
                        None => break,
                    }
                    if shards.iter().any(|shard| shard == refused) {
                        return Err(Status::invalid_argument("refused"));
                    }
                }
                calls.lock().unwrap().push(shards);
                Ok(ReportMailboxesResponse::default())
            }
        };
        let header = header();
        let ((), ended) = tokio::join!(making, tell(&header, made, &told, call));
        let calls = calls.lock().unwrap().clone();
        (calls, told, ended.is_ok())
    }

    fn names(told: &Told) -> Vec<String> {
        told.lock().unwrap().keys().map(ToString::to_string).collect()
    }

    /// However long a shard takes to list, no call is open meanwhile, and every list is told; what is ready at once goes together.
    #[tokio::test(start_paused = true)]
    async fn a_list_that_takes_long_keeps_no_call_waiting() {
        let lists = vec![
            (45, list("a", 3)),
            (0, list("b", 0)),
            (5, list("c", 1)),
            (500, list("d", 2)),
            (31, list("e", 1)),
        ];
        let (calls, told, well) = told_in_calls(lists, "").await;
        assert_eq!(calls, [&["a", "b", "c"][..], &["d"], &["e"]]);
        assert!(well);
        assert_eq!(names(&told), ["a", "b", "c", "d", "e"]);
    }

    /// What an earlier call told is told, though a later one fails; nothing of the later one is.
    #[tokio::test(start_paused = true)]
    async fn each_call_settles_what_it_told() {
        let lists = vec![(0, list("a", 1)), (20, list("b", 1)), (0, list("c", 1)), (0, list("d", 1))];
        let (calls, told, well) = told_in_calls(lists, "c").await;
        assert_eq!((calls, well), (vec![vec!["a".to_owned()]], false));
        assert_eq!(names(&told), ["a"]);
    }

    /// A list of more than a page ends with its last page.
    #[tokio::test]
    async fn a_long_list_goes_in_pages() {
        let mut long = list("a", 0);
        long.mailboxes = vec![MailboxId::of_address(&[0; 32], b"x"); MAILBOXES_PER_PAGE_MAX + 1];
        let (pages, mut stream) = mpsc::channel(PAGES_AHEAD);
        let (sent, pages) = tokio::join!(async move { send(&long, &pages).await }, async {
            let mut pages = Vec::new();
            while let Some(MailboxesPart::Page { mailboxes, complete, .. }) = stream.recv().await {
                pages.push((mailboxes.len(), complete));
            }
            pages
        });
        assert!(sent);
        assert_eq!(pages, [(MAILBOXES_PER_PAGE_MAX, false), (1, true)]);
    }
}
