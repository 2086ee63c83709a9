//! The largest messages that the bounds of words allow, against the limits of messages: whatever is within the one is within the
//! other, so that a limit never refuses what a bound has let in.

use crate::fixtures;
use std::collections::BTreeMap;

use prost::Message;
use rientro_types::*;
use rientro_wire::bulk::{FindingsPart, InventoryPart, MailboxesPart};
use rientro_wire::limits::*;
use rientro_wire::operator::{Act, forecast_pieces, join_forecast};
use rientro_wire::session::{AgentMessage, Hello, OrchestratorMessage, RunningTask, ServedShard};
use rientro_wire::{codec, v1};

const LIFE: NodeIncarnation = NodeIncarnation::from_raw(u64::MAX);
const ATTEMPT: AttemptNo = AttemptNo::from_raw(u32::MAX);

/// A name of full length with this number in it.
fn name(no: usize) -> String {
    format!("n{no:0>46}")
}

fn shard(no: usize) -> ShardId {
    ShardId::new(&name(no)).unwrap()
}

fn shards(count: usize) -> Vec<ShardId> {
    (0..count).map(shard).collect()
}

fn node() -> NodeId {
    NodeId::new(&name(0)).unwrap()
}

fn volume() -> VolumeId {
    VolumeId::new(&name(0)).unwrap()
}

fn labels() -> BTreeMap<LabelKey, LabelValue> {
    (0..LABELS_MAX)
        .map(|no| (LabelKey::new(&name(no)).unwrap(), LabelValue::new(&name(no)).unwrap()))
        .collect()
}

fn largest_plan() -> Plan {
    let plan = fixtures::plan();
    let waves = Waves {
        schedule: Schedule::List(vec![Share::Mailboxes(Ppm::ONE); WAVES_MAX]),
        domain_caps: vec![
            DomainCap { label: LabelKey::new(&name(0)).unwrap(), max: Ppm::ONE };
            DOMAIN_CAPS_MAX
        ],
        ..plan.waves
    };
    let class = Class { covers: Coverage::Labels(labels()), weight: u32::MAX };
    let name = CampaignId::new(&name(0)).unwrap();
    let covers = Coverage::Shards(shards(SHARDS_NAMED_MAX));
    Plan { name, covers, classes: vec![class; CLASSES_MAX], waves, ..plan }
}

fn largest_verification() -> Verification {
    let verdict = Verdict {
        outcome: Outcome::Damaged,
        level: Level::Baseline,
        coverage: Ppm::ONE,
        tally: Tally {
            mailboxes: MAILBOXES_PER_SHARD_MAX as u64,
            messages: u64::MAX,
            bytes: u64::MAX,
            messages_damaged: u64::MAX,
            messages_unreadable: u64::MAX,
            mailboxes_damaged: MAILBOXES_PER_SHARD_MAX as u64,
            mailboxes_broken: MAILBOXES_PER_SHARD_MAX as u64,
            mailboxes_unreadable: MAILBOXES_PER_SHARD_MAX as u64,
            findings: u64::MAX,
            kinds: FindingKinds::from_bits((1 << FindingKind::ALL.len()) - 1).unwrap(),
        },
    };
    Verification { verdict, stat_walk: Digest::ZERO, findings: Digest::ZERO, volume: volume() }
}

fn damaged() -> Vec<MailboxId> {
    vec![MailboxId::from_raw([255; 16]); DAMAGED_MAILBOXES_MAX]
}

fn largest_shard() -> ShardSnapshot {
    let reason = HeldReason::Contested { holder: node(), claimant: node(), volume: volume() };
    let standing = Standing {
        verification: largest_verification(),
        at: CellTime::from_unix_ms(u64::MAX),
        attempt: ATTEMPT,
        policy: fixtures::policy(),
        damaged: damaged(),
    };
    let campaign = CampaignId::new(&name(0)).unwrap();
    let exception = |no: u8| (MailboxId::from_raw([no; 16]), Exception::Accepted);
    ShardSnapshot {
        shard: shard(0),
        placement: Placement { no: PlacementNo::from_raw(u32::MAX), node: node(), volume: volume() },
        mailboxes: u64::MAX,
        bytes: u64::MAX,
        services: ServiceSet::ALL,
        services_since: CellTime::from_unix_ms(u64::MAX),
        seen: ServiceSet::ALL,
        phase: Phase::Held { reason: Box::new(reason.clone()) },
        since: CellTime::from_unix_ms(u64::MAX),
        blocked: Some(Hold { reason, since: CellTime::from_unix_ms(u64::MAX) }),
        unlisted: u64::MAX,
        doubted: true,
        attempt: ATTEMPT,
        failures: u32::MAX,
        charge: Charge::Forgiven,
        member: Some(Membership { campaign, wave: WAVE_UNASSIGNED, rank: u32::MAX }),
        standing: Some(standing),
        accepted: Some(Acceptance {
            by: "x".repeat(ACTOR_ID_BYTES_MAX),
            reason: "x".repeat(REASON_BYTES_MAX),
        }),
        exceptions: (0..=u8::MAX).take(EXCEPTIONS_MAX).map(exception).collect(),
    }
}

