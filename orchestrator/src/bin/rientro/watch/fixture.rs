//! A campaign to watch, for unit tests.

use rientro_types::{
    Actor, ActorKind, Authentication, CampaignId, CampaignState, CampaignView, CellId, CellTime, CellView,
    Decision, Digest, Epoch, FleetLimits, Incarnation, NodeId, NodeIncarnation, NodeView, PauseCause, Record,
    Revision, Seq, ShardState, StateCounts, WaveNo, WaveState, WaveView,
};
use rientro_wire::operator::{Decided, WatchEvent};

use super::picture::Picture;

/// 2026-01-23 04:12:00 UTC.
const BEGUN_MS: u64 = 1_769_141_520_000;

const PLAN: &str = "name = \"r\"\n[waves]\nlist = [\"10%\", \"30%\", \"rest\"]\nbake = \"10m\"\n";

/// A running campaign with so many mailboxes waiting and open, each shard with one.
pub(crate) fn campaign(waiting: u64, open: u64) -> CampaignView {
    let plan = rientro_orchestrator::plan::read(PLAN.as_bytes()).expect("a valid plan").plan;
    let mut counts = StateCounts::default();
    (0..waiting).for_each(|_| counts.count(ShardState::Waiting, 1));
    (0..open).for_each(|_| counts.count(ShardState::Open, 1));
    CampaignView {
        campaign: plan.name,
        revision: Revision::from_raw(1),
        plan,
        source: Digest::ZERO,
        state: CampaignState::Running,
        started: CellTime::from_unix_ms(BEGUN_MS),
        ended: None,
        wave: Some(WaveNo::from_raw(0)),
        counts,
        bytes_verified: open * 1_000_000,
        shards_gone: 0,
        waves: vec![wave(0, WaveState::Opening, counts)],
    }
}

fn wave(no: u32, state: WaveState, counts: StateCounts) -> WaveView {
    WaveView {
        wave: WaveNo::from_raw(no),
        state,
        counts,
        mailboxes_lost: 0,
        mailboxes_returning: 0,
        mailboxes_lost_max: 10,
    }
}

/// The cell, so long after the campaign began.
pub(crate) fn cell(after_ms: u64) -> CellView {
    CellView {
        cell: CellId::new("demo").expect("a name"),
        incarnation: Incarnation::from_raw(1),
        epoch: Epoch::from_raw(1),
        seq_next: Seq::from_raw(100),
        at: CellTime::from_unix_ms(BEGUN_MS + after_ms),
        limits: FleetLimits::default(),
        nodes: 3,
        nodes_connected: 3,
        nodes_silent: 0,
        nodes_twinned: 0,
        counts: StateCounts::default(),
        shards_contested: 0,
        shards_impaired: 0,
        campaigns_live: 1,
        leading_since: CellTime::from_unix_ms(BEGUN_MS),
    }
}

/// An operator's pause, so long after the campaign began.
pub(crate) fn decided(after_ms: u64) -> WatchEvent {
    let actor =
        Actor { kind: ActorKind::Operator, id: "anna".to_owned(), authentication: Authentication::Loopback };
    let campaign = CampaignId::new("r").expect("a name");
    let record = Record::CampaignPaused { campaign, cause: PauseCause::Operator };
    let at = CellTime::from_unix_ms(BEGUN_MS + after_ms);
    WatchEvent::Decided(Decided { seq: Seq::from_raw(99), at, decisions: vec![Decision { actor, record }] })
}

/// A campaign that simply goes on, watched for half a minute.
pub(crate) fn running() -> Picture {
    let mut picture = Picture::new(campaign(1_000, 0));
    for second in 0..=30 {
        picture.take(WatchEvent::Cell(Box::new(cell(second * 1_000))), second * 1_000);
        let event = WatchEvent::Campaign(Box::new(campaign(1_000 - second * 10, second * 10)));
        picture.take(event, second * 1_000);
    }
    picture
}

/// A node without a connection that is not silent yet.
pub(crate) fn offline(name: &str) -> NodeView {
    NodeView {
        node: NodeId::new(name).expect("a name"),
        incarnation: NodeIncarnation::from_raw(1),
        labels: std::collections::BTreeMap::new(),
        connected: false,
        heard_ago: None,
        silent: None,
        verifying: 0,
        confirming: 0,
        counts: StateCounts::default(),
        twin: None,
    }
}

/// A campaign with everything that can be shown at once.
pub(crate) fn picture() -> Picture {
    let mut picture = running();
    let view = &mut picture.campaign;
    let mut held = StateCounts::default();
    held.count(ShardState::Held, 120);
    held.count(ShardState::Open, 300);
    let mut waiting = StateCounts::default();
    waiting.count(ShardState::Waiting, 9_000);
    view.counts.count(ShardState::Held, 120);
    view.counts.count(ShardState::Verifying, 500);
    view.state = CampaignState::Paused(PauseCause::Operator);
    view.wave = Some(WaveNo::from_raw(1));
    let until = CellTime::from_unix_ms(BEGUN_MS + 500_000);
    view.waves = vec![
        wave(0, WaveState::Passed, view.waves[0].counts),
        WaveView { mailboxes_lost: 120, ..wave(1, WaveState::Baking { until }, held) },
        wave(2, WaveState::Waiting, waiting),
    ];
    picture.take(decided(29_000), 31_000);
    picture.away = vec![NodeView { silent: Some(CellTime::from_unix_ms(BEGUN_MS)), ..offline("n3") }];
    picture.lost = Some("cannot reach the cell at http://127.0.0.1:1: connection refused".to_owned());
    picture
}
