//! An operator who asks for anything, at any moment.

use rientro_engine::RequestNo;
use rientro_types::{
    CampaignId, Digest, Exception, FleetLimits, HeldReason, MailboxId, NodeId, Promotion, Selector,
    ServiceSet, ShardId, ShardState, Span, Verb, VolumeId, WaveNo, WaveState,
};

use crate::names;
use crate::plans;
use crate::rng::Rng;
use crate::truth::Found;
use crate::world::{Happening, World};

/// Most campaigns of one run.
const CAMPAIGNS_MAX: usize = 4;

impl World {
    /// Acts once, and again later.
    pub fn operator(&mut self) {
        if !self.unsafe_phase {
            return;
        }
        let next = self.rng.between(3_000, 40_000);
        self.after(next, Happening::Operator);
        let verb = if self.campaigns == 0 { self.start_verb() } else { self.any_verb() };
        if let Some(verb) = verb {
            let rehearse = self.rng.percent(5);
            let twice = matches!(verb, Verb::Pause { .. } | Verb::Abort { .. } | Verb::Close { .. });
            self.ask(verb.clone(), rehearse);
            if twice && self.rng.percent(30) {
                self.ask(verb.clone(), false);
            }
            // Before the node has told that it is closed, and has stopped.
            if let Verb::Close { selector, reason } = verb {
                match self.rng.below(10) {
                    0..=2 => {
                        self.ask(Verb::Retry { selector }, false);
                    }
                    3 | 4 => {
                        let services = ServiceSet::ALL;
                        self.ask(Verb::Adopt { selector, services, reason }, false);
                    }
                    _ => {}
                }
            }
        }
    }

    fn shard_ids(&self) -> Vec<ShardId> {
        self.monitor.books.shards().map(|(shard, _)| *shard).collect()
    }

    fn start_verb(&mut self) -> Option<Verb> {
        if self.campaigns >= CAMPAIGNS_MAX {
            return None;
        }
        let shards = self.shard_ids();
        let covers = plans::covers(&shards, &mut self.rng);
        let plan = plans::drawn(names::campaign(self.campaigns), covers, &mut self.rng);
        self.campaigns += 1;
        Some(Verb::Start { plan: Box::new(plan), source: Digest::of(b"plan") })
    }

    fn any_campaign(&mut self) -> CampaignId {
        let campaigns = self.campaigns.max(1) as u64;
        names::campaign(usize::try_from(self.rng.below(campaigns)).unwrap_or(0))
    }

    fn any_verb(&mut self) -> Option<Verb> {
        let campaign = self.any_campaign();
        let reason = "the operator says so".to_owned();
        Some(match self.rng.below(30) {
            0 | 1 => return self.start_verb(),
            2 => return self.revise_verb(campaign),
            3 | 4 => Verb::Pause { campaign },
            5..=10 => Verb::Resume { campaign },
            11 if self.rng.percent(15) => Verb::Abort { campaign },
            12 | 13 => Verb::Promote { campaign, wave: self.current_wave(campaign)? },
            14 | 15 => Verb::Close { selector: self.some_shards(campaign)?, reason },
            16..=18 => Verb::Retry { selector: self.some_shards(campaign)? },
            19 | 20 => Verb::Accept { selector: self.some_shards(campaign)?, reason },
            21 => Verb::Prioritise { selector: self.some_shards(campaign)? },
            22 => {
                let services =
                    self.rng.one_of(&[ServiceSet::ALL, ServiceSet::NONE.with(rientro_types::Service::Imap)]);
                Verb::Adopt { selector: self.some_shards(campaign)?, services, reason }
            }
            23..=25 => return self.settle_verb(),
            26 | 27 => self.except_verb()?,
            28 => Verb::SetLimits { limits: limits(&mut self.rng) },
            _ => return None,
        })
    }

    fn current_wave(&mut self, campaign: CampaignId) -> Option<WaveNo> {
        self.monitor.follower().campaign_view(campaign)?.wave
    }

    fn revise_verb(&mut self, campaign: CampaignId) -> Option<Verb> {
        let shards = self.shard_ids();
        let before = self.monitor.follower().campaign_view(campaign)?.plan;
        let covers = if self.rng.percent(60) { before.covers } else { plans::covers(&shards, &mut self.rng) };
        let plan = plans::drawn(campaign, covers, &mut self.rng);
        Some(Verb::Revise { plan: Box::new(plan), source: Digest::of(b"revised") })
    }

    /// Some shards by name, by state or by campaign.
    fn some_shards(&mut self, campaign: CampaignId) -> Option<Selector> {
        let shards = self.shard_ids();
        let mut selector = Selector::default();
        match self.rng.below(8) {
            0 if self.rng.percent(20) => selector.all = true,
            0 | 1 => selector.campaign = Some(campaign),
            2 | 3 => {
                selector.campaign = Some(campaign);
                selector.states = vec![self.rng.one_of(&ShardState::ALL)];
            }
            4 => selector.labels = [(names::label("rack"), names::value("r1"))].into_iter().collect(),
            _ => {
                let count = self.rng.between(1, 6);
                for _ in 0..count {
                    let drawn = if self.rng.percent(50) { self.shard_in_any_state() } else { None };
                    selector.shards.push(drawn.or_else(|| self.rng.pick(&shards).copied())?);
                }
            }
        }
        Some(selector)
    }

