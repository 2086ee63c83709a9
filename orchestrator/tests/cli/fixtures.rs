//! A small cell in the middle of a return: what the canned server shows.

use std::collections::BTreeMap;

use rientro_types::{
    ActiveTime, Actor, ActorKind, AttemptNo, Authentication, CampaignId, CampaignState, CampaignView, CellId,
    CellTime, CellView, Charge, CloseCause, Decision, Digest, Entry, Epoch, Finding, FindingKind,
    FindingKinds, FleetLimits, HeldReason, Hold, Incarnation, LabelKey, LabelValue, Level, LocatedFinding,
    MailboxId, Membership, NodeId, NodeIncarnation, NodeView, Outcome, PauseCause, Phase, Placement,
    PlacementNo, Plan, PolicyBreach, Ppm, Progress, Promotion, Record, Revision, Seq, ServiceSet, ShardId,
    ShardSnapshot, ShardState, ShardView, Span, Standing, StateCounts, Tally, TaskFailure, Twin,
    UnknownCause, Verdict, Verification, VolumeId, WaitingOn, WaveForecast, WaveNo, WaveState, WaveView,
};

/// 2026-01-23 04:12:00 UTC.
pub(crate) const NOW_MS: u64 = 1_769_141_520_000;

pub(crate) const PLAN: &str = r#"name = "return-1"

[waves]
list = ["10%", "40%", "rest"]
bake = "30m"

[waves.domain_caps]
rack = "60%"
"#;

pub(crate) fn at(before: Span) -> CellTime {
    CellTime::from_unix_ms(NOW_MS) - before
}

pub(crate) fn minutes(minutes: u64) -> Span {
    Span::from_secs(minutes * 60)
}

pub(crate) fn shard_id(name: &str) -> ShardId {
    ShardId::new(name).expect("a name")
}

pub(crate) fn node_id(name: &str) -> NodeId {
    NodeId::new(name).expect("a name")
}

pub(crate) fn campaign_id() -> CampaignId {
    CampaignId::new("return-1").expect("a name")
}

pub(crate) fn mailbox_id() -> MailboxId {
    MailboxId::of_address(&[7; 32], b"mario@libero.example")
}

pub(crate) fn plan() -> Plan {
    rientro_orchestrator::plan::read(PLAN.as_bytes()).expect("a valid plan").plan
}

fn labels(rack: &str) -> BTreeMap<LabelKey, LabelValue> {
    let of = |key, value| (LabelKey::new(key).expect("a name"), LabelValue::new(value).expect("a name"));
    [of("rack", rack), of("site", "milan")].into()
}

pub(crate) fn shard(name: &str, node: &str, wave: u32, phase: Phase) -> ShardView {
    let open = phase.state() == ShardState::Open;
    let services = if open { ServiceSet::ALL } else { ServiceSet::NONE };
    let shard = ShardSnapshot {
        shard: shard_id(name),
        placement: Placement {
            no: PlacementNo::from_raw(1),
            node: node_id(node),
            volume: VolumeId::new(&format!("marker:{name}")).expect("a name"),
        },
        mailboxes: 800,
        bytes: 0,
        services,
        services_since: at(minutes(141)),
        seen: services,
        phase,
        since: at(minutes(134)),
        blocked: None,
        unlisted: 0,
        doubted: false,
        attempt: AttemptNo::from_raw(2),
        failures: 0,
        charge: Charge::None,
        member: Some(Membership { campaign: campaign_id(), wave: WaveNo::from_raw(wave), rank: 1 }),
        standing: None,
        accepted: None,
        exceptions: BTreeMap::new(),
    };
    ShardView { shard, waiting_on: None }
}

fn damaged() -> Standing {
    let mut kinds = FindingKinds::NONE;
    kinds.insert(FindingKind::ZeroBlock);
    kinds.insert(FindingKind::SizeMismatch);
    let tally = Tally {
        mailboxes: 800,
        messages: 10_000,
        messages_damaged: 12,
        mailboxes_damaged: 3,
        findings: 14,
        bytes: 64 << 30,
        kinds,
        ..Tally::default()
    };
    let verdict = Verdict { outcome: Outcome::Damaged, level: Level::Structure, coverage: Ppm::ONE, tally };
    Standing {
        verification: Verification {
            verdict,
            stat_walk: Digest::ZERO,
            findings: Digest::ZERO,
            volume: VolumeId::new("marker:vol-07").expect("a name"),
        },
        at: at(minutes(40)),
        attempt: AttemptNo::from_raw(2),
        policy: plan().policy,
        damaged: vec![mailbox_id()],
    }
}

