//! What operators are told of shards and mailboxes, by the calls that the command makes.

use rientro_types::{
    Claim, Exception, HeldReason, MailboxId, MailboxView, Refusal, Selector, ServiceSet, ShardState,
    ShardView, Verb, VolumeId,
};
use rientro_wire::bulk::MailboxesPart;
use rientro_wire::operator::{Act, ActAnswer, ForecastPart, MailboxAnswer, MailboxQuery, ShardAnswer};
use rientro_wire::v1;

use crate::agent::{Agent, Manner, claim, shard, welcome_of};
use crate::cell::{Cell, Operator, start_verb, until, within};

async fn shown(operator: &Operator, name: &str) -> ShardView {
    answered(operator, name).await.shard
}

async fn answered(operator: &Operator, name: &str) -> ShardAnswer {
    let request = v1::GetShardRequest { shard: name.to_owned() };
    within(operator.client.clone().get_shard(request)).await.unwrap().into_inner().try_into().unwrap()
}

async fn contested(operator: &Operator) -> u64 {
    operator.cell().await.unwrap().cell.unwrap().shards_contested
}

/// T28: two nodes claim a shard that is closed: it is counted, and held since the second claim, also after a restart with
/// both of them gone, and with the holder back.
#[tokio::test(flavor = "multi_thread")]
async fn a_contested_shard_is_counted_and_keeps_its_time() {
    let cell = Cell::start().await;
    let holder = Agent::connect(cell.address(), "n1", Manner::Slow).await;
    holder.report(vec![claim("a")]).await.unwrap();
    let claimant = Agent::connect(cell.address(), "n2", Manner::Slow).await;
    claimant.report(vec![claim("a")]).await.unwrap();
    let operator = cell.operator().await;
    let before = shown(&operator, "a").await.shard;
    let hold = before.blocked.clone().unwrap();
    assert!(matches!(hold.reason, HeldReason::Contested { .. }), "{hold:?}");
    assert_eq!((before.state(), contested(&operator).await), (ShardState::Closed, 1));
    drop((holder, claimant, operator));

    let cell = cell.restart().await;
    let operator = cell.operator().await;
    assert_eq!(shown(&operator, "a").await.shard.blocked, Some(hold.clone()));
    let holder = Agent::connect(cell.address(), "n1", Manner::Slow).await;
    holder.report(vec![claim("a")]).await.unwrap();
    assert_eq!(
        shown(&operator, "a").await.shard.blocked,
        Some(hold),
        "the claimant is gone, its claim is not"
    );
    let selector = Selector { shards: vec![shard("a")], ..Selector::default() };
    let settle = Verb::Settle { selector, node: holder.node, reason: "n2 is gone".to_owned() };
    operator.act(settle).await.unwrap();
    let settled = until(|| shown(&operator, "a"), |view| view.shard.blocked.is_none()).await;
    assert_eq!((settled.shard.placement.node, contested(&operator).await), (holder.node, 0));
}

/// An exception closes nothing while no gate enforces it: what is told open is what is open.
#[tokio::test(flavor = "multi_thread")]
async fn an_exception_alone_closes_nothing() {
    let cell = Cell::start().await;
    let agent = Agent::connect(cell.address(), "n1", Manner::Slow).await;
    agent.report(vec![Claim { services: ServiceSet::ALL, ..claim("a") }]).await.unwrap();
    let key = welcome_of(&agent.heard.borrow()).unwrap().mailbox_key;
    let mailbox = MailboxId::of_address(&key, b"mario@libero.example");
    let header = MailboxesPart::Header { node: agent.node, incarnation: agent.incarnation };
    let page = MailboxesPart::Page { shard: shard("a"), mailboxes: vec![mailbox], complete: true };
    agent.report_mailboxes(vec![header.into(), page.into()]).await.unwrap();
    let operator = cell.operator().await;
    let reason = "asked for by telephone".to_owned();
    let exception = Some(Exception::Closed);
    operator.act(Verb::Except { shard: shard("a"), mailbox, exception, reason }).await.unwrap();
    let query = v1::FindMailboxRequest::from(MailboxQuery::Mailbox(mailbox));
    let answer = within(operator.client.clone().find_mailbox(query)).await.unwrap().into_inner();
    let views: Vec<MailboxView> = MailboxAnswer::try_from(answer).unwrap().views;
    let [view] = views.as_slice() else { panic!("one shard lists it") };
    assert_eq!((view.exception, view.open), (exception, ServiceSet::ALL));
    assert_eq!(view.since, view.shard.shard.state_since());
}

