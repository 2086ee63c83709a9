//! A watched campaign as lines: one for each notable decision, and one for progress when there was some.

use rientro_types::{CampaignView, NodeId, ShardState};

use super::eta::{Eta, Pace};
use super::picture::Picture;
use crate::campaign::state_line;
use crate::foreign::clean;
use crate::human::{self, count, percent};
use crate::words::campaign_state;

/// Time between two lines of progress, in milliseconds of the cell.
const PROGRESS_MS_MIN: u64 = 5_000;

/// What has been printed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Printed {
    progress: String,
    at_ms: u64,
    lost: bool,
    trouble: Option<String>,
    offline: Vec<NodeId>,
}

impl Printed {
    /// Lines that are due; the last ones of all when `last`.
    pub(crate) fn lines(&mut self, picture: &mut Picture, last: bool) -> Vec<String> {
        let now = picture.now();
        let mut lines: Vec<String> = picture
            .take_untold()
            .into_iter()
            .map(|latest| format!("{}  {}", human::moment(latest.at), latest.text))
            .collect();
        let mut say = |text: String| lines.push(format!("{}  {text}", human::moment(now)));
        if std::mem::take(&mut picture.missed) > 0 {
            say("some decisions were missed; rientro journal tail shows them".to_owned());
        }
        if let Some(lost) = &picture.lost {
            // Once is enough: the attempts to connect go on by themselves.
            if !std::mem::replace(&mut self.lost, true) {
                say(format!("{lost}; trying again"));
            }
            return lines;
        }
        self.lost = false;
        if std::mem::take(&mut picture.returned) {
            say("the orchestrator is back".to_owned());
        }
        if picture.is_other_trouble(self.trouble.as_deref()) {
            self.trouble.clone_from(&picture.trouble);
            match &picture.trouble {
                Some(trouble) => say(format!("the cell is in trouble: {}", clean(trouble))),
                None => say("the cell is out of trouble".to_owned()),
            }
        }
        let offline = offline(picture);
        for node in offline.iter().filter(|node| !self.offline.contains(node)) {
            say(format!("node {node} is not connected; rientro node show {node}"));
        }
        self.offline = offline;
        let state = progress(&picture.campaign);
        if state != self.progress && (last || now.unix_ms() >= self.at_ms + PROGRESS_MS_MIN) {
            say(format!("{state}{}", pace(&picture.pace, &picture.pace.eta(&picture.campaign, now))));
            self.progress = state;
            self.at_ms = now.unix_ms();
        }
        lines
    }
}

/// Nodes without a session that are not silent: when one falls silent, that is a decision and has its own line.
fn offline(picture: &Picture) -> Vec<NodeId> {
    let offline = picture.away.iter().filter(|node| node.silent.is_none());
    offline.map(|node| node.node).collect()
}

/// Where the campaign is, without anything that changes by itself.
fn progress(campaign: &CampaignView) -> String {
    let counts = &campaign.counts;
    let back = counts.mailboxes_in(ShardState::Open);
    let wave = campaign.wave.map_or_else(String::new, |wave| format!(", wave {wave}"));
    format!(
        "{} back ({} of {} mailboxes); {}{wave}; shards: {}",
        percent(back, counts.mailboxes_total()),
        count(back),
        count(counts.mailboxes_total()),
        campaign_state(&campaign.state),
        state_line(campaign)
    )
}

fn pace(pace: &Pace, eta: &Eta) -> String {
    let rate = pace.bytes_per_second().filter(|rate| *rate > 0);
    let rate = rate.map(|rate| format!("; {}/s", human::bytes(rate))).unwrap_or_default();
    let eta = eta_words(eta).map(|eta| format!("; {eta}")).unwrap_or_default();
    format!("{rate}{eta}")
}

/// An ETA in words; nothing when it is over.
pub(crate) fn eta_words(eta: &Eta) -> Option<String> {
    let range = |low, high| format!("{} to {}", human::span(low), human::span(high));
    match eta {
        Eta::Over => None,
        Eta::Unknown => Some("ETA unknown".to_owned()),
        Eta::Paused => Some("no ETA while paused".to_owned()),
        Eta::Operator { verified: Some((low, high)) } if high.ms() > 0 => {
            Some(format!("verified in {}, then you promote", range(*low, *high)))
        }
        Eta::Operator { .. } => Some("ETA depends on your promotions".to_owned()),
        Eta::Range { low, high } => Some(format!("ETA {}", range(*low, *high))),
    }
}

