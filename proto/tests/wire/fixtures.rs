//! One entry of every kind of record and one record of every kind of snapshot, always the same.

use std::collections::BTreeMap;

use rientro_types::*;

/// The record of every kind, with the name of its line in the golden file.
pub(crate) fn records() -> Vec<(&'static str, Record)> {
    [shards(), campaigns(), tasks(), operators()].into_iter().flatten().collect()
}

fn shards() -> Vec<(&'static str, Record)> {
    let limits = limits();
    vec![
        (
            "cell_founded",
            Record::CellFounded {
                cell: cell(),
                incarnation: Incarnation::from_raw(1),
                mailbox_key: digest(9),
            },
        ),
        ("cell_restored", Record::CellRestored { incarnation: Incarnation::from_raw(2) }),
        ("leader_took", Record::LeaderTook { epoch: Epoch::from_raw(7) }),
        ("absent", Record::Absent { span: Span::from_secs(3600) }),
        ("clock_marked", Record::ClockMarked),
        ("limits_set", Record::LimitsSet { limits }),
        (
            "node_enrolled",
            Record::NodeEnrolled {
                node: node(),
                incarnation: NodeIncarnation::from_raw(u64::MAX),
                labels: labels(),
            },
        ),
        ("node_silent", Record::NodeSilent { node: node(), silent_for: Span::from_ms(60_001) }),
        ("node_heard", Record::NodeHeard { node: node() }),
        ("shard_met", Record::ShardMet { node: node(), claim: claim() }),
        ("shard_measured", Record::ShardMeasured { shard: shard(), mailboxes: 812 }),
        ("shard_placed", Record::ShardPlaced { shard: shard(), placement: placement() }),
        ("shard_held", Record::ShardHeld { shard: shard(), reason: contested() }),
        ("shard_released", Record::ShardReleased { shard: shard() }),
        ("shard_unlisted", Record::ShardUnlisted { shard: shard(), unlisted: 2 }),
    ]
}

fn campaigns() -> Vec<(&'static str, Record)> {
    let (campaign, wave) = (campaign(), WaveNo::from_raw(3));
    vec![
        (
            "campaign_started",
            Record::CampaignStarted { plan: Box::new(plan()), source: digest(1), seed: [9; 32] },
        ),
        ("wave_formed", Record::WaveFormed { campaign, wave, shards: vec![shard()] }),
        ("campaign_ready", Record::CampaignReady { campaign }),
        (
            "campaign_revised",
            Record::CampaignRevised {
                revision: Revision::from_raw(2),
                plan: Box::new(other_plan()),
                source: digest(2),
            },
        ),
        ("campaign_paused", Record::CampaignPaused { campaign, cause: pause() }),
        ("campaign_resumed", Record::CampaignResumed { campaign }),
        ("campaign_aborted", Record::CampaignAborted { campaign }),
        ("campaign_ended", Record::CampaignEnded { campaign }),
        ("wave_started", Record::WaveStarted { campaign, wave }),
        ("wave_settled", Record::WaveSettled { campaign, wave }),
        ("wave_unsettled", Record::WaveUnsettled { campaign, wave }),
        ("wave_passed", Record::WavePassed { campaign, wave, cause: PassCause::Promoted }),
    ]
}

fn tasks() -> Vec<(&'static str, Record)> {
    let (shard, node, attempt) = (shard(), node(), AttemptNo::from_raw(4));
    let timeout = Span::from_secs(900);
    let end = TaskEnd::Verified { verification: verification(), damaged: vec![MailboxId::from_raw([5; 16])] };
    vec![
        ("task_started", Record::TaskStarted { shard, kind: TaskKind::Confirm, attempt, node, timeout }),
        ("task_ended", Record::TaskEnded { shard, attempt, end, backoff: Span::from_secs(30), waited: true }),
        ("task_released", Record::TaskReleased { node, shard, attempt }),
        ("verification_expired", Record::VerificationExpired { shard }),
        ("step_opening", Record::StepOpening { shard, services: services(), timeout }),
        ("opening_overdue", Record::OpeningOverdue { shard }),
        ("services_seen", Record::ServicesSeen { shard, services: ServiceSet::NONE }),
        ("shard_opened", Record::ShardOpened { shard }),
    ]
}

