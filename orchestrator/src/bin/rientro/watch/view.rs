//! How a watched campaign is shown: drawn in place, as lines, or as JSON lines.

use std::fmt::Write as _;

use serde_json::json;

use super::picture::Picture;
use super::plain::Printed;
use super::screen;
use crate::failure::Failure;
use crate::human::rfc3339;
use crate::json;
use crate::output::Output;

const CURSOR_HIDE: &str = "\x1b[?25l";
const CURSOR_SHOW: &str = "\x1b[?25h";
const CLEAR_SCREEN: &str = "\x1b[H\x1b[2J";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// One way to show a picture.
pub(crate) enum View {
    /// Redrawn in place.
    Screen(Screen),
    /// Lines.
    Plain(Output, Printed),
    /// JSON lines.
    Json(Output, Shown),
}

impl View {
    pub(crate) fn new(out: Output) -> Self {
        if out.is_json() {
            Self::Json(out, Shown::default())
        } else if out.is_terminal() {
            Self::Screen(Screen { out, drawn: None })
        } else {
            Self::Plain(out, Printed::default())
        }
    }

    pub(crate) fn show(&mut self, picture: &mut Picture) -> Result<(), Failure> {
        match self {
            Self::Screen(screen) => screen.draw(picture),
            Self::Plain(out, printed) => {
                printed.lines(picture, false).iter().try_for_each(|line| out.line(line))
            }
            Self::Json(out, last) => show_json(*out, last, picture),
        }
    }

    /// Shows the end.
    pub(crate) fn show_last(&mut self, picture: &mut Picture) -> Result<(), Failure> {
        match self {
            Self::Plain(out, printed) => {
                printed.lines(picture, true).iter().try_for_each(|line| out.line(line))
            }
            Self::Screen(_) | Self::Json(..) => self.show(picture),
        }
    }

    /// Gives the terminal back.
    pub(crate) fn leave(self) {
        drop(self);
    }
}

/// What was shown last, so that only changes are.
#[derive(Default)]
pub(crate) struct Shown {
    campaign: String,
    trouble: Option<String>,
}

fn show_json(out: Output, last: &mut Shown, picture: &mut Picture) -> Result<(), Failure> {
    for latest in picture.take_untold() {
        let (seq, at) = (latest.seq.raw(), rfc3339(latest.at));
        let text = latest.text;
        out.json_line(
            &json!({ "event": "decided", "seq": seq, "at": at, "record": latest.kind, "text": text }),
        )?;
    }
    if std::mem::take(&mut picture.returned) {
        out.json_line(&json!({ "event": "returned" }))?;
    }
    if let Some(lost) = &picture.lost {
        return out.json_line(&json!({ "event": "lost", "problem": lost }));
    }
    if picture.is_other_trouble(last.trouble.as_deref()) {
        last.trouble.clone_from(&picture.trouble);
        out.json_line(&json!({ "event": "trouble", "trouble": last.trouble }))?;
    }
    let view = json::campaign(&picture.campaign, picture.now());
    let campaign = view.to_string();
    if campaign != last.campaign {
        let at = rfc3339(picture.now());
        let rate = picture.pace.bytes_per_second();
        out.json_line(&json!({ "event": "campaign", "at": at, "bytes_per_second": rate, "campaign": view }))?;
        last.campaign = campaign;
    }
    Ok(())
}

/// A terminal that is drawn on in place. What was drawn last stays when it ends.
pub(crate) struct Screen {
    out: Output,
    /// Size of the terminal and lines of the last drawing.
    drawn: Option<((u16, u16), usize)>,
}

impl Screen {
    fn draw(&mut self, picture: &Picture) -> Result<(), Failure> {
        let size = self.out.size().unwrap_or((80, 24));
        let (columns, rows) = size;
        let page = screen::Page {
            columns: columns.into(),
            // The last row stays free for the cursor: a full screen would scroll.
            rows: usize::from(rows).saturating_sub(1),
            colour: self.out.has_colour(),
            blocks: screen::shows_blocks(),
        };
        let lines = screen::lines(picture, &page);
        let mut frame = match self.drawn {
            None => CURSOR_HIDE.to_owned(),
            Some((before, _)) if before != size => CLEAR_SCREEN.to_owned(),
            Some((_, 0)) => "\r".to_owned(),
            Some((_, drawn)) => format!("\x1b[{drawn}A\r"),
        };
        for line in &lines {
            write!(frame, "{line}{CLEAR_LINE}\r\n").map_err(|_| Failure::OutputClosed)?;
        }
        frame.push_str(CLEAR_BELOW);
        self.drawn = Some((size, lines.len()));
        self.out.raw(&frame)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            // A terminal that is gone needs no cursor.
            drop(self.out.raw(CURSOR_SHOW));
        }
    }
}
