//! What an operator could do next, as commands to copy.
//!
//! Computed from what the cell has shown, like the words beside them: a command that is shown here applies.

use rientro_types::{
    CampaignState, CampaignView, CellTime, CloseCause, HeldReason, PauseCause, Phase, Promotion, ShardState,
    ShardView, WaitingOn,
};

use crate::failure::Failure;
use crate::human;
use crate::session::Session;
use crate::words::{lost_shards, waits_for_promotion};

/// A command an operator could run, and what for.
pub(crate) type NextStep = (String, &'static str);

/// What could be done about a shard that is not open, or is open in a circumstance that someone must look at.
pub(crate) fn of_shard(view: &ShardView) -> Vec<NextStep> {
    let shard = &view.shard;
    if let (Some(hold), ShardState::Held) = (&shard.blocked, shard.state()) {
        return held_steps(view, &hold.reason);
    }
    let mut steps = phase_steps(view);
    if let Some(hold) = &shard.blocked {
        // What is wrong with it comes first: in a campaign it would only be held for that.
        steps.splice(0..0, held_steps(view, &hold.reason));
    }
    steps
}

/// What could be done about the phase a shard is in.
fn phase_steps(view: &ShardView) -> Vec<NextStep> {
    let shard = &view.shard;
    let id = shard.shard;
    let step = |command: String, purpose| (command, purpose);
    let look = step(format!("rientro shard show {id}"), "see everything about it");
    let findings = step(format!("rientro findings list {id}"), "see what verification found");
    let retry = step(format!("rientro shard retry {id}"), "verify it again");
    let accept = step(format!("rientro shard accept {id} --reason '...'"), "open it as it is");
    match &shard.phase {
        Phase::Held { reason } if matches!(**reason, HeldReason::Policy(_)) => vec![findings, accept, retry],
        Phase::Held { reason } => held_steps(view, reason),
        Phase::Failed { .. } => vec![look, retry, accept],
        Phase::Backoff { .. } => vec![step(retry.0, "try again at once")],
        Phase::Closed { cause } if shard.member.is_some() && view.waiting_on == Some(WaitingOn::Operator) => {
            who_closed(*cause, shard.since).into_iter().chain([retry]).collect()
        }
        Phase::Closed { cause } => who_closed(*cause, shard.since)
            .into_iter()
            .chain([
                step("rientro plan check PLAN.toml".to_owned(), "rehearse a plan that covers it"),
                step("rientro campaign start PLAN.toml".to_owned(), "bring it back"),
            ])
            .collect(),
        Phase::Waiting
        | Phase::Verifying { .. }
        | Phase::Verified
        | Phase::Confirming { .. }
        | Phase::Opening { .. } => on_its_way(view),
        Phase::Open { .. } => Vec::new(),
    }
}

/// Who closed a shard, and why, stands in the journal alone: all that was decided at that second.
fn who_closed(cause: CloseCause, at: CellTime) -> Option<NextStep> {
    let command = || format!("rientro journal tail --last 0 | grep '{}'", human::moment(at));
    match cause {
        CloseCause::Operator => Some((command(), "see who closed it, and why")),
        CloseCause::Aborted => Some((command(), "see who aborted its campaign")),
        CloseCause::FirstMet | CloseCause::Released => None,
    }
}

fn held_steps(view: &ShardView, reason: &HeldReason) -> Vec<NextStep> {
    let id = view.shard.shard;
    let retry = (format!("rientro shard retry {id}"), "verify it again");
    let accept = (format!("rientro shard accept {id} --reason '...'"), "open it as it is");
    let settle =
        |node| (format!("rientro shard settle {id} --node {node} --reason '...'"), "say that it is there");
    match reason {
        HeldReason::Policy(_) | HeldReason::Unknown(_) => vec![retry, accept],
        HeldReason::NodeSilent { node, .. } => {
            vec![(format!("rientro node show {node}"), "see when its node was last heard; bring it back")]
        }
        HeldReason::NodeStuck { node, .. } => {
            let look = "see what it is busy with; look there for a full disk, then restart its agent";
            vec![(format!("rientro node show {node}"), look)]
        }
        HeldReason::DomainStuck { label, places, .. } => {
            let look = "see which of them is silent or frees no place; bring it back";
            let more = places.saturating_add(1);
            let raise = format!("rientro cell limits set --verifies-per-domain {label}={more}");
            vec![("rientro node list".to_owned(), look), (raise, "let one more run there meanwhile")]
        }
        HeldReason::OpeningOverdue { node, .. } => {
            let look = "see when it was last heard; look there for what keeps its agent from opening";
            let close = format!("rientro shard close {id} --reason '...'");
            vec![(format!("rientro node show {node}"), look), (close, "close it, to be verified again")]
        }
        HeldReason::ShardMissing { node } => {
            let look = "see when its node was last heard; look there for what is moved away or deleted";
            let mounted =
                "on the node: see whether its volume is mounted; what is put back is found by itself";
            let volume = "rientro-agent volume show PATH".to_owned();
            vec![(format!("rientro node show {node}"), look), (volume, mounted)]
        }
        HeldReason::VolumeWrong { found, .. } => {
            let node = view.shard.placement.node;
            let mut steps = vec![(format!("rientro node show {node}"), "mount the right volume there")];
            steps.extend(found.map(|_| settle(node)));
            steps
        }
        HeldReason::MailboxesMissing { .. } => {
            let node = view.shard.placement.node;
            let look =
                "see when the node was last heard; look there for what is not mounted, moved away or deleted";
            let (command, _) = settle(node);
            vec![(format!("rientro node show {node}"), look), (command, "say that the deletion was intended")]
        }
        HeldReason::Contested { holder, claimant, volume } if holder == claimant => {
            let look = "unmount one of the two there, or take its root out of the agent's settings";
            let mut steps = vec![(format!("rientro node show {holder}"), look)];
            if *volume != view.shard.placement.volume {
                let (command, _) = settle(*holder);
                steps.push((command, "say that the one on the volume shown above counts"));
            }
            steps
        }
        HeldReason::Contested { holder, claimant, .. } => vec![settle(*holder), settle(*claimant)],
        HeldReason::Disagreement { journal, node } => {
            let close = format!("rientro shard close {id} --reason '...'");
            let adopt = |open| format!("rientro shard adopt {id} --services {open} --reason '...'");
            let mut steps = vec![(close, "close it, to be verified again")];
            if !node.is_empty() {
                steps.insert(0, (adopt(node), "leave open what its node serves"));
            }
            if !journal.is_empty() {
                steps.push((adopt(journal), "open what the journal says, without a verification"));
            }
            steps
        }
    }
}

fn on_its_way(view: &ShardView) -> Vec<NextStep> {
    match &view.waiting_on {
        Some(WaitingOn::Resume { campaign }) => {
            vec![(format!("rientro campaign resume {campaign}"), "let the campaign go on")]
        }
        Some(WaitingOn::NodeOffline { node, .. }) => {
            vec![(format!("rientro node show {node}"), "see when its node was last heard; bring it back")]
        }
        Some(WaitingOn::Wave { .. }) => before_its_wave(view),
        Some(WaitingOn::DomainBudget { label, max, silent, .. }) if *silent > 0 => {
            let raised = max.saturating_add(*silent);
            vec![
                ("rientro node list".to_owned(), "see which nodes are silent; bring them back"),
                (
                    format!("rientro cell limits set --verifies-per-domain {label}={raised}"),
                    "let others verify meanwhile; what silent nodes still read comes on top",
                ),
            ]
        }
        Some(
            WaitingOn::NodeBudget { .. }
            | WaitingOn::DomainBudget { .. }
            | WaitingOn::Turn
            | WaitingOn::OpeningBudget { .. }
            | WaitingOn::Backoff { .. }
            | WaitingOn::Task { .. }
            | WaitingOn::Operator
            | WaitingOn::Campaign,
        )
        | None => match view.shard.member {
            Some(member) => vec![(format!("rientro watch {}", member.campaign), "see it come back")],
            None => Vec::new(),
        },
    }
}

/// What brings a shard's wave nearer. Only what would not be refused is offered.
fn before_its_wave(view: &ShardView) -> Vec<NextStep> {
    let Some(WaitingOn::Wave { current, promotion, earlier, .. }) = view.waiting_on else {
        return Vec::new();
    };
    let mut steps = Vec::new();
    if let (Some(member), Promotion::Manual) = (view.shard.member, promotion) {
        let command = format!("rientro wave promote {} {current}", member.campaign);
        steps.push((command, "let the next wave begin"));
    }
    if earlier.is_some() {
        let command = format!("rientro shard prioritize {}", view.shard.shard);
        steps.push((command, "bring it into the wave that opens next"));
    }
    if let (Some(member), true) = (view.shard.member, steps.is_empty()) {
        steps.push((format!("rientro watch {}", member.campaign), "see it come back"));
    }
    steps
}

/// What could be done about a campaign.
pub(crate) fn of_campaign(campaign: &CampaignView) -> Vec<NextStep> {
    let id = campaign.campaign;
    let lost = lost_shards(campaign);
    let mut steps = Vec::new();
    if lost > 0 {
        steps.push((
            format!("rientro shard list --campaign {id} --state held,failed"),
            "see what is held and why",
        ));
        steps.extend(after_losses(campaign));
    }
    match (&campaign.state, campaign.wave) {
        (CampaignState::Paused(_), _) => {
            steps.push((format!("rientro campaign resume {id}"), "go on; what is lost so far is forgiven"));
            steps.push((format!("rientro campaign abort {id}"), "give up; what is open stays open"));
        }
        (CampaignState::Running | CampaignState::Forming, Some(wave)) => {
            steps.push((format!("rientro watch {id}"), "see it come back"));
            if waits_for_promotion(campaign) {
                let is_last = campaign.waves.last().is_some_and(|last| last.wave == wave);
                let purpose = if is_last {
                    "let the last wave pass: the campaign ends"
                } else {
                    "let the next wave begin"
                };
                steps.push((format!("rientro wave promote {id} {wave}"), purpose));
            }
        }
        (CampaignState::Running | CampaignState::Forming, None) => {
            steps.push((format!("rientro watch {id}"), "see it come back"));
        }
        (CampaignState::Ended, _) => {
            let selection = format!("--campaign {id} --state held,failed");
            if lost > 0 {
                let accept = format!("rientro shard accept {selection} --reason '...'");
                steps.push((format!("rientro shard retry {selection}"), "verify them again"));
                steps.push((accept, "open them as they are"));
            }
            if campaign.counts.shards_in(ShardState::Closed) > 0 {
                let closed = format!("rientro shard retry --campaign {id} --state closed");
                steps.push((closed, "verify what was closed, and open it again"));
            }
        }
        (CampaignState::Aborted, _) => {}
    }
    steps
}

/// What could be done about the shards of a campaign that are held or failed.
fn after_losses(campaign: &CampaignView) -> Vec<NextStep> {
    if campaign.state != CampaignState::Paused(PauseCause::Restored) {
        let command = format!("rientro findings list --campaign {}", campaign.campaign);
        return vec![(command, "see what verification found")];
    }
    // What was verified before the restore counts no more; where node and journal disagree, a person says which is right.
    let adopt = "rientro shard adopt NAME --services SERVICES --reason '...'".to_owned();
    let close = "rientro shard close NAME --reason '...'".to_owned();
    vec![
        (adopt, "where node and journal disagree: leave open what the node serves"),
        (close, "or close it, to be verified again"),
    ]
}

/// What could be done, one command a line.
pub(crate) fn print(session: &Session, steps: &[NextStep]) -> Result<(), Failure> {
    if steps.is_empty() {
        return Ok(());
    }
    session.out.line("\nWhat can be done:")?;
    lines(steps).iter().try_for_each(|line| session.out.line(line))
}

/// Commands with their purpose beside them where that is short enough, else above.
fn lines(steps: &[NextStep]) -> Vec<String> {
    let widest = steps.iter().map(|(command, _)| command.len()).max().unwrap_or(0);
    let longest = steps.iter().map(|(_, purpose)| purpose.len()).max().unwrap_or(0);
    // A command must stay on one line, to be copied; 80 columns are what a bare console has.
    if widest + longest + 6 <= 80 {
        return steps.iter().map(|(command, purpose)| format!("  {command:widest$}  # {purpose}")).collect();
    }
    steps.iter().flat_map(|(command, purpose)| [format!("  # {purpose}"), format!("  {command}")]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_stay_on_one_line_to_be_copied() {
        let short = lines(&[("rientro shard retry v1".to_owned(), "verify it again")]);
        assert_eq!(short, ["  rientro shard retry v1  # verify it again"]);
        let long = lines(&[("x".repeat(70), "a purpose")]);
        assert_eq!(long, ["  # a purpose".to_owned(), format!("  {}", "x".repeat(70))]);
    }
}
