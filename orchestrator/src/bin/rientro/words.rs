//! States, waits and reasons in plain words, and what an operator could do about them.
//!
//! Everything here is computed from what the cell has shown; nothing is looked up.

use rientro_types::{
    Acceptance, CampaignState, CampaignView, CellTime, CloseCause, HeldReason, PauseCause, Phase,
    PolicyBreach, Progress, Promotion, Service, ServiceSet, ShardSnapshot, ShardState, ShardView, Span,
    Standing, WaitingOn, WaveState, WaveView, mailboxes_missing, stuck_in,
};
use rientro_wire::operator::ShardAnswer;

use crate::foreign::clean;
use crate::human;

/// A set of services, with a word for all and none.
pub(crate) fn services(set: ServiceSet) -> String {
    match set {
        ServiceSet::ALL => "all services".to_owned(),
        ServiceSet::NONE => "nothing".to_owned(),
        some => some.iter().map(Service::name).collect::<Vec<_>>().join(", "),
    }
}

/// Why a shard is in the state it is in, and the circumstance it is in besides.
pub(crate) fn why(view: &ShardView) -> String {
    let shard = &view.shard;
    match (&shard.blocked, shard.held_by()) {
        (None, _) => suspended(view).or_else(|| unheard(view)).unwrap_or_else(|| phase(shard)),
        (Some(_), Some(hold)) => held(&hold.reason),
        (Some(beside), None) => format!("{}; but {}", phase(shard), held(&beside.reason)),
    }
}

/// Why a task stands still: its campaign is paused.
fn suspended(view: &ShardView) -> Option<String> {
    let (Phase::Verifying { .. }, Some(WaitingOn::Resume { .. })) = (&view.shard.phase, &view.waiting_on)
    else {
        return None;
    };
    Some("it is half verified, and stands still while its campaign is paused".to_owned())
}

/// Why nobody can say how a task goes on: its node has no connection.
fn unheard(view: &ShardView) -> Option<String> {
    let Some(WaitingOn::NodeOffline { node, unheard_for, .. }) = &view.waiting_on else { return None };
    let task = match view.shard.phase {
        Phase::Verifying { .. } => "its agent was reading it",
        Phase::Confirming { .. } => "its agent was checking that nothing changed",
        Phase::Opening { .. } => "its services were being opened",
        Phase::Closed { .. }
        | Phase::Waiting
        | Phase::Backoff { .. }
        | Phase::Verified
        | Phase::Open { .. }
        | Phase::Held { .. }
        | Phase::Failed { .. } => return None,
    };
    Some(format!("{task}, but node {node} is not connected; {}", last_heard(*unheard_for)))
}

/// When a node was last heard; the present leader cannot say more than that it has not heard it.
fn last_heard(unheard_for: Option<Span>) -> String {
    match unheard_for {
        Some(ago) => format!("it was last heard {} ago", human::span(ago)),
        None => "it was not heard since the orchestrator started".to_owned(),
    }
}

/// What the journal and the node say of a shard where they disagree: neither can be told as the truth.
pub(crate) fn disagreement(shard: &ShardSnapshot) -> Option<String> {
    match shard.blocked.as_ref().map(|hold| &hold.reason) {
        Some(HeldReason::Disagreement { journal, node }) => Some(format!(
            "the restored journal says {}, its node serves {}",
            services(*journal),
            services(*node)
        )),
        _ => None,
    }
}

/// A reason why something may not go on, with its times as people read them.
pub(crate) fn held(reason: &HeldReason) -> String {
    match reason {
        HeldReason::NodeSilent { node, silent_for } => {
            format!("node {node} was not heard for {}", human::span(*silent_for))
        }
        HeldReason::NodeStuck { node, places, unanswered_for } => {
            stuck_in(*places, &format!("node {node}"), &human::span(*unanswered_for))
        }
        HeldReason::DomainStuck { label, value, places, unanswered_for } => {
            stuck_in(*places, &format!("{label} {value}"), &human::span(*unanswered_for))
        }
        HeldReason::OpeningOverdue { node, unconfirmed_for } => {
            format!(
                "node {node} has not confirmed for {} that services opened",
                human::span(*unconfirmed_for)
            )
        }
        HeldReason::Policy(_)
        | HeldReason::Unknown(_)
        | HeldReason::VolumeWrong { .. }
        | HeldReason::ShardMissing { .. }
        | HeldReason::MailboxesMissing { .. }
        | HeldReason::Contested { .. }
        | HeldReason::Disagreement { .. } => reason.to_string(),
    }
}