#[test]
fn the_largest_plan_fits_into_a_request_and_an_entry() {
    let plan = Box::new(largest_plan());
    let encoded = v1::Plan::from((*plan).clone()).encoded_len();
    assert!(encoded <= PLAN_BYTES_MAX, "{encoded}");

    let actor = "x".repeat(ACTOR_ID_BYTES_MAX);
    let verb = Verb::Start { plan: plan.clone(), source: Digest::ZERO };
    let request = v1::ActRequest::from(Act { actor, verb, dry_run: true });
    assert!(request.encoded_len() <= OPERATOR_REQUEST_BYTES_MAX);

    let record = Record::CampaignStarted { plan, source: Digest::ZERO, seed: [1; 32] };
    let entry = fixtures::entry(record);
    let bytes = codec::encode_entry(&entry);
    assert!(bytes.len() <= JOURNAL_ENTRY_BYTES_MAX);
    assert_eq!(codec::decode_entry(&bytes), Ok(entry));
}

#[test]
fn the_largest_campaign_fits_into_a_snapshot_and_a_response() {
    let wave = WaveSnapshot { state: WaveState::Baking { until: CellTime::from_unix_ms(u64::MAX) } };
    let (_, SnapshotRecord::Campaign(campaign)) = fixtures::snapshots().remove(2) else {
        panic!("the third fixture is a campaign")
    };
    let campaign = CampaignSnapshot { plan: largest_plan(), waves: vec![wave; WAVES_MAX], ..*campaign };
    let bytes = codec::encode_snapshot_record(&SnapshotRecord::Campaign(Box::new(campaign.clone())));
    assert!(bytes.len() <= JOURNAL_ENTRY_BYTES_MAX, "{}", bytes.len());

    let counts = StateCounts { shards: [u64::MAX; 10], mailboxes: [u64::MAX; 10] };
    let wave = WaveView {
        wave: WaveNo::from_raw(u32::MAX),
        state: wave.state,
        counts,
        mailboxes_lost: u64::MAX,
        mailboxes_returning: u64::MAX,
        mailboxes_lost_max: u64::MAX,
    };
    let view = CampaignView {
        campaign: campaign.campaign(),
        revision: campaign.revision,
        plan: campaign.plan,
        source: campaign.source,
        state: campaign.state,
        started: campaign.started,
        ended: campaign.ended,
        wave: None,
        counts,
        bytes_verified: u64::MAX,
        shards_gone: u64::MAX,
        waves: vec![wave; WAVES_MAX],
    };
    let encoded = v1::CampaignView::from(view).encoded_len();
    assert!(encoded <= OPERATOR_RESPONSE_BYTES_MAX / 2, "{encoded}");
}

#[test]
fn the_largest_pages_fit_into_their_messages() {
    let session = |message: AgentMessage| v1::SessionRequest::from(message).encoded_len();
    let task = RunningTask { shard: shard(0), attempt: ATTEMPT, kind: TaskKind::Confirm };
    assert!(session(AgentMessage::Running(vec![task; SESSION_PAGE_MAX])) <= SESSION_BYTES_MAX);
    let served = ServedShard { shard: shard(0), services: ServiceSet::ALL };
    assert!(session(AgentMessage::Served(vec![served; SESSION_PAGE_MAX])) <= SESSION_BYTES_MAX);

    let claim = Claim {
        second: None,
        shard: shard(0),
        volume: volume(),
        mailboxes: u64::MAX,
        services: ServiceSet::ALL,
    };
    let claims = vec![claim; CLAIMS_PER_PAGE_MAX];
    let page = InventoryPart::Page { claims, complete: true, inventory: Some(Digest::ZERO) };
    assert!(v1::ReportInventoryRequest::from(page).encoded_len() <= BULK_BYTES_MAX);

    let mailboxes = vec![MailboxId::from_raw([255; 16]); MAILBOXES_PER_PAGE_MAX];
    let page = MailboxesPart::Page { shard: shard(0), mailboxes, complete: true };
    assert!(v1::ReportMailboxesRequest::from(page).encoded_len() <= BULK_BYTES_MAX);

    let finding = Finding {
        kind: FindingKind::LimitReached,
        mailbox: vec![255; PATH_BYTES_MAX],
        path: vec![255; PATH_BYTES_MAX],
        detail: "x".repeat(DETAIL_BYTES_MAX),
    };
    let mailbox_id = Some(MailboxId::from_raw([255; 16]));
    let located = LocatedFinding { mailbox_id, address: Some(vec![255; PATH_BYTES_MAX]), finding };
    let page = FindingsPart::Page(vec![located; FINDINGS_PER_PAGE_MAX]);
    assert!(v1::UploadFindingsRequest::from(page).encoded_len() <= BULK_BYTES_MAX);
}

