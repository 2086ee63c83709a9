//! Words for people: one line for each decision, and where two texts part.

use rientro_engine::Engine;
use rientro_types::{Decision, Record, Selector, TaskEnd};

/// A record's kind in one word.
#[must_use]
pub fn word(record: &Record) -> &'static str {
    match record {
        Record::CellFounded { .. } => "cell-founded",
        Record::CellRestored { .. } => "cell-restored",
        Record::LeaderTook { .. } => "leader-took",
        Record::Absent { .. } => "absent",
        Record::ClockMarked => "clock-marked",
        Record::LimitsSet { .. } => "limits-set",
        Record::NodeEnrolled { .. } => "node-enrolled",
        Record::NodeSilent { .. } => "node-silent",
        Record::NodeHeard { .. } => "node-heard",
        Record::ShardMet { .. } => "shard-met",
        Record::ShardMeasured { .. } => "shard-measured",
        Record::ShardPlaced { .. } => "shard-placed",
        Record::ShardHeld { .. } => "shard-held",
        Record::ShardReleased { .. } => "shard-released",
        Record::ShardUnlisted { .. } => "shard-unlisted",
        Record::CampaignStarted { .. } => "campaign-started",
        Record::WaveFormed { .. } => "wave-formed",
        Record::CampaignReady { .. } => "campaign-ready",
        Record::CampaignRevised { .. } => "campaign-revised",
        Record::CampaignPaused { .. } => "campaign-paused",
        Record::CampaignResumed { .. } => "campaign-resumed",
        Record::CampaignAborted { .. } => "campaign-aborted",
        Record::CampaignEnded { .. } => "campaign-ended",
        Record::WaveStarted { .. } => "wave-started",
        Record::WaveSettled { .. } => "wave-settled",
        Record::WaveUnsettled { .. } => "wave-unsettled",
        Record::WavePassed { .. } => "wave-passed",
        Record::TaskStarted { .. } => "task-started",
        Record::TaskEnded { .. } => "task-ended",
        Record::TaskReleased { .. } => "task-released",
        Record::VerificationExpired { .. } => "verification-expired",
        Record::StepOpening { .. } => "step-opening",
        Record::OpeningOverdue { .. } => "opening-overdue",
        Record::ServicesSeen { .. } => "services-seen",
        Record::ShardOpened { .. } => "shard-opened",
        Record::Settled { .. } => "settled",
        Record::Closed { .. } => "closed",
        Record::Retried { .. } => "retried",
        Record::Accepted { .. } => "accepted",
        Record::Prioritised { .. } => "prioritised",
        Record::Adopted { .. } => "adopted",
        Record::ExceptionSet { .. } => "exception-set",
    }
}

/// One line for a decision: who, what, about what.
#[must_use]
pub fn line(decision: &Decision) -> String {
    let record = &decision.record;
    format!("{}: {}{}", decision.actor, word(record), about(record))
}

/// What a record is about, with the numbers that matter.
fn about(record: &Record) -> String {
    match record {
        Record::CellFounded { cell, incarnation, mailbox_key: _ } => format!(" {cell}, life {incarnation}"),
        Record::CellRestored { incarnation } => format!(" life {incarnation}"),
        Record::LeaderTook { epoch } => format!(" term {epoch}"),
        Record::Absent { span } => format!(" {span}"),
        Record::ClockMarked => String::new(),
        Record::LimitsSet { limits } => {
            format!(" {} a node, silence {}", limits.verifies_per_node, limits.silence)
        }
        Record::NodeEnrolled { node, incarnation, .. } => format!(" {node}, life {incarnation}"),
        Record::NodeSilent { node, silent_for } => format!(" {node} for {silent_for}"),
        Record::NodeHeard { node } => format!(" {node}"),
        Record::ShardMet { node, claim } => {
            format!(" {} on {node} ({}), serves {}", claim.shard, claim.volume, claim.services)
        }
        Record::ShardMeasured { shard, mailboxes } => format!(" {shard}: {mailboxes} mailboxes"),
        Record::ShardPlaced { shard, placement } => {
            format!(" {shard} on {} ({})", placement.node, placement.volume)
        }
        Record::ShardHeld { shard, reason } => format!(" {shard}: {reason}"),
        Record::ShardUnlisted { shard, unlisted } => format!(" {shard}: {unlisted} mailboxes"),
        Record::ShardReleased { shard }
        | Record::VerificationExpired { shard }
        | Record::OpeningOverdue { shard }
        | Record::ShardOpened { shard } => format!(" {shard}"),
        Record::Closed { selector, .. }
        | Record::Retried { selector }
        | Record::Accepted { selector, .. }
        | Record::Prioritised { selector } => format!(" {}", selected(selector)),
        Record::Settled { selector, node, .. } => format!(" {} on {node}", selected(selector)),
        Record::Adopted { selector, services, .. } => format!(" {} for {services}", selected(selector)),
        Record::ExceptionSet { shard, mailbox, exception, .. } => {
            format!(" {mailbox} of {shard}: {exception:?}")
        }
        _ => about_campaign(record),
    }
}