/// A moment, and how long ago it was.
pub(crate) fn since(at: CellTime, now: CellTime) -> String {
    format!("{} ({} ago)", human::moment(at), human::span(now.since(at)))
}

fn phase(shard: &ShardSnapshot) -> String {
    match &shard.phase {
        Phase::Closed { cause } => closed_by(*cause).to_owned(),
        Phase::Waiting => "it has not been verified since it was closed".to_owned(),
        Phase::Verifying { .. } => "its agent reads it to see whether anything is damaged".to_owned(),
        Phase::Backoff { last, .. } => {
            format!("the last try failed ({}), another one follows", clean(&last.to_string()))
        }
        Phase::Verified => match &shard.standing {
            Some(standing) => {
                format!("{}; it waits to open", passed(shard, standing))
            }
            None => format!("{}; it waits to open", accepted(shard)),
        },
        Phase::Confirming { .. } => "its agent checks that nothing changed since it was verified".to_owned(),
        Phase::Opening { .. } => "its services are being opened".to_owned(),
        Phase::Open { adopted: true } => "it was taken over in service, without a verification".to_owned(),
        Phase::Open { adopted: false } => match &shard.standing {
            Some(standing) if shard.accepted.is_some() => {
                format!("{}; so it was opened", passed(shard, standing))
            }
            None if shard.accepted.is_some() => format!("{}; so it was opened", accepted(shard)),
            Some(_) | None => "it passed its verification and was opened".to_owned(),
        },
        Phase::Held { reason } => held(reason),
        Phase::Failed { last } => format!("all tries failed; the last one: {}", clean(&last.to_string())),
    }
}

/// How a verified shard came by: what was found and, where that was not enough, who took it as it is.
fn passed(shard: &ShardSnapshot, standing: &Standing) -> String {
    let verdict = &standing.verification.verdict;
    match shard.accepted {
        Some(_) => format!("{} (its verification said: {verdict})", accepted(shard)),
        None => format!("it was verified ({verdict})"),
    }
}

/// Who took a shard as it is, and why.
fn accepted(shard: &ShardSnapshot) -> String {
    match &shard.accepted {
        Some(Acceptance { by, reason }) => format!("it was accepted by {}: {}", clean(by), clean(reason)),
        None => "it was accepted by an operator".to_owned(),
    }
}

const fn closed_by(cause: CloseCause) -> &'static str {
    match cause {
        CloseCause::FirstMet => "it was out of service when its node first reported it",
        CloseCause::Operator => "an operator's decision closed it",
        CloseCause::Aborted => "its campaign was aborted before it opened",
        CloseCause::Released => "its campaign moved to a plan that does not cover it",
    }
}

/// What a shard waits for.
pub(crate) fn waiting(on: &WaitingOn) -> String {
    match on {
        WaitingOn::NodeBudget { node, busy, max } => {
            format!("a free place on node {node} ({busy} of {max} tasks run)")
        }
        WaitingOn::DomainBudget { label, value, busy, max, silent: 0 } => {
            format!("a free place in {label} {value} ({busy} of {max} tasks run)")
        }
        WaitingOn::DomainBudget { label, value, busy, max, silent } => {
            let silent = format!("{silent} of them on silent nodes");
            format!("a free place in {label} {value} ({busy} of {max} tasks count, {silent})")
        }
        WaitingOn::NodeOffline { node, unheard_for, silent_in } => format!(
            "its node {node} to connect; {}, and counts as silent in {}: then it is held",
            last_heard(*unheard_for),
            human::span(*silent_in)
        ),
        WaitingOn::Turn => "its turn on its node".to_owned(),
        WaitingOn::Wave { wave, current, promotion: Promotion::Automatic, .. } => {
            format!("its wave {wave}; the campaign is at wave {current}")
        }
        WaitingOn::Wave { wave, current, promotion: Promotion::Manual, .. } => {
            format!("its wave {wave}; the campaign is at wave {current}, which an operator must promote")
        }
        WaitingOn::OpeningBudget { busy, max } => {
            format!("a free place among the shards that open at once ({busy} of {max})")
        }
        WaitingOn::Backoff { left } => format!("its next try, in {}", human::span(*left)),
        WaitingOn::Task { running, progress: None } => {
            format!("a task that runs for {}", human::span(*running))
        }
        WaitingOn::Task { running, progress: Some(progress) } => format!(
            "a task that runs for {} ({}, {} so far)",
            human::span(*running),
            human::plural(progress.messages, "message"),
            human::bytes(progress.bytes)
        ),
        WaitingOn::Resume { campaign } => format!("campaign {campaign} to be resumed; it is paused"),
        WaitingOn::Operator => "a decision of an operator".to_owned(),
        WaitingOn::Campaign => "a campaign that covers it".to_owned(),
    }
}