async fn tell(agent: &Agent, mut mailboxes: Vec<MailboxId>) {
    mailboxes.sort_unstable();
    let header = MailboxesPart::Header { node: agent.node, incarnation: agent.incarnation };
    let page = MailboxesPart::Page { shard: shard("a"), mailboxes, complete: true };
    agent.report_mailboxes(vec![header.into(), page.into()]).await.unwrap();
}

/// R7: what a list lacks for the first time while another volume is mounted is settled by no list after it, and holds the shard
/// once the right volume is back.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_list_lacks_beside_a_graver_hold_is_not_forgotten() {
    let cell = Cell::start().await;
    let agent = Agent::connect(cell.address(), "n1", Manner::Slow).await;
    agent.report(vec![claim("a")]).await.unwrap();
    let operator = cell.operator().await;
    let id = |no: u8| MailboxId::from_raw([no; 16]);
    tell(&agent, vec![id(1), id(2)]).await;
    let volume = VolumeId::new("fs:other").unwrap();
    agent.report(vec![Claim { volume, ..claim("a") }]).await.unwrap();
    let graver = shown(&operator, "a").await.shard.blocked.unwrap().reason;
    assert!(matches!(graver, HeldReason::VolumeWrong { .. }), "{graver:?}");
    for _ in 0..3 {
        tell(&agent, vec![id(2), id(3)]).await;
        let shard = shown(&operator, "a").await.shard;
        assert_eq!((shard.blocked.unwrap().reason, shard.unlisted), (graver.clone(), 1));
    }
    agent.report(vec![claim("a")]).await.unwrap();
    let held = shown(&operator, "a").await.shard.blocked.unwrap().reason;
    assert_eq!(held, HeldReason::MailboxesMissing { known: 10, shown: 10, unlisted: 1 });
    let answer = answered(&operator, "a").await;
    assert_eq!((answer.missing, answer.missing_known), (vec![id(1)], 1));
    tell(&agent, vec![id(1), id(2), id(3)]).await;
    assert_eq!(shown(&operator, "a").await.shard.blocked, None);
}

