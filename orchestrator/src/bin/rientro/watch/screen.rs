//! A watched campaign as one page of a terminal. Pure: a picture and a size in, lines out.
//!
//! From the top: whether it goes on, how much is back and when it will be over; then the waves; then what needs a person,
//! with the command to run; then the latest decisions. Where rows are few, decisions give way first, then waves.

use rientro_types::{CampaignState, ShardState, WaveState, WaveView};

use super::picture::Picture;
use super::plain::eta_words;
use crate::foreign::clean;
use crate::human::{self, count, per_mille, percent, plural};
use crate::table::Tone;
use crate::wave::{lost_tone, tone};
use crate::words::{campaign_state, lost_shards, wave_state, why};

/// Rows that the latest decisions get when there is room.
const LATEST_ROWS: usize = 6;
/// Nodes that are away and shown by name.
const NODES_NAMED_MAX: usize = 4;
/// Rows that waves keep when there is little room.
const WAVE_ROWS_MIN: usize = 3;

/// A terminal's page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
    pub(crate) colour: bool,
    /// Whether block characters can be shown.
    pub(crate) blocks: bool,
}

/// Whether the locale shows more than ASCII.
pub(crate) fn shows_blocks() -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
    set.is_some_and(|locale| locale.to_ascii_lowercase().replace('-', "").contains("utf8"))
}

/// A line in the making: texts with tones, cut at the page's width.
#[derive(Default)]
struct Line(Vec<(String, Tone)>);

impl Line {
    fn of(text: impl Into<String>) -> Self {
        Self::default().and(text, Tone::Plain)
    }

    fn and(mut self, text: impl Into<String>, tone: Tone) -> Self {
        self.0.push((clean(&text.into()), tone));
        self
    }

    fn render(&self, page: &Page) -> String {
        let mut left = page.columns;
        let mut out = String::new();
        for (text, tone) in &self.0 {
            let cut: String = text.chars().take(left).collect();
            left -= cut.chars().count();
            out.push_str(&tone.paint(&cut, page.colour));
        }
        out.trim_end().to_owned()
    }
}

/// The page.
pub(crate) fn lines(picture: &Picture, page: &Page) -> Vec<String> {
    let head = head(picture, page);
    let alerts = alerts(picture, page);
    let fixed = head.len() + alerts.len() + 2;
    let left = page.rows.saturating_sub(fixed);
    let all = picture.campaign.waves.len();
    let latest_rows =
        LATEST_ROWS.min(picture.latest.len()).min(left.saturating_sub(WAVE_ROWS_MIN.min(all) + 2));
    let wave_rows = left.saturating_sub(if latest_rows > 0 { latest_rows + 1 } else { 0 }).max(1);
    let mut lines = head;
    lines.extend(waves(picture, page, wave_rows));
    lines.extend(alerts);
    lines.extend(latest(picture, latest_rows));
    lines.truncate(page.rows.max(1));
    lines.iter().map(|line| line.render(page)).collect()
}

fn head(picture: &Picture, page: &Page) -> Vec<Line> {
    let campaign = &picture.campaign;
    let counts = &campaign.counts;
    let now = picture.now();
    let until = campaign.ended.unwrap_or(now);
    let title = Line::default()
        .and(campaign.campaign.to_string(), Tone::Plain)
        .and("  ", Tone::Plain)
        .and(campaign_state(&campaign.state), Tone::of_campaign(&campaign.state))
        .and(
            format!("  for {}, at {}", human::span(until.since(campaign.started)), human::clock(now)),
            Tone::Faint,
        );
    let back = counts.mailboxes_in(ShardState::Open);
    let total = counts.mailboxes_total();
    let share = per_mille(back, total);
    let bar_width = (page.columns / 3).clamp(10, 40);
    let back_line = Line::of("back    ").and(bar(share, bar_width, page.blocks), Tone::Good).and(
        format!("  {}  {} of {}", percent(back, total), count(back), plural(total, "mailbox")),
        Tone::Plain,
    );
    vec![title, Line::default(), back_line, pace(picture), states(picture), Line::default()]
}