/// What a shard waits for: the circumstance that holds it, or else what stands in its way.
pub(crate) fn waits_for(view: &ShardView) -> Option<String> {
    match released_by(view) {
        Some(event) => Some(event),
        None => view.waiting_on.as_ref().map(waiting),
    }
}

/// The event that releases a shard from the circumstance that holds it; a person decides where there is none.
fn released_by(view: &ShardView) -> Option<String> {
    let reason: &HeldReason = match (&view.shard.blocked, &view.shard.phase) {
        (Some(hold), _) if view.shard.state() == ShardState::Held => &hold.reason,
        (_, Phase::Held { reason }) => reason,
        (_, _) => return None,
    };
    match reason {
        HeldReason::NodeSilent { node, .. } => Some(format!("node {node} to be heard again")),
        HeldReason::NodeStuck { node, .. } => {
            Some(format!("node {node} to answer for a try that was given up"))
        }
        HeldReason::DomainStuck { label, value, .. } => {
            Some(format!("a node of {label} {value} to answer for a try, or to be heard again"))
        }
        HeldReason::OpeningOverdue { node, .. } => {
            Some(format!("node {node} to confirm that services opened"))
        }
        HeldReason::VolumeWrong { expected, .. } => {
            Some(format!("volume {expected} to be mounted on node {}", view.shard.placement.node))
        }
        HeldReason::ShardMissing { node } => Some(format!("node {node} to show it again")),
        HeldReason::MailboxesMissing { known, .. } => {
            Some(format!("node {} to show all {known} mailboxes again", view.shard.placement.node))
        }
        HeldReason::Contested { holder, claimant, .. } if holder == claimant => {
            Some(format!("node {holder} to show it once"))
        }
        HeldReason::Policy(_)
        | HeldReason::Unknown(_)
        | HeldReason::Contested { .. }
        | HeldReason::Disagreement { .. } => None,
    }
}

/// Which mailboxes a shard that is held for them misses.
pub(crate) fn missing(answer: &ShardAnswer) -> Option<String> {
    let Some(HeldReason::MailboxesMissing { known, shown, unlisted }) =
        answer.shard.shard.blocked.as_ref().map(|hold| &hold.reason)
    else {
        return None;
    };
    let mut parts: Vec<_> = answer.missing.iter().map(ToString::to_string).collect();
    let further = answer.missing_known.saturating_sub(parts.len() as u64);
    let nameless = mailboxes_missing(*known, *shown, *unlisted).saturating_sub(answer.missing_known);
    parts.extend((further > 0).then(|| format!("{} more", human::count(further))));
    parts.extend((nameless > 0).then(|| format!("{} whose ids are not known", human::count(nameless))));
    let last = parts.pop()?;
    Some(if parts.is_empty() { last } else { format!("{} and {last}", parts.join(", ")) })
}

/// Until when a shard stays closed, as far as can be said.
pub(crate) fn until(view: &ShardView, campaign: Option<&CampaignView>, now: CellTime) -> String {
    let Some(on) = &view.waiting_on else { return open_for(view.shard.services) };
    let open_ended = |what: &str| format!("no time can be said: {what}");
    if disagreement(&view.shard).is_some() {
        return open_ended("an operator must say what is true, the journal or the node");
    }
    if let Some(event) = released_by(view) {
        return open_ended(&format!("it waits for {event}"));
    }
    match on {
        WaitingOn::Operator => open_ended("it stays closed until an operator decides"),
        WaitingOn::Campaign => open_ended("no campaign is about to open it"),
        WaitingOn::Resume { .. } => open_ended("it stays closed until its campaign is resumed"),
        WaitingOn::NodeOffline { .. } => open_ended("it goes on when its node connects"),
        WaitingOn::Wave { .. } => wave_turn(view, campaign, now),
        WaitingOn::Task { running, progress } => {
            match progress.and_then(|progress| task_left(*running, progress, &view.shard)) {
                Some((low, high)) => {
                    let then = if turn_is_here(view, campaign) { "" } else { ", and then its wave's turn" };
                    format!("this task needs about {} to {} more{then}", human::span(low), human::span(high))
                }
                None => open_ended("how far the task is does not tell how long the rest takes"),
            }
        }
        WaitingOn::NodeBudget { .. }
        | WaitingOn::DomainBudget { silent: 0, .. }
        | WaitingOn::Turn
        | WaitingOn::OpeningBudget { .. }
        | WaitingOn::Backoff { .. } => open_ended("it goes on by itself; `rientro watch` shows the pace"),
        WaitingOn::DomainBudget { label, .. } => {
            open_ended(&format!("silent nodes keep their places in their {label} until they are heard"))
        }
    }
}

