//! Words for people: one line for each decision, and where two texts part.

use rientro_engine::Engine;
use rientro_types::{Decision, Record, Seq};

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
        Record::ShardSettled { .. } => "shard-settled",
        Record::Closed { .. } => "closed",
        Record::Retried { .. } => "retried",
        Record::Accepted { .. } => "accepted",
        Record::Prioritised { .. } => "prioritised",
        Record::Adopted { .. } => "adopted",
        Record::ExceptionSet { .. } => "exception-set",
    }
}

/// One line for a decision.
#[must_use]
pub fn line(seq: Seq, decision: &Decision) -> String {
    let mut text = format!("{seq:>5} {}: {:?}", decision.actor, decision.record);
    let plan = text.find("plan: Plan").map(|at| at + "plan: ".len());
    if let Some(at) = plan {
        text.truncate(at);
        text.push_str("..");
    }
    text
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