fn pace(picture: &Picture) -> Line {
    let rate = picture
        .pace
        .bytes_per_second()
        .filter(|rate| *rate > 0)
        .map_or_else(|| "-".to_owned(), |rate| format!("{}/s", human::bytes(rate)));
    let mailboxes = picture.pace.mailboxes_per_second_milli().unwrap_or(0);
    let line = Line::of(format!("pace    {rate}"));
    let line = if mailboxes > 0 {
        line.and(format!("  {}.{} mailboxes/s verified", mailboxes / 1000, mailboxes / 100 % 10), Tone::Plain)
    } else {
        line
    };
    match eta_words(&picture.pace.eta(&picture.campaign, picture.now())) {
        Some(eta) => line.and(format!("  {eta}"), Tone::Busy),
        None => line,
    }
}

fn states(picture: &Picture) -> Line {
    let counts = &picture.campaign.counts;
    let there = ShardState::ALL.into_iter().filter(|state| counts.shards_in(*state) > 0);
    there.fold(Line::of("shards"), |line, state| {
        line.and(format!("  {} {}", count(counts.shards_in(state)), state.name()), Tone::of_shard(state))
    })
}

/// Waves around the present one, as many as there is room for.
fn waves(picture: &Picture, page: &Page, rows: usize) -> Vec<Line> {
    let waves = &picture.campaign.waves;
    let header = Line::default()
        .and(format!("{:<5} {:<18} {:<14}", "WAVE", "STATE", "BACK"), Tone::Faint)
        .and(format!(" {:>6} {:>11} {:>9} {:>9}", "", "MAILBOXES", "HELD", "LOST/MAX"), Tone::Faint);
    let present = waves.iter().position(|wave| wave.state != WaveState::Passed).unwrap_or(waves.len());
    // What is left out is counted on a line of its own, where there is room for that beside a wave.
    let rows = if rows < waves.len() { rows.saturating_sub(1).max(1) } else { waves.len() };
    // Where there is room, one passed wave stays in sight above the present one.
    let above = usize::from(rows >= WAVE_ROWS_MIN);
    let first = present.saturating_sub(above).min(waves.len() - rows);
    let shown = waves[first..first + rows].iter().map(|wave| wave_line(wave, picture, page));
    let mut lines: Vec<Line> = std::iter::once(header).chain(shown).collect();
    let hidden = (waves.len() - rows) as u64;
    if hidden > 0 {
        let text =
            format!("      and {}: rientro wave list {}", more_waves(hidden), picture.campaign.campaign);
        lines.push(Line::default().and(text, Tone::Faint));
    }
    lines
}

fn more_waves(hidden: u64) -> String {
    if hidden == 1 { "1 more wave".to_owned() } else { format!("{} more waves", count(hidden)) }
}

fn wave_line(wave: &WaveView, picture: &Picture, page: &Page) -> Line {
    let counts = &wave.counts;
    let (back, total) = (counts.mailboxes_in(ShardState::Open), counts.mailboxes_total());
    let held = counts.shards_in(ShardState::Held) + counts.shards_in(ShardState::Failed);
    let held = if held > 0 { plural(held, "shard") } else { "-".to_owned() };
    let lost = if wave.mailboxes_lost > 0 {
        format!("{}/{}", wave.mailboxes_lost, wave.mailboxes_lost_max)
    } else {
        "-".to_owned()
    };
    Line::of(format!("{:<5} ", wave.wave))
        .and(format!("{:<18} ", wave_state(&picture.campaign, wave, picture.now())), tone(wave.state))
        .and(bar(per_mille(back, total), 14, page.blocks), Tone::Good)
        .and(format!(" {:>6} {:>11}", percent(back, total), count(total)), Tone::Plain)
        .and(format!(" {held:>9}"), if held == "-" { Tone::Faint } else { Tone::Bad })
        .and(format!(" {lost:>9}"), lost_tone(wave))
}

