//! When a campaign will be over, as far as can be said: a range, or the reason why there is none.
//!
//! It decides on what was seen in the last minutes, never on the average since the beginning: discs that have just failed
//! are not even. The low end supposes that the best part of the window goes on, within twice its mean; the high end the
//! worst part, within half its mean, and a quarter on top for what the counts do not show. Bakes are waited for in full.
//! It says nothing before there is evidence, while a campaign is paused, and where an operator has to promote.

use std::collections::VecDeque;

use rientro_types::{CampaignState, CampaignView, CellTime, ShardState, Span};

use crate::words::{bakes_left, waits_for_promotion};

/// How far back evidence counts: long enough for several shards, short enough to follow a change of pace.
const WINDOW_MS: u64 = 180_000;
/// Shortest time between samples: half a second shows a rate, and bounds the window to a few hundred samples.
const SAMPLE_MS_MIN: u64 = 500;
/// Shortest observation that says anything.
const EVIDENCE_MS_MIN: u64 = 5_000;
/// Fewest times that something must have been seen to be done.
const ADVANCES_MIN: usize = 3;
/// Parts of the window whose rates are compared.
const PARTS: u64 = 6;

/// What was done at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    at_ms: u64,
    bytes: u64,
    mailboxes: u64,
}

/// When it will be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Eta {
    /// It is.
    Over,
    /// Too little was seen.
    Unknown,
    /// It is paused.
    Paused,
    /// Verification will be done in this range; an operator promotes.
    Operator {
        /// At the earliest and the latest; absent when too little was seen.
        verified: Option<(Span, Span)>,
    },
    /// In this range.
    Range {
        /// At the earliest.
        low: Span,
        /// At the latest.
        high: Span,
    },
}

/// What was seen of a campaign, in a sliding window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    samples: VecDeque<Sample>,
}

impl Pace {
    /// Notes how far the campaign is, at a moment of the watcher's own clock.
    pub(crate) fn see(&mut self, at_ms: u64, campaign: &CampaignView) {
        let sample = Sample { at_ms, bytes: campaign.bytes_verified, mailboxes: settled(campaign) };
        if let Some(last) = self.samples.back() {
            if at_ms < last.at_ms + SAMPLE_MS_MIN {
                return;
            }
            // A shard that is verified again takes its bytes back: what was seen before says nothing any more.
            if sample.bytes < last.bytes || sample.mailboxes < last.mailboxes {
                self.samples.clear();
            }
        }
        self.samples.push_back(sample);
        while self.samples.front().is_some_and(|first| first.at_ms + WINDOW_MS < at_ms) {
            self.samples.pop_front();
        }
    }

    /// Forgets everything: the connection was lost, and time passed unseen.
    pub(crate) fn forget(&mut self) {
        self.samples.clear();
    }

    /// Bytes verified per second over the window.
    pub(crate) fn bytes_per_second(&self) -> Option<u64> {
        self.rate(|sample| sample.bytes)
    }

    /// Mailboxes verified per second over the window, in thousandths.
    pub(crate) fn mailboxes_per_second_milli(&self) -> Option<u64> {
        self.rate(|sample| sample.mailboxes.saturating_mul(1000))
    }

    fn rate(&self, of: fn(&Sample) -> u64) -> Option<u64> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let ms = last.at_ms - first.at_ms;
        (ms >= EVIDENCE_MS_MIN).then(|| per_second(of(last) - of(first), ms))
    }

    /// When the campaign will be over.
    pub(crate) fn eta(&self, campaign: &CampaignView, now: CellTime) -> Eta {
        match campaign.state {
            CampaignState::Ended | CampaignState::Aborted => return Eta::Over,
            CampaignState::Paused(_) => return Eta::Paused,
            CampaignState::Forming | CampaignState::Running => {}
        }
        let verified = self.until_verified(campaign);
        if waits_for_promotion(campaign) && campaign.wave.is_some() {
            return Eta::Operator { verified };
        }
        let bakes = bakes_left(campaign.waves.iter(), campaign.plan.waves.bake, now);
        match verified {
            Some((low, high)) => {
                let high = high.plus(bakes);
                Eta::Range { low: low.max(bakes), high: high.plus(Span::from_ms(high.ms() / 4)) }
            }
            None => Eta::Unknown,
        }
    }

    /// Time until nothing is left to verify.
    fn until_verified(&self, campaign: &CampaignView) -> Option<(Span, Span)> {
        let left = campaign.counts.mailboxes_total() - settled(campaign);
        if left == 0 {
            return Some((Span::ZERO, Span::ZERO));
        }
        let (slow, fast) = self.slow_and_fast()?;
        let time = |rate: u64| Span::from_ms(ms_for(left, rate));
        Some((time(fast), time(slow)))
    }

    /// Slowest and fastest rate worth believing, in thousandths of a mailbox per second.
    fn slow_and_fast(&self) -> Option<(u64, u64)> {
        let mean = self.mailboxes_per_second_milli().filter(|mean| *mean > 0)?;
        let steps = self.samples.iter().zip(self.samples.iter().skip(1));
        if steps.filter(|(a, b)| b.mailboxes > a.mailboxes).count() < ADVANCES_MIN {
            return None;
        }
        let rates = self.rates_of_parts();
        let slowest = rates.iter().min().copied().unwrap_or(mean);
        let fastest = rates.iter().max().copied().unwrap_or(mean);
        Some((slowest.clamp(mean.div_ceil(2), mean), fastest.clamp(mean, mean.saturating_mul(2))))
    }

    fn rates_of_parts(&self) -> Vec<u64> {
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else {
            return Vec::new();
        };
        let ms = (last.at_ms - first.at_ms) / PARTS;
        let at = |ms: u64| {
            let before = self.samples.iter().rev().find(|sample| sample.at_ms <= ms);
            before.map_or(first.mailboxes, |sample| sample.mailboxes)
        };
        (0..PARTS)
            .filter(|_| ms > 0)
            .map(|part| (first.at_ms + part * ms, first.at_ms + (part + 1) * ms))
            .map(|(from, to)| per_second((at(to) - at(from)).saturating_mul(1000), ms))
            .collect()
    }
}

