//! Readers of what happens, fast and slow.

use rientro_types::{CampaignId, CampaignState, Exception, MailboxId, REASON_BYTES_MAX, Verb};
use rientro_wire::operator::{ActAnswer, WatchEvent, WatchQuery};
use rientro_wire::v1;
use tonic::{Code, Streaming};

use crate::agent::{Agent, Manner, claim, shard};
use crate::cell::{Cell, Operator, within};

/// More entries of a kilobyte than the ring, the stream and its buffers hold together.
const ENTRIES: usize = 2_000;

async fn watch(operator: &Operator, query: WatchQuery) -> Streaming<v1::WatchResponse> {
    within(operator.client.clone().watch(v1::WatchRequest::from(query))).await.unwrap().into_inner()
}

async fn next(events: &mut Streaming<v1::WatchResponse>) -> WatchEvent {
    within(events.message()).await.unwrap().unwrap().try_into().unwrap()
}

/// A reader that does not read holds up nobody; it is told how much it missed, and goes on with the present.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_watcher_is_told_what_it_missed_and_holds_up_nobody() {
    let cell = Cell::start().await;
    let agent = Agent::connect(cell.address(), "n1", Manner::Slow).await;
    agent.report(vec![claim("a")]).await.unwrap();
    let operator = cell.operator().await;
    operator.start("k").await.unwrap();
    // On a connection of its own, so that its unread messages take no window from the operator's.
    let reader = cell.operator().await;
    let mut slow = watch(&reader, WatchQuery { campaign: None, include_decisions: true }).await;

    let mut last = None;
    for no in 0..ENTRIES {
        let exception = (no % 2 == 0).then_some(Exception::Closed);
        let mailbox = MailboxId::from_raw([1; 16]);
        let verb =
            Verb::Except { shard: shard("a"), mailbox, exception, reason: "r".repeat(REASON_BYTES_MAX) };
        let ActAnswer::Receipt(receipt) = operator.act(verb).await.unwrap() else { panic!("refused") };
        last = receipt.decided;
    }
    let (mut missed, mut newest) = (0, None);
    while newest < last {
        match next(&mut slow).await {
            WatchEvent::Lagged(lagged) => missed += lagged.missed,
            WatchEvent::Decided(decided) => newest = Some(decided.seq),
            WatchEvent::Cell(_) | WatchEvent::Campaign(_) => {}
        }
    }
    assert!(missed > 0, "{ENTRIES} entries do not fit into what waits for a reader");
}

/// A watcher of one campaign sees it as it is, and its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_is_watched_to_its_end() {
    let cell = Cell::start().await;
    let agent = Agent::connect(cell.address(), "n1", Manner::Diligent).await;
    agent.report(vec![claim("a"), claim("b")]).await.unwrap();
    let operator = cell.operator().await;
    let unknown = v1::WatchRequest { campaign: Some("k".to_owned()), include_decisions: false };
    assert_eq!(within(operator.client.clone().watch(unknown)).await.unwrap_err().code(), Code::NotFound);
    operator.start("k").await.unwrap();
    let campaign = CampaignId::new("k").unwrap();
    let mut events = watch(&operator, WatchQuery { campaign: Some(campaign), include_decisions: true }).await;
    loop {
        if let WatchEvent::Campaign(view) = next(&mut events).await
            && view.state == CampaignState::Ended
        {
            return;
        }
    }
}
