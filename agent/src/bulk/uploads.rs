//! Findings on their way to whoever asked for them: read page by page, and handed over at the pace of the reader.
//!
//! The reader may be a person who has left a pager open. What it leaves untaken holds a place here that other readers need, and
//! room on the connection that inventories need, so an upload of which nothing is taken for long is given up. The call then
//! breaks off before its end, which the orchestrator tells the reader as findings that are missing.

use std::io;
use std::time::Duration;

use rientro_types::{LocatedFinding, NodeId, NodeIncarnation};
use rientro_wire::bulk::FindingsPart;
use rientro_wire::limits::FINDINGS_PER_PAGE_MAX;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tonic::Status;

use crate::core::FindingsWanted;
use crate::findings::{FindingsReader, FindingsStore};

/// Longest time in which no page is taken, or in which no answer comes after the last one: enough for a peer that is busy, and
/// four times what the orchestrator waits for a page.
const UNTAKEN_MAX: Duration = Duration::from_secs(60);

/// Hands parts to a call as it takes them; gives it up when it takes none for too long.
pub(super) async fn hand_over<C>(
    mut made: mpsc::Receiver<FindingsPart>,
    call: impl FnOnce(mpsc::Receiver<FindingsPart>) -> C,
) -> Result<(), Status>
where
    C: Future<Output = Result<(), Status>>,
{
    // One at a time: that there is room again says that it was taken.
    let (parts, stream) = mpsc::channel(1);
    let untaken = async {
        while let Some(part) = made.recv().await {
            // Of a call that has ended the answer is there.
            if parts.send(part).await.is_err() {
                break;
            }
            if timeout(UNTAKEN_MAX, parts.reserve()).await.is_err() {
                return;
            }
        }
        drop(parts);
        sleep(UNTAKEN_MAX).await;
    };
    // Cancel-safe: a call that is dropped is given up, which is what is wanted; parts that were not taken go with it.
    tokio::select! {
        biased;
        answer = call(stream) => answer,
        () = untaken => Err(Status::deadline_exceeded(format!("nothing was taken for {UNTAKEN_MAX:?}"))),
    }
}

/// Reads the findings that are wanted into pages. A receiver that is gone ends it quietly.
pub(super) fn read(
    wanted: &FindingsWanted,
    store: &FindingsStore,
    node: NodeId,
    incarnation: NodeIncarnation,
    parts: &mpsc::Sender<FindingsPart>,
) -> io::Result<()> {
    let FindingsWanted { request_id, life, shard, attempt: asked, or_earlier, .. } = *wanted;
    let earlier = if or_earlier { store.newest(life, shard, asked)? } else { None };
    let attempt = earlier.unwrap_or(asked);
    let file = store.read(life, shard, attempt)?;
    let available = file.is_some();
    let header = FindingsPart::Header { node, incarnation, request_id, shard, attempt, available };
    if parts.blocking_send(header).is_err() {
        return Ok(());
    }
    file.map_or(Ok(()), |file| read_pages(wanted, file, parts))
}

fn read_pages(
    wanted: &FindingsWanted,
    mut file: FindingsReader,
    parts: &mpsc::Sender<FindingsPart>,
) -> io::Result<()> {
    let any = wanted.kinds.bits() == 0;
    let mut findings_total = 0;
    let mut page: Vec<LocatedFinding> = Vec::new();
    while let Some(located) = file.read()? {
        if !any && !wanted.kinds.contains(located.finding.kind) {
            continue;
        }
        findings_total += 1;
        if findings_total > wanted.max_findings {
            continue;
        }
        page.push(if wanted.with_addresses { located } else { located.without_address() });
        if page.len() == FINDINGS_PER_PAGE_MAX
            && parts.blocking_send(FindingsPart::Page(std::mem::take(&mut page))).is_err()
        {
            return Ok(());
        }
    }
    if !page.is_empty() {
        parts.blocking_send(FindingsPart::Page(page)).ok();
    }
    parts.blocking_send(FindingsPart::End { findings_total }).ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::Instant;
    use tonic::Code;

    use super::*;

    const PAGES: usize = 9;

    /// An upload of some pages to a reader that takes `taken` parts, one in each `pause`, and answers after the end.
    async fn upload(pause: Duration, taken: usize) -> Result<usize, Status> {
        let (to, made) = mpsc::channel(PAGES + 1);
        for _ in 0..PAGES {
            to.send(FindingsPart::Page(Vec::new())).await.unwrap();
        }
        to.send(FindingsPart::End { findings_total: 0 }).await.unwrap();
        drop(to);
        let count = Cell::new(0);
        let call = |mut stream: mpsc::Receiver<FindingsPart>| {
            let count = &count;
            async move {
                while count.get() < taken {
                    sleep(pause).await;
                    let Some(_) = stream.recv().await else { return Ok(()) };
                    count.set(count.get() + 1);
                }
                std::future::pending().await
            }
        };
        hand_over(made, call).await?;
        Ok(count.get())
    }

    /// A reader that is slow gets all of it; one that takes nothing more is given up in its time, wherever it stopped.
    #[tokio::test(start_paused = true)]
    async fn only_a_reader_that_stands_still_is_given_up() {
        let slow = UNTAKEN_MAX - Duration::from_secs(1);
        assert_eq!(upload(slow, usize::MAX).await.unwrap(), PAGES + 1);
        for taken in [0, 3, PAGES + 1] {
            let began = Instant::now();
            assert_eq!(upload(Duration::ZERO, taken).await.unwrap_err().code(), Code::DeadlineExceeded);
            assert_eq!(began.elapsed().as_secs(), UNTAKEN_MAX.as_secs(), "{taken} were taken");
        }
    }
}