/// R7: a mailbox that vanishes from the list of a closed shard while another appears holds the shard, is found as gone, and
/// releases the shard when it is listed again.
#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_that_vanishes_from_a_list_holds_its_shard() {
    let cell = Cell::start().await;
    let agent = Agent::connect(cell.address(), "n1", Manner::Slow).await;
    agent.report(vec![claim("a")]).await.unwrap();
    let key = welcome_of(&agent.heard.borrow()).unwrap().mailbox_key;
    let id = |name: &str| MailboxId::of_address(&key, name.as_bytes());
    let tell = async |names: [&str; 2]| tell(&agent, names.map(id).to_vec()).await;
    let operator = cell.operator().await;
    let find = async |name: &str| {
        let query = v1::FindMailboxRequest::from(MailboxQuery::Mailbox(id(name)));
        let answer = within(operator.client.clone().find_mailbox(query)).await.unwrap().into_inner();
        MailboxAnswer::try_from(answer).unwrap()
    };
    tell(["mario", "anna"]).await;
    tell(["anna", "luca"]).await;
    let held = shown(&operator, "a").await.shard.blocked.unwrap().reason;
    assert_eq!(held, HeldReason::MailboxesMissing { known: 10, shown: 10, unlisted: 1 });
    let answer = answered(&operator, "a").await;
    assert_eq!((answer.missing, answer.missing_known), (vec![id("mario")], 1));
    let (anna, luca) = (find("anna").await.views.remove(0), find("luca").await.views.remove(0));
    assert_eq!((anna.listed, anna.since), (None, anna.shard.shard.services_since));
    assert!(luca.listed.is_some_and(|listed| luca.since == listed), "it is there since it is listed");
    let mario = find("mario").await;
    assert_eq!((mario.views.len(), mario.gone.len()), (0, 1));
    assert!(!mario.gone[0].served && mario.gone[0].listed <= mario.gone[0].missed);
    assert_eq!(find("luca").await.gone, vec![]);
    agent.report(vec![claim("a")]).await.unwrap();
    assert!(shown(&operator, "a").await.shard.blocked.is_some(), "as many are not the same");
    agent.report(vec![]).await.unwrap();
    tell(["anna", "luca"]).await;
    agent.report(vec![claim("a")]).await.unwrap();
    assert_eq!(shown(&operator, "a").await.shard.blocked.unwrap().reason, held, "it was away and is back");
    assert_eq!(answered(&operator, "a").await.missing, [id("mario")]);
    tell(["anna", "mario"]).await;
    let held = shown(&operator, "a").await.shard.blocked.unwrap().reason;
    assert_eq!(
        held,
        HeldReason::MailboxesMissing { known: 10, shown: 10, unlisted: 1 },
        "luca was there too"
    );
    assert_eq!(answered(&operator, "a").await.missing, [id("luca")]);
    let settle = Verb::Settle {
        selector: Selector { shards: vec![shard("a")], ..Selector::default() },
        node: agent.node,
        reason: "luca was a test".to_owned(),
    };
    operator.act(settle).await.unwrap();
    tell(["anna", "mario"]).await;
    let answer = answered(&operator, "a").await;
    assert_eq!((answer.shard.shard.blocked, answer.missing, answer.missing_known), (None, vec![], 0));
    assert_eq!((find("mario").await.views.len(), find("luca").await.gone.len()), (1, 1));
}

/// A plan whose name is taken has no waves, running or aborted, and nothing of an aborted campaign is promoted.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_not_forecast() {
    let cell = Cell::start().await;
    let agent = Agent::connect(cell.address(), "n1", Manner::Slow).await;
    agent.report(vec![claim("a"), claim("b")]).await.unwrap();
    let operator = cell.operator().await;
    operator.start("k").await.unwrap();
    let Verb::Start { plan, source: _ } = start_verb("k") else { panic!("a start") };
    let campaign = plan.name;
    for aborted in [false, true] {
        if aborted {
            operator.act(Verb::Abort { campaign }).await.unwrap();
        }
        let request = v1::CheckPlanRequest { plan: Some((*plan).clone().into()), revision: false };
        let mut parts = within(operator.client.clone().check_plan(request)).await.unwrap().into_inner();
        let first = within(parts.message()).await.unwrap().unwrap();
        let ForecastPart::Problems(problems) = first.try_into().unwrap() else { panic!("waves of k") };
        assert_eq!((problems.len(), problems[0].field.as_str()), (1, "name"));
        assert!(within(parts.message()).await.unwrap().is_none());
    }
    let promote = Verb::Promote { campaign, wave: rientro_types::WaveNo::from_raw(0) };
    let act = Act { actor: "anna".to_owned(), verb: promote.clone(), dry_run: true };
    let rehearsed = within(operator.client.clone().act(v1::ActRequest::from(act))).await.unwrap();
    let refused = ActAnswer::Refusal(Refusal::CampaignOver(campaign));
    assert_eq!(ActAnswer::try_from(rehearsed.into_inner()).unwrap(), refused);
    assert_eq!(operator.act(promote).await.unwrap(), refused);
}