    /// A contested shard goes to one of the two that claim it.
    fn settle_verb(&mut self) -> Option<Verb> {
        let contested: Vec<_> = self
            .shard_ids()
            .into_iter()
            .filter_map(|shard| self.monitor.follower().shard_view(shard))
            .filter_map(|view| match view.shard.blocked.map(|hold| hold.reason) {
                Some(HeldReason::Contested { holder, claimant, .. }) => {
                    Some((view.shard.shard, [holder, claimant]))
                }
                Some(
                    HeldReason::VolumeWrong { found: Some(_), .. } | HeldReason::MailboxesMissing { .. },
                ) => Some((view.shard.shard, [view.shard.placement.node; 2])),
                _ => None,
            })
            .collect();
        let (shard, nodes) = *self.rng.pick(&contested)?;
        let node = self.rng.one_of(&nodes);
        let named = Selector { shards: vec![shard], ..Selector::default() };
        let all = Selector { all: true, ..Selector::default() };
        let selector = if self.rng.below(2) == 0 { named } else { all };
        Some(Verb::Settle { selector, node, reason: "the other one is stale".to_owned() })
    }

    fn except_verb(&mut self) -> Option<Verb> {
        let shard = self.shard_in_any_state()?;
        let mailbox = MailboxId::from_raw([u8::try_from(self.rng.below(4)).unwrap_or(0); 16]);
        let exception = self.rng.one_of(&[Some(Exception::Closed), Some(Exception::Accepted), None]);
        Some(Verb::Except { shard, mailbox, exception, reason: "asked by the customer".to_owned() })
    }

    /// What an operator does once nothing goes wrong any more: settles, resumes, promotes, decides.
    pub fn put_in_order(&mut self) {
        for verb in self.orderly_verbs() {
            self.ask(verb, false);
        }
    }

    fn orderly_verbs(&mut self) -> Vec<Verb> {
        let follower = self.monitor.follower();
        let mut verbs = Vec::new();
        for shard in self.shard_ids() {
            let Some(view) = follower.shard_view(shard) else { continue };
            let placement = view.shard.placement;
            let reason = "it is what is there".to_owned();
            let selector = Selector { shards: vec![shard], ..Selector::default() };
            match view.shard.blocked.map(|hold| hold.reason) {
                Some(HeldReason::Contested { holder, claimant, .. }) => {
                    let node = if self.has(holder, shard, placement.volume) { holder } else { claimant };
                    verbs.push(Verb::Settle { selector, node, reason });
                }
                Some(
                    HeldReason::VolumeWrong { found: Some(_), .. } | HeldReason::MailboxesMissing { .. },
                ) => {
                    verbs.push(Verb::Settle { selector, node: placement.node, reason });
                }
                Some(HeldReason::Disagreement { node, .. }) => {
                    verbs.push(if node.is_empty() {
                        Verb::Close { selector, reason }
                    } else {
                        Verb::Adopt { selector, services: node, reason }
                    });
                }
                _ => {}
            }
        }
        for view in follower.campaign_views() {
            let campaign = view.campaign;
            if matches!(view.state, rientro_types::CampaignState::Paused(_)) {
                verbs.push(Verb::Resume { campaign });
            }
            if let Some(wave) = view.wave.filter(|_| view.state.is_live())
                && let Some(shown) = view.waves.get(wave.raw() as usize)
            {
                let manual = view.plan.waves.promotion == Promotion::Manual;
                let baking = matches!(shown.state, WaveState::Baking { .. });
                if baking && (manual || shown.counts.is_called_off()) {
                    verbs.push(Verb::Promote { campaign, wave });
                }
            }
        }
        verbs
    }

    /// Whether somebody who goes and looks finds the shard there.
    fn has(&self, node: NodeId, shard: ShardId, volume: VolumeId) -> bool {
        let mut hosts = self.agents.iter().filter(|agent| agent.node == node).map(|agent| agent.host);
        hosts.any(|host| matches!(self.truth.find(host, shard, volume), Found::Here(_)))
    }

    /// Starts a campaign over everything that is left.
    pub fn start_last(&mut self) -> Option<RequestNo> {
        let name = names::campaign(self.campaigns);
        self.campaigns += 1;
        let covers = rientro_types::Coverage::Shards(self.free_shards());
        let mut plan = plans::drawn(name, covers, &mut self.rng);
        plan.waves.domain_caps.clear();
        Some(self.ask(Verb::Start { plan: Box::new(plan), source: Digest::of(b"last") }, false))
    }

    fn free_shards(&self) -> Vec<ShardId> {
        let follower = self.monitor.follower();
        let live = |campaign| follower.campaign_view(campaign).is_some_and(|view| view.state.is_live());
        let free = |shard: &ShardId| {
            follower
                .shard_view(*shard)
                .is_some_and(|view| !view.shard.member.is_some_and(|member| live(member.campaign)))
        };
        self.shard_ids().into_iter().filter(free).collect()
    }
}

fn limits(rng: &mut Rng) -> FleetLimits {
    let mut limits = FleetLimits {
        verifies_per_node: u32::try_from(rng.between(1, 8)).unwrap_or(1),
        confirms_per_node: u32::try_from(rng.between(1, 8)).unwrap_or(1),
        silence: Span::from_secs(rng.one_of(&[10, 20, 60])),
        ..FleetLimits::default()
    };
    if rng.percent(50) {
        limits
            .verifies_per_domain
            .insert(names::label("array"), u32::try_from(rng.between(2, 9)).unwrap_or(2));
    }
    limits
}