fn about_campaign(record: &Record) -> String {
    match record {
        Record::CampaignStarted { plan, .. } => format!(" {}", plan.name),
        Record::CampaignRevised { plan, revision, .. } => format!(" {}, revision {revision}", plan.name),
        Record::WaveFormed { campaign, wave, shards } => {
            let names: Vec<_> = shards.iter().map(ToString::to_string).collect();
            format!(" {campaign} wave {wave}: {}", names.join(" "))
        }
        Record::CampaignPaused { campaign, cause } => format!(" {campaign}: {cause:?}"),
        Record::CampaignReady { campaign }
        | Record::CampaignResumed { campaign }
        | Record::CampaignAborted { campaign }
        | Record::CampaignEnded { campaign } => format!(" {campaign}"),
        Record::WaveStarted { campaign, wave }
        | Record::WaveSettled { campaign, wave }
        | Record::WaveUnsettled { campaign, wave } => format!(" {campaign} wave {wave}"),
        Record::WavePassed { campaign, wave, cause } => format!(" {campaign} wave {wave}: {cause:?}"),
        Record::TaskStarted { shard, kind, attempt, node, .. } => {
            format!(" {shard} #{attempt} {} on {node}", kind.name())
        }
        Record::TaskEnded { shard, attempt, end, .. } => format!(" {shard} #{attempt} {}", ended(end)),
        Record::TaskReleased { node, shard, attempt } => format!(" {shard} #{attempt} on {node}"),
        Record::StepOpening { shard, services, .. } | Record::ServicesSeen { shard, services } => {
            format!(" {shard} {services}")
        }
        _ => String::new(),
    }
}

fn ended(end: &TaskEnd) -> String {
    match end {
        TaskEnd::Verified { verification, .. } => verification.verdict.to_string(),
        TaskEnd::Confirmed => "confirmed".to_owned(),
        TaskEnd::Failed(failure) => failure.to_string(),
    }
}

fn selected(selector: &Selector) -> String {
    if selector.all {
        return "everything".to_owned();
    }
    let mut parts: Vec<String> = selector.shards.iter().map(ToString::to_string).collect();
    parts.extend(selector.campaign.map(|campaign| format!("of {campaign}")));
    parts.extend(selector.wave.map(|wave| format!("in wave {wave}")));
    parts.extend(selector.states.iter().map(|state| format!("{state} ones")));
    parts.extend(selector.labels.iter().map(|(key, value)| format!("on {key} {value}")));
    parts.join(" ")
}

/// Where two texts part, with a little of what stands around.
#[must_use]
pub fn difference(one: &str, other: &str) -> String {
    let at = one.bytes().zip(other.bytes()).position(|(a, b)| a != b).unwrap_or(0);
    let around = |text: &str| -> String { text.chars().skip(at.saturating_sub(120)).take(260).collect() };
    let name: String = one.chars().take(90).collect();
    format!("{name} .. {} <> {}", around(one), around(other))
}

/// Where the durable states of two engines part, if they do.
#[must_use]
pub fn parted(one: &Engine, other: &Engine) -> Option<String> {
    let mut differing = one.snapshot().zip(other.snapshot()).filter(|(a, b)| a != b);
    if let Some((a, b)) = differing.next() {
        return Some(difference(&format!("{a:?}"), &format!("{b:?}")));
    }
    let sizes = (one.snapshot().count(), other.snapshot().count());
    let next = (one.seq_next(), other.seq_next());
    (sizes.0 != sizes.1 || next.0 != next.1).then(|| format!("sizes {sizes:?}, next records {next:?}"))
}