fn operators() -> Vec<(&'static str, Record)> {
    let (shard, selector, reason) = (shard(), selector(), "checked by hand".to_owned());
    let exception = Record::ExceptionSet {
        shard,
        mailbox: MailboxId::from_raw([6; 16]),
        exception: Some(Exception::Accepted),
        reason: reason.clone(),
    };
    vec![
        ("settled", Record::Settled { selector: selector.clone(), node: node(), reason: reason.clone() }),
        (
            "closed",
            Record::Closed {
                selector: Selector { all: true, ..Selector::default() },
                reason: reason.clone(),
            },
        ),
        ("retried", Record::Retried { selector: selector.clone() }),
        ("accepted", Record::Accepted { selector: selector.clone(), reason: reason.clone() }),
        ("prioritised", Record::Prioritised { selector: selector.clone() }),
        ("adopted", Record::Adopted { selector, services: services(), reason }),
        ("exception_set", exception),
    ]
}

/// The entry that holds a record.
pub(crate) fn entry(record: Record) -> Entry {
    let actor =
        Actor { kind: ActorKind::Operator, id: "mario".to_owned(), authentication: Authentication::UnixPeer };
    Entry {
        seq: Seq::from_raw(300),
        epoch: Epoch::from_raw(7),
        at: CellTime::from_unix_ms(1_674_300_000_000),
        previous: digest(0),
        decisions: vec![Decision { actor, record }],
    }
}

/// The snapshot record of every kind, with the name of its line in the golden file.
pub(crate) fn snapshots() -> Vec<(&'static str, SnapshotRecord)> {
    let cell = CellSnapshot {
        cell: cell(),
        incarnation: Incarnation::from_raw(1),
        mailbox_key: digest(9),
        epoch: Epoch::from_raw(7),
        seq_next: Seq::from_raw(301),
        at: CellTime::from_unix_ms(1_674_300_000_000),
        limits: limits(),
    };
    let node = NodeSnapshot {
        node: node(),
        incarnation: NodeIncarnation::from_raw(2),
        retired: vec![NodeIncarnation::from_raw(1)],
        labels: labels(),
        silent: Some(CellTime::from_unix_ms(5)),
        busy: vec![Busy { shard: shard(), attempt: AttemptNo::from_raw(4), kind: TaskKind::Verify }],
    };
    let waves =
        [WaveState::Passed, WaveState::Baking { until: CellTime::from_unix_ms(9) }, WaveState::Waiting];
    let campaign = CampaignSnapshot {
        plan: plan(),
        source: digest(1),
        revision: Revision::from_raw(0),
        seed: [9; 32],
        state: CampaignState::Paused(pause()),
        started: CellTime::from_unix_ms(1),
        ended: None,
        paused: Some(Pause { since: CellTime::from_unix_ms(2), cause: pause() }),
        clock_behind: Span::from_ms(3),
        shards_gone: 4,
        waves: waves.into_iter().map(|state| WaveSnapshot { state }).collect(),
    };
    vec![
        ("snapshot_cell", SnapshotRecord::Cell(cell)),
        ("snapshot_node", SnapshotRecord::Node(node)),
        ("snapshot_campaign", SnapshotRecord::Campaign(Box::new(campaign))),
        ("snapshot_shard", SnapshotRecord::Shard(Box::new(shard_snapshot()))),
    ]
}

fn shard_snapshot() -> ShardSnapshot {
    let standing = Standing {
        verification: verification(),
        at: CellTime::from_unix_ms(8),
        attempt: AttemptNo::from_raw(4),
        policy: policy(),
        damaged: vec![MailboxId::from_raw([5; 16])],
    };
    ShardSnapshot {
        shard: shard(),
        placement: placement(),
        mailboxes: 812,
        bytes: 1 << 40,
        services: services(),
        services_since: CellTime::from_unix_ms(7),
        seen: ServiceSet::NONE,
        phase: Phase::Opening { step: 1, deadline: ActiveTime::from_ms(77) },
        since: CellTime::from_unix_ms(8),
        blocked: Some(Hold { reason: contested(), since: CellTime::from_unix_ms(10) }),
        unlisted: 3,
        doubted: true,
        attempt: AttemptNo::from_raw(4),
        failures: 2,
        charge: Charge::Forgiven,
        member: Some(Membership { campaign: campaign(), wave: WAVE_UNASSIGNED, rank: 11 }),
        standing: Some(standing),
        accepted: Some(Acceptance { by: "mario".to_owned(), reason: "checked by hand".to_owned() }),
        exceptions: BTreeMap::from([(MailboxId::from_raw([6; 16]), Exception::Closed)]),
    }
}

