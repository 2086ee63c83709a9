//! One campaign and its waves.

use std::collections::{BTreeMap, BTreeSet};

use rientro_types::{
    ActiveTime, CampaignId, CampaignState, CellTime, Digest, Pause, Plan, Revision, Span, StateCounts,
    WaveNo, WaveState,
};

use crate::state::{NodeIx, QueueKey, ShardIx};

/// One wave.
#[derive(Clone, Debug)]
pub(crate) struct Wave {
    pub(crate) state: WaveState,

    pub(crate) counts: StateCounts,
    pub(crate) weight: u64,
    pub(crate) lost: u64,
    /// Of those lost, what a person has answered for.
    pub(crate) forgiven: u64,
    /// Of those lost, what is on its way again.
    pub(crate) returning: u64,
    pub(crate) moving: u64,
}

impl Wave {
    pub(crate) fn new() -> Self {
        Self {
            state: WaveState::Waiting,
            counts: StateCounts::default(),
            weight: 0,
            lost: 0,
            forgiven: 0,
            returning: 0,
            moving: 0,
        }
    }

    /// Mailboxes lost that no operator has answered for yet.
    pub(crate) fn unforgiven(&self) -> u64 {
        self.lost - self.forgiven
    }
}

/// One campaign.
#[derive(Clone, Debug)]
pub(crate) struct Campaign {
    pub(crate) id: CampaignId,
    pub(crate) plan: Plan,
    pub(crate) source: Digest,
    pub(crate) revision: Revision,
    pub(crate) seed: [u8; 32],
    pub(crate) state: CampaignState,
    pub(crate) started: CellTime,
    pub(crate) ended: Option<CellTime>,
    pub(crate) paused: Option<Pause>,
    pub(crate) clock_behind: Span,
    /// Shards that another campaign has taken.
    pub(crate) shards_gone: u64,
    pub(crate) waves: Vec<Wave>,

    /// While waves are formed: the rank after the greatest, once it was looked for. Nothing else gives ranks meanwhile.
    pub(crate) rank_next: Option<u32>,
    pub(crate) counts: StateCounts,
    pub(crate) moving: u64,
    pub(crate) in_flight: u32,
    /// Waves that have lost something: the ones that may be over their budgets.
    pub(crate) losing: BTreeSet<WaveNo>,
    pub(crate) verify: BTreeMap<NodeIx, BTreeSet<QueueKey>>,
    pub(crate) open: BTreeMap<NodeIx, BTreeSet<QueueKey>>,
    pub(crate) timers: BTreeSet<(ActiveTime, ShardIx)>,
    pub(crate) steppable: BTreeSet<ShardIx>,
}

/// Rank of the first shard of a campaign: the middle, so that shards can be brought forward without end.
pub(crate) const RANK_FIRST: u32 = 1 << 31;

impl Campaign {
    pub(crate) fn new(plan: Plan, source: Digest, seed: [u8; 32], started: CellTime) -> Self {
        Self {
            id: plan.name,
            plan,
            source,
            revision: Revision::from_raw(1),
            seed,
            state: CampaignState::Forming,
            started,
            ended: None,
            paused: None,
            clock_behind: Span::ZERO,
            shards_gone: 0,
            waves: Vec::new(),
            rank_next: None,
            counts: StateCounts::default(),
            moving: 0,
            in_flight: 0,
            losing: BTreeSet::new(),
            verify: BTreeMap::new(),
            open: BTreeMap::new(),
            timers: BTreeSet::new(),
            steppable: BTreeSet::new(),
        }
    }

    /// The campaign's own clock: it stands still while the campaign is paused and moved back by every absence.
    pub(crate) fn active(&self, now: CellTime) -> ActiveTime {
        let real = self.paused.map_or(now, |pause| pause.since).since(self.started).ms();
        ActiveTime::from_ms(real.saturating_sub(self.clock_behind.ms()))
    }

    /// The real moment of a moment on the campaign's clock, if it goes on running from `now`.
    pub(crate) fn real(&self, moment: ActiveTime) -> CellTime {
        self.started + Span::from_ms(moment.ms()).plus(self.clock_behind)
    }

    /// Leaves its end: its clock stood still since.
    pub(crate) fn go_on(&mut self, at: CellTime) {
        let idle = self.ended.take().map(|ended| at.since(ended)).unwrap_or_default();
        self.clock_behind = self.clock_behind.plus(idle);
        self.state = CampaignState::Running;
    }

    /// R3: a wave that bakes does so for as long as the plan in force asks, from when it settled.
    pub(crate) fn bake_for(&mut self, bake: Span, at: CellTime) {
        let before = self.plan.waves.bake;
        for wave in &mut self.waves {
            if let WaveState::Baking { until } = &mut wave.state {
                // An end beyond all time does not tell when the wave settled: it bakes from here on.
                let endless = *until == CellTime::from_unix_ms(u64::MAX);
                *until = if endless { at } else { *until - before } + bake;
            }
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.state == CampaignState::Running
    }

    /// The first wave that has not passed.
    pub(crate) fn current_wave(&self) -> Option<WaveNo> {
        let at = self.waves.iter().position(|wave| wave.state != WaveState::Passed)?;
        u32::try_from(at).ok().map(WaveNo::from_raw)
    }

    pub(crate) fn wave(&self, wave: WaveNo) -> Option<&Wave> {
        self.waves.get(wave.raw() as usize)
    }

    pub(crate) fn wave_mut(&mut self, wave: WaveNo) -> Option<&mut Wave> {
        self.waves.get_mut(wave.raw() as usize)
    }

    /// The waves whose losses a resumption forgives: those that have passed, and the present one.
    pub(crate) fn answered_for(&self) -> &[Wave] {
        let upto = self.current_wave().map_or(self.waves.len(), |wave| wave.raw() as usize + 1);
        &self.waves[..upto]
    }

    /// Whether shards of this wave may open.
    pub(crate) fn wave_started(&self, wave: WaveNo) -> bool {
        self.wave(wave).is_some_and(|wave| wave.state != WaveState::Waiting)
    }

    /// Mailboxes a wave may lose before the campaign pauses.
    pub(crate) fn lost_max(&self, wave: WaveNo) -> u64 {
        let budget =
            if wave.raw() == 0 { self.plan.waves.error_budget_canary } else { self.plan.waves.error_budget };
        self.wave(wave).map_or(0, |wave| budget.of(wave.weight).max(wave.forgiven))
    }
}
