//! The rules on single records, checked before the record enters the books.

use rientro_types::{
    AttemptNo, CampaignId, CellTime, Decision, HeldReason, NodeId, Outcome, PassCause, Phase, Policy, Record,
    ServiceSet, ShardId, ShardSnapshot, ShardState, Span, TaskEnd, TaskFailure, TaskKind, WaveNo,
};

use super::Monitor;
use crate::log::Log;

/// Time that may be lost to anyone's disadvantage at each change of leader or absence: a housekeeping, and a message's way.
const SLACK_MS: u64 = 1_500;
/// Time after which a decision is overdue: an absence that just is none may lie before it.
pub(super) const LATE_MS: u64 = rientro_engine::ABSENCE_MIN.ms() + SLACK_MS;
/// How much more of the world's time can pass than the cell's clock shows: the widest jump back among the faults.
const CLOCK_BACK_MS: u64 = crate::faults::CLOCK_AHEAD_MS_MAX.abs_diff(crate::faults::CLOCK_AHEAD_MS_MIN);

impl Monitor {
    pub(super) fn before(&mut self, decision: &Decision, at: CellTime, log: &Log) {
        match &decision.record {
            Record::TaskStarted { shard, kind, attempt: _, node, timeout: _ } => {
                self.is_not_stopped(*shard, "starts");
                self.may_start(*shard, *kind, *node, log);
            }
            Record::TaskEnded { shard, attempt, end, backoff: _, waited: _ } => {
                self.may_end(*shard, *attempt, end, log);
            }
            Record::StepOpening { shard, services, timeout: _ } => {
                self.is_not_stopped(*shard, "opens");
                self.may_open(*shard, *services, log);
            }
            Record::ShardMeasured { shard, mailboxes } => self.may_follow(*shard, *mailboxes),
            Record::ShardPlaced { shard, placement } => self.leaves(*shard, placement.node),
            Record::NodeSilent { node, silent_for: _ } => self.may_be_silent(*node),
            Record::WaveStarted { campaign, wave } => self.may_begin(*campaign, *wave),
            Record::WaveSettled { campaign, wave } => self.may_settle(*campaign, *wave),
            Record::CampaignEnded { campaign } => self.may_end_campaign(*campaign),
            Record::WavePassed { campaign, wave, cause } => {
                let by_operator = decision.actor.kind == rientro_types::ActorKind::Operator;
                self.may_pass(*campaign, *wave, *cause, at, by_operator);
            }
            Record::Closed { .. }
            | Record::Accepted { .. }
            | Record::Adopted { .. }
            | Record::Retried { .. }
            | Record::Settled { .. }
                if decision.actor.kind != rientro_types::ActorKind::Operator =>
            {
                self.broken("R11", None, format!("a verb of an operator by {}", decision.actor));
            }
            _ => {}
        }
        self.note_state(&decision.record);
    }

    fn note_state(&mut self, record: &Record) {
        let Some((shard, what)) = crate::coverage::of_record(record) else { return };
        if let Some(state) = self.state_of(shard) {
            self.seen.note(state, what);
        }
    }

    /// What is served where it moves away is closed there; what is in doubt is closed nowhere before that is over (T29).
    fn leaves(&mut self, shard: ShardId, to: NodeId) {
        if self.is_doubted(shard) {
            return;
        }
        let served = |book: &&super::ShardBook| book.node != to && !book.services.is_empty();
        if let Some(book) = self.books.shard(shard).filter(served) {
            self.closed.insert((book.node, shard));
        }
    }

    /// After a restore only the node knows whether it serves a shard: what it measures then is what is known. Else what is
    /// closed never counts fewer mailboxes than before.
    fn may_follow(&mut self, shard: ShardId, mailboxes: u64) {
        let doubted = self.is_doubted(shard);
        let Some(book) = self.books.shard_mut(shard) else { return };
        if doubted {
            book.known = mailboxes;
        }
        let in_service = !(book.services.is_empty() && book.seen.is_empty());
        if !in_service && mailboxes < book.known {
            let known = book.known;
            let found = format!("closed shard {shard} had {known} mailboxes and is measured at {mailboxes}");
            self.broken("R7", Some(shard), found);
        }
    }

