//! What people are shown: durable state joined with what was last observed.
//!
//! The driver asks only between an append and the next step, so that nothing is shown before it is durable (R4).

use std::collections::BTreeMap;
use std::ops::Bound;

use rientro_types::{
    AttemptNo, CampaignId, CampaignState, CampaignView, CellView, Digest, NodeId, NodeView, Phase, Promotion,
    Selector, ShardId, ShardState, ShardView, TaskKind, Twin, WAVE_UNASSIGNED, WaitingOn, WaveNo, WaveState,
    WaveView,
};

use crate::engine::Engine;
use crate::state::{Campaign, CampaignIx, Node, NodeIx, Shard, ShardIx};

impl Engine {
    /// What counts as the last try of a shard that had none in this life of the cell.
    #[must_use]
    pub fn untried(&self) -> AttemptNo {
        self.state.first_attempt()
    }

    /// The cell; absent before it is founded.
    #[must_use]
    pub fn cell_view(&self) -> Option<CellView> {
        let state = &self.state;
        let cell = state.cell.as_ref()?;
        let count = |f: fn(&Node) -> bool| state.nodes.iter().filter(|node| f(node)).count() as u64;
        Some(CellView {
            cell: cell.id,
            incarnation: cell.incarnation,
            epoch: cell.epoch,
            seq_next: state.seq_next,
            at: self.now,
            limits: state.limits.clone(),
            nodes: state.nodes.len() as u64,
            nodes_connected: count(|node| node.session.is_some() && node.silent.is_none()),
            nodes_silent: count(|node| node.silent.is_some()),
            nodes_twinned: self.twins(),
            counts: state.counts,
            shards_contested: state.contested,
            shards_impaired: state.impaired,
            campaigns_live: state.campaigns.iter().filter(|c| c.state.is_live()).count() as u64,
            leading_since: self.leading_since,
        })
    }

    /// Nodes whose identity two running agents use.
    fn twins(&self) -> u64 {
        let running = |node: &&Node| self.twin(node).is_some_and(|twin| !twin.quiet);
        self.state.nodes.iter().filter(running).count() as u64
    }

    fn twin(&self, node: &Node) -> Option<Twin> {
        node.boots.twin(self.now, self.state.limits.silence)
    }

    /// Digest of the key of the cell's mailbox ids.
    #[must_use]
    pub fn mailbox_key(&self) -> Option<Digest> {
        self.state.cell.as_ref().map(|cell| cell.mailbox_key)
    }