fn clean() -> Standing {
    let mut standing = damaged();
    let tally = Tally { mailboxes: 800, messages: 10_000, bytes: 64 << 30, ..Tally::default() };
    standing.verification.verdict =
        Verdict { outcome: Outcome::Clean, level: Level::Structure, coverage: Ppm::ONE, tally };
    standing.damaged.clear();
    standing
}

/// A verification of all of it has passed or found something.
fn stands(view: &mut ShardView, standing: Standing) {
    view.shard.bytes = standing.verification.verdict.tally.bytes;
    view.shard.standing = Some(standing);
}

fn waits(mut view: ShardView, on: WaitingOn) -> ShardView {
    view.waiting_on = Some(on);
    view
}

/// A shard of each sort that operators ask about.
pub(crate) fn shards() -> Vec<ShardView> {
    let breach = PolicyBreach::Damaged { messages_damaged: 12, messages: 10_000, per_million_max: 0 };
    let mut held = waits(
        shard("vol-07", "n1", 0, Phase::Held { reason: Box::new(HeldReason::Policy(breach)) }),
        WaitingOn::Operator,
    );
    stands(&mut held, damaged());
    let verifying =
        Phase::Verifying { attempt: AttemptNo::from_raw(3), deadline: ActiveTime::from_ms(1_000_000) };
    let progress = Progress { mailboxes: 200, messages: 2_500, bytes: 16 << 30, findings: 0 };
    let mut verified = waits(
        shard("vol-09", "n2", 2, Phase::Verified),
        WaitingOn::Wave {
            wave: WaveNo::from_raw(2),
            current: WaveNo::from_raw(1),
            promotion: Promotion::Automatic,
            earlier: Some(WaveNo::from_raw(1)),
        },
    );
    stands(&mut verified, clean());
    let mut open = shard("vol-01", "n1", 0, Phase::Open { adopted: false });
    stands(&mut open, clean());
    let mut silent = waits(shard("vol-11", "n3", 2, Phase::Waiting), WaitingOn::Operator);
    silent.shard.blocked = Some(Hold {
        reason: HeldReason::NodeSilent { node: node_id("n3"), silent_for: Span::from_ms(65_341) },
        since: at(minutes(11)),
    });
    vec![
        open,
        waits(shard("vol-03", "n1", 1, Phase::Closed { cause: CloseCause::Operator }), WaitingOn::Operator),
        held,
        waits(
            shard("vol-08", "n2", 1, verifying),
            WaitingOn::Task { running: minutes(10), progress: Some(progress) },
        ),
        verified,
        waits(
            shard(
                "vol-10",
                "n2",
                1,
                Phase::Failed { last: TaskFailure::Agent { problem: "no space\u{1b}[2J left".to_owned() } },
            ),
            WaitingOn::Operator,
        ),
        silent,
        waits(
            shard(
                "vol-12",
                "n3",
                2,
                Phase::Held { reason: Box::new(HeldReason::Unknown(UnknownCause::Empty)) },
            ),
            WaitingOn::Operator,
        ),
    ]
}

pub(crate) fn counts<'a>(shards: impl IntoIterator<Item = &'a ShardView>) -> StateCounts {
    let mut counts = StateCounts::default();
    shards.into_iter().for_each(|view| counts.count(view.shard.state(), view.shard.mailboxes));
    counts
}

/// A copy of a node's agent, which knocks.
pub(crate) fn twin() -> Twin {
    let last = at(Span::from_secs(4));
    Twin { since: at(minutes(5)), last, knocks: 1_234, serves: 2, inside: false, quiet: false }
}

pub(crate) fn nodes() -> Vec<NodeView> {
    let shards = shards();
    let node = |name: &str, rack: &str, connected, silent: Option<CellTime>| NodeView {
        node: node_id(name),
        incarnation: NodeIncarnation::from_raw(0xabc),
        labels: labels(rack),
        connected,
        heard_ago: Some(if connected { Span::from_secs(1) } else { minutes(12) }),
        silent,
        verifying: u32::from(connected),
        confirming: 0,
        counts: counts(shards.iter().filter(|view| view.shard.placement.node == node_id(name))),
        twin: None,
    };
    vec![
        node("n1", "r1", true, None),
        NodeView { twin: Some(twin()), ..node("n2", "r1", true, None) },
        node("n3", "r2", false, Some(at(minutes(11)))),
    ]
}

pub(crate) fn cell() -> CellView {
    CellView {
        cell: CellId::new("demo").expect("a name"),
        incarnation: Incarnation::from_raw(1),
        epoch: Epoch::from_raw(4),
        seq_next: Seq::from_raw(4_712),
        at: CellTime::from_unix_ms(NOW_MS),
        limits: FleetLimits::default(),
        nodes: 3,
        nodes_connected: 2,
        nodes_silent: 1,
        nodes_twinned: 1,
        counts: counts(&shards()),
        shards_contested: 1,
        shards_impaired: 0,
        campaigns_live: 1,
        leading_since: at(minutes(300)),
    }
}