    /// A list counts for what is closed, and where nobody asks what is open.
    pub(crate) fn listed(&mut self, shard: ShardId, listed: u64) {
        let view = self.follower().shard_view(shard).map(|view| view.shard);
        let asked = view.is_some_and(|shard| {
            let reason = shard.blocked.map(|hold| hold.reason);
            shard.doubted || matches!(reason, Some(HeldReason::Disagreement { .. }))
        });
        let Some(book) = self.books.shard_mut(shard) else { return };
        let in_service = !(book.services.is_empty() && book.seen.is_empty());
        book.lists.shows(listed);
        if in_service || asked {
            book.lists.settle();
        }
    }

    /// R2 by the books: node and domain budgets. R3, R7: what a confirmation stands on.
    fn may_start(&mut self, shard: ShardId, kind: TaskKind, node: NodeId, log: &Log) {
        let limits = &self.books.limits;
        let max = limits.per_node(kind);
        let busy = self.books.load(node, kind);
        if busy as u64 >= u64::from(max) {
            let found = format!("a {} starts on {node}, which is booked with {busy} of {max}", kind.name());
            self.broken("R2", Some(shard), found);
        }
        if kind == TaskKind::Confirm {
            self.may_be_in_flight(shard);
        }
        if kind == TaskKind::Verify {
            let full = self.books.domains(node).find(|(_, _, busy, max)| *busy as u64 >= u64::from(*max));
            if let Some((label, value, busy, max)) = full {
                let found = format!("a verification starts in {label} {value}, booked with {busy} of {max}");
                self.broken("R2", Some(shard), found);
            }
            return;
        }
        self.in_begun_wave(shard, "is confirmed");
        self.vouched(shard);
        self.of_age(shard, log);
    }

    /// R2: as many shards of a campaign are on their last steps at once as its plan allows.
    fn may_be_in_flight(&mut self, shard: ShardId) {
        let Some((campaign, _)) = self.books.shard(shard).and_then(|book| book.member) else { return };
        let Some(view) = self.follower.campaign_view(campaign) else { return };
        let max = view.plan.opening.in_flight_max;
        let busy = [ShardState::Confirming, ShardState::Opening].map(|state| view.counts.shards_in(state));
        let busy: u64 = busy.into_iter().sum();
        if busy >= u64::from(max) {
            let found = format!("shard {shard} begins to open while {busy} of {max} of {campaign} do");
            self.broken("R2", Some(shard), found);
        }
    }

    /// R12: nothing of a campaign that ends is on its way.
    fn may_end_campaign(&mut self, campaign: CampaignId) {
        let of_campaign = rientro_types::Selector { campaign: Some(campaign), ..Default::default() };
        let views = self.follower.shard_views(&of_campaign, None, usize::MAX);
        if let Some(view) = views.into_iter().find(|view| is_moving(&view.shard)) {
            let (shard, state) = (view.shard.shard, view.shard.state());
            self.broken("R12", Some(shard), format!("{campaign} ends while shard {shard} is {state}"));
        }
    }

    /// R1 against the truth: the verification was made no longer ago than the policy allows, wherever its result has lain.
    fn of_age(&mut self, shard: ShardId, log: &Log) {
        let Some(book) = self.books.shard(shard).filter(|book| !book.accepted) else { return };
        let Some((attempt, _)) = book.verification else { return };
        let Some(policy) = self.policy_of(shard) else { return };
        let Some(told) = log.end_of(shard, attempt).filter(|told| told.honest) else { return };
        let age = log.now.since(told.at);
        let late = self.books.limits.silence.ms() + LATE_MS + CLOCK_BACK_MS;
        if age.ms() > policy.verified_age_max.ms() + late {
            let found = format!("shard {shard} goes on from a verification that was made {age} ago");
            self.broken("R1", Some(shard), found);
        }
    }

    fn policy_of(&self, shard: ShardId) -> Option<Policy> {
        let (campaign, _) = self.books.shard(shard)?.member?;
        Some(self.books.campaigns.get(&campaign)?.plan.policy)
    }