/// What needs a person, with the command to run.
fn alerts(picture: &Picture, page: &Page) -> Vec<Line> {
    let campaign = &picture.campaign;
    let id = campaign.campaign;
    let mut lines = trouble(picture, page);
    let lost = lost_shards(campaign);
    if lost > 0 {
        let mailboxes =
            campaign.counts.mailboxes_in(ShardState::Held) + campaign.counts.mailboxes_in(ShardState::Failed);
        lines.push(Line::default());
        let text = format!("held or failed: {}, {}", plural(lost, "shard"), plural(mailboxes, "mailbox"));
        lines.push(Line::default().and(text, Tone::Bad));
        for view in &picture.stuck {
            lines.push(Line::of(format!("  {}  {}", view.shard.shard, why(view))));
        }
        let next = format!("  next: rientro shard list --campaign {id} --state held,failed");
        lines.push(Line::default().and(next, Tone::Busy));
    }
    let returning: u64 = campaign.waves.iter().map(|wave| wave.mailboxes_returning).sum();
    if returning > 0 {
        let text = format!(
            "lost, and on their way again: {}; they count until they open",
            plural(returning, "mailbox")
        );
        lines.push(Line::default());
        lines.push(Line::default().and(text, Tone::Warn));
    }
    lines.extend(nodes_away(picture));
    if matches!(campaign.state, CampaignState::Paused(_)) {
        lines.push(Line::default());
        let next = format!("paused; go on with: rientro campaign resume {id}");
        lines.push(Line::default().and(next, Tone::Warn));
    }
    if let Some(lost) = &picture.lost {
        lines.push(Line::default());
        lines.push(Line::default().and(format!("{lost}; trying again"), Tone::Bad));
    }
    lines
}

/// Why nothing is decided, in as few rows as it fits; [`lines`] cuts the page where even these are too many.
fn trouble(picture: &Picture, page: &Page) -> Vec<Line> {
    let Some(trouble) = &picture.trouble else { return Vec::new() };
    let text = clean(&format!("the cell is in trouble: {trouble}"));
    let mut rows = vec![String::new()];
    for word in text.split_whitespace() {
        let row = rows.last_mut().expect("there is a row from the start");
        if !row.is_empty() && row.chars().count() + 1 + word.chars().count() > page.columns {
            rows.push(word.to_owned());
        } else {
            let gap = if row.is_empty() { "" } else { " " };
            row.push_str(gap);
            row.push_str(word);
        }
    }
    let rows = rows.into_iter().map(|row| Line::default().and(row, Tone::Bad));
    std::iter::once(Line::default()).chain(rows).collect()
}

/// Nodes without a session, by name: what they do is not known.
fn nodes_away(picture: &Picture) -> Vec<Line> {
    let (silent, offline): (Vec<_>, Vec<_>) = picture.away.iter().partition(|node| node.silent.is_some());
    let silent = silent.into_iter().map(|node| {
        let since = node.silent.map(|since| human::span(picture.now().since(since))).unwrap_or_default();
        format!("{} ({since})", node.node)
    });
    let offline = offline.into_iter().map(|node| match node.heard_ago {
        Some(ago) => format!("{} (last heard {} ago)", node.node, human::span(ago)),
        None => format!("{} (not since the orchestrator started)", node.node),
    });
    let silent = named("silent nodes", Tone::Bad, &silent.collect::<Vec<_>>());
    let offline = named("nodes not connected", Tone::Warn, &offline.collect::<Vec<_>>());
    let mut lines: Vec<Line> = silent.into_iter().chain(offline).collect();
    if !lines.is_empty() {
        lines.insert(0, Line::default());
        lines.push(Line::default().and("  next: rientro node list", Tone::Busy));
    }
    lines
}

/// Names after what they have in common; nothing without names.
fn named(what: &str, tone: Tone, names: &[String]) -> Option<Line> {
    let shown = names.len().min(NODES_NAMED_MAX);
    let more = names.len() - shown;
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (shown > 0).then(|| Line::default().and(format!("{what}: {}{more}", names[..shown].join(", ")), tone))
}

fn latest(picture: &Picture, rows: usize) -> Vec<Line> {
    let skipped = picture.latest.len() - rows;
    let mut lines: Vec<Line> = Vec::new();
    for latest in picture.latest.iter().skip(skipped) {
        if lines.is_empty() {
            lines.push(Line::default());
        }
        lines.push(
            Line::default()
                .and(format!("{}  ", human::clock(latest.at)), Tone::Faint)
                .and(&*latest.text, Tone::Plain),
        );
    }
    lines
}