    /// Every node, by name.
    pub fn node_views(&self) -> impl Iterator<Item = NodeView> + '_ {
        self.state.node_ix.values().map(|ix| self.node_view_at(*ix))
    }

    /// One node.
    #[must_use]
    pub fn node_view(&self, node: NodeId) -> Option<NodeView> {
        self.state.node_ix.get(&node).map(|ix| self.node_view_at(*ix))
    }

    fn node_view_at(&self, ix: NodeIx) -> NodeView {
        let node = self.state.node(ix);
        NodeView {
            node: node.id,
            incarnation: node.incarnation,
            labels: node.labels.clone(),
            connected: node.session.is_some(),
            heard_ago: node.heard.map(|heard| self.now.since(heard)),
            silent: node.silent,
            verifying: node.verifying,
            confirming: node.confirming,
            counts: node.counts,
            twin: self.twin(node),
        }
    }

    /// Shards that match, by name, after the name `after`; at most `max`.
    #[must_use]
    pub fn shard_views(&self, selector: &Selector, after: Option<ShardId>, max: usize) -> Vec<ShardView> {
        let later = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        if selector.shards.is_empty() {
            let later = self.state.shard_ix.range(later).map(|(_, ix)| *ix);
            let matching = later.filter(|ix| self.state.matches(*ix, selector));
            return matching.take(max).map(|ix| self.shard_view_at(ix)).collect();
        }
        let named: BTreeMap<ShardId, ShardIx> =
            self.state.matching(selector).into_iter().map(|ix| (self.state.shard(ix).id, ix)).collect();
        named.range(later).take(max).map(|(_, ix)| self.shard_view_at(*ix)).collect()
    }

    /// One shard.
    #[must_use]
    pub fn shard_view(&self, shard: ShardId) -> Option<ShardView> {
        self.state.shard_ix.get(&shard).map(|ix| self.shard_view_at(*ix))
    }

    /// A shard that is in service without a wave is shown in none: its campaign does nothing with it.
    fn shard_view_at(&self, ix: ShardIx) -> ShardView {
        let mut shard = self.state.shard_snapshot(ix);
        shard.member = shard.member.filter(|member| member.wave != WAVE_UNASSIGNED);
        ShardView { shard, waiting_on: self.waiting_on(ix) }
    }

    /// Every campaign's state, in the order in which they began.
    pub fn campaign_states(&self) -> impl Iterator<Item = (CampaignId, CampaignState)> + '_ {
        self.state.campaigns.iter().map(|campaign| (campaign.id, campaign.state))
    }

    /// The states of all waves of live campaigns.
    pub fn live_waves(&self) -> impl Iterator<Item = WaveState> + '_ {
        let live = self.state.campaigns.iter().filter(|campaign| campaign.state.is_live());
        live.flat_map(|campaign| campaign.waves.iter().map(|wave| wave.state))
    }

    /// Every campaign, in the order in which they began.
    pub fn campaign_views(&self) -> impl Iterator<Item = CampaignView> + '_ {
        self.state.campaign_ixs().map(|ix| self.campaign_view_at(ix))
    }

    /// One campaign.
    #[must_use]
    pub fn campaign_view(&self, campaign: CampaignId) -> Option<CampaignView> {
        self.state.campaign_ix.get(&campaign).map(|ix| self.campaign_view_at(*ix))
    }

    fn campaign_view_at(&self, ix: CampaignIx) -> CampaignView {
        let campaign = self.state.campaign(ix);
        let waves = (0..campaign.waves.len()).map(|at| {
            let no = WaveNo::from_raw(u32::try_from(at).unwrap_or(u32::MAX));
            let wave = &campaign.waves[at];
            WaveView {
                wave: no,
                state: wave.state,
                counts: wave.counts,
                mailboxes_lost: wave.lost,
                mailboxes_returning: wave.returning,
                mailboxes_lost_max: campaign.lost_max(no),
            }
        });
        CampaignView {
            campaign: campaign.id,
            revision: campaign.revision,
            plan: campaign.plan.clone(),
            source: campaign.source,
            state: campaign.state,
            started: campaign.started,
            ended: campaign.ended,
            wave: campaign.current_wave(),
            counts: campaign.counts,
            bytes_verified: self.bytes_verified(ix),
            shards_gone: campaign.shards_gone,
            waves: waves.collect(),
        }
    }

    fn bytes_verified(&self, ix: CampaignIx) -> u64 {
        let members = self.state.shards.iter().enumerate();
        let of_campaign = members.filter(|(_, shard)| shard.member.is_some_and(|m| m.campaign == ix));
        of_campaign
            .map(|(at, shard)| match (&shard.standing, shard.current_attempt()) {
                (Some(standing), _) => standing.verification.verdict.tally.bytes,
                (None, Some(attempt)) => {
                    let watch = self.state.watches.get(&ShardIx::for_len(at));
                    watch.filter(|watch| watch.attempt == attempt).map_or(0, |watch| watch.progress.bytes)
                }
                (None, None) => 0,
            })
            // What agents say they read has no bound.
            .fold(0, u64::saturating_add)
    }

    fn waiting_on(&self, ix: ShardIx) -> Option<WaitingOn> {
        let shard = self.state.shard(ix);
        let campaign = self.state.campaign_of(shard);
        match shard.state() {
            ShardState::Open => None,
            ShardState::Held | ShardState::Failed => Some(WaitingOn::Operator),
            // What a campaign brought back can be sent on its way again after the campaign has ended.
            ShardState::Closed => Some(match campaign {
                Some(campaign) if campaign.state != CampaignState::Aborted => WaitingOn::Operator,
                _ => WaitingOn::Campaign,
            }),
            ShardState::Waiting
            | ShardState::Verifying
            | ShardState::Backoff
            | ShardState::Verified
            | ShardState::Confirming
            | ShardState::Opening => Some(self.on_its_way(ix, shard, campaign?)),
        }
    }

    fn on_its_way(&self, ix: ShardIx, shard: &Shard, campaign: &Campaign) -> WaitingOn {
        if matches!(campaign.state, CampaignState::Paused(_)) {
            return WaitingOn::Resume { campaign: campaign.id };
        }
        let node = self.state.node(shard.node);
        let waits_by_itself = matches!(shard.phase, Phase::Backoff { .. }) && !shard.due;
        if !node.is_ready() && !waits_by_itself {
            // Whatever was under way there: nobody hears how far it is, and nobody can say that it goes on.
            return self.offline(node);
        }
        match shard.phase {
            Phase::Verifying { attempt, .. } | Phase::Confirming { attempt, .. } => WaitingOn::Task {
                running: self.now.since(shard.since),
                progress: self.state.watches.get(&ix).filter(|w| w.attempt == attempt).map(|w| w.progress),
            },
            Phase::Opening { .. } => WaitingOn::Task { running: self.now.since(shard.since), progress: None },
            Phase::Backoff { until, .. } if !shard.due => {
                WaitingOn::Backoff { left: until.since(campaign.active(self.now)) }
            }
            Phase::Verified => self.before_opening(ix, shard, campaign),
            Phase::Waiting
            | Phase::Backoff { .. }
            | Phase::Closed { .. }
            | Phase::Open { .. }
            | Phase::Held { .. }
            | Phase::Failed { .. } => self.before_verification(shard.node),
        }
    }

    fn offline(&self, node: &Node) -> WaitingOn {
        let silent_at = node.heard.unwrap_or(self.listening_since) + self.state.limits.silence;
        WaitingOn::NodeOffline {
            node: node.id,
            unheard_for: node.heard.map(|heard| self.now.since(heard)),
            silent_in: silent_at.since(self.now),
        }
    }

    fn before_opening(&self, ix: ShardIx, shard: &Shard, campaign: &Campaign) -> WaitingOn {
        let max = campaign.plan.opening.in_flight_max;
        match (shard.wave(), campaign.current_wave()) {
            (Some(wave), Some(current)) if !campaign.wave_started(wave) => {
                let called_off = campaign.wave(current).is_some_and(|wave| wave.counts.is_called_off());
                let promotion = if called_off { Promotion::Manual } else { campaign.plan.waves.promotion };
                let earlier = self.state.earlier_wave(ix);
                WaitingOn::Wave { wave, current, promotion, earlier }
            }
            _ if campaign.in_flight >= max => WaitingOn::OpeningBudget { busy: campaign.in_flight, max },
            _ => self.node_budget(shard.node, TaskKind::Confirm).unwrap_or(WaitingOn::Turn),
        }
    }

    fn before_verification(&self, node: NodeIx) -> WaitingOn {
        if let Some(budget) = self.node_budget(node, TaskKind::Verify) {
            return budget;
        }
        match self.domains_at_limit(node).next() {
            Some((label, value, busy, max)) => {
                let silent = self.state.verifying_on_silent((label, value));
                WaitingOn::DomainBudget { label, value, busy, max, silent }
            }
            None => WaitingOn::Turn,
        }
    }

    fn node_budget(&self, ix: NodeIx, kind: TaskKind) -> Option<WaitingOn> {
        let node = self.state.node(ix);
        let (busy, max) = match kind {
            TaskKind::Verify => (node.verifying, self.state.limits.verifies_per_node),
            TaskKind::Confirm => (node.confirming, self.state.limits.confirms_per_node),
        };
        (busy >= max).then_some(WaitingOn::NodeBudget { node: node.id, busy, max })
    }
}