    /// A verification that passes the policy in force, or an acceptance.
    fn vouched(&mut self, shard: ShardId) {
        let Some(book) = self.books.shard(shard) else { return };
        if book.accepted {
            return;
        }
        let Some((attempt, verification)) = &book.verification else {
            let found = format!("shard {shard} goes on without a verification since it was last closed");
            return self.broken("R1", Some(shard), found);
        };
        let Some(policy) = self.policy_of(shard) else { return };
        if let Err(breach) = policy.judge(&verification.verdict) {
            let unknown = matches!(verification.verdict.outcome, Outcome::Unknown(_));
            let rule = if unknown { "R7" } else { "R1" };
            let found = format!("shard {shard} goes on from attempt {attempt}, though {breach}");
            self.broken(rule, Some(shard), found);
        }
    }

    fn in_begun_wave(&mut self, shard: ShardId, does: &str) {
        let Some((campaign, wave)) = self.books.shard(shard).and_then(|book| book.member) else {
            return self.broken("R3", Some(shard), format!("shard {shard} {does} outside of any wave"));
        };
        let own = self.books.wave_of(campaign, wave).is_some_and(|wave| wave.started);
        let open =
            |w: u32| self.books.wave_of(campaign, WaveNo::from_raw(w)).is_some_and(|wave| !wave.passed);
        let waits = own && (0..wave.raw()).any(open);
        if !own || waits {
            let found = format!("shard {shard} of wave {wave} {does} before the waves below it have passed");
            self.broken("R3", Some(shard), found);
        }
    }

    /// R1 against the truth: the verification it opens on is what an honest agent really found, and it passes.
    fn may_open(&mut self, shard: ShardId, services: ServiceSet, log: &Log) {
        self.in_begun_wave(shard, "opens");
        let Some(book) = self.books.shard(shard).cloned() else { return };
        if !book.services.is_empty() {
            // A further step stands on what the first one stood on, whatever was revised or mounted since.
            if services.intersection(book.services) != book.services {
                let found = format!("shard {shard} opens {services} and had {} open", book.services);
                self.broken("R1", Some(shard), found);
            }
            return;
        }
        self.vouched(shard);
        let lacks = book.lists.lacks();
        if lacks > 0 {
            let found = format!("shard {shard} opens, and its list lacks {lacks} mailboxes");
            self.broken("R7", Some(shard), found);
        }
        let Some(confirmed) = book.confirmed.filter(|_| services != ServiceSet::NONE) else {
            return self.broken("R1", Some(shard), format!("shard {shard} opens and was not confirmed"));
        };
        if book.accepted {
            return;
        }
        let Some((attempt, verification)) = book.verification else { return };
        let (Some(verified), Some(confirmation)) = (log.end_of(shard, attempt), log.end_of(shard, confirmed))
        else {
            let liars = self.lied(shard, attempt, log) || self.lied(shard, confirmed, log);
            if !liars {
                let found =
                    format!("shard {shard} opens on attempts {attempt} and {confirmed}: one never ran");
                self.broken("R1", Some(shard), found);
            }
            return;
        };
        if !(verified.honest && confirmation.honest) {
            return;
        }
        // What was so before a silence, an absence or a session is no word about now.
        let (age, age_max) = (log.now.since(confirmation.at), self.books.limits.silence.ms() + LATE_MS);
        if age.ms() > age_max || book.asked != self.clock.now().1 {
            let found = format!("shard {shard} opens on a confirmation that was made {age} ago");
            self.broken("R1", Some(shard), found);
        }
        let told = matches!(&verified.end, TaskEnd::Verified { verification: v, .. } if *v == verification);
        let level = verification.verdict.level;
        let passes = |c: &crate::truth::Content| {
            self.policy_of(shard).is_none_or(|policy| policy.judge(&c.verdict(level)).is_ok())
        };
        let truly = verified.content.as_ref().is_some_and(passes);
        let met = verified.content.as_ref().map_or(0, |content| content.mailboxes);
        if met < book.known {
            let found =
                format!("shard {shard} opens with {met} of the {} mailboxes that were known", book.known);
            self.broken("R7", Some(shard), found);
        }
        let generation = |told: &crate::log::Told| told.content.as_ref().map(|c| c.generation);
        if !told || !truly || generation(verified) != generation(confirmation) {
            let found = format!(
                "shard {shard} opens on attempts {attempt} and {confirmed}; in truth it was {:?} and {:?}",
                verified.content, confirmation.content
            );
            self.broken("R1", Some(shard), found);
        }
    }

