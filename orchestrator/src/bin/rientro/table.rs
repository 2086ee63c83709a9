//! Tables without lines: they stay readable at 80 columns, and `awk` and `cut` can read them in a pipe.

use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use rientro_types::{CampaignState, ShardState};

use crate::foreign::clean;

/// What a cell's colour says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// On its way.
    Busy,
    /// Someone should look.
    Warn,
    /// Someone must act.
    Bad,
    /// Of little interest.
    Faint,
}

impl Tone {
    const fn colour(self) -> Option<Color> {
        match self {
            Self::Plain => None,
            Self::Good => Some(Color::Green),
            Self::Busy => Some(Color::Cyan),
            Self::Warn => Some(Color::Yellow),
            Self::Bad => Some(Color::Red),
            Self::Faint => Some(Color::DarkGrey),
        }
    }

    /// A text in this tone, for terminals that show it.
    pub(crate) fn paint(self, text: &str, colour: bool) -> String {
        let code = match self {
            Self::Plain => return text.to_owned(),
            Self::Good => "32",
            Self::Busy => "36",
            Self::Warn => "33",
            Self::Bad => "31",
            Self::Faint => "90",
        };
        if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// The tone of a shard's state.
    pub(crate) const fn of_shard(state: ShardState) -> Self {
        match state {
            ShardState::Open => Self::Good,
            ShardState::Held | ShardState::Failed => Self::Bad,
            ShardState::Backoff => Self::Warn,
            ShardState::Verifying | ShardState::Confirming | ShardState::Opening => Self::Busy,
            ShardState::Closed | ShardState::Waiting | ShardState::Verified => Self::Plain,
        }
    }

    /// The tone of a campaign's state.
    pub(crate) const fn of_campaign(state: &CampaignState) -> Self {
        match state {
            CampaignState::Forming | CampaignState::Running => Self::Busy,
            CampaignState::Paused(_) => Self::Warn,
            CampaignState::Ended => Self::Good,
            CampaignState::Aborted => Self::Bad,
        }
    }
}

/// One cell: a text, clean and in one line, and its tone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Field {
    text: String,
    tone: Tone,
}

impl Field {
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: clean(&text.into()), tone }
    }
}

impl<T: Into<String>> From<T> for Field {
    fn from(text: T) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

/// A table in the making.
#[derive(Clone, Debug)]
pub(crate) struct Grid {
    header: Vec<&'static str>,
    rows: Vec<Vec<Field>>,
}

/// Columns whose header starts with this are numbers and stand to the right.
const NUMERIC: char = '#';

impl Grid {
    /// A table with these columns; `#` before a name makes it a column of numbers.
    pub(crate) fn new(header: impl IntoIterator<Item = &'static str>) -> Self {
        Self { header: header.into_iter().collect(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, fields: impl IntoIterator<Item = Field>) {
        self.rows.push(fields.into_iter().collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines of the table; without a width no cell is wrapped. Empty without a row.
    pub(crate) fn render(&self, width: Option<u16>, colour: bool) -> String {
        if self.is_empty() {
            return String::new();
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        match width {
            Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        if colour {
            table.enforce_styling()
        } else {
            table.force_no_tty()
        };
        if self.header.iter().any(|name| !name.is_empty()) {
            table.set_header(self.header.iter().map(|name| Cell::new(name.trim_start_matches(NUMERIC))));
        }
        for row in &self.rows {
            table.add_row(row.iter().map(|field| {
                let cell = Cell::new(&field.text);
                if let Some(tone) = field.tone.colour() { cell.fg(tone) } else { cell }
            }));
        }
        for (at, name) in self.header.iter().enumerate() {
            if let Some(column) = table.column_mut(at) {
                column.set_padding((0, 2));
                if name.starts_with(NUMERIC) {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
        }
        let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right_and_nothing_trails() {
        let mut grid = Grid::new(["NAME", "#COUNT"]);
        grid.row(["a".into(), "12".into()]);
        grid.row(["longer".into(), Field::toned("3", Tone::Bad)]);
        assert_eq!(grid.render(None, false), "NAME    COUNT\na          12\nlonger      3");
        assert!(grid.render(None, true).contains("\x1b["));
    }

    #[test]
    fn a_narrow_terminal_wraps_and_a_pipe_does_not() {
        let mut grid = Grid::new(["A", "B"]);
        grid.row(["x".into(), "one two three four five six".into()]);
        assert_eq!(grid.render(None, false).lines().count(), 2);
        assert!(grid.render(Some(20), false).lines().all(|line| line.chars().count() <= 20));
    }
}
