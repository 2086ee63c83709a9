//! Moves campaigns from wave to wave.
//!
//! Evidence is counted, never timed: a wave is settled when every one of its shards is open, held, failed or closed by
//! decision; it passes when its bake is over after that, or a named operator promotes it. One that a person has closed, so that
//! nothing of it is open, has no evidence, and passes by a promotion alone. Whatever is lost beyond the error
//! budget pauses the campaign before anything else is decided; so does what a wave loses after it has passed.

use rientro_types::{PassCause, PauseCause, Promotion, Record, WaveState};

use crate::contract::OrderKind;
use crate::engine::Engine;
use crate::mutant::Mutant;
use crate::state::CampaignIx;

impl Engine {
    /// Takes every step that the campaign's waves allow now.
    pub(crate) fn advance_waves(&mut self, ix: CampaignIx) {
        while self.state.campaign(ix).is_running() && self.advance_wave(ix) {}
    }

    fn advance_wave(&mut self, ix: CampaignIx) -> bool {
        let campaign = self.state.campaign(ix);
        let id = campaign.id;
        if let Some(cause) = self.over_budget(ix) {
            self.decide(Record::CampaignPaused { campaign: id, cause });
            self.broadcast(&OrderKind::Suspend { campaign: id });
            return false;
        }
        let Some(no) = campaign.current_wave() else {
            if campaign.moving == 0 || self.state.mutant == Mutant::EndEarly {
                self.decide(Record::CampaignEnded { campaign: id });
            }
            return false;
        };
        let Some(wave) = campaign.wave(no) else { return false };
        let record = match wave.state {
            WaveState::Waiting => Record::WaveStarted { campaign: id, wave: no },
            WaveState::Opening if wave.moving == 0 => Record::WaveSettled { campaign: id, wave: no },
            WaveState::Baking { .. } if wave.moving > 0 => Record::WaveUnsettled { campaign: id, wave: no },
            WaveState::Baking { until }
                if until <= self.now
                    && campaign.plan.waves.promotion == Promotion::Automatic
                    && !wave.counts.is_called_off() =>
            {
                Record::WavePassed { campaign: id, wave: no, cause: PassCause::Baked }
            }
            WaveState::Opening | WaveState::Baking { .. } | WaveState::Passed => return false,
        };
        self.decide(record);
        true
    }

    /// Why the campaign must pause, if a wave that has begun lost too much.
    fn over_budget(&self, ix: CampaignIx) -> Option<PauseCause> {
        let campaign = self.state.campaign(ix);
        let losing = campaign.losing.iter().filter_map(|no| Some((campaign.wave(*no)?, *no)));
        let mut begun = losing.filter(|(wave, _)| wave.state != WaveState::Waiting);
        let (wave, no) = begun.find(|(wave, no)| wave.lost > campaign.lost_max(*no))?;
        let policy = &campaign.plan.waves;
        let budget = if no.raw() == 0 { policy.error_budget_canary } else { policy.error_budget };
        Some(PauseCause::ErrorBudget { wave: no, mailboxes_lost: wave.lost, mailboxes: wave.weight, budget })
    }
}