    /// A try whose node lies may be answered without ever having run.
    fn lied(&self, shard: ShardId, attempt: AttemptNo, log: &Log) -> bool {
        match log.begin_of(shard, attempt) {
            Some(begun) => log.is_liar(begun.host),
            None => log.any_liar(),
        }
    }

    /// R6: a try is given up only after its time, in which somebody listened and its campaign ran.
    fn may_end(&mut self, shard: ShardId, attempt: AttemptNo, end: &TaskEnd, log: &Log) {
        let Some(book) = self.books.shard(shard) else { return };
        let Some(under_way) = book.under_way.filter(|under_way| under_way.attempt == attempt) else {
            let found = format!("attempt {attempt} of shard {shard} ends and is not under way");
            return self.broken("R4", Some(shard), found);
        };
        let TaskEnd::Failed(failure) = end else {
            let told = log.end_of(shard, attempt);
            if told.is_none() && !self.lied(shard, attempt, log) {
                let found = format!("attempt {attempt} of shard {shard} has a result that no agent gave");
                self.broken("R1", Some(shard), found);
            }
            return;
        };
        if !matches!(failure, TaskFailure::TimedOut) {
            return;
        }
        let Some((campaign, _)) = book.member else { return };
        let (listened, changes) = self.clock.now();
        let Some(started) = under_way.started else { return };
        let ran = self.books.campaign_clock(campaign, listened).saturating_sub(started.0);
        let slack = SLACK_MS * (1 + changes - started.1);
        if ran + slack < under_way.timeout_ms {
            let found = format!(
                "attempt {attempt} of shard {shard} timed out after {} of {} in which anybody listened",
                Span::from_ms(ran),
                Span::from_ms(under_way.timeout_ms)
            );
            self.broken("R6", Some(shard), found);
        }
    }

    fn may_be_silent(&mut self, node: NodeId) {
        let unheard = self.clock.unheard_before(node);
        let limit = self.books.limits.silence;
        if unheard + SLACK_MS < limit.ms() {
            let found = format!("{node} counts as silent after {} of {limit}", Span::from_ms(unheard));
            self.broken("R6", None, found);
        }
    }

    /// R6: a node that was not heard for so long counts as silent, and what is under way on it as lost.
    pub fn silence(&mut self, now: CellTime) {
        self.now = now;
        let limit = self.books.limits.silence.ms() + LATE_MS;
        if self.clock.now().0 < self.books.limits_since + LATE_MS {
            return;
        }
        let nodes: Vec<NodeId> = self.books.nodes().collect();
        for node in nodes {
            if self.clock.unheard(node) > limit && !self.books.silent.contains(&node) {
                let unheard = Span::from_ms(self.clock.unheard(node));
                self.broken("R6", None, format!("{node} was not heard for {unheard} and is not silent"));
            }
        }
    }

    /// R6: in a running campaign no wave that has begun has lost more than it may lose, be it that it has passed.
    pub fn budgets(&mut self) {
        let over: Vec<_> = self
            .follower
            .campaign_views()
            .filter(|view| view.state == rientro_types::CampaignState::Running)
            .flat_map(|view| view.waves.into_iter().map(move |wave| (view.campaign, wave)))
            .filter(|(_, wave)| wave.state != rientro_types::WaveState::Waiting)
            .filter(|(_, wave)| wave.mailboxes_lost > wave.mailboxes_lost_max)
            .collect();
        for (campaign, wave) in over {
            let (lost, max) = (wave.mailboxes_lost, wave.mailboxes_lost_max);
            let found =
                format!("{campaign} runs on with {lost} mailboxes of wave {} lost of {max}", wave.wave);
            self.broken("R6", None, found);
        }
    }

    fn may_begin(&mut self, campaign: CampaignId, wave: WaveNo) {
        let open =
            |w: u32| self.books.wave_of(campaign, WaveNo::from_raw(w)).is_some_and(|wave| !wave.passed);
        if (0..wave.raw()).any(open) {
            self.broken("R3", None, format!("wave {wave} of {campaign} begins before its turn"));
        }
    }

