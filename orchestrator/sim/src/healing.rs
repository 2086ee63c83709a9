//! The second phase: faults stop, everything becomes well, and every campaign must end.

use std::collections::BTreeSet;

use rientro_types::{
    CampaignState, HeldReason, Phase, Selector, ServiceSet, ShardId, ShardSnapshot, ShardState, Span, Verb,
    VolumeId, WaitingOn,
};

use crate::agent::Mood;
use crate::monitor::is_actionable;
use crate::truth::Host;
use crate::world::{Happening, World};

/// Every campaign must have ended after so much time without faults. A campaign of a few hundred shards takes minutes; the
/// longest deadlines, bakes and waits of a drawn plan add up to less than this.
const LIVENESS_MAX: Span = Span::from_secs(12 * 3600);
/// How often the operator puts things in order.
const ORDER_EVERY: Span = Span::from_secs(20);
/// After the last campaign: time for the last messages.
const QUIET: Span = Span::from_secs(600);

impl World {
    /// Everything becomes well.
    pub fn heal(&mut self) {
        self.note(None, || "faults stop".to_owned());
        self.unsafe_phase = false;
        self.cut_off.clear();
        self.driver.late_ms = 0;
        self.after(1, Happening::StartDriver);
        self.heal_agents();
        self.heal_volumes();
        self.relist();
    }

    fn heal_agents(&mut self) {
        let mut names = BTreeSet::new();
        for host in 0..self.agents.len() {
            // An impostor is switched off; the agent it displaced is set up anew.
            if !names.insert(self.agents[host].node) {
                self.stop_agent(host);
                self.agents[host].retired = true;
                continue;
            }
            if self.agents[host].mood != Mood::Honest {
                self.stop_agent(host);
                self.agents[host].mood = Mood::Honest;
            }
            if self.is_displaced(host) {
                self.stop_agent(host);
                self.lives += 1;
                let life = self.lives;
                self.agents[host].reimage(life);
            }
            self.after(1_000, Happening::Recover(crate::faults::Recovery::Start(host)));
        }
    }

    fn is_displaced(&self, host: Host) -> bool {
        let agent = &self.agents[host];
        agent.retired || self.monitor.incarnation(agent.node).is_some_and(|life| life != agent.incarnation)
    }

    /// Every shard shows on one volume, and every volume on one machine: where the journal has them, if they are there.
    fn heal_volumes(&mut self) {
        for content in self.truth.volumes.values_mut().flat_map(|volume| volume.shards.values_mut()) {
            content.present |= content.generation % 2 == 0;
        }
        let there = self.truth.volumes.values().flat_map(|volume| volume.shards.keys().copied());
        for shard in there.collect::<BTreeSet<ShardId>>() {
            let has =
                |id: &VolumeId| self.truth.volumes.get(id).is_some_and(|on| on.shards.contains_key(&shard));
            // Where the journal knows of none that has it, any copy will do, and only one.
            let placed = self.monitor.books.shard(shard).map(|book| (book.volume, book.node));
            let kept = placed.map(|(volume, _)| volume).filter(has);
            let Some(volume) = kept.or_else(|| self.truth.volumes.keys().find(|id| has(id)).copied()) else {
                continue;
            };
            let node = placed.map(|(_, node)| node);
            let host = self.agents.iter().position(|agent| Some(agent.node) == node);
            for (id, other) in &mut self.truth.volumes {
                if *id != volume {
                    other.shards.remove(&shard);
                }
            }
            if let (Some(host), Some(on)) = (host, self.truth.volumes.get_mut(&volume))
                && !on.mounted.contains(&host)
                && on.mounted.len() != 1
            {
                on.mounted = [host].into_iter().collect();
            }
        }
        let gone: BTreeSet<Host> = (0..self.agents.len()).filter(|host| self.agents[*host].retired).collect();
        for volume in self.truth.volumes.values_mut() {
            let host = volume.mounted.iter().copied().find(|host| !gone.contains(host)).unwrap_or(0);
            volume.mounted = [host].into_iter().collect();
        }
    }

    /// Lets every campaign end, and says what did not.
    pub fn live_out(&mut self) {
        let end = self.now + LIVENESS_MAX;
        let mut last_started = false;
        while self.now < end && !self.monitor.fatal {
            self.run_for(ORDER_EVERY);
            self.put_in_order();
            let over = self.all_over();
            if over && !last_started && self.now > end - LIVENESS_MAX + ORDER_EVERY.times(10) {
                last_started = true;
                self.close_undriven();
                self.start_last();
            } else if over && last_started && self.nothing_to_order() {
                break;
            }
        }
        self.run_for(QUIET);
        self.put_in_order();
        self.run_for(QUIET);
        if !self.monitor.fatal {
            self.check_ends();
        }
    }

