//! What machines are shown. Keys are lasting; units stand last in their names; times are RFC 3339 in UTC.

use rientro_types::{
    CampaignState, CampaignView, CellTime, Decision, FleetLimits, LocatedFinding, MailboxGone, MailboxView,
    NodeView, Seq, ShardState, ShardView, Standing, StateCounts, WaveForecast, WaveState, WaveView,
};
use rientro_wire::operator::{CellAnswer, ShardAnswer};
use serde_json::{Map, Value, json};

use crate::foreign::path;
use crate::human::rfc3339;
use crate::record::tell;
use crate::steps::{self, NextStep};
use crate::words;

pub(crate) fn counts(counts: &StateCounts) -> Value {
    let of = |number: fn(&StateCounts, ShardState) -> u64| -> Map<String, Value> {
        ShardState::ALL.iter().map(|state| (state.name().to_owned(), number(counts, *state).into())).collect()
    };
    json!({
        "shards": of(|counts, state| counts.shards_in(state)),
        "mailboxes": of(|counts, state| counts.mailboxes_in(state)),
        "shards_total": counts.shards_total(),
        "mailboxes_total": counts.mailboxes_total(),
    })
}

pub(crate) fn limits(limits: &FleetLimits) -> Value {
    let FleetLimits { verifies_per_node, confirms_per_node, verifies_per_domain, silence } = limits;
    let domains: Map<String, Value> =
        verifies_per_domain.iter().map(|(label, max)| (label.to_string(), (*max).into())).collect();
    json!({
        "verifies_per_node": verifies_per_node,
        "confirms_per_node": confirms_per_node,
        "verifies_per_domain": domains,
        "silence_ms": silence.ms(),
    })
}

pub(crate) fn cell(answer: &CellAnswer, endpoint: &str) -> Value {
    let CellAnswer { cell, build, trouble, nodes_ahead } = answer;
    json!({
        "cell": cell.cell.as_str(),
        "endpoint": endpoint,
        "incarnation": cell.incarnation.raw(),
        "epoch": cell.epoch.raw(),
        "seq_next": cell.seq_next.raw(),
        "at": rfc3339(cell.at),
        "build": build,
        "trouble": trouble,
        "nodes_ahead": nodes_ahead.iter().map(rientro_types::NodeId::as_str).collect::<Vec<_>>(),
        "limits": limits(&cell.limits),
        "nodes": cell.nodes,
        "nodes_connected": cell.nodes_connected,
        "nodes_offline": cell.nodes_offline(),
        "nodes_silent": cell.nodes_silent,
        "nodes_twinned": cell.nodes_twinned,
        "shards_contested": cell.shards_contested,
        "shards_impaired": cell.shards_impaired,
        "leading_since": rfc3339(cell.leading_since),
        "campaigns_live": cell.campaigns_live,
        "counts": counts(&cell.counts),
    })
}

pub(crate) fn node(node: &NodeView) -> Value {
    let labels: Map<String, Value> =
        node.labels.iter().map(|(key, value)| (key.to_string(), value.as_str().into())).collect();
    json!({
        "node": node.node.as_str(),
        "incarnation": node.incarnation.to_string(),
        "labels": labels,
        "connected": node.connected,
        "heard_ago_ms": node.heard_ago.map(rientro_types::Span::ms),
        "silent_since": node.silent.map(rfc3339),
        "verifying": node.verifying,
        "confirming": node.confirming,
        "counts": counts(&node.counts),
        "twin": node.twin.map(|twin| json!({
            "since": rfc3339(twin.since),
            "last": rfc3339(twin.last),
            "tries": twin.knocks,
            "serves": twin.serves,
            "inside": twin.inside,
            "quiet": twin.quiet,
        })),
    })
}