/// A plan that uses explicit waves and coverages of every kind.
pub(crate) fn plan() -> Plan {
    Plan {
        name: campaign(),
        kind: CampaignKind::Restore,
        covers: Coverage::All,
        classes: vec![
            Class { covers: Coverage::Labels(labels()), weight: 10 },
            Class { covers: Coverage::Shards(vec![shard()]), weight: 20 },
        ],
        seed: Some([8; 32]),
        waves: Waves {
            schedule: Schedule::List(vec![Share::Shards(3), Share::Mailboxes(ppm(100_000)), Share::Rest]),
            domain_caps: vec![DomainCap { label: LabelKey::new("rack").unwrap(), max: ppm(250_000) }],
            promotion: Promotion::Manual,
            bake: Span::from_secs(600),
            error_budget_canary: ppm(0),
            error_budget: ppm(20_000),
        },
        policy: policy(),
        tries: Tries {
            attempts_max: 3,
            backoff_first: Span::from_secs(30),
            backoff_max: Span::from_secs(600),
            verify_timeout: Span::from_secs(7_200),
            confirm_timeout: Span::from_secs(900),
            stall_timeout: Span::from_secs(300),
            open_timeout: Span::from_secs(60),
        },
        opening: Opening {
            steps: vec![services(), ServiceSet::NONE.with(Service::Delivery)],
            in_flight_max: 64,
        },
        pace: Pace { bytes_per_second: ByteSize::from_bytes(64 << 20), readers: 8 },
    }
}

fn other_plan() -> Plan {
    let schedule = Schedule::Growth { first: ppm(10_000), percent: 200, max: ppm(300_000) };
    let waves = Waves { schedule, promotion: Promotion::Automatic, ..plan().waves };
    Plan { seed: None, covers: Coverage::Shards(vec![shard()]), classes: Vec::new(), waves, ..plan() }
}

pub(crate) fn verification() -> Verification {
    let mut kinds = FindingKinds::NONE;
    kinds.insert(FindingKind::SizeMismatch);
    kinds.insert(FindingKind::LimitReached);
    let tally = Tally {
        mailboxes: 812,
        messages: 400_000,
        bytes: 1 << 40,
        messages_damaged: 3,
        messages_unreadable: 2,
        mailboxes_damaged: 1,
        mailboxes_broken: 1,
        mailboxes_unreadable: 1,
        findings: 5,
        kinds,
    };
    let verdict =
        Verdict { outcome: Outcome::Damaged, level: Level::Structure, coverage: ppm(999_995), tally };
    Verification { verdict, stat_walk: digest(3), findings: digest(4), volume: volume() }
}

fn pause() -> PauseCause {
    PauseCause::ErrorBudget {
        wave: WaveNo::from_raw(3),
        mailboxes_lost: 40,
        mailboxes: 1_000,
        budget: ppm(20_000),
    }
}

pub(crate) fn policy() -> Policy {
    Policy {
        level: Level::Structure,
        coverage_min: Ppm::ONE,
        damaged_per_million_max: 100,
        broken_mailboxes_max: 2,
        unreadable_mailboxes_max: 1,
        verified_age_max: Span::from_secs(86_400),
    }
}

fn selector() -> Selector {
    let mut findings = FindingKinds::NONE;
    findings.insert(FindingKind::ZeroBlock);
    Selector {
        all: false,
        campaign: Some(campaign()),
        wave: Some(WaveNo::from_raw(0)),
        labels: labels(),
        states: vec![ShardState::Held, ShardState::Failed],
        findings,
        shards: vec![shard()],
    }
}

fn contested() -> HeldReason {
    let claimant = NodeId::new("store-2").unwrap();
    HeldReason::Contested { holder: node(), claimant, volume: volume() }
}

fn limits() -> FleetLimits {
    let rack = LabelKey::new("rack").unwrap();
    FleetLimits { verifies_per_domain: BTreeMap::from([(rack, 12)]), ..FleetLimits::default() }
}

pub(crate) fn claim() -> Claim {
    Claim { shard: shard(), volume: volume(), second: Some(volume()), mailboxes: 812, services: services() }
}

fn placement() -> Placement {
    Placement { no: PlacementNo::from_raw(2), node: node(), volume: volume() }
}

fn services() -> ServiceSet {
    ServiceSet::NONE.with(Service::Webmail).with(Service::Imap)
}

fn labels() -> BTreeMap<LabelKey, LabelValue> {
    let label = |key, value| (LabelKey::new(key).unwrap(), LabelValue::new(value).unwrap());
    BTreeMap::from([label("rack", "r12"), label("array", "a1")])
}

fn ppm(raw: u32) -> Ppm {
    Ppm::new(raw).unwrap()
}

fn digest(fill: u8) -> Digest {
    Digest::from_raw([fill; 32])
}

fn cell() -> CellId {
    CellId::new("milano").unwrap()
}

fn node() -> NodeId {
    NodeId::new("store-1").unwrap()
}

fn shard() -> ShardId {
    ShardId::new("vol-21").unwrap()
}

fn volume() -> VolumeId {
    VolumeId::new("fs:0b5e").unwrap()
}

fn campaign() -> CampaignId {
    CampaignId::new("return-1").unwrap()
}