/// A bar of so many characters, filled in thousandths; never full unless all is there.
fn bar(per_mille: u64, width: usize, blocks: bool) -> String {
    let (full, empty) = if blocks { ('█', '░') } else { ('#', '.') };
    let filled = usize::try_from(per_mille).unwrap_or(1000).min(1000) * width / 1000;
    let fill = |c: char, times: usize| std::iter::repeat_n(c, times);
    fill(full, filled).chain(fill(empty, width - filled)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::fixture::{offline, picture, running};

    const PAGE: Page = Page { columns: 80, rows: 40, colour: false, blocks: false };

    #[test]
    fn a_bar_is_full_only_when_all_is_there() {
        assert_eq!(bar(0, 10, false), "..........");
        assert_eq!(bar(999, 10, false), "#########.");
        assert_eq!(bar(1000, 4, true), "████");
    }

    #[test]
    fn the_page_shows_the_return_at_80_columns() {
        insta::assert_snapshot!(lines(&picture(), &PAGE).join("\n"));
    }

    #[test]
    fn a_quiet_campaign_shows_no_alerts() {
        insta::assert_snapshot!(lines(&running(), &Page { columns: 120, ..PAGE }).join("\n"));
    }

    #[test]
    fn no_page_is_larger_than_its_terminal() {
        for (columns, rows) in [(80, 23), (40, 10), (20, 5), (1, 1), (200, 60)] {
            let page = Page { columns, rows, ..PAGE };
            let lines = lines(&picture(), &page);
            assert!(lines.len() <= rows, "{rows} rows: {lines:?}");
            assert!(lines.iter().all(|line| line.chars().count() <= columns));
        }
    }

    #[test]
    fn nodes_that_are_not_connected_are_named_up_to_a_bound() {
        let mut away = running();
        away.away = ["n1", "n2", "n3", "n4", "n5"].map(offline).to_vec();
        away.away[0].heard_ago = Some(rientro_types::Span::from_secs(7));
        let shown = lines(&away, &Page { columns: 200, ..PAGE }).join("\n");
        assert!(shown.contains("nodes not connected: n1 (last heard 7s ago), n2 (not since"), "{shown}");
        assert!(shown.contains(" and 1 more\n  next: rientro node list") && !shown.contains("n5"), "{shown}");
    }

    /// The whole of it can be read: it says what to do, and the page is all that whoever watches sees.
    #[test]
    fn a_cell_in_trouble_is_told_of_in_rows_that_fit() {
        let mut picture = running();
        let trouble = "the disk is full: free 12 MiB or lower `reserve`. ".repeat(4);
        picture.trouble = Some(trouble.clone());
        for columns in [40, 80, 200] {
            let shown = lines(&picture, &Page { columns, ..PAGE }).join(" ");
            let shown: Vec<_> = shown.split_whitespace().collect();
            assert!(
                shown.join(" ").contains(&format!("the cell is in trouble: {}", trouble.trim())),
                "{shown:?}"
            );
        }
    }

    /// What is left out is told, and of waves it is never the present one.
    #[test]
    fn waves_that_do_not_fit_are_counted() {
        let whole = picture();
        let present = whole.campaign.waves.iter().find(|wave| wave.state != WaveState::Passed).unwrap();
        for rows in 2..=whole.campaign.waves.len() {
            let shown: Vec<_> = waves(&whole, &PAGE, rows).iter().map(|line| line.render(&PAGE)).collect();
            let here = format!("{:<5} ", present.wave);
            assert!(shown.iter().any(|line| line.starts_with(&here)), "{shown:?}");
            let told = shown.iter().any(|line| line.contains("more wave"));
            assert_eq!(told, rows < whole.campaign.waves.len(), "{shown:?}");
            assert!(shown.len() <= rows + 1, "{shown:?}");
        }
    }

    #[test]
    fn colour_is_added_around_what_is_shown_without_it() {
        let coloured = lines(&picture(), &Page { colour: true, ..PAGE });
        assert!(coloured.iter().any(|line| line.contains("\x1b[31m")));
    }
}