fn open_for(open: ServiceSet) -> String {
    if open == ServiceSet::ALL {
        return "it is open".to_owned();
    }
    format!("it is open for {}; nothing is about to open more", services(open))
}

/// Bytes in a shard, as the last verification of all of it read them. `None` before one.
pub(crate) fn size(shard: &ShardSnapshot) -> Option<u64> {
    Some(shard.bytes).filter(|bytes| *bytes > 0)
}

/// Time a task still needs, from how far it came so far: half to twice the linear guess, as disks and mailboxes are not
/// even. By bytes where the shard's are known, else by its mailboxes.
fn task_left(running: Span, progress: Progress, shard: &ShardSnapshot) -> Option<(Span, Span)> {
    let by_bytes = size(shard).and_then(|total| linear_left(running, progress.bytes, total));
    by_bytes.or_else(|| linear_left(running, progress.mailboxes, shard.mailboxes))
}

fn linear_left(running: Span, done: u64, total: u64) -> Option<(Span, Span)> {
    let left = total.checked_sub(done).filter(|left| done > 0 && *left > 0)?;
    let linear = u128::from(running.ms()) * u128::from(left) / u128::from(done);
    let linear = u64::try_from(linear).ok()?;
    Some((Span::from_ms(linear / 2), Span::from_ms(linear.saturating_mul(2))))
}

fn turn_is_here(view: &ShardView, campaign: Option<&CampaignView>) -> bool {
    let wave = view.shard.member.map(|member| member.wave);
    campaign.is_none_or(|campaign| campaign.wave.is_none() || campaign.wave >= wave)
}

/// When the waves before a shard's own have passed at the earliest.
fn wave_turn(view: &ShardView, campaign: Option<&CampaignView>, now: CellTime) -> String {
    let (Some(campaign), Some(member)) = (campaign, view.shard.member) else {
        return "no time can be said: earlier waves have not passed".to_owned();
    };
    if matches!(campaign.state, CampaignState::Paused(_)) {
        return "no time can be said: its campaign is paused".to_owned();
    }
    let before = campaign.waves.iter().take_while(|wave| wave.wave < member.wave);
    let ahead: Vec<&WaveView> = before.filter(|wave| wave.state != WaveState::Passed).collect();
    let count = human::plural(ahead.len() as u64, "wave");
    if waits_for_promotion(campaign) {
        return format!("no time can be said: {count} before it must be promoted by an operator");
    }
    let bakes = bakes_left(ahead.into_iter(), campaign.plan.waves.bake, now);
    format!("not before {} ({count} before it, {} of bake)", human::moment(now + bakes), human::span(bakes))
}

/// Whether the campaign goes no further than its wave before somebody promotes that.
pub(crate) fn waits_for_promotion(campaign: &CampaignView) -> bool {
    let current = campaign.waves.iter().find(|wave| Some(wave.wave) == campaign.wave);
    campaign.plan.waves.promotion == Promotion::Manual
        || current.is_some_and(|wave| wave.counts.is_called_off())
}

/// Bake time that waves still have ahead of them.
pub(crate) fn bakes_left<'a>(waves: impl Iterator<Item = &'a WaveView>, bake: Span, now: CellTime) -> Span {
    waves.fold(Span::ZERO, |sum, wave| {
        sum.plus(match wave.state {
            WaveState::Passed => Span::ZERO,
            WaveState::Baking { until } => until.since(now),
            WaveState::Waiting | WaveState::Opening => bake,
        })
    })
}

