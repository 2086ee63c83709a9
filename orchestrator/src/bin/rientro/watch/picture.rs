//! What is known of a campaign while it is watched.

use std::collections::VecDeque;

use rientro_types::{CampaignView, CellTime, CellView, NodeView, Seq, ShardView, says_the_same};
use rientro_wire::operator::{Decided, WatchEvent};

use super::eta::Pace;
use crate::record::{by, tell};

/// Decisions remembered: as many as a large terminal has lines.
const LATEST_MAX: usize = 100;

/// A decision worth a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Latest {
    pub(crate) at: CellTime,
    pub(crate) seq: Seq,
    pub(crate) kind: &'static str,
    pub(crate) text: String,
}

/// Everything a view needs.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    pub(crate) campaign: CampaignView,
    pub(crate) cell: Option<CellView>,
    /// Some of the shards that are held or failed.
    pub(crate) stuck: Vec<ShardView>,
    /// How many there were when those were looked up.
    pub(crate) stuck_of: u64,
    /// Nodes that are silent, or have no session.
    pub(crate) away: Vec<NodeView>,
    /// Notable decisions, the newest last.
    pub(crate) latest: VecDeque<Latest>,
    /// Of these, decisions that no line has been printed for.
    pub(crate) untold: usize,
    /// Events the stream skipped.
    pub(crate) missed: u64,
    pub(crate) pace: Pace,
    /// Why there is no connection.
    pub(crate) lost: Option<String>,
    /// The connection is back, and nobody has been told.
    pub(crate) returned: bool,
    /// Why the cell decides nothing, or what in it somebody has to mend.
    pub(crate) trouble: Option<String>,
}

impl Picture {
    pub(crate) fn new(campaign: CampaignView) -> Self {
        Self {
            campaign,
            cell: None,
            stuck: Vec::new(),
            stuck_of: 0,
            away: Vec::new(),
            latest: VecDeque::new(),
            untold: 0,
            missed: 0,
            pace: Pace::default(),
            lost: None,
            returned: false,
            trouble: None,
        }
    }

    /// Whether the trouble is another than the one that was told last; how much room is left, for one, is no news.
    pub(crate) fn is_other_trouble(&self, told: Option<&str>) -> bool {
        match (self.trouble.as_deref(), told) {
            (Some(present), Some(told)) => !says_the_same(present, told),
            (None, None) => false,
            (Some(_), None) | (None, Some(_)) => true,
        }
    }

    /// The cell's time, as far as known.
    pub(crate) fn now(&self) -> CellTime {
        self.cell.as_ref().map_or(self.campaign.started, |cell| cell.at)
    }

    /// Takes in what the cell tells; `at_ms` is the watcher's own clock.
    pub(crate) fn take(&mut self, event: WatchEvent, at_ms: u64) {
        match event {
            WatchEvent::Cell(cell) => self.cell = Some(*cell),
            WatchEvent::Campaign(campaign) if campaign.campaign == self.campaign.campaign => {
                self.campaign = *campaign;
                self.pace.see(at_ms, &self.campaign);
            }
            // Another campaign of the cell.
            WatchEvent::Campaign(_) => {}
            WatchEvent::Decided(decided) => self.remember(&decided),
            WatchEvent::Lagged(lagged) => self.missed = self.missed.saturating_add(lagged.missed),
        }
    }

    fn remember(&mut self, Decided { seq, at, decisions }: &Decided) {
        let mut number = *seq;
        for decision in decisions {
            let told = tell(&decision.record);
            if told.notable {
                let text = format!("{}{}", told.sentence, by(&decision.actor));
                self.latest.push_back(Latest { at: *at, seq: number, kind: told.kind, text });
                self.untold += 1;
            }
            number = number.next();
        }
        while self.latest.len() > LATEST_MAX {
            self.latest.pop_front();
        }
        self.untold = self.untold.min(self.latest.len());
    }

    /// Notable decisions that were not told yet, the oldest first; they are told with this.
    pub(crate) fn take_untold(&mut self) -> Vec<Latest> {
        let from = self.latest.len() - self.untold;
        self.untold = 0;
        self.latest.iter().skip(from).cloned().collect()
    }
}