    /// Nothing in a wave that settles is on its way.
    fn may_settle(&mut self, campaign: CampaignId, wave: WaveNo) {
        let of_wave = rientro_types::Selector {
            campaign: Some(campaign),
            wave: Some(wave),
            ..rientro_types::Selector::default()
        };
        let views = self.follower.shard_views(&of_wave, None, usize::MAX);
        if let Some(moving) = views.into_iter().find(|view| is_moving(&view.shard)) {
            let (shard, state) = (moving.shard.shard, moving.shard.state());
            let found = format!("wave {wave} of {campaign} settles while shard {shard} is {state}");
            self.broken("R3", Some(shard), found);
        }
    }

    /// R3: the next wave may open after the bake of this one under the plan in force, or when a named operator says so.
    fn may_pass(
        &mut self,
        campaign: CampaignId,
        wave: WaveNo,
        cause: PassCause,
        at: CellTime,
        by_operator: bool,
    ) {
        let Some(book) = self.books.wave_of(campaign, wave) else { return };
        let bake = self.books.campaigns.get(&campaign).map(|book| book.plan.waves.bake).unwrap_or_default();
        let baked = book.settled.is_some_and(|settled| at >= settled + bake);
        let right = match cause {
            PassCause::Promoted => by_operator,
            PassCause::Baked => baked && self.has_evidence(campaign, wave),
        };
        if !right {
            self.broken("R3", None, format!("wave {wave} of {campaign} passes ({cause:?}) without its bake"));
        }
    }

    /// Something of the wave is open, or nobody has closed any of it.
    fn has_evidence(&self, campaign: CampaignId, wave: WaveNo) -> bool {
        let of_wave = self.books.shards().filter(|(_, book)| book.member == Some((campaign, wave)));
        let mut states = of_wave.filter_map(|(shard, _)| self.state_of(*shard));
        let mut closed = false;
        let open = states.any(|state| {
            closed |= state == ShardState::Closed;
            state == ShardState::Open
        });
        open || !closed
    }

    /// What a record that names no single shard did to each: enters the books, and is checked against what it may do.
    pub(super) fn swept(&mut self, decision: &Decision, before: &[ShardSnapshot], after: &[ShardSnapshot]) {
        for (old, new) in before.iter().zip(after).filter(|(old, new)| old != new) {
            self.swept_shard(decision, old, new);
        }
    }

    /// T28: only what is in question is settled, on the node that was named and a volume that it has shown.
    fn settled(&mut self, node: NodeId, old: &ShardSnapshot, new: &ShardSnapshot) {
        self.seen.note(old.state(), "settle");
        let shown = match old.blocked.as_ref().map(|hold| &hold.reason) {
            Some(HeldReason::Contested { holder, .. }) if *holder == node => Some(old.placement.volume),
            Some(HeldReason::Contested { claimant, volume, .. }) if *claimant == node => Some(*volume),
            Some(HeldReason::VolumeWrong { found, .. }) if old.placement.node == node => *found,
            Some(HeldReason::MailboxesMissing { .. }) if old.placement.node == node => {
                Some(old.placement.volume)
            }
            _ => None,
        };
        let now = (new.placement.node, Some(new.placement.volume));
        let reason = |shard: &ShardSnapshot| shard.blocked.as_ref().map(|hold| hold.reason.clone());
        let over = match reason(new) {
            // A node that is silent holds what it is given at once.
            None | Some(HeldReason::NodeSilent { .. }) => true,
            // What its list lacked is no part of another question.
            Some(HeldReason::MailboxesMissing { unlisted, .. }) => {
                let of_another = !matches!(reason(old), Some(HeldReason::MailboxesMissing { .. }));
                of_another && unlisted > 0 && unlisted == old.unlisted
            }
            Some(_) => false,
        };
        if now != (node, shown) || !over {
            let found = format!("shard {} is settled on {node}, and is at {:?}", new.shard, new.placement);
            self.broken("R5", Some(new.shard), found);
        }
        let answered_for = matches!(reason(old), Some(HeldReason::MailboxesMissing { .. }));
        if let Some(book) = self.books.shard_mut(new.shard) {
            book.placed(new.placement.node, new.placement.volume);
            if answered_for {
                book.lists.settle();
            }
        }
    }