/// Mailboxes whose verification is behind them, one way or another.
fn settled(campaign: &CampaignView) -> u64 {
    let ahead = [ShardState::Waiting, ShardState::Verifying, ShardState::Backoff];
    let ahead: u64 = ahead.into_iter().map(|state| campaign.counts.mailboxes_in(state)).sum();
    campaign.counts.mailboxes_total() - ahead
}

fn per_second(amount: u64, ms: u64) -> u64 {
    u64::try_from(u128::from(amount) * 1000 / u128::from(ms.max(1))).unwrap_or(u64::MAX)
}

fn ms_for(left: u64, rate_milli: u64) -> u64 {
    u64::try_from(u128::from(left) * 1_000_000 / u128::from(rate_milli.max(1))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::fixture::campaign;

    fn seen(progress: &[(u64, u64)]) -> Pace {
        let mut pace = Pace::default();
        for (at_ms, settled) in progress {
            pace.see(*at_ms, &campaign(1_000 - settled, *settled));
        }
        pace
    }

    fn now() -> CellTime {
        CellTime::from_unix_ms(1_000_000)
    }

    #[test]
    fn nothing_is_said_before_there_is_evidence() {
        let view = campaign(990, 10);
        assert_eq!(seen(&[]).eta(&view, now()), Eta::Unknown);
        assert_eq!(seen(&[(0, 0), (4_000, 500)]).eta(&view, now()), Eta::Unknown);
        // Two steps are luck.
        assert_eq!(seen(&[(0, 0), (10_000, 5), (20_000, 10)]).eta(&view, now()), Eta::Unknown);
    }

    /// T19: the range holds the truth for an even pace, and widens with an uneven one.
    #[test]
    fn an_even_pace_gives_a_range_around_the_truth_and_bakes_are_waited_for() {
        let even: Vec<_> = (0..=60).map(|s| (s * 1_000, s * 5)).collect();
        let view = campaign(700, 300);
        let bakes = bakes_left(view.waves.iter(), view.plan.waves.bake, now());
        let Eta::Range { low, high } = seen(&even).eta(&view, now()) else { panic!("a range") };
        let truth = Span::from_secs(140).plus(bakes);
        assert!(low <= truth && truth <= high, "{low} {truth} {high}");
        assert!(low >= bakes);

        let uneven: Vec<_> =
            (0..=60).map(|s| (s * 1_000, if s < 30 { s * 8 } else { 240 + (s - 30) * 2 })).collect();
        let Eta::Range { high: wider, .. } = seen(&uneven).eta(&view, now()) else { panic!("a range") };
        assert!(wider > high);
    }

    #[test]
    fn a_step_back_and_an_old_pace_are_forgotten() {
        let mut pace = seen(&[(0, 0), (10_000, 100), (20_000, 200)]);
        pace.see(30_000, &campaign(950, 50));
        assert_eq!(pace.mailboxes_per_second_milli(), None);
        let old: Vec<_> = (0..=600).map(|s| (s * 1_000, if s < 300 { s } else { 300 })).collect();
        assert_eq!(seen(&old).mailboxes_per_second_milli(), Some(0));
        assert_eq!(seen(&old).eta(&campaign(700, 300), now()), Eta::Unknown);
    }

    #[test]
    fn who_must_act_is_said_instead_of_a_time() {
        let mut view = campaign(700, 300);
        view.plan.waves.promotion = rientro_types::Promotion::Manual;
        assert_eq!(seen(&[]).eta(&view, now()), Eta::Operator { verified: None });
        view.state = CampaignState::Paused(rientro_types::PauseCause::Operator);
        assert_eq!(seen(&[]).eta(&view, now()), Eta::Paused);
        view.state = CampaignState::Ended;
        assert_eq!(seen(&[]).eta(&view, now()), Eta::Over);
    }
}