fn standing(standing: &Standing) -> Value {
    let verdict = &standing.verification.verdict;
    let tally = &verdict.tally;
    json!({
        "verdict": verdict.to_string(),
        "level": verdict.level.name(),
        "coverage_ppm": verdict.coverage.raw(),
        "at": rfc3339(standing.at),
        "attempt": standing.attempt.raw(),
        "mailboxes": tally.mailboxes,
        "messages": tally.messages,
        "bytes": tally.bytes,
        "messages_damaged": tally.messages_damaged,
        "messages_unreadable": tally.messages_unreadable,
        "mailboxes_damaged": tally.mailboxes_damaged,
        "mailboxes_broken": tally.mailboxes_broken,
        "mailboxes_unreadable": tally.mailboxes_unreadable,
        "findings": tally.findings,
        "kinds": tally.kinds.iter().map(|kind| kind.code()).collect::<Vec<_>>(),
        "damaged": standing.damaged.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn next(steps: &[NextStep]) -> Value {
    steps.iter().map(|(command, purpose)| json!({ "command": command, "purpose": purpose })).collect()
}

pub(crate) fn shard(view: &ShardView) -> Value {
    let shard = &view.shard;
    let services = |set: rientro_types::ServiceSet| set.iter().map(|s| s.name()).collect::<Vec<_>>();
    json!({
        "shard": shard.shard.as_str(),
        "state": shard.state().name(),
        "why": words::why(view),
        "since": rfc3339(shard.state_since()),
        "waiting_on": words::waits_for(view),
        "node": shard.placement.node.as_str(),
        "volume": shard.placement.volume.as_str(),
        "mailboxes": shard.mailboxes,
        "bytes": words::size(shard),
        "services": services(shard.services),
        "services_since": rfc3339(shard.services_since),
        "disagreement": words::disagreement(shard),
        "services_seen": services(shard.seen),
        "held_by": shard.blocked.as_ref().map(|hold| words::held(&hold.reason)),
        "held_since": shard.blocked.as_ref().map(|hold| rfc3339(hold.since)),
        "attempt": shard.attempt.raw(),
        "failures": shard.failures,
        "campaign": shard.member.map(|member| member.campaign.to_string()),
        "wave": shard.member.map(|member| member.wave.raw()),
        "verified": shard.standing.as_ref().map(standing),
        "accepted": shard.accepted.as_ref().map(|a| json!({ "by": a.by, "reason": a.reason })),
        "exceptions": shard.exceptions.len(),
        "next": next(&steps::of_shard(view)),
    })
}

/// One shard, and which mailboxes it misses while it is held for that.
pub(crate) fn shard_answer(answer: &ShardAnswer) -> Value {
    let mut value = shard(&answer.shard);
    value["missing"] = answer.missing.iter().map(ToString::to_string).collect();
    value["missing_known"] = answer.missing_known.into();
    value
}

pub(crate) fn mailbox(view: &MailboxView, until: &str) -> Value {
    json!({
        "mailbox": view.mailbox.to_string(),
        "exception": view.exception.map(words::exception),
        "open": view.open.iter().map(|service| service.name()).collect::<Vec<_>>(),
        "since": rfc3339(view.since),
        "listed": view.listed.map(rfc3339),
        "listed_after_verification": view.listed_after_verification().is_some(),
        "until": until,
        "shard": shard(&view.shard),
    })
}

pub(crate) fn mailbox_gone(gone: &MailboxGone) -> Value {
    json!({
        "last_list_with": rfc3339(gone.listed),
        "first_list_without": rfc3339(gone.missed),
        "in_service": gone.served,
        "shard": shard(&gone.shard),
    })
}

pub(crate) fn wave(campaign: &CampaignView, wave: &WaveView, now: CellTime) -> Value {
    let given_up = campaign.state == CampaignState::Aborted && wave.state != WaveState::Passed;
    json!({
        "wave": wave.wave.raw(),
        "state": match wave.state {
            _ if given_up => "given-up",
            WaveState::Baking { until } if until <= now => "baked",
            WaveState::Waiting | WaveState::Opening | WaveState::Baking { .. } | WaveState::Passed => wave.state.name(),
        },
        "bakes_until": match wave.state {
            WaveState::Baking { until } if !given_up && until > now => Some(rfc3339(until)),
            WaveState::Waiting | WaveState::Opening | WaveState::Baking { .. } | WaveState::Passed => None,
        },
        "mailboxes_lost": wave.mailboxes_lost,
        "mailboxes_returning": wave.mailboxes_returning,
        "mailboxes_lost_max": wave.mailboxes_lost_max,
        "counts": counts(&wave.counts),
    })
}

pub(crate) fn campaign(campaign: &CampaignView, now: CellTime) -> Value {
    json!({
        "campaign": campaign.campaign.as_str(),
        "revision": campaign.revision.raw(),
        "source": campaign.source.to_string(),
        "state": campaign.state.name(),
        "state_why": words::campaign_state(&campaign.state),
        "started": rfc3339(campaign.started),
        "ended": campaign.ended.map(rfc3339),
        "wave": campaign.wave.map(rientro_types::WaveNo::raw),
        "bytes_verified": campaign.bytes_verified,
        "shards_gone": campaign.shards_gone,
        "counts": counts(&campaign.counts),
        "waves": campaign.waves.iter().map(|w| wave(campaign, w, now)).collect::<Vec<_>>(),
        "next": next(&steps::of_campaign(campaign)),
    })
}

/// A size, or null where nobody has told it: agents state no file before a verification.
fn known(bytes: u64) -> Option<u64> {
    Some(bytes).filter(|bytes| *bytes > 0)
}

pub(crate) fn forecast(wave: &WaveForecast) -> Value {
    json!({
        "wave": wave.wave.raw(),
        "shards": wave.shards.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "mailboxes": wave.mailboxes,
        "bytes": known(wave.bytes),
    })
}

pub(crate) fn finding(shard: &str, node: &str, dropped: bool, finding: &LocatedFinding) -> Value {
    let LocatedFinding { mailbox_id, address, finding } = finding;
    json!({
        "shard": shard,
        "node": node,
        "dropped": dropped,
        "kind": finding.kind.code(),
        "mailbox": mailbox_id.as_ref().map(ToString::to_string),
        "address": address.as_deref().map(path),
        "mailbox_path": if finding.mailbox.is_empty() { None } else { Some(path(&finding.mailbox)) },
        "path": path(&finding.path),
        "detail": finding.detail,
    })
}

pub(crate) fn decision(seq: Seq, at: CellTime, decision: &Decision) -> Value {
    let told = tell(&decision.record);
    json!({
        "seq": seq.raw(),
        "at": rfc3339(at),
        "actor": decision.actor.to_string(),
        "record": told.kind,
        "text": told.sentence,
        "shard": told.about.shard.map(|shard| shard.to_string()),
        "campaign": told.about.campaign.map(|campaign| campaign.to_string()),
        "wave": told.about.wave.map(rientro_types::WaveNo::raw),
    })
}

/// What is wrong, and what to do about it.
pub(crate) fn advice(advice: &rientro_types::Advice) -> Value {
    let rientro_types::Advice { what, next } = advice;
    json!({ "what": what, "next": next })
}