    fn swept_shard(&mut self, decision: &Decision, old: &ShardSnapshot, new: &ShardSnapshot) {
        let shard = new.shard;
        let named = match &decision.record {
            Record::Settled { selector, .. }
            | Record::Closed { selector, .. }
            | Record::Retried { selector }
            | Record::Accepted { selector, .. }
            | Record::Adopted { selector, .. }
            | Record::Prioritised { selector } => {
                selector.all || selector.shards.is_empty() || selector.shards.contains(&shard)
            }
            _ => true,
        };
        if !named {
            self.broken("R1", Some(shard), format!("shard {shard} was changed by a verb about others"));
        }
        if let Record::Settled { node, .. } = &decision.record {
            self.settled(*node, old, new);
        }
        let adopts =
            matches!(&decision.record, Record::Adopted { services, .. } if *services == new.services);
        if new.services != old.services && new.services != ServiceSet::NONE && !adopts {
            let found = format!("shard {shard} went from {} to {} by a sweep", old.services, new.services);
            self.broken("R1", Some(shard), found);
        }
        let record = &decision.record;
        if !matches!(record, Record::CellRestored { .. } | Record::ShardPlaced { .. }) {
            self.decided_on.insert(shard);
        }
        // Who sends shards of an ended campaign on starts them; so does who says that they are other data.
        if matches!(record, Record::Retried { .. } | Record::Accepted { .. } | Record::Settled { .. }) {
            self.stopped.retain(|(_, of)| *of != shard);
        }
        let stays = new.placement.node == old.placement.node;
        if stays && new.services.is_empty() && !old.services.is_empty() && !old.doubted {
            self.closed.insert((new.placement.node, shard));
        }
        let member = new.member.map(|member| (member.campaign, member.wave));
        let Some(book) = self.books.shard_mut(shard) else { return };
        if adopts {
            book.closed();
            book.adopted = true;
            book.lists.settle();
            book.ever = book.ever.union(new.services);
        }
        if matches!(new.phase, Phase::Closed { .. }) {
            book.closed();
        }
        if new.standing.is_none() {
            book.verification = None;
        }
        if matches!(&decision.record, Record::Settled { .. }) || adopts {
            book.known = new.mailboxes;
        }
        let attempt = match new.phase {
            Phase::Verifying { attempt, .. } | Phase::Confirming { attempt, .. } => Some(attempt),
            _ => None,
        };
        book.under_way = book.under_way.filter(|under_way| Some(under_way.attempt) == attempt);
        book.services = new.services;
        book.accepted = new.accepted.is_some();
        book.member = member;
    }

    /// The books and the engine agree on what is open and what is booked.
    pub fn agree(&mut self) {
        let mut differing = Vec::new();
        for snapshot in self.all_shards() {
            let Some(book) = self.books.shard(snapshot.shard) else { continue };
            if book.services != snapshot.services {
                differing.push((snapshot.shard, book.services, snapshot.services));
            }
        }
        for (shard, books, engine) in differing {
            let found = format!("shard {shard} is open for {engine}; its records say {books}");
            self.broken("R4", Some(shard), found);
        }
        for node in self.follower.node_views().collect::<Vec<_>>() {
            let verifying = self.books.load(node.node, TaskKind::Verify);
            let confirming = self.books.load(node.node, TaskKind::Confirm);
            if (verifying, confirming) != (node.verifying as usize, node.confirming as usize) {
                let found = format!(
                    "{} is booked with {} and {} tasks; its records say {verifying} and {confirming}",
                    node.node, node.verifying, node.confirming
                );
                self.broken("R2", None, found);
            }
        }
    }
}

/// Whether a shard is on its way, so that its wave cannot settle.
pub(crate) fn is_moving(shard: &ShardSnapshot) -> bool {
    use rientro_types::ShardState::{Closed, Failed, Held, Open};
    !matches!(shard.state(), Closed | Failed | Held | Open)
}

/// Whether somebody can act on what holds a shard, once nothing is wrong any more in the world.
pub(crate) fn is_actionable(reason: &HeldReason) -> bool {
    match reason {
        HeldReason::Policy(_) | HeldReason::Unknown(_) | HeldReason::ShardMissing { .. } => true,
        HeldReason::VolumeWrong { .. }
        | HeldReason::MailboxesMissing { .. }
        | HeldReason::NodeSilent { .. }
        | HeldReason::NodeStuck { .. }
        | HeldReason::DomainStuck { .. }
        | HeldReason::OpeningOverdue { .. }
        | HeldReason::Contested { .. }
        | HeldReason::Disagreement { .. } => false,
    }
}