/// A campaign's state with its reason.
pub(crate) fn campaign_state(state: &CampaignState) -> String {
    match state {
        CampaignState::Forming => "forming its waves".to_owned(),
        CampaignState::Running => "running".to_owned(),
        CampaignState::Paused(PauseCause::Operator) => "paused by an operator".to_owned(),
        CampaignState::Paused(PauseCause::Restored) => {
            "paused: the journal was restored from a backup; decide on disagreements, then resume".to_owned()
        }
        CampaignState::Paused(PauseCause::ErrorBudget { wave, mailboxes_lost, mailboxes, budget }) => {
            format!(
                "paused: wave {wave} lost {} of {}, its budget is {budget}",
                human::count(*mailboxes_lost),
                human::plural(*mailboxes, "mailbox")
            )
        }
        CampaignState::Ended => "ended".to_owned(),
        CampaignState::Aborted => "aborted".to_owned(),
    }
}

/// A wave's state.
pub(crate) fn wave_state(campaign: &CampaignView, wave: &WaveView, now: CellTime) -> String {
    match wave.state {
        WaveState::Waiting | WaveState::Opening | WaveState::Baking { .. }
            if campaign.state == CampaignState::Aborted =>
        {
            "given up".to_owned()
        }
        WaveState::Waiting => "waiting".to_owned(),
        WaveState::Opening => "opening".to_owned(),
        WaveState::Baking { until } if until <= now => "baked".to_owned(),
        WaveState::Baking { until } => format!("baking, {} left", human::span(until.since(now))),
        WaveState::Passed => "passed".to_owned(),
    }
}

/// Shards of a campaign that wait for an operator.
pub(crate) fn lost_shards(campaign: &CampaignView) -> u64 {
    campaign.counts.shards_in(ShardState::Held) + campaign.counts.shards_in(ShardState::Failed)
}

/// How a mailbox differs from its shard.
pub(crate) const fn exception(exception: rientro_types::Exception) -> &'static str {
    match exception {
        rientro_types::Exception::Closed => "is to stay closed alone",
        rientro_types::Exception::Accepted => "is to open with its shard, though damaged",
    }
}

/// The sort of reason why a shard is not open, without its numbers: what many shards have in common.
pub(crate) fn sort_of_reason(shard: &ShardSnapshot) -> &'static str {
    let reason: &HeldReason = match (&shard.blocked, &shard.phase) {
        (Some(hold), _) if shard.state() == ShardState::Held => &hold.reason,
        (_, Phase::Held { reason }) => reason,
        (_, Phase::Failed { .. }) => return "failed: all tries are spent",
        (_, Phase::Closed { cause }) => return closed_by(*cause),
        (
            _,
            Phase::Waiting
            | Phase::Verifying { .. }
            | Phase::Backoff { .. }
            | Phase::Verified
            | Phase::Confirming { .. }
            | Phase::Opening { .. }
            | Phase::Open { .. },
        ) => return "on its way",
    };
    match reason {
        HeldReason::Policy(PolicyBreach::Level { .. }) => "held: not verified deeply enough",
        HeldReason::Policy(PolicyBreach::Coverage { .. }) => "held: too little could be looked at",
        HeldReason::Policy(PolicyBreach::Damaged { .. }) => {
            "held: more damaged messages than the plan allows"
        }
        HeldReason::Policy(PolicyBreach::Broken { .. }) => {
            "held: more missing or broken mailboxes than the plan allows"
        }
        HeldReason::Policy(PolicyBreach::Unreadable { .. }) => {
            "held: more unreadable mailboxes than the plan allows"
        }
        HeldReason::Policy(PolicyBreach::Unknown) | HeldReason::Unknown(_) => {
            "held: the verification could say nothing"
        }
        HeldReason::NodeSilent { .. } => "held: the node is silent",
        HeldReason::NodeStuck { .. } => "held: the node frees no place",
        HeldReason::DomainStuck { .. } => "held: its failure domain has no place that anybody answers for",
        HeldReason::OpeningOverdue { .. } => "held: the node has not confirmed the opening",
        HeldReason::VolumeWrong { .. } => "held: the wrong volume is mounted, or none",
        HeldReason::ShardMissing { .. } => "held: the node no longer has it, or cannot list it",
        HeldReason::MailboxesMissing { .. } => "held: mailboxes that were known are missing",
        HeldReason::Contested { .. } => "held: two nodes claim it, or one shows it twice",
        HeldReason::Disagreement { .. } => "held: the node and the restored journal disagree",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_takes_half_to_twice_the_linear_guess() {
        let left = |done, total| linear_left(Span::from_secs(600), done, total);
        assert_eq!(left(200, 800), Some((Span::from_secs(900), Span::from_secs(3_600))));
        for (done, total) in [(0, 800), (800, 800), (801, 800), (1, 0)] {
            assert_eq!(left(done, total), None, "{done} of {total}");
        }
    }
}