#[test]
fn the_largest_lists_fit_into_their_responses() {
    let progress = Progress { mailboxes: u64::MAX, messages: u64::MAX, bytes: u64::MAX, findings: u64::MAX };
    let waiting_on = WaitingOn::Task { running: Span::from_ms(u64::MAX), progress: Some(progress) };
    let shard = v1::ShardView::from(ShardView { shard: largest_shard(), waiting_on: Some(waiting_on) });
    let page = v1::ListShardsResponse { shards: vec![shard; SHARDS_PER_PAGE_MAX] };
    assert!(page.encoded_len() <= OPERATOR_RESPONSE_BYTES_MAX, "{}", page.encoded_len());

    let node = v1::NodeView::from(NodeView {
        node: node(),
        incarnation: LIFE,
        labels: labels(),
        connected: true,
        heard_ago: Some(Span::from_ms(u64::MAX)),
        silent: Some(CellTime::from_unix_ms(u64::MAX)),
        verifying: u32::MAX,
        confirming: u32::MAX,
        counts: StateCounts { shards: [u64::MAX; 10], mailboxes: [u64::MAX; 10] },
        twin: Some(Twin {
            since: CellTime::from_unix_ms(u64::MAX),
            last: CellTime::from_unix_ms(u64::MAX),
            knocks: u64::MAX,
            serves: u64::MAX,
            inside: true,
            quiet: true,
        }),
    });
    let page = v1::ListNodesResponse { nodes: vec![node; NODES_PER_PAGE_MAX] };
    assert!(page.encoded_len() <= OPERATOR_RESPONSE_BYTES_MAX);

    let problem =
        PlanProblem { field: "x".repeat(EXPLANATION_BYTES_MAX), problem: "x".repeat(EXPLANATION_BYTES_MAX) };
    let refusal = v1::Refusal::from(Refusal::Plan(vec![problem; PLAN_PROBLEMS_MAX]));
    assert!(refusal.encoded_len() <= OPERATOR_RESPONSE_BYTES_MAX);
}

#[test]
fn the_largest_commands_and_results_fit_into_a_session() {
    let end = TaskEnd::Verified { verification: largest_verification(), damaged: damaged() };
    let result =
        v1::SessionRequest::from(AgentMessage::TaskResult { shard: shard(0), attempt: ATTEMPT, end });
    assert!(result.encoded_len() <= SESSION_BYTES_MAX);

    let order = Order {
        cell: CellId::new(&name(0)).unwrap(),
        incarnation: Incarnation::from_raw(u32::MAX),
        epoch: Epoch::from_raw(u64::MAX),
        seq: Seq::from_raw(u64::MAX),
    };
    let hello = Hello {
        protocol: u32::MAX,
        build: "x".repeat(BUILD_BYTES_MAX),
        node: node(),
        incarnation: LIFE,
        labels: labels(),
        newest: Some(order),
        inventory: Some(Digest::ZERO),
        witness: Some(Witness { order, entry: Digest::ZERO }),
        boot: BootId::from_raw(u64::MAX).unwrap(),
    };
    assert!(v1::SessionRequest::from(AgentMessage::Hello(hello)).encoded_len() <= SESSION_BYTES_MAX);

    let task = Task {
        shard: shard(0),
        attempt: ATTEMPT,
        campaign: CampaignId::new(&name(0)).unwrap(),
        volume: volume(),
        action: Action::Confirm { stat_walk: Some(Digest::ZERO) },
        pace: Pace { bytes_per_second: ByteSize::from_bytes(u64::MAX), readers: u32::MAX },
    };
    let start =
        v1::SessionResponse::from(OrchestratorMessage::StartTask { order, task, entry: Some(Digest::ZERO) });
    assert!(start.encoded_len() <= SESSION_BYTES_MAX);
}

/// A wave of more shards than a message may name arrives whole, in pieces that fit.
#[test]
fn a_forecast_is_cut_and_joined() {
    let wave = |no: u32, count: usize| WaveForecast {
        wave: WaveNo::from_raw(no),
        shards: shards(count),
        mailboxes: 5,
        bytes: 9,
    };
    let waves = vec![wave(0, 0), wave(1, 3), wave(2, 2 * SHARDS_NAMED_MAX + 1), wave(3, 1)];
    let pieces: Vec<_> = waves.iter().cloned().flat_map(forecast_pieces).collect();
    assert_eq!(pieces.len(), 6);
    let mut joined = Vec::new();
    for piece in pieces {
        let message = v1::WaveForecast::from(piece);
        assert!(message.encoded_len() <= OPERATOR_RESPONSE_BYTES_MAX);
        join_forecast(&mut joined, WaveForecast::try_from(message).unwrap());
    }
    assert_eq!(joined, waves);
}

/// A file's description is smaller than all of them together.
#[test]
fn descriptions_fit_into_an_answer() {
    assert!(rientro_wire::FILE_DESCRIPTOR_SET.len() <= REFLECTION_RESPONSE_BYTES_MAX);
}