pub(crate) fn campaign() -> CampaignView {
    let shards = shards();
    let of = |no: u32| {
        let wave = WaveNo::from_raw(no);
        counts(shards.iter().filter(move |view| view.shard.member.is_some_and(|member| member.wave == wave)))
    };
    let wave = |no, state, lost| WaveView {
        wave: WaveNo::from_raw(no),
        state,
        counts: of(no),
        mailboxes_lost: lost,
        mailboxes_returning: 0,
        mailboxes_lost_max: 48,
    };
    CampaignView {
        campaign: campaign_id(),
        revision: Revision::from_raw(1),
        plan: plan(),
        source: Digest::of(PLAN.as_bytes()),
        state: CampaignState::Running,
        started: at(minutes(140)),
        ended: None,
        wave: Some(WaveNo::from_raw(1)),
        counts: counts(&shards),
        bytes_verified: 200 << 30,
        shards_gone: 0,
        waves: vec![
            wave(0, WaveState::Passed, 800),
            wave(1, WaveState::Baking { until: CellTime::from_unix_ms(NOW_MS) + minutes(18) }, 0),
            wave(2, WaveState::Waiting, 0),
        ],
    }
}

/// The campaign at its end, everything open.
pub(crate) fn campaign_back() -> CampaignView {
    let mut campaign = campaign();
    campaign.counts = StateCounts::default();
    (0..8).for_each(|_| campaign.counts.count(ShardState::Open, 800));
    campaign.state = CampaignState::Ended;
    campaign.ended = Some(CellTime::from_unix_ms(NOW_MS));
    campaign.wave = None;
    campaign
}

/// The campaign at its end, with shards that are held.
pub(crate) fn campaign_partly_back() -> CampaignView {
    let mut campaign = campaign_back();
    campaign.counts.count(ShardState::Held, 800);
    campaign
}

pub(crate) fn campaign_paused() -> CampaignView {
    let mut campaign = campaign();
    campaign.state = CampaignState::Paused(PauseCause::ErrorBudget {
        wave: WaveNo::from_raw(1),
        mailboxes_lost: 800,
        mailboxes: 2_400,
        budget: Ppm::new(20_000).expect("within bounds"),
    });
    campaign
}

pub(crate) fn forecast() -> Vec<WaveForecast> {
    let wave = |no: u32, shards: &[&str], mailboxes| WaveForecast {
        wave: WaveNo::from_raw(no),
        shards: shards.iter().map(|name| shard_id(name)).collect(),
        mailboxes,
        bytes: 0,
    };
    vec![
        wave(0, &["vol-07"], 800),
        wave(1, &["vol-03", "vol-08", "vol-10"], 2_400),
        wave(2, &["vol-09", "vol-11"], 1_600),
    ]
}

pub(crate) fn anna() -> Actor {
    Actor { kind: ActorKind::Operator, id: "anna".to_owned(), authentication: Authentication::Loopback }
}

pub(crate) fn decisions() -> Vec<Decision> {
    let by = |actor: &Actor, record| Decision { actor: actor.clone(), record };
    let selector = rientro_types::Selector {
        campaign: Some(campaign_id()),
        states: vec![ShardState::Held],
        ..rientro_types::Selector::default()
    };
    vec![
        by(
            &Actor::orchestrator(),
            Record::WaveStarted { campaign: campaign_id(), wave: WaveNo::from_raw(1) },
        ),
        by(&anna(), Record::Closed { selector, reason: "users report loops".to_owned() }),
        by(&Actor::orchestrator(), Record::ShardOpened { shard: shard_id("vol-01") }),
        by(
            &Actor::orchestrator(),
            Record::ShardHeld { shard: shard_id("vol-12"), reason: HeldReason::Unknown(UnknownCause::Empty) },
        ),
    ]
}

pub(crate) fn entry() -> Entry {
    Entry {
        seq: Seq::from_raw(4_708),
        epoch: Epoch::from_raw(4),
        at: at(Span::from_secs(30)),
        previous: Digest::ZERO,
        decisions: decisions(),
    }
}

pub(crate) fn findings() -> Vec<LocatedFinding> {
    let finding = |kind, path: &[u8], detail: &str| LocatedFinding {
        mailbox_id: Some(mailbox_id()),
        address: None,
        finding: Finding { kind, mailbox: Vec::new(), path: path.to_vec(), detail: detail.to_owned() },
    };
    vec![
        finding(FindingKind::ZeroBlock, b"cur/1.M1.host,S=8192:2,S", "block 1 of 2"),
        finding(FindingKind::NameNotUtf8, b".Caf\xe9/cur", "1 byte"),
    ]
}
