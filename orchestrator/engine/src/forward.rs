//! Brings shards forward: to which wave, in which order, and which of them a failure domain's cap keeps where they are.
//!
//! T15 holds for what an operator moves as for what was formed: of each domain that the plan caps, a wave takes no more than
//! its part of what the campaign has there. Shards come in the order of their waves, each as long as its domains have room;
//! the others stay. Waves that are over a cap already, because nodes were given other labels, take nothing more of it.

use std::collections::BTreeMap;

use rientro_types::{ShardState, WaveNo, WaveState};

use crate::caps::{Caps, Used};
use crate::state::{CampaignIx, ShardIx, State};

/// Shards and mailboxes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Size {
    pub(crate) shards: u64,
    pub(crate) mailboxes: u64,
}

/// What is brought forward.
#[derive(Debug, Default)]
pub(crate) struct Forward {
    /// The shards, in their present order.
    pub(crate) moves: Vec<ShardIx>,
    /// Shards that stay because of a cap.
    pub(crate) capped: u64,
    /// The waves that take them, as they will be.
    pub(crate) waves: Size,
}

/// Room in the capped domains of one campaign's target wave.
#[derive(Default)]
struct Room {
    caps: Caps,
    used: Used,
}

impl State {
    /// The wave a shard would be brought forward to: the one that opens, or the next one.
    pub(crate) fn earlier_wave(&self, ix: ShardIx) -> Option<WaveNo> {
        let shard = self.shard(ix);
        let campaign = self.campaign_of(shard).filter(|campaign| campaign.state.is_live())?;
        let wave = shard.wave()?;
        let on_its_way = match shard.state() {
            ShardState::Waiting | ShardState::Verifying | ShardState::Backoff | ShardState::Verified => true,
            ShardState::Closed
            | ShardState::Confirming
            | ShardState::Opening
            | ShardState::Open
            | ShardState::Held
            | ShardState::Failed => false,
        };
        let current = campaign.current_wave()?;
        let target = match campaign.wave(current)?.state {
            WaveState::Waiting | WaveState::Opening => current,
            WaveState::Baking { .. } | WaveState::Passed => current.next(),
        };
        (on_its_way && target < wave && !campaign.wave_started(wave)).then_some(target)
    }

    /// Which of these shards come forward.
    pub(crate) fn forward(&self, mut shards: Vec<ShardIx>) -> Forward {
        shards.sort_by_key(|ix| self.shard(*ix).member.map(|m| (m.campaign, m.wave, m.rank)));
        let mut forward = Forward::default();
        let mut rooms: BTreeMap<(CampaignIx, WaveNo), Room> = BTreeMap::new();
        for ix in shards {
            let Some((member, wave)) = self.shard(ix).member.zip(self.earlier_wave(ix)) else { continue };
            let room = rooms.entry((member.campaign, wave)).or_insert_with(|| {
                let present = self.wave_size(member.campaign, wave);
                forward.waves.shards += present.shards;
                forward.waves.mailboxes += present.mailboxes;
                self.room(member.campaign, wave)
            });
            let caps = &self.campaign(member.campaign).plan.waves.domain_caps;
            let candidate = self.candidate(ix, caps);
            if !room.caps.allow(&candidate, &room.used) {
                forward.capped += 1;
                continue;
            }
            candidate.count_in(&mut room.used);
            forward.waves.shards += 1;
            forward.waves.mailboxes += self.shard(ix).mailboxes;
            forward.moves.push(ix);
        }
        forward
    }

    pub(crate) fn bring_forward(&mut self, shards: Vec<ShardIx>) {
        let mut least = BTreeMap::new();
        // Last one first, so that each goes before the one placed just before it.
        for ix in shards.into_iter().rev() {
            let Some(wave) = self.earlier_wave(ix) else { continue };
            let Some(member) = self.shard(ix).member else { continue };
            let least = least.entry(member.campaign).or_insert_with(|| self.ranks(member.campaign).0);
            *least = least.saturating_sub(1);
            let rank = *least;
            self.change(ix, |s| {
                if let Some(member) = &mut s.member {
                    member.wave = wave;
                    member.rank = rank;
                }
            });
        }
    }

    fn wave_size(&self, campaign: CampaignIx, wave: WaveNo) -> Size {
        let counts = self.campaign(campaign).wave(wave).map(|wave| wave.counts).unwrap_or_default();
        Size { shards: counts.shards_total(), mailboxes: counts.mailboxes_total() }
    }

    /// What the caps allow in a wave, and what is in it.
    fn room(&self, campaign: CampaignIx, wave: WaveNo) -> Room {
        let caps = &self.campaign(campaign).plan.waves.domain_caps;
        if caps.is_empty() {
            return Room::default();
        }
        let members: Vec<_> = self.members(campaign).into_iter().map(|ix| self.candidate(ix, caps)).collect();
        let mut room = Room { caps: Caps::new(caps, &members, std::iter::empty()), used: Used::new() };
        let there = members.iter().filter(|member| self.shard(member.ix).wave() == Some(wave));
        there.for_each(|member| member.count_in(&mut room.used));
        room
    }
}