    /// What was in service all along is closed, so that the last campaign brings it back too.
    fn close_undriven(&mut self) {
        let of_none = |(_, book): &(&ShardId, &crate::monitor::ShardBook)| book.member.is_none();
        let shards: Vec<ShardId> =
            self.monitor.books.shards().filter(of_none).map(|(shard, _)| *shard).collect();
        if !shards.is_empty() {
            let selector = Selector { shards, ..Selector::default() };
            self.ask(Verb::Close { selector, reason: "to be verified like the others".to_owned() }, false);
            self.run_for(Span::from_secs(5));
        }
    }

    fn all_over(&self) -> bool {
        self.monitor.follower().campaign_views().all(|view| !view.state.is_live())
    }

    fn nothing_to_order(&self) -> bool {
        let shards = self.monitor.books.shards().map(|(shard, _)| *shard);
        let views = shards.filter_map(|shard| self.monitor.follower().shard_view(shard));
        views.filter_map(|view| view.shard.blocked).all(|hold| is_actionable(&hold.reason))
    }

    fn check_ends(&mut self) {
        self.check();
        let campaigns: Vec<_> = self.monitor.follower().campaign_views().collect();
        for view in campaigns.iter().filter(|view| view.state.is_live()) {
            let found = format!(
                "{} has not ended: {:?}, wave {:?}, {:?}",
                view.campaign, view.state, view.wave, view.counts.shards
            );
            self.monitor.broken("R12", None, found);
        }
        let shards: Vec<ShardId> = self.monitor.books.shards().map(|(shard, _)| *shard).collect();
        for shard in shards {
            let Some(view) = self.monitor.follower().shard_view(shard) else { continue };
            // Only the live engine knows what it waits for: sessions are not in the journal.
            let waiting_on = self.engine().and_then(|engine| engine.shard_view(shard)?.waiting_on);
            self.check_shard(&view.shard, waiting_on.as_ref());
        }
        self.check_agents();
    }

    fn check_shard(&mut self, shard: &ShardSnapshot, waiting_on: Option<&WaitingOn>) {
        let id = shard.shard;
        let reason = match (&shard.blocked, &shard.phase) {
            (Some(hold), _) => Some(&hold.reason),
            (None, Phase::Held { reason }) => Some(reason.as_ref()),
            _ => None,
        };
        let ended = match shard.state() {
            ShardState::Open | ShardState::Closed | ShardState::Failed => reason.is_none_or(is_actionable),
            ShardState::Held => reason.is_some_and(is_actionable),
            _ => false,
        };
        // What nobody shows has nobody who could say what is served of it: it is held for that.
        let lost = matches!(reason, Some(HeldReason::ShardMissing { .. }));
        if !ended || shard.doubted && !lost {
            let found = format!(
                "shard {id} on {} ends as {} ({:?}, blocked {:?}, doubted {}), waiting on {waiting_on:?}",
                shard.placement.node,
                shard.state(),
                shard.phase,
                shard.blocked,
                shard.doubted
            );
            self.monitor.broken("R12", Some(id), found);
        }
        self.check_served(shard);
    }

    /// What agents serve is what the journal says, on the node of the placement alone.
    fn check_served(&mut self, shard: &ShardSnapshot) {
        for host in 0..self.agents.len() {
            let agent = &self.agents[host];
            if !agent.up {
                continue;
            }
            let here = agent.node == shard.placement.node;
            let wanted = if here { shard.services } else { ServiceSet::NONE };
            let serves = agent.serves(shard.shard);
            if serves != wanted {
                let (node, id) = (agent.node, shard.shard);
                let found = format!("{node} serves {serves} of shard {id}; the journal says {wanted}");
                self.monitor.broken("R12", Some(id), found);
            }
        }
    }

    fn check_agents(&mut self) {
        let mut left = Vec::new();
        for agent in self.agents.iter().filter(|agent| agent.up) {
            if let Some((shard, attempt)) = agent.disk.outbox.keys().next() {
                left.push((
                    Some(*shard),
                    format!("{} still keeps the result of attempt {attempt} of {shard}", agent.node),
                ));
            }
            if let Some((shard, attempt)) = agent.running.keys().next() {
                left.push((Some(*shard), format!("{} still runs attempt {attempt} of {shard}", agent.node)));
            }
        }
        for node in self.monitor.books.nodes() {
            if let Some((shard, attempt, _)) = self.monitor.books.booked(node).next() {
                left.push((Some(shard), format!("{node} is still booked with attempt {attempt} of {shard}")));
            }
        }
        for (shard, found) in left {
            self.monitor.broken("R12", shard, found);
        }
    }

    /// Shards that were ever in a campaign.
    #[must_use]
    pub fn driven(&self) -> usize {
        self.monitor.books.shards().filter(|(_, book)| book.member.is_some()).count()
    }

    /// Whether a campaign is over.
    #[must_use]
    pub fn is_over(&self, campaign: rientro_types::CampaignId) -> bool {
        self.monitor
            .follower()
            .campaign_view(campaign)
            .is_some_and(|view| matches!(view.state, CampaignState::Ended | CampaignState::Aborted))
    }
}