#[cfg(test)]
mod tests {
    use rientro_types::{NodeView, Span};

    use super::*;
    use crate::watch::fixture::{campaign, cell, decided, offline};

    #[test]
    fn progress_is_told_once_and_decisions_as_they_come() {
        let mut picture = Picture::new(campaign(1_000, 0));
        picture.cell = Some(cell(10_000));
        let mut printed = Printed::default();
        let first = printed.lines(&mut picture, false);
        assert_eq!(first.len(), 1, "{first:?}");
        assert!(first[0].contains("0.0% back (0 of 1,000 mailboxes); running, wave 0"), "{first:?}");
        assert!(printed.lines(&mut picture, false).is_empty());

        picture.take(decided(20_000), 0);
        picture.campaign = campaign(900, 100);
        let told = printed.lines(&mut picture, false);
        assert_eq!(told.len(), 1, "progress waits, decisions do not: {told:?}");
        assert!(told[0].ends_with("campaign r pauses: an operator asked for it (by operator anna)"));
        picture.cell = Some(cell(20_000));
        assert!(printed.lines(&mut picture, false)[0].contains("10.0% back"));
    }

    #[test]
    fn a_lost_connection_and_its_return_are_said() {
        let mut picture = Picture::new(campaign(1_000, 0));
        let mut printed = Printed::default();
        picture.lost = Some("cannot reach the cell".to_owned());
        assert!(printed.lines(&mut picture, false)[0].ends_with("cannot reach the cell; trying again"));
        picture.lost = None;
        picture.returned = true;
        assert!(printed.lines(&mut picture, false)[0].ends_with("the orchestrator is back"));
    }

    /// A cell that decides nothing shows no progress either: why must be told, once, and so must its end.
    #[test]
    fn a_cell_in_trouble_is_told_of_once_and_when_it_is_over() {
        let mut picture = Picture::new(campaign(1_000, 0));
        let mut printed = Printed::default();
        let _progress = printed.lines(&mut picture, false);
        picture.trouble = Some("the disk is full, with 17 MiB free".to_owned());
        let told = printed.lines(&mut picture, false);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].ends_with("the cell is in trouble: the disk is full, with 17 MiB free"), "{told:?}");
        assert!(printed.lines(&mut picture, false).is_empty());
        picture.trouble = Some("the disk is full, with 9 MiB free".to_owned());
        assert!(printed.lines(&mut picture, false).is_empty(), "as much or as little room is no news");
        picture.trouble = None;
        let told = printed.lines(&mut picture, false);
        assert!(told.len() == 1 && told[0].ends_with("the cell is out of trouble"), "{told:?}");
    }

    #[test]
    fn a_node_that_goes_is_said_once_and_again_when_it_goes_again() {
        let mut picture = Picture::new(campaign(1_000, 0));
        let mut printed = Printed::default();
        let _progress = printed.lines(&mut picture, false);
        let silent = NodeView { silent: Some(picture.now()), ..offline("n2") };
        picture.away = vec![offline("n1"), silent];
        let told = printed.lines(&mut picture, false);
        assert_eq!(told.len(), 1, "a silent node has its own decision: {told:?}");
        assert!(told[0].ends_with("node n1 is not connected; rientro node show n1"), "{told:?}");
        assert!(printed.lines(&mut picture, false).is_empty());
        picture.away.clear();
        assert!(printed.lines(&mut picture, false).is_empty());
        picture.away = vec![offline("n1")];
        assert_eq!(printed.lines(&mut picture, false).len(), 1);
    }

    #[test]
    fn an_eta_is_a_range_or_says_why_there_is_none() {
        let (low, high) = (Span::from_secs(840), Span::from_secs(1_320));
        assert_eq!(eta_words(&Eta::Range { low, high }).as_deref(), Some("ETA 14m to 22m"));
        assert_eq!(eta_words(&Eta::Unknown).as_deref(), Some("ETA unknown"));
        let verified = Some((low, high));
        assert_eq!(
            eta_words(&Eta::Operator { verified }).as_deref(),
            Some("verified in 14m to 22m, then you promote")
        );
    }
}
